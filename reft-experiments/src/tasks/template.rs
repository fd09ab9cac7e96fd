//! How a row's question becomes a prompt.

use reft_models::tokenizer::{Message, Role, Specials, Tokenizer, TokenizerError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Task;
use crate::data::own::conversation;
use crate::data::row::Row;

/// The text around a question.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PromptTemplate {
    /// The task's own, as in the paper: the instruction alone, or the Alpaca template.
    #[default]
    Task,
    /// The model's chat template, with the instruction as the user's turn.
    Chat,
}

impl PromptTemplate {
    /// A row's prompt.
    ///
    /// # Errors
    /// When the tokenizer has no chat template.
    pub fn prompt(self, task: &dyn Task, row: &Row, tokenizer: &Tokenizer) -> Result<String, TokenizerError> {
        if !row.conversation.is_empty() {
            return conversation::prompt(row, tokenizer);
        }
        match self {
            Self::Task => Ok(task.prompt(row)),
            Self::Chat => tokenizer.chat(&[Message { role: Role::User, content: row.question() }]),
        }
    }

    /// The tokens of a row's prompt.
    ///
    /// # Errors
    /// When the tokenizer has no chat template, or cannot encode the prompt.
    pub fn encode(self, task: &dyn Task, row: &Row, tokenizer: &Tokenizer) -> Result<Vec<i64>, TokenizerError> {
        if !row.conversation.is_empty() {
            return conversation::prompt_ids(row, tokenizer);
        }
        tokenizer.encode(&self.prompt(task, row, tokenizer)?, self.specials())
    }

    /// What the tokenizer adds: a chat template has written the special tokens already.
    pub fn specials(self) -> Specials {
        match self {
            Self::Task => Specials::AsModel,
            Self::Chat => Specials::None,
        }
    }
}
