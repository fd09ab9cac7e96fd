//! Data sets of the user's as tasks: a name below `configs/data`, or a description in place of a name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use reft_core::rng::Seed;

use super::description::{AnswerForm, Description};
use super::labelled::LabelledTask;
use super::{DataKind, Task};
use crate::data::error::DataError;
use crate::data::halves::ValidationHalves;
use crate::data::labels::Labels;
use crate::data::left_out::LeftOut;
use crate::data::own::fault::OwnDataError;
use crate::data::own::portion::SplitRows;
use crate::data::own::rows::RowParts;
use crate::data::own::set::OwnSet;
use crate::data::own::spec::{ChoiceTexts, DataSpec};
use crate::data::row::Row;
use crate::data::source::DataSources;
use crate::data::split::Split;
use crate::score::scoring::{Scoring, ScoringKind};
use crate::settings::file;

/// Where named descriptions lie.
const FOLDER: &str = "configs/data";

/// A user's data set.
pub struct OwnTask {
    name: &'static str,
    file: &'static str,
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
        if super::find(&set.name).is_some() {
            return Err(format!("name: `{}` is a task of this program: give the data set another name", set.name));
        }
        let task = Self::kept(set);
        known.insert(key, task);
        Ok(task)
    }

    /// The task of a description, whatever its name is: for rows that are asked once.
    ///
    /// # Errors
    /// When the description cannot be used, in words.
    pub fn over(spec: DataSpec) -> Result<&'static Self, String> {
        OwnSet::new(spec).map(Self::kept)
    }

    fn kept(set: OwnSet) -> &'static Self {
        let kept = |text: &str| -> &'static str { Box::leak(text.to_owned().into_boxed_str()) };
        let (name, file) = (kept(&set.name), kept(&set.spec.file));
        Box::leak(Box::new(Self { name, file, set }))
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
        self.name
    }

    fn description(&self) -> Description {
        let form = match (&self.set.scoring, &self.set.spec.choices) {
            (Scoring::Number | Scoring::Pearson | Scoring::Spearman, _) => AnswerForm::Number,
            (Scoring::Choices, Some(ChoiceTexts::Each(each))) => AnswerForm::OneOf(each.len()),
            (Scoring::Letter, _) => AnswerForm::OneOf(5),
            (Scoring::Accuracy, _) => match &self.set.spec.classes {
                Some(classes) => AnswerForm::OneOf(classes.len()),
                None => AnswerForm::OneOfSeveral,
            },
            (scoring, _) => match scoring.kind() {
                ScoringKind::Choices | ScoringKind::Classes => AnswerForm::OneOfSeveral,
                ScoringKind::Answers | ScoringKind::Likelihood | ScoringKind::Numbers => AnswerForm::Text,
            },
        };
        Description { title: self.name, column: self.name, about: "a data set of the user's", origin: self.file, form }
    }

    fn scoring(&self) -> &Scoring {
        &self.set.scoring
    }

    /// Its columns are not known before its file is read.
    fn example(&self) -> Row {
        Row::default()
    }

    fn splits(&self, _: DataKind) -> Vec<&'static str> {
        let held = [("dev", &self.set.spec.split.dev), ("test", &self.set.spec.split.test)];
        let held = held.into_iter().filter(|(_, portion)| !portion.is_none()).map(|(name, _)| name);
        ["train"].into_iter().chain(held).collect()
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

    fn own(&self) -> Option<&OwnSet> {
        Some(&self.set)
    }

    fn labelled(&self) -> Option<&dyn LabelledTask> {
        matches!(self.set.parts, RowParts::Labelled { .. }).then_some(self)
    }

    fn as_data(&self) -> Option<DataSpec> {
        Some(self.set.spec.clone())
    }
}

impl LabelledTask for OwnTask {
    fn known(&self) -> Option<Labels> {
        self.set.known_labels()
    }

    fn labels(&self, training: &[Row]) -> Result<Labels, DataError> {
        self.set.labels(training)
    }

    fn has_classes(&self) -> bool {
        self.set.scoring.kind() == ScoringKind::Classes
    }

    fn splits_by_seed(&self) -> bool {
        false
    }

    fn as_labelled(&self) -> DataSpec {
        self.set.spec.clone()
    }

    fn left_out(&self, _: DataKind, sources: &DataSources) -> Result<Vec<LeftOut>, DataError> {
        self.set.left_out(sources)
    }

    /// Without dev rows always: an epoch is chosen by them.
    fn training(&self, _: DataKind, sources: &DataSources) -> Result<Vec<Row>, DataError> {
        self.set.rows(&Split::TrainWithoutDev, sources)
    }

    /// The dev rows are watched, the test rows held.
    fn validation(&self, _: DataKind, sources: &DataSources, _: Seed) -> Result<ValidationHalves, DataError> {
        let SplitRows { dev, test, .. } = self.set.labelled(sources)?;
        if dev.is_empty() {
            let what = "no dev rows are left, by which an epoch is chosen (one row of each class stays in training): give more rows, or \
                        change split.dev; labels that are numbers need score: pearson or spearman";
            return Err(OwnDataError::set(self.name, what).into());
        }
        Ok(ValidationHalves::of(dev, test))
    }
}
