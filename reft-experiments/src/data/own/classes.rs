//! The labels of a user's rows: classes that are listed or found in the training rows, or numbers.

use super::cells::{self, CellRow};
use super::fault::OwnDataError;
use super::place::Place;
use super::portion::SplitRows;
use super::set::OwnSet;
use super::spec::DataSpec;
use super::split_files::SplitFiles;
use crate::data::labels::Labels;
use crate::data::row::Row;
use crate::data::source::{DataError, DataSources};
use crate::score::scoring::{Scoring, ScoringKind};
use crate::suggest::did_you_mean;

/// More classes than this are surely numbers, if all of them are numbers.
const MOST_NUMBERS: usize = 50;

/// Names of classes in a message.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

/// Refuses classes that cannot be meant.
pub(super) fn check(spec: &DataSpec, scoring: &Scoring) -> Result<(), String> {
    let Some(classes) = &spec.classes else { return Ok(()) };
    if scoring.kind() == ScoringKind::Numbers {
        return Err(format!("classes: score: {scoring} is of numbers: leave classes out, or choose another score"));
    }
    let twice = (1..classes.len()).find(|&at| classes[..at].contains(&classes[at]));
    match twice {
        Some(at) => Err(format!("classes: `{}` is listed twice: leave one out", classes[at].0)),
        None if classes.len() < 2 => Err("classes: fewer than two: list every class, or leave it out".to_owned()),
        None => Ok(()),
    }
}

/// Refuses a label that is none of the listed classes.
pub(super) fn check_row(spec: &DataSpec, cells: &CellRow, row: &Row) -> Result<(), OwnDataError> {
    let Some(classes) = &spec.classes else { return Ok(()) };
    if classes.iter().any(|class| class.0 == row.answer) {
        return Ok(());
    }
    let names = || classes.iter().map(|class| class.0.as_str());
    Err(cells.fault(format!(
        "the label `{}` is none of the classes {}{}: correct it, take the row out, or add it to classes",
        row.answer,
        listed(names()),
        did_you_mean(&row.answer, names())
    )))
}

impl OwnSet {
    /// The labels, where they are known without the rows.
    pub fn known_labels(&self) -> Option<Labels> {
        match (self.scoring.kind(), &self.spec.classes) {
            (ScoringKind::Numbers, _) => Some(Labels::Number),
            (_, Some(classes)) => Some(Labels::classes(classes.iter().map(|class| class.0.clone()))),
            (_, None) => None,
        }
    }

    /// The labels, found in the training rows where they are not known.
    ///
    /// # Errors
    /// When the rows have fewer than two classes, or so many that they are surely numbers.
    pub fn labels(&self, training: &[Row]) -> Result<Labels, DataError> {
        if let Some(known) = self.known_labels() {
            return Ok(known);
        }
        let labels = Labels::among(training.iter().map(|row| row.answer.as_str()));
        let Labels::Classes(names) = labels else { return Ok(labels) };
        let fault = |what: String| Err(OwnDataError::set(&self.name, what).into());
        match names {
            [] | [_] => fault(format!(
                "every training row has the label `{}`: give rows of another class too, or change split",
                listed(names.iter().copied())
            )),
            _ if names.len() > MOST_NUMBERS && names.iter().all(|name| name.parse::<f64>().is_ok()) => fault(format!(
                "label has {} different numbers: set score: pearson to learn numbers, or list them in classes",
                names.len()
            )),
            _ => Ok(labels),
        }
    }

    /// The rows of every split, whose labels are all among those that are learned.
    ///
    /// # Errors
    /// When the data is not to be had, a row is not as it should be, or a row that is held out has a class that no training
    /// row has.
    pub fn labelled(&self, sources: &DataSources) -> Result<SplitRows, DataError> {
        let dealt = self.dealt(sources)?;
        let labels = self.labels(&dealt.train)?;
        for (split, rows) in [("dev", &dealt.dev), ("test", &dealt.test)] {
            if let Some(row) = rows.iter().find(|row| labels.target(&row.answer).is_none()) {
                return Err(self.unseen(split, row, labels, sources)?.into());
            }
        }
        Ok(dealt)
    }

    /// The fault of a row whose class no training row has. The row is looked for in its file again.
    fn unseen(&self, split: &str, row: &Row, labels: Labels, sources: &DataSources) -> Result<OwnDataError, DataError> {
        let what = format!(
            "this {split} row has the label `{}`, which no training row has ({}): give training rows of it, or list all of \
             them in classes",
            row.answer,
            labels.describe()
        );
        let nameless = Row { place: String::new(), ..row.clone() };
        let same = |cells: &CellRow| self.parts.row(cells).is_ok_and(|found| found == nameless);
        let SplitFiles { train, dev, test } =
            SplitFiles::of(&Place::find(&self.spec.file, sources)?, &self.spec.split)?;
        let files = [Some(train), dev, test].into_iter().flatten().flatten();
        let cells = files.filter_map(|file| cells::read(&file).ok()).flatten().find(same);
        Ok(cells.map_or_else(|| OwnDataError::set(&self.name, what.as_str()), |cells| cells.fault(what.as_str())))
    }
}
