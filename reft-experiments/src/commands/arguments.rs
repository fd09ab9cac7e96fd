//! Which arguments of the program an error of the library is about.

use anyhow::Error;

use reft_models::tokenizer::TokenizerError;

use crate::alpaca_eval::judge::JudgeError;
use crate::alpaca_eval::judge::error::ClientError;
use crate::run::saved::OpenError;

/// The same error with the arguments that it is about, where it is about some.
pub fn named(error: Error) -> Error {
    match opening(&error).or_else(|| judging(&error)).or_else(|| chatting(&error)) {
        Some(arguments) => error.context(arguments),
        None => error,
    }
}

fn opening(error: &Error) -> Option<&'static str> {
    Some(match error.downcast_ref()? {
        OpenError::NoModel => "--adapter or --model",
        OpenError::HeadWithoutLabels(_) => "--head",
        OpenError::NoHead | OpenError::NoHeadThere(_) => "--adapter or --head",
        OpenError::TwoTokenizers { .. } => "--tokenizer",
        OpenError::TwoChatTemplates { .. } => "--chat-template",
    })
}

fn chatting(error: &Error) -> Option<&'static str> {
    match error.downcast_ref()? {
        TokenizerError::NoChatTemplate => Some("--chat-template FILE"),
        _ => None,
    }
}

fn judging(error: &Error) -> Option<&'static str> {
    match error.downcast_ref()? {
        JudgeError::Client(ClientError::Unfinished { .. }) => Some("--max-tokens"),
        JudgeError::Client(ClientError::GaveUp { .. }) => Some("--rpm, --timeout-s"),
        JudgeError::Client(_) | JudgeError::Journal(_) => None,
    }
}
