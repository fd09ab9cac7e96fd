//! Adapters to the hub and back, by the program, with a stand-in of the hub on this machine.

#![cfg(feature = "program")]

mod hub_stub;
mod support;

use std::path::Path;
use std::process::Output;

use hub_stub::HubStub;
use serde_json::Value;
use support::{Dir, RUN};

/// The program with this hub, with or without a token.
fn reft(dir: &Dir, hub: &HubStub, token: Option<&str>, arguments: &[&str]) -> Output {
    let mut command = dir.reft(arguments);
    command.env_remove("HF_HUB_OFFLINE").env("HF_ENDPOINT", &hub.url).env("HF_HOME", dir.path().join("no-token"));
    command.env_remove("HF_TOKEN").env_remove("HUGGING_FACE_HUB_TOKEN").env_remove("HF_TOKEN_PATH");
    command.env_remove("TRANSFORMERS_OFFLINE");
    if let Some(token) = token {
        command.env("HF_TOKEN", token);
    }
    command.output().expect("the program starts")
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn refused(output: &Output) -> String {
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(text.trim_end().lines().count(), 1, "{text}");
    text
}

/// A trained run's folder.
fn trained(dir: &Dir) -> String {
    dir.write("run.yaml", RUN);
    let text = said(&dir.run(&["train", "run.yaml", "--set", "train.epochs=1"]));
    text.lines().find_map(|line| line.strip_prefix("run ")).expect("the run's folder").to_owned()
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn an_adapter_goes_to_the_hub_and_comes_back_as_it_was() {
    let (dir, hub) = (Dir::new(), HubStub::start("hf_secret"));
    let run = trained(&dir);
    let push = ["push", &run, "me/pirate", "--license", "mit", "--author", "A. N. Other"];
    assert!(refused(&reft(&dir, &hub, None, &push)).contains("HF_TOKEN is not set"));
    assert!(hub.requests().is_empty(), "nothing is asked without a token");
    let wrong = refused(&reft(&dir, &hub, Some("hf_wrong_token"), &push));
    assert!(wrong.contains("401") && wrong.contains("HF_TOKEN") && !wrong.contains("hf_wrong_token"), "{wrong}");

    let text = said(&reft(&dir, &hub, Some("hf_secret"), &push));
    assert!(text.starts_with("me/pirate@commit1: 6 files"), "{text}");
    // Committing again to a repository that is there.
    said(&reft(&dir, &hub, Some("hf_secret"), &push));
    let large: Vec<String> = hub.uploads();
    assert_eq!(large, ["adapter/adapter_model.safetensors"], "uploaded once, by its hash");

    assert!(hub.file("me/pirate", "adapter/task.json").is_some(), "prompts are asked as in training elsewhere, too");
    let card = String::from_utf8(hub.file("me/pirate", "README.md").expect("a card")).expect("text");
    let expected = [
        "license: mit",
        "author: A. N. Other",
        "library_name: reft",
        "intervention: loreft",
        "| arc_e |",
        "arc_e (embedded)",
    ];
    for part in expected {
        assert!(card.contains(part), "`{part}` is not in:\n{card}");
    }
    let text = said(&reft(&dir, &hub, None, &["pull", "me/pirate", "--out", "back"]));
    assert!(text.contains("back/adapter: me/pirate@commit2"), "{text}");
    for file in ["adapter/adapter_config.json", "adapter/adapter_model.safetensors", "record.json"] {
        assert_eq!(read(&dir.path().join("back").join(file)), read(&dir.path().join(&run).join(file)), "{file}");
    }
    let origin: Value = serde_json::from_slice(&read(&dir.path().join("back/origin.json"))).expect("JSON");
    assert_eq!(origin["license"], "mit");
    assert_eq!(origin["trained_by"], "A. N. Other");
    assert_eq!(origin["hub"], "me/pirate@commit2");
    assert_eq!(origin["data"][0], "arc_e (embedded)");
    // What was pulled can be pushed on: its origin is kept.
    said(&reft(&dir, &hub, Some("hf_secret"), &["push", "back", "you/copy", "--private"]));
    let again: Value = serde_json::from_slice(&hub.file("you/copy", "origin.json").expect("kept")).expect("JSON");
    assert_eq!((&again["license"], &again["hub"]), (&origin["license"], &origin["hub"]));
    assert!(hub.is_private("you/copy") && !hub.is_private("me/pirate"));
}

#[test]
fn what_cannot_be_pushed_or_pulled_is_told_in_one_line() {
    let (dir, hub) = (Dir::new(), HubStub::start("hf_secret"));
    hub.put("me/model", "model.safetensors", b"x");
    hub.put("me/escape", "adapter_config.json", b"{}");
    hub.put("me/escape", "../outside", b"x");
    hub.put("me/broken", "adapter/adapter_config.json", b"{");
    hub.put("me/theirs", "adapter_config.json", br#"{"peft_type": "LORA"}"#);
    let pull = |from: &str| reft(&dir, &hub, None, &["pull", from, "--out", "back"]);
    let cases = [
        ("me/none", "404"),
        ("me/model", "neither adapter/adapter_config.json"),
        ("me/escape", "outside the folder"),
        ("me/broken", "not an adapter configuration"),
    ];
    for (from, reason) in cases {
        let text = refused(&pull(from));
        assert!(text.contains(reason), "{from}: {text}");
        assert!(!dir.path().join("back").exists(), "{from}: a part is left behind");
    }
    assert!(said(&pull("me/theirs")).contains("of another library: read it with `reft import back"));
    let offline = dir.reft(&["pull", "me/none", "--out", "x"]).output().expect("the program starts");
    assert!(refused(&offline).contains("HF_HUB_OFFLINE is set"));
    let empty = reft(&dir, &hub, Some("hf_secret"), &["push", "model", "me/x"]);
    assert!(refused(&empty).contains("model: no adapter is there"));
    let name = reft(&dir, &hub, None, &["pull", "pirate", "--out", "x"]);
    assert!(String::from_utf8_lossy(&name.stderr).contains("`pirate` is no repository: write it as owner/name"));
}
