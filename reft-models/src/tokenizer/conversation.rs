//! A conversation as a chat template is given it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Who speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sets the scene.
    System,
    /// Asks.
    User,
    /// The model.
    Assistant,
}

/// One turn of a conversation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
}

/// Where a rendered conversation ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PromptEnding {
    /// After its last turn.
    #[default]
    Closed,
    /// After the words that begin the model's turn: transformers' `add_generation_prompt`.
    Prompt,
    /// Inside its last turn, which the model goes on with: transformers' `continue_final_message`.
    Open,
}

/// What a chat template is given, as transformers' `apply_chat_template` takes it.
#[derive(Clone, PartialEq, Debug)]
pub struct Conversation<'a> {
    /// Objects with `role` and `content`, and whatever else the template reads.
    pub messages: &'a [Value],
    /// Functions that the model may call. With tools, a template of the name `tool_use` is taken where there is one.
    pub tools: Option<&'a [Value]>,
    /// Texts that the model may quote.
    pub documents: Option<&'a [Value]>,
    /// A name of the list in `tokenizer_config.json`, or a template; none for the model's default one.
    pub template: Option<&'a str>,
    /// Where the text ends.
    pub ending: PromptEnding,
    /// Further names that the template reads, such as `enable_thinking`.
    pub variables: Map<String, Value>,
}

impl<'a> Conversation<'a> {
    /// These messages by the model's default template, ending with the last of them.
    pub fn new(messages: &'a [Value]) -> Self {
        Self {
            messages,
            tools: None,
            documents: None,
            template: None,
            ending: PromptEnding::Closed,
            variables: Map::new(),
        }
    }
}

/// A message's text; of several parts the last text.
pub(super) fn content(message: &Value) -> Option<&str> {
    let content = message.get("content")?;
    match content.as_array() {
        Some(parts) => parts.iter().rev().find_map(|part| part.get("text")?.as_str()),
        None => content.as_str(),
    }
}
