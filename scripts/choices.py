"""Scores by choices, against lm-evaluation-harness: the same weights, rows and prompts give the same acc and acc_norm.

Its own task class (ConfigurableTask, from the YAML of its own arc_easy and piqa) and its own model class (HFLM, f32) score rows
of the LLM-Adapters format; `reft eval` scores the same rows by the same templates. Both figures must be equal to the last digit,
and every row must be decided alike. Run by hand in an environment that has torch, transformers and lm-eval, e.g.

    python scripts/choices.py --data DATA --rows 120 --model FOLDER
    python scripts/choices.py --write-golden tests/golden/choices

where DATA holds dataset/ARC-Easy/test.json and dataset/piqa/test.json, and FOLDER is a Hugging Face folder; without one a tiny
model with random weights and a token for every byte, of tests/golden, is taken: slow machines do that in a minute.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")

# As lm-evaluation-harness' own YAML files have them.
TASKS = {
    "arc_easy": {
        "file": "dataset/ARC-Easy/test.json",
        "doc_to_text": "Question: {{question}}\nAnswer:",
        "doc_to_choice": "{{choices.text}}",
        "doc_to_target": "{{choices.label.index(answerKey)}}",
    },
    "piqa": {
        "file": "dataset/piqa/test.json",
        "doc_to_text": "Question: {{goal}}\nAnswer:",
        "doc_to_choice": "{{[sol1, sol2]}}",
        "doc_to_target": "label",
    },
}


def arc(row):
    """A row of LLM-Adapters as the hub has it."""
    text = row["instruction"].split("question: ", 1)[1].rsplit("\n\nAnswer format", 1)[0]
    question, answers = text.split("\n\n", 1)
    parts = re.split(r"\s*Answer\d: ", " " + answers)[1:]
    labels = [str(number) for number in range(1, len(parts) + 1)]
    return {
        "question": question,
        "choices": {"text": parts, "label": labels},
        "answerKey": row["answer"].removeprefix("answer"),
    }


def piqa(row):
    text = row["instruction"].split("question: ", 1)[1].rsplit("\n\nAnswer format", 1)[0]
    goal, first, second = re.split(r"\n\nSolution[12]: ", text)
    return {"goal": goal, "sol1": first, "sol2": second, "label": int(row["answer"].removeprefix("solution")) - 1}


def by_harness(task, rows, model):
    """Scores and, row by row, log-likelihoods and verdicts."""
    import datasets
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.evaluator import evaluate

    class Rows(ConfigurableTask):
        """The rows at hand in place of a download."""

        def download(self, *_, **__):
            self.dataset = datasets.DatasetDict({"test": datasets.Dataset.from_list(rows)})

    described = {key: task[key] for key in ("doc_to_text", "doc_to_choice", "doc_to_target")}
    metrics = [{"metric": name, "aggregation": "mean", "higher_is_better": True} for name in ("acc", "acc_norm")]
    config = {"task": "rows", "output_type": "multiple_choice", "test_split": "test", "metric_list": metrics}
    harness = Rows(config={**config, "dataset_path": "rows", **described})
    found = evaluate(lm=model, task_dict={"rows": harness}, log_samples=True, bootstrap_iters=0)
    scores = found["results"]["rows"]
    samples = sorted(found["samples"]["rows"], key=lambda sample: sample["doc_id"])
    each = [
        {
            "logs": [float(answer[0][0]) for answer in sample["resps"]],
            "acc": sample["acc"] == 1.0,
            "acc_norm": sample["acc_norm"] == 1.0,
        }
        for sample in samples
    ]
    return {"acc": scores["acc,none"], "acc_norm": scores["acc_norm,none"], "rows": each}


def description(task, file):
    """The same for `reft eval`."""
    return {
        "file": str(file),
        "prompt": task["doc_to_text"],
        "choices": task["doc_to_choice"],
        "answer": task["doc_to_target"],
        "split": {"dev": str(file)},
    }


def by_reft(reft, task, rows, model):
    with tempfile.TemporaryDirectory() as room:
        room = pathlib.Path(room)
        file = room / "rows.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        sets = json.dumps([description(task, file)])
        command = [reft, "eval", "--model", str(model), "--dtype", "f32", "--out", str(room / "out"), "--runs"]
        command += [str(room / "runs"), "--set", f"data.eval={sets}", "--set", "data.max_length=4096"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{' '.join(command)}: {done.stderr}")
        score = json.loads((room / "out" / "scores.json").read_text())["scores"]["rows"]
        predictions = [json.loads(line) for line in (room / "out" / "predictions-rows.jsonl").read_text().splitlines()]
    each = [
        {
            "logs": one["likelihood"]["logs"],
            "acc": one["correct"],
            "acc_norm": one["likelihood"]["chosen_by_length"],
        }
        for one in predictions
    ]
    return {"acc": score["value"], "acc_norm": score["second"]["value"], "rows": each}


def compare(name, theirs, ours):
    apart = max(abs(a - b) for one, other in zip(theirs["rows"], ours["rows"]) for a, b in zip(one["logs"], other["logs"]))
    others = sum(a[key] != b[key] for a, b in zip(theirs["rows"], ours["rows"]) for key in ("acc", "acc_norm"))
    equal = theirs["acc"] == ours["acc"] and theirs["acc_norm"] == ours["acc_norm"] and not others
    print(
        f"{name}: {len(theirs['rows'])} rows, acc {theirs['acc']!r} and {ours['acc']!r}, acc_norm {theirs['acc_norm']!r} and "
        f"{ours['acc_norm']!r}, {others} rows decided otherwise, log-likelihoods apart by {apart:.1e} at most: "
        f"{'equal' if equal else 'DIFFERENT'}",
        flush=True,
    )
    return equal


def harness_model(folder):
    import torch
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=str(folder), dtype=torch.float32, batch_size=1, device="cpu")


def small_rows():
    """Questions of our own, with choices of unequal length in characters and in bytes."""
    animals = [("cat", "meows"), ("dog", "barks"), ("cow", "moos"), ("duck", "quacks"), ("bee", "hums"), ("owl", "hoots")]
    rows = []
    for number, (animal, does) in enumerate(animals):
        others = [animals[(number + step) % len(animals)][1] for step in (1, 2)]
        longer = [does, others[0] + " at the café", "neither of them, " + others[1]]
        shorter = [does + " when it is called", others[0] + " là", others[1]]
        texts = longer if number % 2 else shorter
        right, shift = texts[0], number % len(texts)
        texts = texts[-shift:] + texts[:-shift] if shift else texts
        labels = ["1", "2", "3"]
        key = labels[texts.index(right)]
        rows.append({"question": f"What does a {animal} do?", "choices": {"text": texts, "label": labels}, "answerKey": key})
    return rows


def byte_tokenizer(folder):
    """A token for every byte."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: 3 + at for at, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken("<end>", special=True)])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    about = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<end>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(about, indent=1) + "\n")


def tiny_model(golden, folder):
    """The golden `llama-tied` with that tokenizer; rotary positions need no table, so it may read long rows."""
    byte_tokenizer(folder)
    shutil.copy(golden / "models/llama-tied/model.safetensors", folder)
    config = json.loads((golden / "models/llama-tied/config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 4096}))
    return folder


def write_golden(folder, reft):
    """Scores of a tiny model with a token for every byte."""
    import lm_eval
    import transformers

    byte_tokenizer(folder / "model")
    with tempfile.TemporaryDirectory() as room:
        room, rows = tiny_model(folder.parent, pathlib.Path(room)), small_rows()
        theirs = by_harness(TASKS["arc_easy"], rows, harness_model(room))
        (folder / "rows.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        made = {"lm_eval": lm_eval.__version__, "transformers": transformers.__version__, "dtype": "float32"}
        keys = {key: TASKS["arc_easy"][key] for key in ("doc_to_text", "doc_to_choice", "doc_to_target")}
        text = json.dumps({"made by": "scripts/choices.py", "with": made, "task": keys, **theirs}, indent=1)
        (folder / "expected.json").write_text(text + "\n")
        return compare("golden", theirs, by_reft(reft, TASKS["arc_easy"], rows, room))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reft", default="target/debug/reft")
    parser.add_argument("--model", type=pathlib.Path, help="a Hugging Face folder [default: a tiny model]")
    parser.add_argument("--golden", type=pathlib.Path, default=pathlib.Path("tests/golden"))
    parser.add_argument("--data", type=pathlib.Path, help="a folder with dataset/ARC-Easy/test.json and dataset/piqa/test.json")
    parser.add_argument("--rows", type=int, default=120, help="rows of each task")
    parser.add_argument("--write-golden", type=pathlib.Path, metavar="DIR")
    arguments = parser.parse_args()
    if arguments.write_golden:
        sys.exit(not write_golden(arguments.write_golden, arguments.reft))
    if not arguments.data:
        parser.error("give --data, or --write-golden")
    with tempfile.TemporaryDirectory() as room:
        folder = arguments.model or tiny_model(arguments.golden, pathlib.Path(room))
        model, equal = harness_model(folder), True
        for name, convert in (("arc_easy", arc), ("piqa", piqa)):
            rows = json.loads((arguments.data / TASKS[name]["file"]).read_text())[: arguments.rows]
            rows = [convert(row) for row in rows]
            theirs = by_harness(TASKS[name], rows, model)
            equal &= compare(name, theirs, by_reft(arguments.reft, TASKS[name], rows, folder))
    sys.exit(not equal)


if __name__ == "__main__":
    main()
