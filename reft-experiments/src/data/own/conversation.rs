//! Conversations as training examples and as prompts, by the model's own chat template.

use reft_models::tokenizer::{Conversation, PromptEnding, Specials, Tokenizer, TokenizerError};
use serde_json::Value;

use super::spec::TrainedTurns;
use crate::data::encode::Example;
use crate::data::row::Row;

/// The turns of a row's conversation.
pub fn turns(conversation: &str) -> Vec<Value> {
    serde_json::from_str(conversation).expect("a list of turns, made when the row was read")
}

/// The text up to the point where the model is to say the assistant's last turn.
///
/// # Errors
/// When the tokenizer has no chat template, or the template refuses the conversation.
pub fn prompt(row: &Row, tokenizer: &Tokenizer) -> Result<String, TokenizerError> {
    let turns = turns(&row.conversation);
    let last = turns
        .iter()
        .rposition(|turn| turn["role"] == "assistant")
        .expect("a turn of the assistant's, checked when the row was read");
    let before = &turns[..last];
    let asked = Conversation { ending: PromptEnding::Prompt, ..Conversation::new(before) };
    tokenizer.chat_text(&asked).map_err(|error| placed(error, &row.place))
}

/// An error of the template's with the place of the row that it refuses.
fn placed(error: TokenizerError, place: &str) -> TokenizerError {
    match error {
        TokenizerError::Chat(what) if !place.is_empty() => {
            TokenizerError::Chat(format!("{place}: {what}: change the row, or take it out"))
        }
        other => other,
    }
}

/// The tokens of that text: special tokens stand in it.
///
/// # Errors
/// The same.
pub fn prompt_ids(row: &Row, tokenizer: &Tokenizer) -> Result<Vec<i64>, TokenizerError> {
    tokenizer.encode(&prompt(row, tokenizer)?, Specials::None)
}

/// What a turn can say beside its content, which some chat templates write and others leave out.
const BESIDE_CONTENT: [&str; 4] = ["tool_calls", "function_call", "reasoning_content", "thinking"];

/// Refuses a turn that says something beside its content which the template does not write: it would not be learned.
fn check_written(turns: &[Value], ids: &[i64], tokenizer: &Tokenizer, name: &str) -> Result<(), TokenizerError> {
    for (number, key) in (0..turns.len()).flat_map(|number| BESIDE_CONTENT.map(|key| (number, key))) {
        if turns[number][key].is_null() {
            continue;
        }
        let mut without = turns.to_vec();
        without[number].as_object_mut().map(|turn| turn.remove(key));
        let left_out = tokenizer.chat_ids(&Conversation::new(&without)).is_ok_and(|chat| chat.ids == ids);
        if left_out {
            return Err(TokenizerError::Chat(format!(
                "{name}: turn {} has `{key}`, which the chat template does not write: take it out, or give a template that writes it",
                number + 1
            )));
        }
    }
    Ok(())
}

/// An example for the assistant's last turn, or for each of its turns: its prompt is all that precedes the turn, and the end of
/// the turn is learned with it. Turns that follow it are part of no example: they only tell the template that the turn is over.
///
/// # Errors
/// When the tokenizer has no chat template, the template refuses the conversation, or does not say where the turn is.
pub fn examples(
    conversation: &str,
    trained: TrainedTurns,
    tokenizer: &Tokenizer,
    max_length: usize,
    name: &str,
) -> Result<Vec<Example>, TokenizerError> {
    let turns = turns(conversation);
    let chat = tokenizer.chat_ids(&Conversation::new(&turns)).map_err(|error| placed(error, name))?;
    check_written(&turns, &chat.ids, tokenizer, name)?;
    let said: Vec<_> = chat.said.iter().filter(|said| !said.is_empty()).collect();
    let Some((last, before)) = said.split_last() else {
        return Err(TokenizerError::Chat(
            "the template writes no word of the assistant's: take another template".to_owned(),
        ));
    };
    if said[0].start == 0 {
        return Err(TokenizerError::Chat(format!(
            "{name}: the template writes nothing before the assistant's turn, which an edit of a prompt needs: take another template"
        )));
    }
    let before = match trained {
        TrainedTurns::Last => &[],
        TrainedTurns::All => before,
    };
    let example = |(number, range): (usize, &&std::ops::Range<usize>)| {
        let (start, end) = (range.start, range.end);
        let ids = chat.ids[..end.min(max_length)].to_vec();
        let name = if trained == TrainedTurns::Last { name.to_owned() } else { format!("{name} turn {number}") };
        Example { ids, prompt: start.min(max_length), name, lost: end.saturating_sub(max_length) }
    };
    Ok((1..).zip(before.iter().chain([last])).map(example).collect())
}
