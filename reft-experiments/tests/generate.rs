//! `reft generate` on a tiny model: one prompt, a file of prompts, a conversation.

#![cfg(feature = "program")]

mod support;

use std::io::Write;
use std::process::{Output, Stdio};

use serde_json::Value;
use support::{Dir, RUN};

const TEMPLATE: &str = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:";

fn chatty() -> Dir {
    let dir = Dir::new();
    let config = serde_json::json!({"eos_token": "<end>", "chat_template": TEMPLATE});
    dir.write("model/tokenizer_config.json", &config.to_string());
    dir
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A trained adapter's folder.
fn adapter(dir: &Dir, seed: &str) -> String {
    dir.write("run.yaml", RUN);
    let seed = format!("seed={seed}");
    let trained = said(&dir.run(&["train", "run.yaml", "--set", "train.epochs=1", "--set", &seed]));
    let run = trained.lines().find_map(|line| line.strip_prefix("run ")).expect("the run's folder");
    format!("{run}/adapter")
}

#[test]
fn a_file_of_prompts_gets_the_answers_that_single_prompts_get() {
    let dir = chatty();
    dir.write("prompts.txt", "hello\n\nfour words are here\n");
    dir.write("rows.jsonl", "{\"instruction\": \"hello\"}\n");
    let common = ["--model", "model", "--dtype", "f32", "--max-new", "6"];
    let lines = said(&dir.run(&[&["generate", "--file", "prompts.txt"][..], &common].concat()));
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 2);
    let likely = said(&dir.run(&[&["generate", "hello", "--temperature", "0", "--top-k", "9"][..], &common].concat()));
    assert_eq!(likely.trim_end_matches('\n'), lines[0]["said"], "temperature 0 takes the most likely token");
    for line in &lines {
        let prompt = line["prompt"].as_str().expect("a prompt");
        let alone = said(&dir.run(&[&["generate", prompt][..], &common].concat()));
        assert_eq!(line["said"].as_str().expect("an answer"), alone.trim_end_matches('\n'), "{prompt}");
    }
    let rows = said(&dir.run(&[&["generate", "--file", "rows.jsonl"][..], &common].concat()));
    assert_eq!(serde_json::from_str::<Value>(&rows).expect("JSON"), lines[0]);
}

#[test]
fn adapters_are_compared_and_their_edits_shown() {
    let dir = chatty();
    let (one, two) = (adapter(&dir, "1"), adapter(&dir, "2"));
    let arguments = ["generate", "hello", "--dtype", "f32", "--max-new", "3", "--show-edits"];
    let output = dir.run(&[&arguments[..], &["--adapter", &one, "--adapter", &two]].concat());
    let text = said(&output);
    assert!(text.contains(&format!("== {one}\n")) && text.contains(&format!("== {two}\n")), "{text}");
    let shown = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(shown.matches("block_output both: layers 0-3").count(), 8, "two ends of two tokens, twice: {shown}");
}

#[test]
fn a_conversation_switches_adapters_and_ends() {
    let dir = chatty();
    let one = adapter(&dir, "1");
    let arguments = ["generate", "--chat", "--dtype", "f32", "--max-new", "3", "--adapter", &one];
    let mut command = dir.reft(&arguments);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let input = "hello\n/adapter none\nhello\n/adapter 7\n/adapter adapter\n/quit\nnever said\n";
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("ends");
    assert_eq!(said(&output).matches('\n').count(), 2, "one answer a turn");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("> base model\n") && told.contains("no adapter `7`"), "{told}");
    assert_eq!(told.matches(&one).count(), 2, "named at the start and when it came back: {told}");
}

#[test]
fn mistakes_are_answered_with_one_line() {
    let dir = Dir::new();
    let check = |arguments: &[&str], expected: &str| {
        let output = dir.run(&[arguments, &["--model", "model", "--dtype", "f32"]].concat());
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.starts_with("error: ") && told.contains(expected) && told.lines().count() == 1, "{told}");
    };
    dir.write("empty.txt", "\n");
    check(&["generate", "--chat"], "--chat-template FILE: the model's tokenizer has no chat template");
    check(&["generate", "--file", "empty.txt"], "empty.txt: the file has no prompts");
    check(&["generate", "--file", "none.txt"], "none.txt: No such file");
    check(&["generate", "hello", "--temperature=-1"], "--temperature: -1: above 0");
    check(&["generate", "hello", "--repetition-penalty", "1e300"], "--repetition-penalty: 1");
    check(&["generate", "hello", "--beams", "100000"], "--beams: 100000: at most");
    check(&["generate", "hello", "--beams", "0"], "--beams: 0 beams say nothing");
    check(&["generate", ""], "the prompt is empty");
}

#[test]
fn an_answer_is_cut_before_a_stop_text() {
    let dir = chatty();
    let common = ["generate", "hello", "--model", "model", "--dtype", "f32", "--max-new", "24"];
    let whole = said(&dir.run(&common));
    let whole = whole.trim_end_matches('\n');
    let places: Vec<usize> = whole.char_indices().map(|(at, _)| at).collect();
    let stop = &whole[places[3]..places[5]];
    let cut = said(&dir.run(&[&common[..], &["--stop", stop, "--stop", "never said"]].concat()));
    assert_eq!(cut.trim_end_matches('\n'), &whole[..whole.find(stop).expect("it was said")]);
}

#[test]
fn a_chat_template_writes_the_date_that_is_set() {
    let dir = chatty();
    let template = "{{ raise_exception('today is ' ~ strftime_now('%d %b %Y')) }}";
    let config = serde_json::json!({"eos_token": "<end>", "chat_template": template});
    dir.write("model/tokenizer_config.json", &config.to_string());
    let told = |name: &str, value: &str| {
        let mut command = dir.reft(&["generate", "--chat", "--model", "model", "--dtype", "f32"]);
        let output = command.env_remove("REFT_DATE").env(name, value).output().expect("the program starts");
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(told("REFT_DATE", "2025-03-09").contains("today is 09 Mar 2025"));
    assert!(told("SOURCE_DATE_EPOCH", "86400").contains("today is 02 Jan 1970"));
    assert!(told("REFT_DATE", "soon").contains("REFT_DATE: `soon` is not a date"));
}

#[test]
fn tokens_beyond_the_embedding_are_named() {
    let dir = chatty();
    let path = dir.path().join("model/tokenizer.json");
    let mut tokenizer: Value = serde_json::from_str(&std::fs::read_to_string(&path).expect("there")).expect("JSON");
    let added = tokenizer["added_tokens"].as_array_mut().expect("a list");
    let mut turn = added[0].clone();
    (turn["id"], turn["content"]) = (9999.into(), "<|turn|>".into());
    added.push(turn);
    // The library gives a new token the next id, so that the vocabulary needs a word with this one.
    tokenizer["model"]["vocab"]["<|turn|>"] = 9999.into();
    std::fs::write(&path, tokenizer.to_string()).expect("written");
    let common = ["--model", "model", "--dtype", "f32", "--max-new", "2"];
    assert!(dir.run(&[&["generate", "hello"][..], &common].concat()).status.success());
    let output = dir.run(&[&["generate", "<|turn|>hello"][..], &common].concat());
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), told.lines().count()), (Some(1), 1), "{told}");
    assert!(told.contains("`<|turn|>` has id 9999") && told.contains("embedding has"), "{told}");
}

/// Makes a tensor of the model NaN.
fn poison(dir: &Dir, tensor: &str) {
    let path = dir.path().join("model/model.safetensors");
    let mut bytes = std::fs::read(&path).expect("there");
    let header = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
    let json: Value = serde_json::from_slice(&bytes[8..8 + header]).expect("JSON");
    assert_eq!(json[tensor]["dtype"], "F32");
    let offset = |index: usize| 8 + header + json[tensor]["data_offsets"][index].as_u64().expect("a number") as usize;
    for value in bytes[offset(0)..offset(1)].chunks_mut(4) {
        value.copy_from_slice(&f32::NAN.to_le_bytes());
    }
    std::fs::write(&path, bytes).expect("written");
}

#[test]
fn a_model_that_computes_nan_says_so() {
    let dir = chatty();
    poison(&dir, "model.norm.weight");
    dir.write("prompts.txt", "hello\nhello\n");
    let cases: [(&[&str], &str); 3] = [
        (&["generate", "hello", "--temperature", "1"], "token 1 of the answer"),
        (&["generate", "--file", "prompts.txt", "--beams", "2"], "prompts.txt: prompt 1"),
        (
            &["eval", "--set", "data.eval=[arc_e]", "--set", "data.eval_rows=2", "--set", "eval.max_new_tokens=2"],
            "arc_e row",
        ),
    ];
    for (arguments, expected) in cases {
        let output = dir.run(&[arguments, &["--model", "model", "--dtype", "f32"]].concat());
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        // Scoring says the type of the weights first.
        let told: Vec<&str> = told.lines().filter(|line| !line.starts_with("dtype ")).collect();
        let [error] = told[..] else { panic!("{told:?}") };
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(expected) && error.contains("not finite"), "{error}");
    }
}

/// A SentencePiece file: letters, a space, and a piece of the user's, behind which the two tokenizers of transformers differ.
fn sentencepiece() -> Vec<u8> {
    let piece = |text: &str, kind: u8| {
        let inner = [&[0x0a, text.len() as u8][..], text.as_bytes(), &[0x15, 0, 0, 0, 0, 0x18, kind]].concat();
        [&[0x0a, inner.len() as u8][..], &inner].concat()
    };
    let special = [("<unk>", 2), ("<s>", 3), ("</s>", 3), ("<x>", 4), ("▁", 1)];
    let mut file: Vec<u8> = special.iter().flat_map(|(text, kind)| piece(text, *kind)).collect();
    file.extend(('!'..='~').flat_map(|letter| piece(&letter.to_string(), 1)));
    file.extend([0x12, 0x02, 0x18, 0x02]); // trainer_spec { model_type: BPE }
    file
}

#[test]
fn an_adapter_is_used_with_the_tokenizer_that_it_was_trained_with() {
    let dir = Dir::new();
    std::fs::remove_file(dir.path().join("model/tokenizer.json")).expect("it was there");
    dir.write("model/tokenizer_config.json", r#"{"tokenizer_class": "LlamaTokenizer", "legacy": true}"#);
    std::fs::write(dir.path().join("model/tokenizer.model"), sentencepiece()).expect("writable");
    let rows: Vec<String> =
        (0..12).map(|n| format!("{{\"question\": \"a<x>b {n}\", \"answer\": \"c<x>{n}\"}}")).collect();
    dir.write("rows.jsonl", &rows.join("\n"));
    let data = "{file: rows.jsonl, name: own, prompt: \"{{ question }} \", completion: answer, score: nll}";
    let run = format!(
        "model: model\ndtype: f32\ndata: {{train: [{data}], eval: [{data}]}}\ntrain: {{epochs: 1}}\n\
         adapt: {{reft: {{intervention: loreft, rank: 2, positions: l1}}}}\n"
    );
    dir.write("run.yaml", &run);
    let trained = |name: &str| {
        let trained = said(&dir.run(&["train", "run.yaml", "--set", &format!("tokenizer={name}")]));
        let run = trained.lines().find_map(|line| line.strip_prefix("run ")).expect("the run's folder");
        format!("{run}/adapter")
    };
    let (with_slow, with_fast) = (trained("slow"), trained("fast"));
    let (with_slow, with_fast) = (with_slow.as_str(), with_fast.as_str());
    let edits = |arguments: &[&str]| said(&dir.run(&[&["inspect", "a<x>b"], arguments].concat()));
    let slow = edits(&["--adapter", with_slow]);
    assert_eq!(slow, edits(&["--adapter", with_fast, "--tokenizer", "slow"]));
    assert_eq!(edits(&["--adapter", with_fast]), edits(&["--adapter", with_slow, "--tokenizer", "fast"]));
    assert_eq!(edits(&["--adapter", with_fast]).lines().count(), slow.lines().count() + 1, "a space behind <x>");
    let scored = |arguments: &[&str]| said(&dir.run(&[&["eval", "run.yaml"], arguments].concat()));
    assert_eq!(scored(&["--adapter", with_slow]), scored(&["--adapter", with_slow, "--set", "tokenizer=slow"]));
    assert_ne!(scored(&["--adapter", with_slow]), scored(&["--adapter", with_slow, "--tokenizer", "fast"]));
    let both = ["generate", "a<x>b", "--max-new", "2", "--adapter", with_slow, "--adapter", with_fast];
    let refused = String::from_utf8_lossy(&dir.run(&both).stderr).into_owned();
    assert!(refused.contains("different tokenizers") && refused.contains("--tokenizer"), "{refused}");
    said(&dir.run(&[&both[..], &["--tokenizer", "slow"]].concat()));
}
