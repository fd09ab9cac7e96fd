//! Turns of conversations: the usual format (`role`, `content`), and `ShareGPT`'s (`from`, `value`), which is read as the usual one.

use serde_json::{Value, json};

use super::cell_row::CellRow;
use super::cells;
use super::column_template::ColumnTemplate;
use super::fault::OwnDataError;

/// Who speaks in conversations that chat templates know.
const ROLES: [&str; 7] = ["system", "developer", "user", "assistant", "tool", "function", "ipython"];

/// `ShareGPT`'s names of those who speak, and the usual ones.
const SHARE_GPT: [(&str, &str); 8] = [
    ("human", "user"),
    ("user", "user"),
    ("gpt", "assistant"),
    ("chatgpt", "assistant"),
    ("model", "assistant"),
    ("assistant", "assistant"),
    ("system", "system"),
    ("tool", "tool"),
];

/// The turns of a conversation's cell as they stand there; none where it is no list. A table of text holds it as JSON.
///
/// # Errors
/// When the template cannot be rendered.
pub(super) fn written(row: &CellRow, messages: &ColumnTemplate) -> Result<Option<Vec<Value>>, OwnDataError> {
    Ok(match messages.value(row)? {
        Some(Value::Array(turns)) => Some(turns),
        Some(Value::String(text)) => serde_json::from_str(&text).ok(),
        _ => None,
    })
}

/// Whether it is the assistant who speaks in a turn of either format.
pub(super) fn is_assistants(turn: &Value) -> bool {
    role(turn).is_ok_and(|role| role == "assistant")
}

/// A turn in the usual format.
///
/// # Errors
/// What is wrong with it, and the remedy.
pub(super) fn usual(turn: &Value) -> Result<Value, String> {
    let role = role(turn)?;
    if turn.get("weight").is_some_and(|weight| !weight.is_null()) {
        return Err(
            "has a `weight`, which is not read here: take it out; --turns last learns the last turn alone".to_owned()
        );
    }
    let usual = match (turn.get("role"), turn.get("value")) {
        (Some(_), _) => turn.clone(),
        (None, Some(value)) => json!({"role": role, "content": value}),
        (None, None) => return Err("has no value: write {\"from\": \"human\", \"value\": \"…\"}".to_owned()),
    };
    let kind = match usual.get("content") {
        // What calls a function has none.
        None | Some(Value::Null | Value::String(_)) => return Ok(usual),
        Some(Value::Array(parts)) if parts.iter().all(Value::is_object) => return Ok(usual),
        Some(Value::Array(_)) => "a list of other things than parts",
        Some(Value::Bool(_) | Value::Number(_)) => "a number or truth value",
        Some(Value::Object(_)) => "an object",
    };
    Err(format!(
        "has {kind} as its content: write a text, or a list of parts such as {{\"type\": \"text\", \"text\": \"…\"}}"
    ))
}

/// The usual name of who speaks in a turn.
fn role(turn: &Value) -> Result<&str, String> {
    let text = |key| turn.get(key).and_then(Value::as_str);
    match (text("role"), text("from")) {
        (Some(role), _) if ROLES.contains(&role) => Ok(role),
        (Some(role), _) => Err(format!("has the role `{role}`: the roles are {}", ROLES.join(", "))),
        (None, Some(from)) => {
            let known = || SHARE_GPT.map(|(theirs, _)| theirs).join(", ");
            let found = SHARE_GPT.iter().find(|(theirs, _)| *theirs == from);
            let of = |(_, role): &(_, &'static str)| *role;
            found.map(of).ok_or_else(|| format!("is from `{from}`: in ShareGPT's format a turn is from {}", known()))
        }
        (None, None) => Err("has no role: write {\"role\": \"user\", \"content\": \"…\"}".to_owned()),
    }
}

/// What a turn in the usual format says: a text, or the texts among its parts.
pub(super) fn content(turn: &Value) -> String {
    match turn.get("content") {
        Some(Value::Array(parts)) => parts.iter().filter_map(|part| part.get("text").map(cells::text)).collect(),
        Some(content) => cells::text(content),
        None => String::new(),
    }
}
