"""Adapters that the program wrote, loaded by peft's and pyreft's own classes.

Every folder of the goldens that peft or pyreft saved is read by `reft import`, written again by `reft export`, loaded by the
library, and must give the logits that are stored with it; so must what `reft merge` writes, loaded by transformers. Then a LoRA is
trained here, answers 50 rows, is exported, and must give the same answers by peft. Run by `make test-interop PYTHON=...` in an
environment that has torch, transformers, peft, pyvene and pyreft.
"""

import argparse
import json
import pathlib
import subprocess
import tempfile

import torch
import torch.distributed.tensor  # peft uses it without importing it, and not every version of transformers does
from safetensors.torch import load_file

TOLERANCE = 1e-4


def command(reft, *arguments):
    done = subprocess.run([reft, *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"reft {' '.join(map(str, arguments))}: {done.stderr}")


def travelled(reft, adapter, model, library, options, room):
    """The folder that comes out of reading and writing again."""
    command(reft, "import", adapter, "--model", model, "--out", room / "ours", *options)
    command(reft, "export", room / "ours" / "adapter", "--to", library, "--out", room / "theirs")
    return room / "theirs"


def worst(got, tensors):
    """The largest difference at real tokens."""
    expected, mask = tensors["logits"], tensors["attention_mask"].bool()
    difference = (got - expected).abs()
    return (difference[mask] if difference.dim() == 3 else difference).max().item()


def base(model):
    import transformers

    config = json.loads((model / "config.json").read_text())
    classes = {"llama": transformers.LlamaForCausalLM, "roberta": transformers.RobertaForSequenceClassification}
    return classes[config["model_type"]].from_pretrained(model, torch_dtype=torch.float32).eval()


def by_peft(folder, model, tensors):
    from peft import PeftModel

    with torch.no_grad():
        adapted = PeftModel.from_pretrained(base(model), folder).eval()
        return adapted(input_ids=tensors["input_ids"], attention_mask=tensors["attention_mask"]).logits


def by_pyreft(folder, model, tensors, case):
    """Interventions of pyreft's classes on plain forward hooks: its own `load` cannot read its folders."""
    import pyreft

    network = base(model)
    config = json.loads((folder / "config.json").read_text())
    rows = [entry["positions"] for entry in case["interventions"]]
    groups = {(entry["layer"], entry["group"] == "suffix"): rows[i] for i, entry in enumerate(case["interventions"])}
    for key, kind, site in zip(config["sorted_keys"], config["intervention_types"], config["representations"]):
        layer, rank, width = site[0], site[4], config["intervention_dimensions"][0]
        unit = getattr(pyreft, kind.split(".")[-1].rstrip("'>"))(
            embed_dim=width, low_rank_dimension=rank, dropout=0.0, dtype=torch.float32, act_fn=None, add_bias=False
        )
        unit.load_state_dict(torch.load(folder / f"intkey_{key}.bin"), strict=False)
        unit.eval()
        places = groups[(layer, key.endswith("#1"))]

        def edit(_module, _inputs, output, unit=unit, places=places):
            state = output[0].clone()
            for row, tokens in enumerate(places):
                state[row, tokens] = unit(output[0][row, tokens])
            return (state, *output[1:])

        blocks = network.model.layers if hasattr(network, "model") else network.roberta.encoder.layer
        blocks[layer].register_forward_hook(edit)
    with torch.no_grad():
        return network(input_ids=tensors["input_ids"], attention_mask=tensors["attention_mask"]).logits


def cases(golden):
    """Case, library, adapter, model."""
    for name in json.loads((golden / "adapters/cases.json").read_text()):
        name = name if isinstance(name, str) else name["case"]
        folder = golden / "adapters" / name
        case = json.loads((folder / "case.json").read_text())
        yield case, case["library"], folder, folder / "model"
    for name in json.loads((golden / "baselines/cases.json").read_text()):
        folder = golden / "baselines" / name
        case = json.loads((folder / "case.json").read_text())
        if case["library"] == "peft" and (folder / "adapter/adapter_config.json").exists():
            if case["config"].get("bias") != "all":
                yield case, "peft", folder, golden / "baselines/models" / case["base"]


def merged(reft, room):
    """The model with the adapter in its weights."""
    command(reft, "merge", room / "ours" / "adapter", "--out", room / "merged")
    return room / "merged"


def by_transformers(model, tensors):
    with torch.no_grad():
        return base(model)(input_ids=tensors["input_ids"], attention_mask=tensors["attention_mask"]).logits


def positions(case):
    """As `--positions` has them."""
    tokens = {entry["group"]: entry["positions"][0] for entry in case["interventions"]}
    both = tokens.get("both") or tokens.get("prefix", []) + tokens.get("suffix", [])
    first = sum(1 for index, token in enumerate(both) if index == token)
    parts = [(letter, count) for letter, count in (("f", first), ("l", len(both) - first)) if count]
    return "+".join(f"{letter}{count}" for letter, count in parts)


ONES = "zero one two three four five six seven eight nine".split()


def sums():
    """150 sums of two digits and more to train on, 50 others to answer, as prompts and completions."""
    pairs = [(first, second) for first in range(20) for second in range(10)]
    rows = [{"prompt": f"{first} + {second} =", "completion": " " + " ".join(ONES[int(digit)] for digit in str(first + second))}
            for first, second in pairs]
    return [row for at, row in enumerate(rows) if at % 4], rows[::4]


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def answers_by_peft(folder, model, prompts, new_tokens):
    import transformers
    from peft import PeftModel

    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    adapted = PeftModel.from_pretrained(base(model), folder).eval()
    for prompt in prompts:
        ids = tokenizer(prompt, return_tensors="pt")
        with torch.no_grad():
            said = adapted.generate(**ids, max_new_tokens=new_tokens, do_sample=False, pad_token_id=0)
        yield tokenizer.decode(said[0, ids["input_ids"].shape[1]:], skip_special_tokens=True)


def same_answers(reft, room):
    """Whether a LoRA that was trained here answers the same there."""
    new_tokens = 8
    train, test = sums()
    command(reft, "merge", "--model", "smollm2", "--out", room / "model")
    command(
        reft, "train", "--model", room / "model", "--data", write_lines(room / "train.jsonl", train),
        "--prompt", "{{ prompt }}", "--completion", "{{ completion }}", "--epochs", 6, "--set", "dtype=f32",
        "--set", "adapt={lora: {rank: 8, alpha: 16, components: [q, v]}}", "--set", f"eval.max_new_tokens={new_tokens}",
        "--out", room / "trained",
    )
    rows = write_lines(room / "test.jsonl", test)
    command(reft, "predict", "--adapter", room / "trained", rows, "--dtype", "f32", "--out", room / "said.jsonl")
    ours = [json.loads(line)["prediction"] for line in (room / "said.jsonl").read_text().splitlines()]
    command(reft, "export", room / "trained", "--to", "peft", "--out", room / "peft")
    theirs = list(answers_by_peft(room / "peft", room / "model", [row["prompt"] for row in test], new_tokens))
    others = [(row["prompt"], one, other) for row, one, other in zip(test, ours, theirs, strict=True) if one.strip() != other.strip()]
    for prompt, one, other in others:
        print(f"{prompt!r}: {one!r} here, {other!r} by peft")
    right = sum(one.strip() == row["completion"].strip() for one, row in zip(ours, test))
    print(f"a LoRA trained here (SmolLM2, f32): {len(test) - len(others)} of {len(test)} answers by peft are the same, {right} of ours are right")
    return not others


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reft", default="target/debug/reft")
    parser.add_argument("--golden", type=pathlib.Path, default=pathlib.Path("tests/golden"))
    arguments = parser.parse_args()
    failed = False
    for case, library, folder, model in cases(arguments.golden):
        tensors = load_file(folder / "tensors.safetensors")
        options = ["--positions", positions(case)] if library == "pyreft" else []
        classifies = tensors["logits"].dim() == 2
        options += ["--task", "mnli"] if classifies else []
        with tempfile.TemporaryDirectory() as name:
            room = pathlib.Path(name)
            theirs = travelled(arguments.reft, folder / "adapter", model, library, options, room)
            if library == "peft":
                ways = {"peft": by_peft(theirs, model, tensors)}
            elif classifies:
                continue  # pyreft keeps heads apart from interventions; peft's cases show them
            else:
                ways = {"pyreft": by_pyreft(theirs, model, tensors, case)}
            if library == "peft" and case["method"] != "prefix-tuning":
                ways["transformers, merged,"] = by_transformers(merged(arguments.reft, room), tensors)
        for way, got in ways.items():
            difference = worst(got, tensors)
            failed |= not difference <= TOLERANCE
            print(f"{case['case']}: {way} gives the logits to {difference:.1e}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        failed |= not same_answers(arguments.reft, pathlib.Path(name))
    raise SystemExit("a library computes something else" if failed else 0)


if __name__ == "__main__":
    main()
