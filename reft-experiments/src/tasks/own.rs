//! Data sets of the user's as tasks: a name below `configs/data`, or a description in place of a name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::{DataKind, Task};
use crate::data::error::DataError;
use crate::data::own::rows::RowParts;
use crate::data::own::set::OwnSet;
use crate::data::own::spec::DataSpec;
use crate::data::row::Row;
use crate::data::source::DataSources;
use crate::data::split::Split;
use crate::score::answers;
use crate::score::scoring::Scoring;
use crate::settings::file;

/// Where named descriptions lie.
const FOLDER: &str = "configs/data";

/// A user's data set.
pub struct OwnTask {
    set: OwnSet,
}

impl OwnTask {
    /// The task of a description. Equal descriptions have one task, which lives as long as the process: tasks are compared and
    /// copied by reference.
    ///
    /// # Errors
    /// When the description cannot be used, in words.
    pub fn of(spec: DataSpec) -> Result<&'static Self, String> {
        static KNOWN: Mutex<BTreeMap<String, &'static OwnTask>> = Mutex::new(BTreeMap::new());
        let key = serde_json::to_string(&spec).expect("plain data");
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = known.get(&key) {
            return Ok(task);
        }
        let set = OwnSet::new(spec)?;
        if super::TASKS.iter().any(|task| task.key() == set.name) {
            return Err(format!("name: `{}` is a task of this program: give the data set another name", set.name));
        }
        if matches!(set.parts, RowParts::Labelled { .. }) {
            return Err("text, label: rows for encoders are not trained on here yet: give prompt and completion, or \
                        prompt, choices and answer, to a language model"
                .to_owned());
        }
        let task: &'static Self = Box::leak(Box::new(Self { set }));
        known.insert(key, task);
        Ok(task)
    }

    /// The description `configs/data/NAME.yaml`; none if there is no such file.
    ///
    /// # Errors
    /// When the file cannot be used, in words.
    pub fn named(name: &str) -> Option<Result<&'static Self, String>> {
        let path = PathBuf::from(FOLDER).join(format!("{name}.yaml"));
        let plain = name.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c));
        (plain && path.is_file()).then(|| Self::read(name, &path))
    }

    fn read(name: &str, path: &Path) -> Result<&'static Self, String> {
        let written = file::written(path).map_err(|error| error.to_string())?;
        let spec: DataSpec = file::typed_at(&written.tree, &written.places).map_err(|error| error.to_string())?;
        let spec = DataSpec { name: spec.name.or_else(|| Some(name.to_owned())), ..spec };
        Self::of(spec).map_err(|reason| format!("{}: {reason}", path.display()))
    }

    /// Names of the descriptions that there are.
    pub fn names() -> Vec<String> {
        let listed = std::fs::read_dir(FOLDER).into_iter().flatten().filter_map(Result::ok);
        let name = |path: PathBuf| {
            let yaml = path.extension().is_some_and(|ending| ending == "yaml");
            yaml.then(|| path.file_stem().unwrap_or_default().to_string_lossy().into_owned())
        };
        let mut names: Vec<String> = listed.filter_map(|entry| name(entry.path())).collect();
        names.sort();
        names
    }

    /// The data set.
    pub fn set(&self) -> &OwnSet {
        &self.set
    }
}

impl Task for OwnTask {
    fn key(&self) -> &'static str {
        // The task lives as long as the process; its name is kept once for each.
        static NAMES: Mutex<BTreeMap<String, &'static str>> = Mutex::new(BTreeMap::new());
        let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        names.entry(self.set.name.clone()).or_insert_with(|| Box::leak(self.set.name.clone().into_boxed_str()))
    }

    fn rows(&self, _: DataKind, split: &Split, sources: &DataSources) -> Result<Vec<Row>, DataError> {
        self.set.rows(split, sources)
    }

    fn prompt(&self, row: &Row) -> String {
        row.instruction.clone()
    }

    fn completion(&self, row: &Row) -> String {
        row.output.clone()
    }

    fn extract(&self, said: &str) -> String {
        match &self.set.scoring {
            Scoring::Regex(expression) => expression.find(said).unwrap_or_default().trim().to_owned(),
            Scoring::Number => answers::number(said).map_or(String::new(), |number| number.to_string()),
            Scoring::Letter => answers::letter(said).to_owned(),
            _ => said.trim().to_owned(),
        }
    }

    fn agrees(&self, row: &Row, answer: &str) -> bool {
        let right = row.answer.trim();
        match &self.set.scoring {
            Scoring::Contains => answer.contains(right),
            Scoring::Regex(expression) if expression.has_group() => {
                answer == expression.find(right).unwrap_or(right).trim()
            }
            Scoring::Regex(_) => true,
            Scoring::Number => match (answers::number(answer), answers::number(right)) {
                (Some(said), Some(right)) => (said - right).abs() <= 1e-3,
                _ => false,
            },
            Scoring::Letter => answer == answers::letter(right),
            _ => answer == right,
        }
    }

    fn own(&self) -> Option<&OwnSet> {
        Some(&self.set)
    }

    fn judged(&self) -> bool {
        self.set.scoring == Scoring::Judge
    }
}
