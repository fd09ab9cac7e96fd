"""Compares prefill and decoding with Hugging Face transformers, f32 on the CPU, on random models of about 100M numbers.

Run from the repository with a Python that has torch and transformers 5:
    cargo build --profile dev -p reft-models --example decoder_speed
    OMP_NUM_THREADS=2 GOMP_SPINCOUNT=10000 python scripts/decoder_speed.py
Both programs take turns; of each the fastest of several repetitions counts.
"""

import os
import subprocess
import sys
import tempfile
import time

import torch
import transformers
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, Qwen3Config, Qwen3ForCausalLM

PROMPT, NEW, ROUNDS = 512, 64, 3
PROGRAM = os.path.join(os.environ.get("CARGO_TARGET_DIR", "target"), "debug", "examples", "decoder_speed")

SHAPES = {
    "qwen3": (
        Qwen3ForCausalLM,
        Qwen3Config(
            hidden_size=768, intermediate_size=2304, num_hidden_layers=12, num_attention_heads=12,
            num_key_value_heads=4, head_dim=64, vocab_size=16384, tie_word_embeddings=True,
        ),
    ),
    "gemma3": (
        Gemma3ForCausalLM,
        Gemma3TextConfig(
            hidden_size=640, intermediate_size=2048, num_hidden_layers=18, num_attention_heads=4,
            num_key_value_heads=1, head_dim=256, vocab_size=16384, sliding_window=512,
        ),
    ),
}


@torch.inference_mode()
def milliseconds(model, ids, new):
    begin = time.perf_counter()
    model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=new, min_new_tokens=new, do_sample=False)
    return (time.perf_counter() - begin) * 1e3


def theirs(model, ids):
    prefill = milliseconds(model, ids, 1)
    return prefill, (milliseconds(model, ids, 1 + NEW) - prefill) / NEW


def ours(folder):
    run = subprocess.run([PROGRAM, folder, str(PROMPT), str(NEW), "2"], capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"{PROGRAM}: {run.stderr.strip()}")
    return tuple(float(number) for number in run.stdout.split())


def main():
    transformers.logging.set_verbosity_error()
    ids = torch.tensor([[3 + at * 37 % 1009 for at in range(PROMPT)]])
    print(f"transformers {transformers.__version__}, torch {torch.__version__}, {torch.get_num_threads()} threads, f32; "
          f"prompt {PROMPT}, {NEW} new tokens; milliseconds")
    for name, (kind, config) in SHAPES.items():
        torch.manual_seed(0)
        model = kind(config).eval()
        model.generation_config.eos_token_id = None
        size = sum(parameter.numel() for parameter in model.parameters()) / 1e6
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder)
            rounds = [(theirs(model, ids), ours(folder)) for _ in range(ROUNDS)]
        for which, part in enumerate(["prefill", "token"]):
            them, us = min(one[which] for one, _ in rounds), min(one[which] for _, one in rounds)
            print(f"{name} ({size:.0f}M) {part}: transformers {them:.1f}, reft {us:.1f}, ratio {them / us:.2f}")


if __name__ == "__main__":
    main()
