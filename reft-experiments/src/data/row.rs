//! One record of a data set, in the format of LLM-Adapters.

use serde::{Deserialize, Serialize};

/// A question with its answer. Fields that a file lacks are empty.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub struct Row {
    /// The question, with the answers to choose from and their format.
    #[serde(default, alias = "question")]
    pub instruction: String,
    /// Further text that some instructions refer to.
    #[serde(default)]
    pub input: String,
    /// The whole completion, where the set has one.
    #[serde(default)]
    pub output: String,
    /// The answer alone.
    #[serde(default)]
    pub answer: String,
    /// What there is to choose from, as it follows the prompt; none of a row that is answered in words.
    #[serde(skip)]
    pub choices: Vec<String>,
    /// The number of the right choice, from 0.
    #[serde(skip)]
    pub right: usize,
    /// A conversation as a JSON list of turns, one of them the assistant's; empty for other rows.
    #[serde(skip)]
    pub conversation: String,
    /// Where it stands, such as `faq.jsonl row 3`; empty where that is not known.
    #[serde(skip)]
    pub place: String,
}

impl Row {
    /// What messages call it: its place, else its task and its number among the rows in use.
    pub fn name(&self, task: &str, number: usize) -> String {
        if self.place.is_empty() { format!("{task} row {number}") } else { self.place.clone() }
    }

    /// The instruction with the further text, an empty line between them: the question without a task's template.
    pub fn question(&self) -> String {
        let parts = [self.instruction.as_str(), self.input.as_str()];
        parts.into_iter().filter(|part| !part.trim().is_empty()).collect::<Vec<_>>().join("\n\n")
    }
}

/// How many of `count` rows a limit leaves; 0 is no limit.
pub fn limited(count: usize, limit: usize) -> usize {
    if limit == 0 { count } else { count.min(limit) }
}
