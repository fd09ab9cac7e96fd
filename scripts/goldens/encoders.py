"""Makes tests/golden/models/{distilbert,xlm-roberta} and their tests/golden/forward files.

Tiny random models, with what transformers 4.45.1 computes in float32 on a CPU by its Flax classes:
    pip install transformers==4.45.1 jax==0.4.35 jaxlib==0.4.35 flax==0.10.2 safetensors
    python scripts/goldens/encoders.py tests/golden
"""

import json
import pathlib
import sys

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors.numpy import save_file
from transformers import (
    DistilBertConfig,
    FlaxDistilBertForSequenceClassification,
    FlaxXLMRobertaForSequenceClassification,
    XLMRobertaConfig,
)

VOCAB, LABELS = 96, 3
LENGTHS = [9, 5, 12, 1]


def models():
    distil = DistilBertConfig(
        vocab_size=VOCAB, dim=32, hidden_dim=48, n_layers=2, n_heads=2, max_position_embeddings=40, num_labels=LABELS
    )
    xlm = XLMRobertaConfig(
        vocab_size=VOCAB, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=40, type_vocab_size=1, layer_norm_eps=1e-5, num_labels=LABELS, pad_token_id=1,
    )
    yield "distilbert", "DistilBertForSequenceClassification", FlaxDistilBertForSequenceClassification(distil)
    yield "xlm-roberta", "XLMRobertaForSequenceClassification", FlaxXLMRobertaForSequenceClassification(xlm)


def randomised(params, rng):
    """Weights far from where a layer could be left out unnoticed; norms around 1, biases around 0."""
    def values(name, array):
        around = 1.0 if name[-1] == "scale" else 0.0
        return (around + 0.15 * rng.standard_normal(array.shape)).astype(np.float32)

    return {name: values(name, array) for name, array in flatten_dict(params).items()}


def stored(flat):
    """By the names and in the arrangement of the PyTorch classes."""
    tensors = {}
    for name, array in flat.items():
        last = {"kernel": "weight", "scale": "weight", "embedding": "weight"}.get(name[-1], name[-1])
        value = array.T if name[-1] == "kernel" else array
        tensors[".".join([*name[:-1], last])] = np.ascontiguousarray(value)
    return tensors


def main(golden):
    for name, architecture, model in models():
        rng = np.random.default_rng(16)
        flat = randomised(model.params, rng)
        params = unflatten_dict(flat)
        pad = model.config.pad_token_id
        ids = np.full((len(LENGTHS), max(LENGTHS)), pad, dtype=np.int64)
        for row, length in enumerate(LENGTHS):
            ids[row, :length] = rng.integers(4, VOCAB, length)
        mask = (ids != pad).astype(np.int64)
        out = model(ids, attention_mask=mask, params=params, output_hidden_states=True)
        folder = golden / "models" / name
        folder.mkdir(parents=True, exist_ok=True)
        config = {**model.config.to_diff_dict(), "architectures": [architecture], "torch_dtype": "float32"}
        (folder / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
        save_file(stored(flat), folder / "model.safetensors", metadata={"format": "pt"})
        hidden = {f"hidden_{i}": np.asarray(h, dtype=np.float32) for i, h in enumerate(out.hidden_states)}
        tensors = {"input_ids": ids, "attention_mask": mask, "logits": np.asarray(out.logits, dtype=np.float32), **hidden}
        save_file(tensors, golden / "forward" / f"{name}-right.safetensors")


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    main(pathlib.Path(sys.argv[1]))
