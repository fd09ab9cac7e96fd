//! A user's file of examples, trained on and scored by the command line alone.

mod support;

use std::path::PathBuf;

use serde_json::{Value, json};
use support::{Dir, RUN, texts};

const TINY: [&str; 6] = ["--model", "model", "--set", "dtype=f32", "--set", "eval.max_new_tokens=4"];

#[test]
fn a_file_of_examples_becomes_an_adapter_with_its_loss_before_and_after() {
    let dir = Dir::faq();
    let flags = ["train", "--data", "faq.jsonl", "--epochs", "2", "--score", "exact", "--out", "adapter"];
    let output = dir.run(&[&flags[..], &TINY].concat());
    let (said, wrong) = texts(&output);
    assert!(output.status.success(), "{wrong}");
    for part in ["faq: ", "dev loss: ", " before, ", "prompt:", "  base:", "  reft:", "adapter adapter"] {
        assert!(said.contains(part), "`{part}` is not in: {said}");
    }
    let generated = dir.run(&["generate", "--adapter", "adapter", "--dtype", "f32", "--max-new", "3", "what is 3"]);
    assert!(generated.status.success(), "{}", texts(&generated).1);
    let refused = dir.run(&["eval", "--adapter", "adapter", "--dtype", "f32"]);
    assert!(!refused.status.success() && texts(&refused).1.contains("which rows?"), "{}", texts(&refused).1);
}

#[test]
fn a_prompt_is_put_as_those_of_training_were_and_said_to_be() {
    let dir = Dir::faq();
    let flags = [
        "train",
        "--data",
        "faq.jsonl",
        "--epochs",
        "1",
        "--prompt",
        "Q: {{ question }}\nA:",
        "--completion",
        "answer",
    ];
    let output = dir.run(&[&flags[..], &["--out", "adapter"], &TINY].concat());
    assert!(output.status.success(), "{}", texts(&output).1);
    let generate = |rest: &[&str]| {
        let begin = ["generate", "--adapter", "adapter", "--dtype", "f32", "--max-new", "3"];
        let output = dir.run(&[&begin[..], rest].concat());
        assert!(output.status.success(), "{}", texts(&output).1);
        texts(&output)
    };
    let (short, noted) = generate(&["what is 3"]);
    assert!(noted.contains(r#""Q: what is 3\nA:""#), "{noted}");
    let whole = "Q: what is 3\nA:";
    for rest in [&[whole][..], &[whole, "--raw"]] {
        let (said, noted) = generate(rest);
        assert!(said == short && !noted.contains("--raw"), "{noted}");
    }
    assert!(!generate(&["what is 3", "--raw"]).1.contains("as in the training"));
}

#[test]
fn the_configuration_that_flags_stand_for_is_one_that_trains() {
    let dir = Dir::faq();
    let shown = dir.run(&[&["train", "--data", "faq.jsonl", "--print-config", "--epochs", "1"][..], &TINY].concat());
    let (config, wrong) = texts(&shown);
    assert!(shown.status.success(), "{wrong}");
    dir.write("run.yaml", &config);
    let trained = dir.run(&["train", "run.yaml"]);
    assert!(trained.status.success(), "{}", texts(&trained).1);
}

/// The numbers in `dev loss: A before, B after (n rows)`.
fn dev_losses(said: &str) -> (f64, f64) {
    let line = said.lines().find_map(|line| line.strip_prefix("dev loss: ")).unwrap_or_else(|| panic!("{said}"));
    let number = |word: usize| line.split(' ').nth(word).and_then(|text| text.parse().ok()).expect("a number");
    (number(0), number(2))
}

#[test]
fn the_usual_setting_lowers_the_dev_loss_of_few_rows_and_of_many() {
    let answers = ["red", "green", "blue"];
    for rows in [24, 90] {
        let dir = Dir::new();
        let row = |n: usize| format!("{{\"question\": \"colour {n}\", \"answer\": \"it is {}\"}}\n", answers[n % 3]);
        dir.write("faq.jsonl", &(0..rows).map(row).collect::<String>());
        let output = dir.run(&[&["train", "--data", "faq.jsonl"][..], &TINY].concat());
        let (said, wrong) = texts(&output);
        assert!(output.status.success(), "{wrong}");
        let (before, after) = dev_losses(&said);
        assert!(after < 0.9 * before, "{rows} rows: {said}");
        assert_eq!(wrong.contains("are kept: dev loss"), rows > 50, "the best of several looks: {wrong}");
    }
}

#[test]
fn choices_are_scored_by_likelihood_in_both_ways() {
    let dir = Dir::new();
    dir.write("quiz.csv", "q,x,y,a\none,a,b c,x\ntwo,b,c d,y\nthree,a,c,x\nfour,b,d,y\n");
    let set = "data.eval=[{file: quiz.csv, prompt: q, choices: ['{{ x }}', '{{ y }}'], \
               answer: \"{{ 0 if a == 'x' else 1 }}\", split: {dev: quiz.csv}}]";
    let output = dir.run(&["eval", "--model", "model", "--dtype", "f32", "--set", set]);
    let (said, wrong) = texts(&output);
    assert!(output.status.success(), "{wrong}");
    assert!(said.contains("% acc, ") && said.contains("% acc_norm on 4 rows"), "{said}");
}

#[test]
fn a_description_stands_where_a_tasks_name_does() {
    let dir = Dir::faq();
    std::fs::create_dir_all(dir.path().join("configs/data")).expect("a folder");
    dir.write("configs/data/mine.yaml", "file: faq.jsonl\nprompt: question\ncompletion: answer\nscore: rouge_l\n");
    dir.write("run.yaml", RUN);
    let output = dir.run(&["train", "run.yaml", "--set", "data.train=[mine]", "--set", "data.eval=[mine]"]);
    let (said, wrong) = texts(&output);
    assert!(output.status.success(), "{wrong}");
    assert!(said.contains("mine: ") && said.contains("rouge_l"), "{said}");
}

#[test]
fn a_mistake_is_one_line_and_leaves_nothing_behind() {
    let dir = Dir::faq();
    dir.write("odd.jsonl", &"{\"question\": \"q\", \"reply\": \"r\"}\n".repeat(12));
    for (file, flags, parts) in [
        (
            "faq.jsonl",
            &["--prompt", "{{ qestion }}", "--completion", "answer"][..],
            ["`qestion`", "did you mean `question`?"],
        ),
        ("odd.jsonl", &["--prompt", "question"][..], ["completion: missing", "{{ answer }}"]),
        ("faq.jsonl", &["--score", "exat"][..], ["exat", "exact"]),
    ] {
        let output = dir.run(&[&["train", "--data", file][..], flags, &TINY].concat());
        let (_, wrong) = texts(&output);
        assert!(!output.status.success() && wrong.lines().count() == 1, "{wrong}");
        assert!(parts.iter().all(|part| wrong.contains(part)), "{wrong}");
    }
}

#[test]
fn a_new_project_is_trained_by_the_command_that_it_prints() {
    let dir = Dir::new();
    let made = dir.run(&["new", "mine", "--model", "model"]);
    let (said, wrong) = texts(&made);
    assert!(made.status.success(), "{wrong}");
    let command = said.lines().last().expect("a command").trim().to_owned();
    let (folder, train) =
        command.strip_prefix("cd ").and_then(|rest| rest.split_once(" && reft ")).expect("two commands");
    let flags = train.split(' ').chain(["--set", "train.epochs=1", "--set", "eval.max_new_tokens=2"]);
    let trained =
        dir.reft(&flags.collect::<Vec<_>>()).current_dir(dir.path().join(folder)).output().expect("it starts");
    let (said, wrong) = texts(&trained);
    assert!(trained.status.success(), "{wrong}");
    assert!(said.contains("data: ") && said.contains("words_f1 on 4 rows"), "{said}");
    // Every row of the data has both columns; a folder that is there is left alone.
    let (_, wrong) = texts(&dir.run(&["new", "mine"]));
    assert!(wrong.contains("mine: is there already") && wrong.lines().count() == 1, "{wrong}");
}

/// `tests/golden/choices`: rows, templates and figures of lm-evaluation-harness (`scripts/choices.py --write-golden`).
#[test]
fn choices_are_scored_as_lm_evaluation_harness_scores_them() {
    // Made here, so that no other folder of goldens has them.
    let golden = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/choices"));
    let dir = Dir::new();
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(golden.join("model").join(name), dir.path().join("model").join(name)).expect("copied");
    }
    let expected =
        serde_json::from_str::<Value>(&std::fs::read_to_string(golden.join("expected.json")).expect("a golden"))
            .expect("JSON");
    let (task, rows) = (&expected["task"], golden.join("rows.jsonl"));
    let set = json!([{
        "file": rows, "prompt": task["doc_to_text"], "choices": task["doc_to_choice"], "answer": task["doc_to_target"],
        "split": {"dev": rows},
    }]);
    let set = format!("data.eval={set}");
    let output = dir.run(&["eval", "--model", "model", "--dtype", "f32", "--out", "out", "--set", &set]);
    assert!(output.status.success(), "{}", texts(&output).1);
    let read = |name: &str| std::fs::read_to_string(dir.path().join("out").join(name)).expect("written");
    let scores: Value = serde_json::from_str(&read("scores.json")).expect("JSON");
    let scores = &scores["scores"];
    assert_eq!(scores["rows"]["value"], expected["acc"]);
    assert_eq!(scores["rows"]["second"]["value"], expected["acc_norm"]);
    let predictions = read("predictions-rows.jsonl");
    let wanted = expected["rows"].as_array().expect("rows");
    assert_eq!(predictions.lines().count(), wanted.len());
    for (line, wanted) in predictions.lines().zip(wanted) {
        let said: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!((&said["correct"], &said["likelihood"]["chosen_by_length"]), (&wanted["acc"], &wanted["acc_norm"]));
        let logs = |value: &Value| -> Vec<f64> {
            value.as_array().expect("numbers").iter().map(|log| log.as_f64().expect("a number")).collect()
        };
        for (ours, theirs) in logs(&said["likelihood"]["logs"]).iter().zip(logs(&wanted["logs"])) {
            assert!((ours - theirs).abs() < 1e-3, "{ours} and {theirs}: {line}");
        }
    }
}
