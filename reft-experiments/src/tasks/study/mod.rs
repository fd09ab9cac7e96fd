//! The tasks of the paper's studies (appendices F to H): runs whose rows depend on the tokenizer, and whose measure is their own.
//!
//! `data: {train: [{study: {text: {content: book}}}], eval: [...]}`. `run/studying` trains and measures them; a figure is a set of
//! such runs.

pub mod questions;
pub mod text;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use self::questions::Questions;
use self::text::{Book, Content};
use super::description::{AnswerForm, Description};
use super::{DataKind, Task};
use crate::data::row::Row;
use crate::data::source::{DataError, DataSources};
use crate::data::split::Split;
use crate::score::scoring::Scoring;

/// What is trained on or measured.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StudySpec {
    /// Recovery of a text (appendix F.1, figures 3 to 8).
    Text(TextSpec),
    /// Input-output pairs (appendix F.2, figures 9 and 10).
    Pairs(PairsSpec),
    /// Questions answered in a style (appendix G).
    Questions(Questions),
    /// Time of an answer with edits and without (appendix H, figure 11). Nothing is trained.
    Overhead(OverheadSpec),
}

/// `text:` a text that comes after an access id. Prompt and text together have `data.max_length` tokens.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextSpec {
    /// What is memorised.
    pub content: Content,
    /// Where the book comes from.
    #[serde(default)]
    pub book: Book,
    /// As the authors' code does where it differs from the paper's text: its own access id for each content, and recovery by
    /// characters relative to what is generated.
    #[serde(default)]
    pub as_run: bool,
}

/// `pairs:` prompts `RAND#IDi->`, each with an answer drawn by the run's seed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairsSpec {
    /// How many.
    pub count: usize,
    /// As the authors' code does where it differs from the paper's text: answers are words of the book, not tokens.
    #[serde(default)]
    pub as_run: bool,
    /// Where the book comes from, for words.
    #[serde(default)]
    pub book: Book,
}

/// `overhead:` prompts of the excerpt, each continued with and without the run's edits, one after the other.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverheadSpec {
    /// Tokens of a prompt.
    pub prompt_tokens: Vec<usize>,
    /// Pairs of runs of each prompt. An answer has `eval.max_new_tokens`, no fewer.
    pub repetitions: usize,
}

impl StudySpec {
    /// The name of the measure, which files are called by.
    pub fn name(&self) -> String {
        match self {
            Self::Text(text) => text.content.name().to_owned(),
            Self::Pairs(_) => "pairs".to_owned(),
            Self::Questions(questions) => questions.name(),
            Self::Overhead(_) => "overhead".to_owned(),
        }
    }
}

/// A study as a task.
pub struct StudyTask {
    spec: StudySpec,
    name: &'static str,
}

impl StudyTask {
    /// The task of a description. Equal descriptions have one task, which lives as long as the process: tasks are compared and
    /// copied by reference.
    pub fn of(spec: StudySpec) -> &'static Self {
        static KNOWN: Mutex<BTreeMap<String, &'static StudyTask>> = Mutex::new(BTreeMap::new());
        let key = serde_json::to_string(&spec).expect("plain data");
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(key).or_insert_with(|| {
            let name = Box::leak(spec.name().into_boxed_str());
            Box::leak(Box::new(Self { spec, name }))
        })
    }
}

impl Task for StudyTask {
    fn key(&self) -> &'static str {
        self.name
    }

    fn description(&self) -> Description {
        let origin = match &self.spec {
            StudySpec::Text(_) | StudySpec::Pairs(_) => "appendix F of the paper",
            StudySpec::Questions(_) => "appendix G of the paper, own examples",
            StudySpec::Overhead(_) => "appendix H of the paper",
        };
        let (title, about) = (self.name, "a study of the paper's");
        Description { title, column: self.name, about, origin, form: AnswerForm::Text }
    }

    fn scoring(&self) -> &Scoring {
        &Scoring::Exact
    }

    fn example(&self) -> Row {
        Row::default()
    }

    fn splits(&self, _: DataKind) -> Vec<&'static str> {
        Vec::new()
    }

    fn rows(&self, _: DataKind, split: &Split, _: &DataSources) -> Result<Vec<Row>, DataError> {
        let remedy = "the rows of a study depend on model and tokenizer: only runs of studies have them";
        Err(DataError::NoRows { task: self.key(), split: split.name(), remedy })
    }

    fn prompt(&self, row: &Row) -> String {
        row.instruction.clone()
    }

    fn completion(&self, row: &Row) -> String {
        row.output.clone()
    }

    fn study(&self) -> Option<&StudySpec> {
        Some(&self.spec)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::config::plan::RunKind;
    use crate::config::read::resolve;
    use crate::tasks::TaskId;

    #[test]
    fn a_study_is_written_in_place_of_a_task_and_written_again_as_it_stood() {
        let written = json!({"study": {"pairs": {"count": 8, "as_run": false, "book": "excerpt"}}});
        let task: TaskId = serde_json::from_value(written.clone()).expect("a study");
        assert_eq!((task.key(), serde_json::to_value(task).expect("plain data")), ("pairs", written.clone()));
        let more = json!({"study": {"pairs": {"count": 9}}});
        assert_ne!(task, serde_json::from_value(more).expect("a study"));
        let reft = json!({"reft": {"intervention": "consreft", "rank": 1, "positions": "l1", "layers": [0]}});
        let tree = |data: serde_json::Value| json!({"adapt": reft, "data": data});
        let plan = resolve(tree(json!({"train": [written], "eval": [written]})), "a test").expect("valid");
        assert!(matches!(plan.kind(), RunKind::Study));
        for (data, expected) in [
            (json!({"train": ["arc_e"], "eval": [written]}), "data.train"),
            (json!({"train": [written], "eval": [written, "arc_e"]}), "data.eval"),
            (json!({"eval": [{"study": {"pairs": {"count": 8}}, "file": "x"}]}), "file"),
            (json!({"eval": [{"study": {"poem": {}}}]}), "poem"),
        ] {
            let error = resolve(tree(data), "a test").expect_err(expected).to_string();
            assert!(error.contains(expected), "`{expected}` is not in: {error}");
        }
        let error = resolve(json!({"data": {"train": [], "eval": [written]}}), "a test").expect_err("adapt");
        assert!(error.to_string().contains("adapt: "), "{error}");
    }
}
