"""Makes tests/golden/tokenizers/unigram: folders with small SentencePiece models of the kind Unigram, and what AutoTokenizer of
transformers 4.45.1 (fast) gives for them. Where its slow tokenizer says something else, `differs` has that too.

    pip install transformers==4.45.1 sentencepiece==0.2.3 protobuf
    python scripts/goldens/unigram.py tests/golden/tokenizers/unigram
"""

import itertools
import json
import pathlib
import random
import sys
import tempfile

import sentencepiece
from transformers import AutoTokenizer

WORDS = """the a of to under over river bank bridge stone water money house garden window letter table chair walks runs sings
writes reads quickly slowly often never red green quiet loud small large old new settings run file written model token piece
score layer state edit learned trained answer question number word text line Über straße naïve café 東京 大学 日本 語 привет мир
don't can't 12 345 1984 ﬁne Ａｂｃ ½ x² … — “quote” 😀 éclair""".split()

TEXTS = [
    "", "Hello, world!", "The river bank under the bridge.", "  two  spaces   and more ", "a", "x", " ", "naïve café Über straße",
    "e\u0301clair A\u0308 A", "ﬁne Ａｂｃ ½ x² Ω", "東京 大学\u3000日本語", "привет, мир", "emoji 😀 and 🦀", "tab\tand\nnew line\r\n",
    "soft\u00adhyphen and no\u00a0break", "don't — “quote” …", "12 345 1984", "<s> text </s>", "<unk> and <pad>",
    "fill the <mask> here", "fill the<mask>here", "word <extra_id_0> and<extra_id_99>", "a <sep> b<sep>c", "▁ under▁score",
    "\u0000null\u200bzero width", "<0x41> bytes 中文字 ю\u0301", "aaaaaaaaaaaaaaaaaaaaaaaa quickly quickly",
    "The settings of a run are written in a file.",
]
PAIRS = [
    ("Is it raining?", "Yes, it is."), ("", ""), ("a", ""),
    ("The river bank under the bridge is made of stone", "words and more words of a file that is long"),
]
XLMR, T5 = "sentencepiece.bpe.model", "spiece.model"
EXTRA = [f"<extra_id_{number}>" for number in range(4)]
VARIANTS = [
    ("xlm-roberta", "xlmr", XLMR, {"model_type": "xlm-roberta"}, {"tokenizer_class": "XLMRobertaTokenizer"}),
    ("t5", "t5", T5, {"model_type": "gpt_neox"},
     {"tokenizer_class": "T5Tokenizer", "extra_ids": 4, "additional_special_tokens": EXTRA}),
    ("t5-bare", "t5", T5, {"model_type": "t5"}, None),
    ("t5-not-legacy", "t5", T5, {"model_type": "t5"}, {"tokenizer_class": "T5Tokenizer", "legacy": False}),
    ("llama", "llama", "tokenizer.model", {"model_type": "llama"}, {"tokenizer_class": "LlamaTokenizer", "legacy": True}),
    ("llama-not-legacy", "llama", "tokenizer.model", {"model_type": "llama"},
     {"tokenizer_class": "LlamaTokenizer", "legacy": False}),
]


def train(folder):
    """Three models: normalised by nmt_nfkc, by rules of our own, and not at all with bytes."""
    draw, corpus = random.Random(1), folder / "corpus.txt"
    ends = [".", "!", "?", ""]
    lines = [" ".join(draw.choices(WORDS, k=draw.randint(3, 12))) + draw.choice(ends) for _ in range(2000)]
    corpus.write_text("\n".join(line[:1].upper() + line[1:] for line in lines) + "\n")
    rules = folder / "rules.tsv"
    rules.write_text("41 0308\tC4\n41\t61\n2126\t3C9\nFB01\t66 69\nA0\t20\n3000\t20\n9\t20\nA\t20\nAD\t\nFF21\t61\n")
    common = {"input": str(corpus), "model_type": "unigram", "character_coverage": 1.0, "num_threads": 1, "minloglevel": 2}
    for name, more in {
        "xlmr": {"vocab_size": 220},
        "t5": {"vocab_size": 220, "pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1, "user_defined_symbols": ["<sep>"],
               "normalization_rule_tsv": str(rules)},
        "llama": {"vocab_size": 470, "byte_fallback": True, "normalization_rule_name": "identity",
                  "remove_extra_whitespaces": False},
    }.items():
        sentencepiece.SentencePieceTrainer.train(model_prefix=str(folder / name), **common, **more)


def case(fast, slow, text, adds):
    ids, whole = fast.encode(text, add_special_tokens=False), fast.encode(text)
    said = {"text": text, "ids": ids, "tokens": " ".join(fast.convert_ids_to_tokens(ids)), "decoded": fast.decode(whole)}
    if whole != adds["before"] + ids + adds["after"]:
        said["with_specials"] = whole
    skipped = fast.decode(whole, skip_special_tokens=True)
    if skipped != said["decoded"]:
        said["decoded_skip"] = skipped
    slowly = slow.encode(text, add_special_tokens=False)
    if slowly != ids:
        said["differs"] = {"ids": {"4.45.1 slow": slowly}}
    return said


def pair(fast, a, b):
    def encoded(**how):
        got = fast(a, b or None, **how)
        types = got.get("token_type_ids", [])
        return {"ids": got["input_ids"], **({"types": types} if any(types) else {})}

    return {"a": a, "b": b, "whole": encoded(), "cut_to_16": encoded(truncation="longest_first", max_length=16)}


def main(out):
    variants = []
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        train(work)
        for name, model, file, config, settings in VARIANTS:
            folder = out / name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes((work / f"{model}.model").read_bytes())
            (folder / "config.json").write_text(json.dumps(config))
            if settings is not None:
                (folder / "tokenizer_config.json").write_text(json.dumps(settings))
            fast, slow = AutoTokenizer.from_pretrained(folder), AutoTokenizer.from_pretrained(folder, use_fast=False)
            whole, ids = fast.encode("a"), fast.encode("a", add_special_tokens=False)
            at = next(at for at in itertools.count() if whole[at : at + len(ids)] == ids)
            adds = {"before": whole[:at], "after": whole[at + len(ids) :]}
            cases = [case(fast, slow, text, adds) for text in TEXTS]
            about = {"bos": fast.bos_token_id, "eos": fast.eos_token_id}
            # The library gives no token types for Llama's class.
            pairs = [] if model == "llama" else [pair(fast, a, b) for a, b in PAIRS]
            variants.append({"folder": name, "about": about, "adds": adds, "cases": cases, "pairs": pairs})
            print(name, "differs from the slow one:", sum("differs" in one for one in cases), "of", len(cases))
    (out / "cases.json").write_text(json.dumps({"variants": variants}, ensure_ascii=False, indent=0) + "\n")


main(pathlib.Path(sys.argv[1]))
