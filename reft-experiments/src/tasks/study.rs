//! The tasks of studies: their rows depend on the tokenizer, and their measure is their own.
//!
//! `data: {train: [{study: {text: {content: book}}}], eval: [...]}`. `run/studying` trains and measures them; a figure is a set of
//! such runs.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::description::{AnswerForm, Description};
use super::{DataKind, Task};
use crate::data::error::DataError;
use crate::data::row::Row;
use crate::data::source::DataSources;
use crate::data::split::Split;
use crate::score::scoring::Scoring;
use crate::studies::MeasureSpec;

/// A study as a task.
pub struct StudyTask {
    spec: MeasureSpec,
    name: &'static str,
}

impl StudyTask {
    /// The task of a description. Equal descriptions have one task, which lives as long as the process: tasks are compared and
    /// copied by reference.
    pub fn of(spec: MeasureSpec) -> &'static Self {
        static KNOWN: Mutex<BTreeMap<String, &'static StudyTask>> = Mutex::new(BTreeMap::new());
        let key = serde_json::to_string(&spec).expect("plain data");
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(key).or_insert_with(|| {
            let name = Box::leak(spec.measure().name().into_boxed_str());
            Box::leak(Box::new(Self { spec, name }))
        })
    }
}

impl Task for StudyTask {
    fn key(&self) -> &'static str {
        self.name
    }

    fn description(&self) -> Description {
        let (origin, title, about) = (self.spec.origin(), self.name, "a study of edits");
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

    fn study(&self) -> Option<&MeasureSpec> {
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
