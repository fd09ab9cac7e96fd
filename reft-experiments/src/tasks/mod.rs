//! What a model is trained for and measured on: the table of tasks. A new task is a file in this folder and a line below; a
//! program adds its own with [`register`].
//!
//! A task is a [`Described`](described::Described) where files, two phrases and a score say all of it; GLUE's have labels
//! ([`labelled`]), and data sets of the user's ([`own`]) and the paper's studies ([`study`]) are described in configurations.

pub mod arithmetic;
pub mod commonsense;
pub mod described;
pub mod description;
pub mod embedded;
pub mod glue;
mod id;
pub mod instruct;
pub mod labelled;
pub mod own;
pub mod phrase;
pub mod study;
mod task;
pub mod template;

use std::sync::LazyLock;

use reft_core::registry::{KeyTaken, Registry, RegistryEntry};

pub use self::id::{TaskError, TaskId};
pub use self::task::{DataKind, Task};

/// A task of the table.
pub struct TaskEntry(&'static dyn Task);

impl RegistryEntry for TaskEntry {
    fn key(&self) -> &'static str {
        self.0.key()
    }
}

impl TaskEntry {
    /// The task.
    pub fn task(&self) -> &'static dyn Task {
        self.0
    }
}

/// Everything that `data.train` and `data.eval` accept by name. A new task is a line here.
static BUILT_IN: &[&dyn Task] = &[
    &commonsense::BOOLQ,
    &commonsense::PIQA,
    &commonsense::SIQA,
    &commonsense::HELLASWAG,
    &commonsense::WINOGRANDE,
    &commonsense::ARC_E,
    &commonsense::ARC_C,
    &commonsense::OBQA,
    &commonsense::JOINT,
    &arithmetic::MATH,
    &arithmetic::MATH_PART,
    &arithmetic::GSM8K,
    &arithmetic::AQUA,
    &arithmetic::GSM8K_ALPACA,
    &arithmetic::MAWPS,
    &arithmetic::SVAMP,
    &instruct::INSTRUCT,
    &instruct::ULTRAFEEDBACK,
    &instruct::ALPACA_2K,
    &glue::COLA,
    &glue::SST2,
    &glue::MRPC,
    &glue::QQP,
    &glue::STSB,
    &glue::MNLI,
    &glue::QNLI,
    &glue::RTE,
    &glue::WNLI,
];

static REGISTRY: LazyLock<Registry<TaskEntry>> =
    LazyLock::new(|| Registry::new(BUILT_IN.iter().map(|task| TaskEntry(*task)).collect()));

/// The table.
pub fn registry() -> &'static Registry<TaskEntry> {
    &REGISTRY
}

/// Adds a task of the program's own to the table.
///
/// # Errors
/// When another has its key.
pub fn register(task: impl Task) -> Result<(), KeyTaken> {
    REGISTRY.add(TaskEntry(Box::leak(Box::new(task))))
}

/// The task of a key; none where there is none in the table.
pub fn find(key: &str) -> Option<&'static dyn Task> {
    REGISTRY.find(key).map(TaskEntry::task)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use serde_json::{Map, Value};

    use super::labelled::LabelledTask;
    use super::*;
    use crate::data::labels::Labels;
    use crate::data::own::cell_row::CellRow;
    use crate::data::own::column_template::ColumnTemplate;
    use crate::data::row::Row;
    use crate::data::source::DataSources;
    use crate::data::split::{Selection, Split};

    #[test]
    fn every_task_finds_its_own_gold_answer() {
        for task in registry().entries().iter().map(|entry| entry.task()).filter(|task| !task.judged()) {
            let (answer, said) = match task.key() {
                "boolq" => ("true", "true"),
                "aqua" => ("B", "B"),
                "gsm8k" => ("a\n#### 18", "18"),
                key => match task.labelled().and_then(LabelledTask::known) {
                    Some(Labels::Classes(names)) => (*names.last().unwrap_or_else(|| panic!("{key} has classes")), ""),
                    Some(Labels::Score(_) | Labels::Number) => ("3.8", ""),
                    None => ("18", "18"),
                },
            };
            let output = format!("14 + 9 - 5 = 18. The answer is {said}.");
            let row = Row { answer: answer.to_owned(), output, ..Row::default() };
            assert!(task.correct(&row, &task.extract(&task.completion(&row))), "{}", task.key());
        }
    }

    #[test]
    fn an_unknown_task_is_answered_with_a_suggestion() {
        let error = "acr_e".parse::<TaskId>().expect_err("unknown").to_string();
        assert!(error.contains("did you mean `arc_e`?"), "{error}");
    }

    fn all() -> impl Iterator<Item = &'static dyn Task> {
        registry().entries().iter().map(|entry| entry.task())
    }

    #[test]
    fn every_entry_says_what_it_is_and_has_an_example_like_its_rows() {
        for task in all() {
            let (key, said) = (task.key(), task.description());
            for text in [said.title, said.column, said.about, said.origin] {
                assert!(!text.trim().is_empty(), "{key}");
            }
            let example = task.example();
            assert!(!example.instruction.is_empty() && !task.prompt(&example).is_empty(), "{key}");
            assert!(!task.completion(&example).is_empty(), "{key}");
            let right = task.extract(&task.completion(&example));
            assert!(task.judged() || task.correct(&example, &right), "{key}: {example:?}");
            assert!(!task.splits(DataKind::Real).is_empty(), "{key}");
        }
        let titles: BTreeSet<&str> = all().map(|task| task.description().about).collect();
        assert_eq!(titles.len(), all().count(), "two tasks are said to be the same");
    }

    #[test]
    fn the_splits_of_an_entry_are_those_that_have_rows() {
        let nowhere = DataSources::local(Path::new("nowhere"));
        let test = Split::Test(Selection { chosen_by: "a test".to_owned() });
        for task in all().filter(|task| task.labelled().is_none()) {
            let said = task.splits(DataKind::Embedded);
            for split in [&Split::Train, &Split::Dev, &test] {
                let rows = task.rows(DataKind::Embedded, split, &nowhere);
                assert_eq!(rows.is_ok(), said.contains(&split.name()), "{} {}", task.key(), split.name());
                // Without files, a split that has rows lacks its file; one that has none says so.
                let missing = task.rows(DataKind::Real, split, &nowhere).expect_err("no files").to_string();
                let none = missing.contains("rows: ");
                assert_eq!(!none, task.splits(DataKind::Real).contains(&split.name()), "{missing}");
            }
        }
    }

    #[test]
    fn guessing_reaches_what_rows_that_are_made_say() {
        let nowhere = DataSources::local(Path::new("nowhere"));
        for task in all().filter(|task| task.labelled().is_none() && !task.splits(DataKind::Embedded).is_empty()) {
            let rows = task.rows(DataKind::Embedded, &Split::Train, &nowhere).expect("made here");
            let answers: BTreeSet<&str> = rows.iter().map(|row| row.answer.as_str()).collect();
            if let Some(rate) = task.guessing_rate() {
                assert_eq!(Some(rate), Some(1.0 / answers.len() as f64), "{}", task.key());
            }
        }
        let rate = |key: &str| find(key).expect(key).guessing_rate();
        assert_eq!([rate("boolq"), rate("siqa"), rate("aqua")], [Some(0.5), Some(1.0 / 3.0), Some(0.2)]);
        assert_eq!([rate("mnli"), rate("cola"), rate("stsb")], [Some(1.0 / 3.0), Some(0.0), Some(0.0)]);
        assert_eq!([rate("gsm8k"), rate("instruct")], [None, None]);
    }

    #[test]
    fn a_described_task_is_the_same_as_a_data_set_of_the_users() {
        for task in BUILT_IN.iter().filter(|task| task.labelled().is_none()) {
            let spec = task.as_data().expect("a description");
            for input in ["", "further text"] {
                let row = Row { input: input.to_owned(), ..task.example() };
                let cells = |(name, text): (&str, &String)| (name.to_owned(), Value::from(text.clone()));
                let columns = [
                    ("instruction", &row.instruction),
                    ("input", &row.input),
                    ("output", &row.output),
                    ("answer", &row.answer),
                ];
                let cells: Map<String, Value> = columns.into_iter().map(cells).collect();
                let cells = CellRow { file: Path::new("a.json").into(), place: "row 1".to_owned(), cells };
                let render = |source: &Option<String>| {
                    let template = ColumnTemplate::parse(source.as_deref().expect("a template")).expect("valid");
                    template.render(&cells).expect("a text")
                };
                assert_eq!(render(&spec.prompt), task.prompt(&row), "{}", task.key());
                assert_eq!(render(&spec.completion), task.completion(&row), "{}", task.key());
            }
            assert_eq!(spec.score.as_ref(), Some(task.scoring()));
        }
    }
}
