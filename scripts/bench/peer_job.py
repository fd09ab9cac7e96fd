"""Times pyreft (peft for LoRA) on one job and prints one JSON line; `reft bench` runs it beside its own jobs, on the same rows.

usage: peer_job.py {train,eval,decode} --model DIR --rows FILE --dtype float32|bfloat16 --positions P --layers all|L
       --rank R --batch B --steps S --new N --method loreft|lora|none [--adapter DIR] [--device cpu|cuda]
"""

import argparse
import json
import os
import pathlib
import resource
import statistics
import tempfile
import time
import warnings

warnings.filterwarnings("ignore")
os.environ.update(WANDB_DISABLED="true", HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")

import pyreft
import torch
import transformers
from pyreft.dataset import ReftDataCollator

parser = argparse.ArgumentParser()
parser.add_argument("job", choices=["train", "eval", "decode"])
parser.add_argument("--model", required=True)
parser.add_argument("--rows", required=True)
parser.add_argument("--dtype", default="float32")
parser.add_argument("--device", default="cpu")
parser.add_argument("--method", default="loreft")
parser.add_argument("--adapter", help="a folder that `reft export --to pyreft` wrote")
parser.add_argument("--positions", default="f7+l7")
parser.add_argument("--layers", default="all")
parser.add_argument("--rank", type=int, default=8)
parser.add_argument("--batch", type=int, default=16)
parser.add_argument("--steps", type=int, default=6)
parser.add_argument("--new", type=int, default=32)
args = parser.parse_args()

torch.manual_seed(0)
dtype = getattr(torch, args.dtype)
tokenizer = transformers.AutoTokenizer.from_pretrained(args.model, padding_side="right", model_max_length=512)
tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token
model = transformers.AutoModelForCausalLM.from_pretrained(args.model, torch_dtype=dtype).to(args.device)
count = model.config.num_hidden_layers
layers = list(range(count)) if args.layers == "all" else [int(args.layers)]
reft = None


def load_interventions(folder):
    """Tensors by layer: pyreft's own `load` cannot read its folders."""
    config = json.loads((folder / "config.json").read_text())
    files = {site[0]: f"intkey_{key}.bin" for key, site in zip(config["sorted_keys"], config["representations"])}
    for key, unit in reft.interventions.items():
        unit = unit[0] if isinstance(unit, (list, tuple)) else unit
        layer = int(key.split("layer_")[1].split("_")[0])
        unit.load_state_dict(torch.load(folder / files[layer]), strict=False)
        unit.eval()


if args.method == "lora":
    import peft

    model = peft.get_peft_model(model, peft.LoraConfig(
        r=args.rank, lora_alpha=2 * args.rank, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"))
if args.method == "loreft":
    width = model.config.hidden_size
    part = lambda layer: {
        "layer": layer,
        "component": "block_output",
        "low_rank_dimension": args.rank,
        "intervention": pyreft.LoreftIntervention(embed_dim=width, low_rank_dimension=args.rank, dtype=dtype),
    }
    reft = pyreft.get_reft_model(model, pyreft.ReftConfig(representations=[part(layer) for layer in layers]))
    reft.set_device(args.device)
    if args.adapter:
        load_interventions(pathlib.Path(args.adapter))


class Rows(pyreft.ReftDataset):
    def preprocess(self, kwargs):
        self.raw_dataset = self.trigger_tokens = self.num_labels = None

    def load_dataset(self):
        return self.dataset

    def tokenize(self, row):
        encode = lambda text: tokenizer(text, return_tensors="pt", truncation=True, max_length=512)["input_ids"][0]
        text = row["instruction"] + "\n"
        prompt = encode(text)
        if self.data_split != "train":
            return {"input_ids": prompt}, len(prompt)
        full = encode(text + "the correct answer is " + row["answer"] + tokenizer.eos_token)
        labels = full.clone()
        labels[: len(prompt)] = -100
        return {"input_ids": full, "labels": labels}, len(prompt)


def collator():
    inner = transformers.DataCollatorForSeq2Seq(tokenizer=tokenizer, model=model, label_pad_token_id=-100, padding="longest")
    if args.method == "lora":
        places = ("intervention_locations", "id")
        return lambda rows: inner([{key: row[key] for key in row if key not in places} for row in rows])
    return ReftDataCollator(data_collator=inner)


def rows(split):
    data = json.load(open(args.rows))
    options = dict(num_interventions=len(layers), position=args.positions, share_weights=True)
    return Rows("rows", None, tokenizer, data_split=split, dataset=data, **options)


def train():
    data = rows("train")
    tokens = sum(int((data[i]["attention_mask"] != 0).sum()) for i in range(len(data))) / len(data)
    times = []

    class Clock(transformers.TrainerCallback):
        def on_step_begin(self, *_, **__):
            self.began = time.time()

        def on_step_end(self, *_, **__):
            times.append(time.time() - self.began)

    options = transformers.TrainingArguments(
        output_dir=tempfile.mkdtemp(), max_steps=args.steps + 2, per_device_train_batch_size=args.batch, learning_rate=9e-4,
        logging_steps=1000, report_to=[], use_cpu=args.device == "cpu", save_strategy="no", disable_tqdm=True)
    kind = transformers.Trainer if reft is None else pyreft.ReftTrainerForCausalLM
    trainer = kind(
        model=reft or model, tokenizer=tokenizer, args=options, train_dataset=data, eval_dataset=None, data_collator=collator(),
        callbacks=[Clock()])
    loss = trainer.train().training_loss
    step = statistics.median(times[2:])
    return {"value": args.batch * tokens / step, "step_s": step, "tokens_per_row": tokens, "loss": loss}


def generate():
    tokenizer.padding_side = "left"
    data = rows("test")
    loader = torch.utils.data.DataLoader(data, batch_size=args.batch, collate_fn=collator())
    options = dict(max_new_tokens=args.new, do_sample=False, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    if args.job == "decode":
        options.update(min_new_tokens=args.new)
    began, new = time.time(), 0
    with torch.no_grad():
        for batch in loader:
            inputs = {key: batch[key].to(args.device) for key in ("input_ids", "attention_mask")}
            if reft is None:
                out = model.generate(**inputs, **options)
            else:
                left = (batch["input_ids"].shape[1] - batch["attention_mask"].sum(1)).reshape(1, -1, 1)
                where = (batch["intervention_locations"].permute(1, 0, 2) + left - 1).clamp(min=0)
                locations = {"sources->base": (None, where.tolist())}
                _, out = reft.generate(inputs, unit_locations=locations, intervene_on_prompt=True, **options)
            new += (out.shape[1] - inputs["input_ids"].shape[1]) * out.shape[0]
    seconds = time.time() - began
    return {"value": (new if args.job == "decode" else len(data)) / seconds, "seconds": seconds, "new_tokens": new}


result = train() if args.job == "train" else generate()
result["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
result["threads"] = torch.get_num_threads()
print(json.dumps(result))
