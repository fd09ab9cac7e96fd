//! Rendered conversations, and the tokens that the assistant says.

use std::path::Path;

use reft_models::tokenizer::{
    AssistantTokenSource, ChatIds, Clock, Conversation, PromptEnding, Tokenizer, TokenizerError,
};
use serde_json::{Map, Value};

use super::{Differences, fixtures, integers, list};

/// What a case asks for; none where it asks for what cannot be said here: to go on with a turn and to begin one.
fn conversation<'a>(all: &'a Value, case: &'a Value) -> Option<Conversation<'a>> {
    let messages = list(&all["conversations"][case["conversation"].as_str().expect("a name")]);
    let mut variables = case["args"].as_object().cloned().unwrap_or_default();
    let flag = |variables: &mut Map<String, Value>, key: &str| variables.remove(key).is_some_and(|value| value == true);
    let ending = match (flag(&mut variables, "add_generation_prompt"), flag(&mut variables, "continue_final_message")) {
        (true, true) => return None,
        (true, false) => PromptEnding::Prompt,
        (false, true) => PromptEnding::Open,
        (false, false) => PromptEnding::Closed,
    };
    let mut shared = |key: &str| variables.remove(key).map(|_| list(&all[key]));
    let (tools, documents) = (shared("tools"), shared("documents"));
    variables.remove("chat_template");
    let template = case["args"]["chat_template"].as_str();
    Some(Conversation { messages, tools, documents, template, ending, variables })
}

fn open(folder: &Path, name: &str, all: &Value) -> Tokenizer {
    let clock = Clock::parse(all["now"].as_str().expect("a time")).expect("a time");
    Tokenizer::open(&folder.join(name)).unwrap_or_else(|error| panic!("{error}")).at(clock)
}

/// The words of `raise_exception`, which a refusal must give.
fn raised(case: &Value) -> Option<&str> {
    let fails = case["fails"].as_object()?;
    let error = fails.values().find(|error| error["error"] == "TemplateError")?;
    error["message"].as_str()
}

#[test]
fn texts_are_the_references() {
    let (folder, all) = fixtures("chat");
    let mut differences = Differences::default();
    for variant in list(&all["variants"]) {
        let name = variant["folder"].as_str().expect("a folder");
        let tokenizer = open(&folder, name, &all);
        for case in list(&variant["cases"]) {
            let what = || format!("{name} {} {}", case["conversation"], case["args"]);
            let Some(asked) = conversation(&all, case) else {
                assert!(case["text"].is_null(), "{}", what());
                continue;
            };
            match (tokenizer.chat_text(&asked), case["text"].as_str()) {
                (Ok(text), Some(expected)) => differences.check(what, text.as_str(), expected),
                (Err(error), Some(_)) => differences.add(format!("{}: {error}", what())),
                (Ok(text), None) => differences.add(format!("{}: must be refused, is {text:?}", what())),
                (Err(error), None) => {
                    let wanted = raised(case).unwrap_or_default();
                    let refused = matches!(error, TokenizerError::Chat(_) | TokenizerError::NoChatTemplate);
                    differences.check(what, refused && error.to_string().contains(wanted), true);
                }
            }
        }
    }
    differences.none();
}

#[test]
fn masks_are_the_references() {
    let (folder, all) = fixtures("chat");
    let mut differences = Differences::default();
    for variant in list(&all["variants"]) {
        let name = variant["folder"].as_str().expect("a folder");
        let tokenizer = open(&folder, name, &all);
        for case in list(&variant["cases"]).iter().filter(|case| !case["mask"].is_null()) {
            let what = || format!("{name} {} {}", case["conversation"], case["args"]);
            let asked = conversation(&all, case).expect("a conversation");
            let said = tokenizer.chat_ids(&asked).unwrap_or_else(|error| panic!("{}: {error}", what()));
            differences.check(what, said.ids.clone(), integers(&case["ids"]));
            let mask = integers(&case["mask"]);
            match said.found {
                AssistantTokenSource::Marked => {
                    differences.check(what, said.mask(), mask.iter().map(|&said| said == 1).collect());
                }
                // The reference knows nothing without marks.
                AssistantTokenSource::Compared => differences.check(what, mask.iter().sum::<i64>(), 0),
            }
        }
    }
    differences.none();
}

/// What the assistant says in a conversation by this tokenizer, as text.
fn said(tokenizer: &Tokenizer, chat: &ChatIds) -> Vec<String> {
    chat.said.iter().map(|turn| tokenizer.decode(&chat.ids[turn.clone()], false).expect("decoded")).collect()
}

fn turns<'a>(asked: &Conversation<'a>) -> impl Iterator<Item = &'a Value> {
    asked.messages.iter().filter(|message| message["role"] == "assistant")
}

/// In templates without marks too, each turn's tokens say its content and, where the template closes it, its end.
#[test]
fn every_turn_is_found_in_every_template() {
    let (folder, all) = fixtures("chat");
    let mut differences = Differences::default();
    for variant in list(&all["variants"]) {
        let name = variant["folder"].as_str().expect("a folder");
        let tokenizer = open(&folder, name, &all);
        for case in list(&variant["cases"]).iter().filter(|case| case["args"]["chat_template"].is_null()) {
            let Some(asked) = conversation(&all, case) else { continue };
            if asked.ending == PromptEnding::Open || case["text"].is_null() {
                continue;
            }
            let what = || format!("{name} {} {}", case["conversation"], case["args"]);
            let chat = match tokenizer.chat_ids(&asked) {
                Ok(chat) => chat,
                Err(error) => {
                    // Only of a template that leaves words out.
                    let all = case["text"].as_str().expect("a text");
                    let printed = |turn: &Value| all.contains(turn["content"].as_str().unwrap_or_default());
                    differences.check(|| format!("{}: {error}", what()), turns(&asked).all(printed), false);
                    continue;
                }
            };
            if chat.found == AssistantTokenSource::Marked {
                continue; // compared with the reference
            }
            let turns = || turns(&asked);
            for (text, message) in said(&tokenizer, &chat).iter().zip(turns()) {
                let last = message["content"].as_str().unwrap_or_default().split("</think>").last().unwrap_or_default();
                let whole = text.contains(last.trim()) && !text.contains("<|turn|>") && !text.ends_with('\n');
                differences.check(|| format!("{}: {text:?}", what()), whole, true);
            }
            differences.check(what, chat.said.len(), turns().count());
        }
    }
    differences.none();
}
