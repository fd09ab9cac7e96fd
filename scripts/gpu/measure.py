"""Measures a model on a device with the program beside this file, and pyreft beside it where it can be imported.

usage: measure.py --device cuda|cpu --model FOLDER --out FOLDER [--dtype bf16|f32]

Writes gpu.json and gpu.md: loading, memory, updates and answers a second, and the share of the speed that a large product
of torch reaches on the device in the same type. A LoReFT update takes 4 operations a weight and token: 2 forward, and 2 backward for
the states' gradient.
"""

import argparse
import importlib.util
import json
import pathlib
import resource
import subprocess
import sys
import threading
import time

import torch

parser = argparse.ArgumentParser()
parser.add_argument("--device", default="cuda")
parser.add_argument("--model", required=True)
parser.add_argument("--out", required=True)
parser.add_argument("--dtype", default="bf16", choices=["bf16", "f32"])
args = parser.parse_args()

here = pathlib.Path(__file__).parent
model, out = pathlib.Path(args.model), pathlib.Path(args.out)
config = json.loads((model / "config.json").read_text())
on_gpu = args.device != "cpu"
kind = torch.bfloat16 if args.dtype == "bf16" else torch.float32


def peak():
    """Operations a second of the best of some large products."""
    size, times = (8192 if on_gpu else 1024), []
    a, b = (torch.randn(size, size, device=args.device, dtype=kind) for _ in range(2))
    for _ in range(8):
        began = time.perf_counter()
        a @ b
        if on_gpu:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return 2 * size**3 / min(times)


def device_mib():
    index = args.device.partition(":")[2] or "0"
    query = ["nvidia-smi", f"--id={index}", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    return int(subprocess.run(query, capture_output=True, text=True, check=True).stdout)


def run(command):
    """Standard output's last line, seconds, and the most memory of the device meanwhile (of the process, on a processor)."""
    most, done = [0], threading.Event()

    def watch():
        while not done.wait(0.2):
            most[0] = max(most[0], device_mib())

    watcher = threading.Thread(target=watch) if on_gpu else None
    if watcher:
        watcher.start()
    began = time.perf_counter()
    ended = subprocess.run(command, capture_output=True, text=True)
    seconds = time.perf_counter() - began
    done.set()
    if watcher:
        watcher.join()
    else:
        # The largest of all children so far: jobs come in the order of what they need.
        most[0] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    if ended.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))} failed: {ended.stderr.strip().splitlines()[-1:]}")
    lines = ended.stdout.strip().splitlines()
    return (lines[-1] if lines else ""), seconds, most[0]


def parameters():
    index = json.loads((model / "model.safetensors.index.json").read_text())
    return index["metadata"]["total_size"] // (2 if config.get("torch_dtype") in ("bfloat16", "float16") else 4)


def rows(count):
    text = "Which of these is a number of the list? Answer1: {0} Answer2: {1} Answer3: {2} Answer format: answer1/answer2/answer3"
    row = lambda n: {"instruction": text.format(n, n + 1, n * n), "input": "", "output": f"the correct answer is answer{n % 3 + 1}",
                     "answer": f"answer{n % 3 + 1}"}
    path = out / "rows.json"
    path.write_text(json.dumps([row(n) for n in range(count)]))
    return path


def job(what, batch, count, *more):
    common = ["--layers", "all", "--positions", "f7+l7", "--rank", "8", "--batch", str(batch), *more]
    data = str(rows(count))
    ours = [here / "reft", "bench-job", what, "--device", args.device, "--dtype", args.dtype, "--model", model, "--data", data, *common]
    line, seconds, mib = run([str(part) for part in ours])
    result = {"job": what, "batch": batch, **json.loads(line), "wall_s": seconds, "memory_mib": mib}
    if importlib.util.find_spec("pyreft"):
        dtype = "bfloat16" if args.dtype == "bf16" else "float32"
        rows_flag = common.index("--rows") if "--rows" in common else None
        theirs = common[:rows_flag] + common[rows_flag + 2:] if rows_flag is not None else common
        peer = [sys.executable, here / "scripts/bench/peer_job.py", what, "--device", args.device, "--dtype", dtype,
                "--model", model, "--rows", data, *theirs]
        try:
            line, _, mib = run([str(part) for part in peer])
            result["pyreft"] = {**json.loads(line), "memory_mib": mib}
        except RuntimeError as failure:
            print(failure, file=sys.stderr)
    return result


def table(report):
    lines = [
        f"# {report['device']}, {report['shape']}, {report['dtype']}", "",
        f"{report['parameters'] / 1e9:.2f} billion weights; a large product of torch reaches {report['peak_tflops']:.1f} TFLOP/s; "
        f"from the command to the first token {report['first_token_s']:.1f} s, {report['first_token_mib']} MiB.", "",
        "| job | batch | tokens/s or answers/s | updates/s | memory MiB | of that speed | pyreft | ratio |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |"]
    for result in report["jobs"]:
        train = result["job"] == "train"
        share = f"{100 * result['share_of_peak']:.1f} %" if train else "–"
        updates = f"{1 / result['step_s']:.2f}" if train else "–"
        peer = result.get("pyreft")
        beside = (f"{peer['value']:.1f}", f"{result['value'] / peer['value']:.2f}") if peer else ("none", "–")
        lines.append(f"| {result['job']} | {result['batch']} | {result['value']:.1f} | {updates} | {result['memory_mib']} | {share} | "
                     f"{beside[0]} | {beside[1]} |")
    return "\n".join(lines) + "\n"


out.mkdir(parents=True, exist_ok=True)
name = torch.cuda.get_device_name(torch.device(args.device)) if on_gpu else "processor"
reached = peak()
generate = ["generate", "Hello", "--model", model, "--device", args.device, "--dtype", args.dtype, "--max-new", "1"]
_, first_s, first_mib = run([str(part) for part in (here / "reft", *generate)])
jobs = [job("eval", 8, 16, "--rows", "16"), job("train", 1, 6, "--steps", "4"), job("train", 8, 48, "--steps", "4")]
for result in jobs:
    if result["job"] == "train":
        result["share_of_peak"] = 4 * parameters() * result["value"] / reached
report = {"device": name, "shape": model.name, "dtype": args.dtype, "parameters": parameters(), "peak_tflops": reached / 1e12,
          "first_token_s": first_s, "first_token_mib": first_mib, "jobs": jobs}
(out / "gpu.json").write_text(json.dumps(report, indent=1))
(out / "gpu.md").write_text(table(report))
print(table(report))
