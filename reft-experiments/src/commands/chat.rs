//! `reft generate --chat`: a conversation, in which adapters can be switched between turns.

use std::io::{BufRead, Write};

use anyhow::Result;
use reft_models::tokenizer::{Message, Role};

use super::chat_model::{ChatModel, Prompted};

const HELP: &str = "/adapter NAME or NUMBER switches to an adapter, /adapter none to the base model, /adapters lists them, \
                    /system TEXT sets the scene, /clear forgets the conversation, /quit ends it";

/// A line that the user typed.
#[derive(Debug, PartialEq, Eq)]
enum UserInput<'a> {
    Say(&'a str),
    Adapter(&'a str),
    Adapters,
    System(&'a str),
    Clear,
    Help,
    Quit,
}

impl<'a> UserInput<'a> {
    fn parse(line: &'a str) -> Self {
        let line = line.trim();
        let Some(command) = line.strip_prefix('/') else { return Self::Say(line) };
        let (name, rest) = command.split_once(' ').unwrap_or((command, ""));
        match name {
            "adapter" => Self::Adapter(rest.trim()),
            "adapters" => Self::Adapters,
            "system" => Self::System(rest.trim()),
            "clear" => Self::Clear,
            "quit" | "exit" => Self::Quit,
            _ => Self::Help,
        }
    }
}

/// Talks until the input ends or says so. Every turn puts the whole conversation before the model, so that edited
/// positions are those of the whole.
///
/// # Errors
/// When the model has no chat template, or the input cannot be read.
pub(super) fn talk(speaker: &ChatModel, input: &mut dyn BufRead, out: &mut dyn Write) -> Result<()> {
    let tokenizer = &speaker.opened.loaded.tokenizer;
    // A model that cannot chat is told before the user has typed anything.
    let empty = tokenizer.chat(&[Message { role: Role::User, content: String::new() }])?;
    tokenizer.encode(&empty, Prompted::Conversation.specials())?;
    let (mut turns, mut voice): (Vec<Message>, _) = (Vec::new(), speaker.opened.adapters.first().map(|_| 0));
    eprintln!("{}; {HELP}", speaker.name(voice));
    let mut line = Vec::new();
    loop {
        eprint!("> ");
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let Ok(line) = std::str::from_utf8(&line) else {
            eprintln!("this line is not UTF-8: set the terminal to UTF-8 and write it again");
            continue;
        };
        match UserInput::parse(line) {
            UserInput::Say("") => {}
            UserInput::Say(content) => {
                turns.push(Message { role: Role::User, content: content.to_owned() });
                let content = speaker.say(voice, &tokenizer.chat(&turns)?, Prompted::Conversation, out)?;
                turns.push(Message { role: Role::Assistant, content });
            }
            UserInput::Adapter(wanted) => match choose(speaker, wanted) {
                Ok(chosen) => {
                    voice = chosen;
                    eprintln!("{}", speaker.name(voice));
                }
                Err(complaint) => eprintln!("{complaint}"),
            },
            UserInput::Adapters => list(speaker, voice),
            UserInput::System(content) => {
                turns.retain(|turn| turn.role != Role::System);
                turns.insert(0, Message { role: Role::System, content: content.to_owned() });
            }
            UserInput::Clear => turns.clear(),
            UserInput::Help => eprintln!("{HELP}"),
            UserInput::Quit => return Ok(()),
        }
    }
}

fn list(speaker: &ChatModel, voice: Option<usize>) {
    for index in 0..speaker.opened.adapters.len() {
        let mark = if voice == Some(index) { '*' } else { ' ' };
        eprintln!("{mark} {} {}", index + 1, speaker.name(Some(index)));
    }
}

/// An adapter by its number, or by the end of its name.
fn choose(speaker: &ChatModel, wanted: &str) -> Result<Option<usize>, String> {
    let adapters = &speaker.opened.adapters;
    if wanted == "none" {
        return Ok(None);
    }
    let by_number = wanted.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
    let by_name = || adapters.iter().position(|(name, _)| !wanted.is_empty() && name.ends_with(wanted));
    match by_number.filter(|&index| index < adapters.len()).or_else(by_name) {
        Some(index) => Ok(Some(index)),
        None => Err(format!("no adapter `{wanted}`: /adapters lists those that were given with --adapter")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_turns_or_commands() {
        assert_eq!(UserInput::parse("hello there\n"), UserInput::Say("hello there"));
        assert_eq!(UserInput::parse("/adapter  runs/a \n"), UserInput::Adapter("runs/a"));
        assert_eq!(UserInput::parse("/system Be brief."), UserInput::System("Be brief."));
        assert_eq!(UserInput::parse("/clear"), UserInput::Clear);
        assert_eq!(UserInput::parse("/wat"), UserInput::Help);
    }
}
