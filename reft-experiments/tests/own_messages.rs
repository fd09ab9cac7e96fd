//! Messages of `reft train --data`, `predict`, `eval` and `generate`: which columns were guessed, errors before anything is written,
//! and the next command.

#![cfg(feature = "program")]

mod encoders;
#[path = "support/own.rs"]
mod own;
mod support;

use std::path::Path;

use encoders::add;
use own::{CHAT, TRAIN, chat_row, done, refused, runs};
use serde_json::Value;
use support::{Dir, texts};

fn rank(adapter: &Path) -> Value {
    let text = std::fs::read_to_string(adapter.join("adapter_config.json")).expect("an adapter");
    serde_json::from_str::<Value>(&text).expect("JSON")["adapt"]["reft"]["rank"].clone()
}

#[test]
fn another_adapter_is_replaced_only_where_that_is_asked_for() {
    let dir = Dir::faq();
    let to = ["--out", "mine", "--rank"];
    let adapter = dir.path().join("mine");
    done(&dir, &[&TRAIN[..], &to, &["2"]].concat());
    // The same run is found again.
    done(&dir, &[&TRAIN[..], &to, &["2"]].concat());
    let before = runs(&dir);
    let other = [&TRAIN[..], &to, &["3"]].concat();
    refused(&dir, &other, &["--out mine: files of another adapter are there", "name another folder", "--overwrite"]);
    assert_eq!((rank(&adapter), runs(&dir)), (2.into(), before));
    std::fs::write(adapter.join("head.safetensors"), "of another").expect("writable");
    done(&dir, &[&other[..], &["--overwrite"]].concat());
    assert_eq!(rank(&adapter), 3);
    assert!(!adapter.join("head.safetensors").exists(), "nothing of the old one stays");
    // Files of other kinds are no adapter.
    dir.write("notes.txt", "mine");
    done(&dir, &[&TRAIN[..], &["--out", ".", "--rank", "2"]].concat());
}

#[test]
fn what_cannot_be_trained_leaves_no_folder() {
    let dir = Dir::faq();
    dir.write("chat.jsonl", &(0..12).map(chat_row).collect::<String>());
    for (flags, parts) in [
        (&["--rank", "0"][..], ["rank 0 is impossible", "choose 1 to"]),
        (&["--layers", "99"], ["99", "layers"]),
        (&["--layers", "[99]"], ["layer 99 does not exist", "layers 0 to 3"]),
        (&["--rank", "9999"], ["rank 9999 is impossible", "choose 1 to 64"]),
        (&["--score", "exat"], ["--score exat: ", "(did you mean `exact`?)"]),
        (&["--score", "exat"], ["write one of exact, contains", "rouge_l, bleu"]),
        (&["--split", "dev"], ["--split dev", "dev=0.1"]),
        (&["--split", "devv=3"], ["devv", "did you mean `dev`?"]),
        (&["--split", "dev=2,dev=3"], ["--split dev=2,dev=3", "dev stands there twice"]),
        (&["--split", "dev=12", "--print-config"], ["no training rows are left", "give more rows"]),
        (&["--out", "/proc/none/adapter"], ["--out /proc/none/adapter", "name another folder"]),
    ] {
        refused(&dir, &[&TRAIN[..], flags].concat(), &parts);
    }
    let chat = ["train", "--data", "chat.jsonl", "--model", "model", "--set", "dtype=f32"];
    refused(&dir, &chat, &["--chat-template FILE", "has no chat template", "data.chat_template"]);
    refused(
        &dir,
        &[&chat[..], &["--chat-template", "faq.jsonl"]].concat(),
        &["data.chat_template", "no chat template"],
    );
    std::fs::create_dir_all(dir.path().join("configs/data")).expect("a folder");
    let known = "file: faq.jsonl\nprompt: '{{ question }}'\ncompletion: '{{ answer }}'\nsplit: {dev: 2}\n";
    dir.write("configs/data/known.yaml", known);
    refused(&dir, &["train", "--data", "knwn"], &["--data knwn: ", "configs/data/knwn.yaml (did you mean `known`?)"]);
    refused(&dir, &["train", "--data", "knwn.csv"], &["knwn.csv: there is no such file or folder"]);
    let named = ["train", "--data", "known", "--model", "model", "--print-config"];
    done(&dir, &named);
    for flags in [&["--prompt", "{{ q }}"][..], &["--split", "dev=3"], &["--score", "nll"]] {
        refused(&dir, &[&named[..], flags].concat(), &[flags[0], "configs/data/known.yaml says"]);
    }
    assert!(runs(&dir).is_empty(), "{:?}", runs(&dir));
}

#[test]
fn a_command_that_lacks_its_file_says_which_is_meant() {
    let dir = Dir::faq();
    refused(&dir, &["train"], &["reft train run.yaml", "reft train --data FILE"]);
    refused(&dir, &["merge", "--out", "merged"], &["name an adapter's folder, or --model"]);
    refused(&dir, &["generate", "x", "--adapter", "nowhere"], &["nowhere: no adapter is there"]);
    for (flags, part) in [
        (["--rank", "-1"], "'--rank <RANK>': -1: write a whole number from 0"),
        (["--rank", "many"], "'--rank <RANK>': write a whole number (`reft train --help`)"),
        (["--epochs", "-1"], "'--epochs <EPOCHS>': write a whole number"),
        (["--turns", "none"], "[possible values: last, all]"),
    ] {
        let output = dir.run(&[&["train", "--data", "faq.jsonl"][..], &flags].concat());
        let (_, said) = texts(&output);
        assert!(output.status.code() == Some(2) && said.contains(part) && said.lines().count() == 1, "{said}");
    }
    let choice = |n| format!("{{\"question\": \"q{n}\", \"options\": [\"a\", \"b\"], \"answer\": \"a\"}}\n");
    dir.write("choice.jsonl", &(0..4).map(choice).collect::<String>());
    let choices = ["train", "--data", "choice.jsonl", "--model", "model", "--choices", "options", "--print-config"];
    done(&dir, &choices);
    done(&dir, &["train", "--data", "faq.jsonl", "--model", "model", "--prompt", "{{ question }}", "--print-config"]);
    refused(&dir, &["train", "faq.jsonl"], &["faq.jsonl: these are rows", "reft train --data faq.jsonl"]);
    refused(&dir, &["train", "faq.jsonl", "--epochs", "3"], &["reft train --data faq.jsonl"]);
    refused(&dir, &["train", "--epochs", "3"], &["reft train --data FILE"]);
    dir.write("run.yaml", "model: model\n");
    for (flags, parts) in [
        (&["--epochs", "3"][..], ["--epochs goes with --data", "--set train.epochs="]),
        (&["--data", "faq.jsonl"], ["--data and run.yaml", "leave one of them out"]),
        (&["--score", "nll"], ["--score goes with --data", "data.train"]),
        (&["--print-config"], ["--print-config shows", "run.yaml"]),
    ] {
        refused(&dir, &[&["train", "run.yaml"], flags].concat(), &parts);
    }
    dir.write("list.json", "[{\"q\": 1}]");
    refused(&dir, &["train", "list.json"], &["reft train --data list.json"]);
    dir.write("lines.json", "{\"q\": 1}\n{\"q\": 2}\n");
    refused(&dir, &["train", "lines.json"], &["reft train --data lines.json"]);
    dir.write("one.json", "{\"modl\": 1}");
    refused(&dir, &["train", "one.json"], &["modl", "did you mean `model`?"]);
}

#[test]
fn guessed_columns_and_few_rows_are_said_and_a_runs_folder_is_its_adapters() {
    let dir = Dir::faq();
    let (said, noted) = done(&dir, &[&TRAIN[..], &["--score", "exact"]].concat());
    assert!(noted.contains(r#"prompt: "{{ question }}\n"; completion: "{{ answer }}""#), "{noted}");
    assert!(
        said.contains("a score of 1 row tells little") && said.contains("on own dev rows, seed 42, f32, cpu ("),
        "{said}"
    );
    let run = format!("runs/{}", runs(&dir)[0]);
    assert!(said.contains(&format!("adapter {run}/adapter: reft generate --adapter {run}/adapter")), "{said}");
    let answer = |adapter: &str| {
        done(&dir, &["generate", "--adapter", adapter, "--dtype", "f32", "--max-new", "3", "what is 3"]).0
    };
    assert_eq!(answer(&run), answer(&format!("{run}/adapter")));
    // Prompts of a file, and of several adapters, have around them what they had in training; --raw gives them as they are.
    dir.write("asked.txt", "what is 3\n");
    let ask = |flags: &[&str]| done(&dir, &[&["generate", "--dtype", "f32", "--max-new", "3"], flags].concat());
    let of_file = |flags: &[&str]| {
        let (said, noted) = ask(&[&["--file", "asked.txt", "--adapter", &run], flags].concat());
        let line: Value = serde_json::from_str(said.trim()).expect("one line of JSON");
        (line["said"].as_str().expect("a text").to_owned() + "\n", noted)
    };
    let (whole, noted) = of_file(&[]);
    assert!(whole == answer(&run) && noted.contains("\"what is 3\\n\" (--raw"), "{whole:?} {noted}");
    assert!(!of_file(&["--raw"]).1.contains("--raw"));
    let (said, noted) = ask(&["--adapter", &run, "--adapter", &format!("{run}/adapter"), "what is 3"]);
    assert!(said.matches("== runs/").count() == 2 && noted.contains("\"what is 3\\n\""), "{said} {noted}");
    refused(
        &dir,
        &["generate", "--file", "rows.csv", "--adapter", &run],
        &["rows.csv: these are rows of a table", "reft predict"],
    );
    // A column that is named otherwise stands where the training's column stood.
    dir.write("rows.csv", "other\nwhat is 3\n");
    let predict = ["predict", "rows.csv", "--dtype", "f32", "--max-new", "3", "--adapter", &run, "--prompt", "other"];
    let (said, noted) = done(&dir, &predict);
    let line: Value = serde_json::from_str(said.trim()).expect("one line of JSON");
    assert_eq!(line["said"].as_str().map(|said| said.to_owned() + "\n"), Some(answer(&run)), "{noted}");
    refused(&dir, &[&predict[..], &["--out", "runs"]].concat(), &["--out runs: cannot be written (it is a folder)"]);
    refused(&dir, &[&predict[..], &["--out", "rows.csv"]].concat(), &["--out rows.csv: rows.csv is read"]);
    dir.write("others.csv", "other,right\nwhat is 3,3 it is\n");
    let (said, _) = done(
        &dir,
        &["predict", "others.csv", "--dtype", "f32", "--adapter", &run, "--prompt", "other", "--answer", "right"],
    );
    assert!(said.contains("\"expected\":\"3 it is\""), "{said}");
    let given = ["--prompt", "question", "--completion", "answer", "--split", "dev=10,test=1"];
    let (said, noted) = done(&dir, &[&TRAIN[..], &given, &["--epochs", "2"][..0]].concat());
    assert!(
        !noted.contains("customary") && !said.contains("tells little") && said.contains("on 10 rows"),
        "{said}{noted}"
    );
}

#[test]
fn splits_and_turns_stand_in_the_configuration() {
    let dir = Dir::faq();
    let (shown, _) = done(&dir, &[&TRAIN[..], &["--split", "dev=0.2,test=3", "--print-config"]].concat());
    let config: Value = serde_saphyr::from_str(&shown).expect("YAML");
    let split = &config["data"]["train"][0]["split"];
    assert_eq!((&split["dev"], &split["test"]), (&0.2.into(), &3.into()), "{shown}");
    for column in ["messages", "conversations"] {
        let row = |n| chat_row(n).replace("messages", column);
        dir.write("chat.jsonl", &(0..3).map(row).collect::<String>());
        let (shown, noted) = done(&dir, &["train", "--data", "chat.jsonl", "--turns", "all", "--print-config"]);
        assert!(shown.contains("turns: all") && noted.contains(&format!("messages: \"{column}\"")), "{shown}{noted}");
    }
}

#[test]
fn a_chat_template_of_ones_own_is_kept_with_the_adapter() {
    let dir = Dir::new();
    dir.write("chat.jsonl", &(0..12).map(chat_row).collect::<String>());
    dir.write("chat.jinja", CHAT);
    let train = ["train", "--data", "chat.jsonl", "--model", "model", "--epochs", "1", "--out", "chatty"];
    let small = ["--chat-template", "chat.jinja", "--set", "dtype=f32", "--set", "eval.max_new_tokens=2"];
    let (said, _) = done(&dir, &[&train[..], &small].concat());
    assert!(said.contains("reft generate --adapter chatty --chat"), "{said}");
    std::fs::remove_file(dir.path().join("chat.jinja")).expect("there");
    // The command that was printed.
    let chat = ["generate", "--adapter", "chatty", "--chat", "--dtype", "f32", "--max-new", "2"];
    let (_, noted) = done(&dir, &chat);
    assert!(noted.starts_with("chatty; ") || noted.contains("/adapter NAME"), "{noted}");
    refused(&dir, &["generate", "--model", "model", "--chat", "--dtype", "f32"], &["--chat-template FILE"]);
    let (said, noted) = done(&dir, &["predict", "--adapter", "chatty", "chat.jsonl", "--dtype", "f32"]);
    assert!(
        said.lines().count() == 12
            && noted.contains("on 12 rows")
            && noted.contains("model with chatty on own rows, seed 42, f32")
            && noted.contains("chat.jsonl: the model was trained on rows of this file"),
        "{noted}"
    );
}

#[test]
fn a_conversation_that_ends_with_the_user_is_asked_its_last_question() {
    let dir = Dir::new();
    dir.write(
        "model/tokenizer_config.json",
        &serde_json::json!({"eos_token": "<end>", "chat_template": CHAT}).to_string(),
    );
    let turns = |texts: &[&str]| {
        let turn = |(at, text): (usize, &&str)| {
            let role = ["user", "assistant"][at % 2];
            serde_json::json!({"role": role, "content": text})
        };
        serde_json::json!({"messages": texts.iter().enumerate().map(turn).collect::<Vec<_>>()}).to_string() + "\n"
    };
    let row = |n: usize| turns(&[&format!("what is {n}"), "a number", "thanks"][..3 - n % 2]);
    dir.write("chat.jsonl", &(0..12).map(row).collect::<String>());
    let train = ["train", "--data", "chat.jsonl", "--model", "model", "--epochs", "1", "--out", "chatty"];
    let (_, noted) = done(&dir, &[&train[..], &["--set", "dtype=f32", "--set", "eval.max_new_tokens=2"]].concat());
    assert!(noted.contains("conversations go on after the assistant's last turn (chat.jsonl row "), "{noted}");
    let said = |rows: &str| {
        dir.write("asked.jsonl", rows);
        let (said, noted) = done(&dir, &["predict", "--adapter", "chatty", "asked.jsonl", "--dtype", "f32"]);
        let said: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        (said, noted)
    };
    let (open, whole) = (turns(&["one", "two", "three"]), turns(&["one", "two", "three", "four"]));
    let (both, noted) = said(&(open + &whole));
    assert!(noted.contains("1 of 2 rows have no answer") && !noted.contains("was trained on rows"), "{noted}");
    // The same question, once with its answer.
    assert_eq!((&both[0]["said"], both[0].get("expected")), (&both[1]["said"], None));
    assert_eq!(both[1]["expected"], "four");
    let (first, _) = said(&turns(&["one", "two"]));
    assert_eq!(first[0]["expected"], "two");
}

#[test]
fn semicolons_separate_values_where_the_first_line_has_no_comma() {
    let dir = Dir::new();
    let rows: String = (0..12).map(|n| format!("\"what; is {n}\";{n},5\n")).collect();
    dir.write("faq.csv", &format!("question;answer\n{rows}"));
    let flags = ["train", "--data", "faq.csv", "--model", "model", "--epochs", "1", "--set", "dtype=f32"];
    let (said, noted) = done(&dir, &[&flags[..], &["--set", "eval.max_new_tokens=2"]].concat());
    assert!(said.contains("wanted: ") && said.contains(",5"), "{said}");
    assert_eq!(noted.matches("faq.csv: read as values separated by semicolons").count(), 1, "{noted}");
}

#[test]
fn labels_that_the_model_does_not_know_are_refused_and_missing_ones_counted() {
    let dir = Dir::new();
    add(&dir, "bert", "encoder");
    let row = |n: usize| format!("{} {n},{}\n", ["cat", "red"][n % 2], ["animal", "colour"][n % 2]);
    dir.write("words.csv", &format!("text,label\n{}", (0..30).map(row).collect::<String>()));
    let train = ["train", "--model", "encoder", "--data", "words.csv", "--epochs", "1", "--rank", "2"];
    let (said, noted) = done(&dir, &[&train[..], &["--out", "words", "--set", "dtype=f32"]].concat());
    assert!(noted.contains("text: \"text\"; label: \"label\""), "{noted}");
    assert!(
        said.contains("reft predict --adapter words FILE") && said.contains("a score of 3 rows tells little"),
        "{said}"
    );
    let predict = |file: &'static str| vec!["predict", "--adapter", "words", file, "--dtype", "f32"];
    dir.write("asked.csv", "text,label\ncat,animal\ndog,plant\n");
    refused(
        &dir,
        &predict("asked.csv"),
        &["asked.csv row 2 (line 3): the label `plant`", "animal, colour", "take the row out"],
    );
    dir.write("other.csv", "text,kind\ncat,animal\nred,\n");
    let other = predict("other.csv");
    refused(&dir, &[&other[..], &["--label", "sort"]].concat(), &["other.csv", "`sort`, which no row has"]);
    let (_, noted) = done(&dir, &[&other[..], &["--label", "kind"]].concat());
    assert!(
        noted.contains("1 of 2 rows have no answer") && noted.contains("encoder with words on own rows"),
        "{noted}"
    );
    // An encoder's adapter is no causal model's.
    refused(&dir, &["eval", "--adapter", "words", "--dtype", "f32"], &["reft predict"]);
    let boolq = ["eval", "--adapter", "words", "--dtype", "f32", "--set", "data.eval=[boolq]"];
    refused(&dir, &boolq, &["reft predict"]);
    let asked = ["generate", "--adapter", "words", "--dtype", "f32", "cat"];
    refused(&dir, &asked, &["words: it gives labels, not words", "`reft predict --adapter words FILE`"]);
}

#[test]
fn scores_are_kept_with_what_they_depend_on() {
    let dir = Dir::faq();
    done(&dir, &[&TRAIN[..], &["--out", "mine"]].concat());
    let set = "data.eval=[{file: faq.jsonl, prompt: question, completion: answer, split: {dev: faq.jsonl}}]";
    let eval = ["eval", "--adapter", "mine", "--dtype", "f32", "--set", set, "--out", "said"];
    let (said, _) = done(&dir, &eval);
    assert!(said.contains("model with mine on own dev rows, seed 42, f32, cpu ("), "{said}");
    let text = std::fs::read_to_string(dir.path().join("said/scores.json")).expect("written");
    let kept: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((&kept["model"], &kept["adapter"], &kept["seed"]), (&"model".into(), &"mine".into(), &42.into()));
    assert_eq!((&kept["dtype"], &kept["device"], &kept["threads"]), (&"f32".into(), &"cpu".into(), &1.into()));
    assert!(kept["processor"].as_str().is_some_and(|name| !name.is_empty()), "{text}");
    assert_eq!(kept["scores"]["faq"]["n"], 12);
    let (results, _) = done(&dir, &["results"]);
    let heads: Vec<&str> = results.lines().next().expect("a line").split_whitespace().collect();
    assert!(["method", "dtype"].iter().all(|head| heads.contains(head)) && results.contains("LoReFT"), "{results}");
}
