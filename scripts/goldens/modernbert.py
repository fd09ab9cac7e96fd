"""Makes tests/golden/models/modernbert* and their tests/golden/forward files.

Tiny random ModernBERT classifiers, with what transformers 5.24.0 (eager attention, float32, one CPU thread) computes for rows padded
on the right: `hidden_0` is the embeddings' output, `hidden_1` to `hidden_L` are the blocks' before the last norm.
    pip install transformers==5.24.0 torch==2.11.0 safetensors
    python scripts/goldens/modernbert.py tests/golden
"""

import pathlib
import sys

import torch
from safetensors.torch import save_file
from transformers import ModernBertConfig, ModernBertForSequenceClassification

LENGTHS, LAYERS = [23, 7, 15], 4
SIZES = {
    "vocab_size": 96, "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": LAYERS, "num_attention_heads": 4,
    "max_position_embeddings": 64, "local_attention": 8, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    "cls_token_id": 1, "sep_token_id": 2, "norm_eps": 0.01, "num_labels": 3, "attn_implementation": "eager",
    "rope_parameters": {
        "full_attention": {"rope_type": "default", "rope_theta": 3000.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
    },
}
LOCAL, GLOBAL = "sliding_attention", "full_attention"
MODELS = {
    "modernbert": {"classifier_pooling": "cls"},
    "modernbert-mean": {
        "classifier_pooling": "mean", "norm_bias": True, "attention_bias": True, "mlp_bias": True, "classifier_bias": True,
        "layer_types": [LOCAL, GLOBAL, LOCAL, LOCAL],
    },
}


@torch.no_grad()
def make(out, name, more):
    model = ModernBertForSequenceClassification(ModernBertConfig(**SIZES, **more)).eval()
    for key, weight in model.named_parameters():
        values = torch.randn_like(weight)
        if weight.dim() == 1:
            weight.copy_(values * 0.1 + (0.0 if key.endswith("bias") else 1.0))
        else:
            weight.copy_(values if "tok_embeddings" in key else values / weight.shape[-1] ** 0.5)
    model.save_pretrained(out / "models" / name)
    ids = torch.randint(3, SIZES["vocab_size"], (len(LENGTHS), max(LENGTHS)))
    mask = torch.zeros_like(ids)
    for row, length in enumerate(LENGTHS):
        mask[row, :length], ids[row, length:], ids[row, 0] = 1, 0, 1
    states = []
    for module in [model.model.embeddings, *model.model.layers]:
        module.register_forward_hook(lambda _module, _input, output: states.append(output))
    logits = model(input_ids=ids, attention_mask=mask).logits
    tensors = {"input_ids": ids, "attention_mask": mask, "logits": logits}
    tensors |= {f"hidden_{layer}": state for layer, state in enumerate(states[: LAYERS + 1])}
    for row, length in enumerate(LENGTHS):
        alone = model(input_ids=ids[row : row + 1, :length]).logits
        assert (alone - logits[row]).abs().max() < 1e-5, "a row alone gives what it gives in the batch"
    save_file({key: value.contiguous() for key, value in tensors.items()}, out / "forward" / f"{name}-right.safetensors")


torch.set_num_threads(1)
for seed, (name, more) in enumerate(MODELS.items()):
    torch.manual_seed(seed)
    make(pathlib.Path(sys.argv[1]), name, more)
