//! A user's data set: its rows, read, checked and dealt out to splits.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use rayon::prelude::*;

use super::cell_row::CellRow;
use super::cells;
use super::classes;
use super::column_template::unknown_column;
use super::fault::OwnDataError;
use super::folder;
use super::place::Place;
use super::portion::{Portion, SplitRows, deal};
use super::rows::RowParts;
use super::spec::{DataSpec, TrainedTurns};
use super::split_files::SplitFiles;
use crate::data::error::DataError;
use crate::data::left_out::LeftOut;
use crate::data::row::Row;
use crate::data::source::DataSources;
use crate::data::split::Split;
use crate::score::answers;
use crate::score::scoring::{Scoring, ScoringKind};

/// How many rows each split of a data set has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SplitSizes {
    /// To train on.
    pub train: usize,
    /// To choose by.
    pub dev: usize,
    /// To report.
    pub test: usize,
    /// Training rows by class; empty where rows have none.
    pub classes: BTreeMap<String, usize>,
}

impl fmt::Display for SplitSizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Classes that are named.
        const NAMED: usize = 20;
        let Self { train, dev, test, classes } = self;
        write!(f, "{train} rows to train on, {dev} dev, {test} test")?;
        if !classes.is_empty() {
            let named: Vec<String> =
                classes.iter().take(NAMED).map(|(class, rows)| format!("`{class}` {rows}")).collect();
            let more = if classes.len() > NAMED { ", .." } else { "" };
            write!(f, "; {} classes: {}{more}", classes.len(), named.join(", "))?;
        }
        Ok(())
    }
}

/// A data set that a configuration describes.
#[derive(Clone, PartialEq, Debug)]
pub struct OwnSet {
    /// Its name.
    pub name: String,
    /// The description.
    pub spec: DataSpec,
    /// What rows are made of.
    pub parts: RowParts,
    /// How answers are scored.
    pub scoring: Scoring,
    /// Which turns of a conversation are trained on.
    pub trained: TrainedTurns,
}

impl OwnSet {
    /// A data set as it is described.
    ///
    /// # Errors
    /// When keys are missing or contradict each other, or a template is not valid, in words that begin with the key.
    pub fn new(spec: DataSpec) -> Result<Self, String> {
        if spec.file.is_empty() {
            return Err("file: missing: name a file or a folder".to_owned());
        }
        let parts = RowParts::of(&spec)?;
        let scoring = spec.score.clone().unwrap_or_else(|| parts.usual_score());
        if !parts.fit(scoring.kind()) {
            let needs = match scoring.kind() {
                ScoringKind::Answers | ScoringKind::Likelihood => "prompt and completion, or messages",
                ScoringKind::Choices => "prompt, choices and answer",
                ScoringKind::Classes | ScoringKind::Numbers => "text and label",
            };
            return Err(format!("score: {scoring} needs {needs}: give these, or choose another score"));
        }
        classes::check(&spec, &scoring)?;
        if spec.split.stratify == Some(true) && scoring.kind() != ScoringKind::Classes {
            return Err("split.stratify: these rows have no classes: leave it out".to_owned());
        }
        Ok(Self { name: spec.name(), parts, scoring, trained: spec.turns.unwrap_or_default(), spec })
    }

    /// Whether its rows have classes.
    fn has_classes(&self) -> bool {
        self.scoring.kind() == ScoringKind::Classes
    }

    /// The rows of a split.
    ///
    /// # Errors
    /// When the data is not to be had, a row is not as it should be, or the split has none.
    pub fn rows(&self, split: &Split, sources: &DataSources) -> Result<Vec<Row>, DataError> {
        let SplitRows { train, dev, test } = self.dealt(sources)?;
        let (held, all) = ([dev.len(), test.len()], train.len() + dev.len() + test.len());
        let (rows, key) = match split {
            Split::TrainWithoutDev => (train, "dev"),
            Split::Train if matches!(self.spec.split.dev, Portion::Named(_)) => (train, "test"),
            Split::Train => (train.into_iter().chain(dev).collect(), "test"),
            Split::Dev => (dev, "dev"),
            Split::Test(_) => (test, "test"),
        };
        if rows.is_empty() {
            let what = match split {
                Split::Train | Split::TrainWithoutDev => {
                    format!(
                        "no training rows are left once {} dev and {} test rows of {all} are held out: give more rows, or change split",
                        held[0], held[1]
                    )
                }
                Split::Dev | Split::Test(_) => {
                    let of_classes = if self.has_classes() {
                        " (one row of each class stays in training; labels that are numbers need score: pearson)"
                    } else {
                        ""
                    };
                    format!(
                        "no {} rows are left: give more rows, or change split.{key}{of_classes}; rows with the same question stay in one \
                         split",
                        split.name()
                    )
                }
            };
            return Err(OwnDataError::set(&self.name, what).into());
        }
        Ok(rows)
    }

    /// In words, which files of its folder are which split's, and which are not read; nothing of what is no folder, or is trained on whole.
    ///
    /// # Errors
    /// When the data is not to be had.
    pub fn split_files(&self, sources: &DataSources) -> Result<Option<String>, DataError> {
        let place = Place::find(&self.spec.file, sources)?;
        let Place::Folder(folder, files) = &place else { return Ok(None) };
        Ok(SplitFiles::of(&place, &self.spec.split)?.describe(folder, files))
    }

    /// Which of dev and test have files of their own, whatever `split` says of their number of rows.
    ///
    /// # Errors
    /// When the data is not to be had.
    pub fn held_by_files(&self, sources: &DataSources) -> Result<Vec<&'static str>, DataError> {
        let SplitFiles { dev, test, .. } = SplitFiles::of(&Place::find(&self.spec.file, sources)?, &self.spec.split)?;
        let splits = [("dev", dev, &self.spec.split.dev), ("test", test, &self.spec.split.test)];
        let by_name = |(split, files, portion): (&'static str, Option<_>, &Portion)| {
            (files.is_some() && !matches!(portion, Portion::Named(_))).then_some(split)
        };
        Ok(splits.into_iter().filter_map(by_name).collect())
    }

    /// How many rows each split has.
    ///
    /// # Errors
    /// When the data is not to be had, or a row is not as it should be.
    pub fn sizes(&self, sources: &DataSources) -> Result<SplitSizes, DataError> {
        let labelled = matches!(self.parts, RowParts::Labelled { .. });
        let SplitRows { train, dev, test } = if labelled { self.labelled(sources)? } else { self.dealt(sources)? };
        let named = self.spec.classes.iter().flatten();
        let mut classes: BTreeMap<String, usize> = named.map(|class| (class.0.clone(), 0)).collect();
        if self.has_classes() {
            for row in &train {
                *classes.entry(row.answer.clone()).or_insert(0) += 1;
            }
        }
        Ok(SplitSizes { train: train.len(), dev: dev.len(), test: test.len(), classes })
    }

    /// The files of its folder that hold no rows; nothing of what is no folder.
    ///
    /// # Errors
    /// When the data is not to be had.
    pub fn left_out(&self, sources: &DataSources) -> Result<Vec<LeftOut>, DataError> {
        let Place::Folder(place, _) = Place::find(&self.spec.file, sources)? else { return Ok(Vec::new()) };
        let files = folder::others(&place)?;
        Ok(if files.is_empty() { Vec::new() } else { vec![LeftOut { file: place, lines: Vec::new(), files }] })
    }

    /// The rows of all splits.
    pub(super) fn dealt(&self, sources: &DataSources) -> Result<SplitRows, DataError> {
        let place = Place::find(&self.spec.file, sources)?;
        let files = SplitFiles::of(&place, &self.spec.split)?;
        let portion = |portion: &Portion, held: &Option<Vec<PathBuf>>| match held {
            Some(_) => Portion::Rows(0),
            None => portion.clone(),
        };
        let splits = &self.spec.split;
        let learned = self.read(&place, &files.train, sources)?;
        let class: fn(&Row) -> &str = |row| &row.answer;
        let class = splits.stratify.unwrap_or(self.has_classes()).then_some(class);
        let [dev, test] = [portion(&splits.dev, &files.dev), portion(&splits.test, &files.test)];
        let mut dealt = deal(learned, &dev, &test, class);
        for (files, rows) in [(&files.dev, &mut dealt.dev), (&files.test, &mut dealt.test)] {
            if let Some(files) = files {
                *rows = self.read(&place, files, sources)?;
            }
        }
        Ok(dealt)
    }

    /// The rows of some files.
    fn read(&self, place: &Place, files: &[PathBuf], sources: &DataSources) -> Result<Vec<Row>, DataError> {
        let mut read = Vec::new();
        for file in files {
            place.fetch(file, sources)?;
            read.extend(cells::read(file)?);
        }
        let columns = cells::columns(&read);
        for (key, template) in self.parts.templates() {
            if let (Some(what), Some(first)) = (unknown_column(key, template, &columns), read.first()) {
                return Err(OwnDataError::file(&first.file, what).into());
            }
        }
        let row = |cells: &CellRow| {
            let row = self.parts.row(cells)?;
            self.check(cells, &row)?;
            Ok(Row { place: cells.name(), ..row })
        };
        // The first row that is wrong is named, whichever is found first.
        let rows: Vec<Result<Row, OwnDataError>> = read.par_iter().map(row).collect();
        rows.into_iter().collect::<Result<_, _>>().map_err(DataError::from)
    }

    /// Refuses an answer that nothing could equal, and a label that is no class.
    pub(super) fn check(&self, cells: &CellRow, row: &Row) -> Result<(), OwnDataError> {
        classes::check_row(&self.spec, cells, row)?;
        let lacks = match &self.scoring {
            Scoring::Number if answers::number(&row.answer).is_none() => "number",
            Scoring::Letter if answers::letter(&row.answer).is_empty() => "letter A to E",
            Scoring::Pearson | Scoring::Spearman if !row.answer.parse::<f64>().is_ok_and(f64::is_finite) => "number",
            _ => return Ok(()),
        };
        let shown: String = row.answer.chars().take(40).collect();
        Err(cells.fault(format!(
            "the answer `{shown}` has no {lacks}, which score: {} compares: correct it, or take the row out",
            self.scoring
        )))
    }
}

#[cfg(test)]
mod tests;
