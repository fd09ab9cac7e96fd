"""Compares prefill and decoding with Hugging Face transformers, f32 on the CPU, on random models of about 100M numbers.

Run from the repository with a Python that has torch and transformers 5:
    cargo build --workspace --example decoder_speed
    OMP_NUM_THREADS=2 GOMP_SPINCOUNT=10000 python scripts/speed_transformers.py
Both programs take turns; of each the fastest of several repetitions counts. With one thread and `--cpu-time` the time that the
processor spent is compared, which other programs on the machine disturb less.
"""

import argparse
import os
import platform
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


def processor():
    """The processor's name, where the system tells it."""
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


@torch.inference_mode()
def milliseconds(model, ids, new, clock):
    begin = clock()
    model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=new, min_new_tokens=new, do_sample=False)
    return (clock() - begin) * 1e3


def theirs(model, ids, clock):
    prefill = milliseconds(model, ids, 1, clock)
    return prefill, (milliseconds(model, ids, 1 + NEW, clock) - prefill) / NEW


def ours(folder, which):
    run = subprocess.run([PROGRAM, folder, str(PROMPT), str(NEW), "2", which], capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"{PROGRAM}: {run.stderr.strip()}")
    return tuple(float(number) for number in run.stdout.split())


def main():
    parser = argparse.ArgumentParser(description="Prefill and decoding beside transformers, f32 on the CPU.")
    parser.add_argument("--cpu-time", action="store_true", help="compare the processor's time, with one thread")
    cpu_time = parser.parse_args().cpu_time
    if cpu_time and torch.get_num_threads() > 1:
        parser.error("--cpu-time is for one thread: set OMP_NUM_THREADS=1")
    clock, which = (time.process_time, "cpu") if cpu_time else (time.perf_counter, "wall")
    transformers.logging.set_verbosity_error()
    ids = torch.tensor([[3 + at * 37 % 1009 for at in range(PROMPT)]])
    print(f"transformers {transformers.__version__}, torch {torch.__version__}, {torch.get_num_threads()} threads, f32, "
          f"{processor()}; prompt {PROMPT}, {NEW} new tokens; milliseconds of {which} time")
    for name, (kind, config) in SHAPES.items():
        torch.manual_seed(0)
        model = kind(config).eval()
        model.generation_config.eos_token_id = None
        size = sum(parameter.numel() for parameter in model.parameters()) / 1e6
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder)
            rounds = [(theirs(model, ids, clock), ours(folder, which)) for _ in range(ROUNDS)]
        for at, part in enumerate(["prefill", "token"]):
            them, us = min(one[at] for one, _ in rounds), min(one[at] for _, one in rounds)
            shape = f"{config.num_hidden_layers} x {config.hidden_size}, {size:.0f}M"
            print(f"{name} ({shape}) {part}: transformers {them:.1f}, reft {us:.1f}, ratio {them / us:.2f}")


if __name__ == "__main__":
    main()
