//! The rows of a user's labelled data set, with the labels that are learned.

use super::cell_row::CellRow;
use super::cells;
use super::classes::listed;
use super::fault::OwnDataError;
use super::place::Place;
use super::portion::SplitRows;
use super::set::OwnSet;
use super::split_files::SplitFiles;
use crate::data::error::DataError;
use crate::data::labels::Labels;
use crate::data::row::Row;
use crate::data::source::DataSources;
use crate::score::scoring::ScoringKind;

/// More classes than this are surely numbers, if all of them are numbers.
const MOST_NUMBERS: usize = 50;

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
