//! A user's data set: its rows, read, checked and dealt out to splits.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::cells::{self, CellRow};
use super::choices::Choices;
use super::column_template::{ColumnTemplate, unknown_column};
use super::fault::OwnDataError;
use super::folder;
use super::portion::{Portion, SplitRows, deal};
use super::rows::RowParts;
use super::spec::{ChoiceTexts, DataSpec, TrainedTurns};
use crate::data::error::DataError;
use crate::data::row::Row;
use crate::data::source::DataSources;
use crate::data::split::Split;
use crate::score::answers;
use crate::score::scoring::{Scoring, ScoringKind};

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
        let parts = parts(&spec)?;
        let scoring = spec.score.clone().unwrap_or(match &parts {
            RowParts::Completion { choices: Some(_), .. } => Scoring::Choices,
            RowParts::Completion { choices: None, .. } | RowParts::Conversation(_) => Scoring::Nll,
            RowParts::Labelled { .. } => Scoring::Accuracy,
        });
        let fits = match &parts {
            RowParts::Completion { choices, .. } => match scoring.kind() {
                ScoringKind::Answers | ScoringKind::Likelihood => true,
                ScoringKind::Choices => choices.is_some(),
                ScoringKind::Classes | ScoringKind::Numbers => false,
            },
            RowParts::Conversation(_) => matches!(scoring.kind(), ScoringKind::Answers | ScoringKind::Likelihood),
            RowParts::Labelled { .. } => matches!(scoring.kind(), ScoringKind::Classes | ScoringKind::Numbers),
        };
        if !fits {
            let needs = match scoring.kind() {
                ScoringKind::Answers | ScoringKind::Likelihood => "prompt and completion, or messages",
                ScoringKind::Choices => "prompt, choices and answer",
                ScoringKind::Classes | ScoringKind::Numbers => "text and label",
            };
            return Err(format!("score: {scoring} needs {needs}: give these, or choose another score"));
        }
        Ok(Self { name: spec.name(), parts, scoring, trained: spec.turns.unwrap_or_default(), spec })
    }

    /// The rows of a split.
    ///
    /// # Errors
    /// When the data is not to be had, a row is not as it should be, or the split has none.
    pub fn rows(&self, split: &Split, sources: &DataSources) -> Result<Vec<Row>, DataError> {
        let SplitRows { train, dev, test } = self.dealt(sources)?;
        if train.is_empty() {
            let what = "no training rows are left once dev and test rows are held out: give more rows, or change split";
            return Err(OwnDataError::set(&self.name, what).into());
        }
        let (rows, key) = match split {
            Split::TrainWithoutDev => (train, "dev"),
            Split::Train if matches!(self.spec.split.dev, Portion::Named(_)) => (train, "test"),
            Split::Train => (train.into_iter().chain(dev).collect(), "test"),
            Split::Dev => (dev, "dev"),
            Split::Test(_) => (test, "test"),
        };
        if rows.is_empty() {
            let name = split.name();
            let what = format!("no {name} rows are left: give more rows, or change split.{key}");
            return Err(OwnDataError::set(&self.name, what).into());
        }
        Ok(rows)
    }

    /// The rows of all splits.
    fn dealt(&self, sources: &DataSources) -> Result<SplitRows, DataError> {
        let path = self.locate(sources)?;
        let splits = &self.spec.split;
        if !path.is_dir() {
            let mut dealt = deal(self.read(std::slice::from_ref(&path), sources)?, &splits.dev, &splits.test);
            for (portion, rows) in [(&splits.dev, &mut dealt.dev), (&splits.test, &mut dealt.test)] {
                if let Portion::Named(name) = portion {
                    *rows = self.read(&[beside(&path, name)], sources)?;
                }
            }
            return Ok(dealt);
        }
        let files = folder::files(&path)?;
        let name = |split: &str, portion: Option<&Portion>| match portion {
            Some(Portion::Named(name)) => Some(name.clone()),
            // Files that say that they are a split's are that split.
            Some(Portion::Part(_) | Portion::Rows(_)) | None => folder::customary(&files, split).map(str::to_owned),
        };
        let train = splits.train.clone().or_else(|| name("train", None));
        let held = [name("dev", Some(&splits.dev)), name("test", Some(&splits.test))];
        let of = |beginning: &str| -> Result<Vec<Row>, DataError> {
            let found: Vec<PathBuf> = folder::named(&files, beginning).into_iter().cloned().collect();
            if found.is_empty() {
                let what = format!("no file begins with `{beginning}`: name the split's files so, or correct split");
                return Err(OwnDataError::file(&path, what).into());
            }
            self.read(&found, sources)
        };
        let learned = if let Some(beginning) = &train {
            of(beginning)?
        } else {
            let is_held =
                |file: &&PathBuf| held.iter().flatten().any(|name| folder::named(&files, name).contains(file));
            let rest: Vec<PathBuf> = files.iter().filter(|file| !is_held(file)).cloned().collect();
            self.read(&rest, sources)?
        };
        let portion =
            |at: usize, portion: &Portion| if held[at].is_some() { Portion::Rows(0) } else { portion.clone() };
        let mut dealt = deal(learned, &portion(0, &splits.dev), &portion(1, &splits.test));
        for (name, rows) in held.iter().zip([&mut dealt.dev, &mut dealt.test]) {
            if let Some(name) = name {
                *rows = of(name)?;
            }
        }
        Ok(dealt)
    }

    /// The rows of some files.
    fn read(&self, files: &[PathBuf], sources: &DataSources) -> Result<Vec<Row>, DataError> {
        for file in files {
            sources.note(&file.display().to_string(), file)?;
        }
        let read = folder::read(files)?;
        let columns = cells::columns(&read);
        for (key, template) in self.parts.templates() {
            if let Some(what) = unknown_column(key, template, &columns) {
                return Err(OwnDataError::file(&read[0].file, what).into());
            }
        }
        let row = |cells: &CellRow| {
            let row = self.parts.row(cells)?;
            self.check(cells, &row)?;
            Ok(row)
        };
        read.par_iter().map(row).collect::<Result<_, OwnDataError>>().map_err(DataError::from)
    }

    /// Refuses an answer that nothing could equal.
    fn check(&self, cells: &CellRow, row: &Row) -> Result<(), OwnDataError> {
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

    /// The file or folder.
    fn locate(&self, sources: &DataSources) -> Result<PathBuf, OwnDataError> {
        let given = Path::new(&self.spec.file);
        let places: Vec<PathBuf> =
            [Path::new("")].into_iter().chain(sources.folders()).map(|folder| folder.join(given)).collect();
        places.iter().find(|place| place.exists()).cloned().ok_or_else(|| {
            OwnDataError::file(given, "there is no such file or folder here, nor in REFT_DATA: check the path")
        })
    }
}

/// A file named beside another, or by a path of its own.
fn beside(file: &Path, name: &str) -> PathBuf {
    let neighbour = file.parent().unwrap_or(Path::new("")).join(name);
    if neighbour.exists() { neighbour } else { PathBuf::from(name) }
}

/// What the rows of a described data set are made of.
fn parts(spec: &DataSpec) -> Result<RowParts, String> {
    let template = |key: &str, source: &str| {
        ColumnTemplate::parse(source).map_err(|reason| format!("{key}: {reason}: correct the template"))
    };
    let optional = |key: &str, source: &Option<String>| source.as_ref().map(|source| template(key, source)).transpose();
    let given = [
        ("prompt", spec.prompt.is_some()),
        ("completion", spec.completion.is_some()),
        ("choices", spec.choices.is_some()),
        ("between", spec.between.is_some()),
        ("answer", spec.answer.is_some()),
        ("messages", spec.messages.is_some()),
        ("turns", spec.turns.is_some()),
        ("text", spec.text.is_some()),
        ("pair", spec.pair.is_some()),
        ("label", spec.label.is_some()),
    ];
    let only = |allowed: &[&str]| match given.iter().find(|(key, there)| *there && !allowed.contains(key)) {
        Some((key, _)) => Err(format!("{key}: does not go with {}: leave one of them out", allowed[0])),
        None => Ok(()),
    };
    match (&spec.prompt, &spec.messages, &spec.text) {
        (Some(prompt), ..) => {
            only(&["prompt", "completion", "choices", "between", "answer"])?;
            let choices = match &spec.choices {
                None => None,
                Some(ChoiceTexts::Column(column)) => Some(Choices::Column(template("choices", column)?)),
                Some(ChoiceTexts::Each(each)) => {
                    // A choice without braces is a text of its own, not a column: `[" no", " yes"]`.
                    let each = each.iter().map(|source| {
                        ColumnTemplate::literal_or_parse(source).map_err(|reason| format!("choices: {reason}"))
                    });
                    Some(Choices::Each(each.collect::<Result<_, _>>()?))
                }
            };
            let (completion, answer) = (optional("completion", &spec.completion)?, optional("answer", &spec.answer)?);
            if completion.is_none() && (choices.is_none() || answer.is_none()) {
                return Err(
                    "completion: missing: write what the model learns to say, such as \"{{ answer }}\"".to_owned()
                );
            }
            let between = spec.between.clone().unwrap_or_else(|| " ".to_owned());
            Ok(RowParts::Completion { prompt: template("prompt", prompt)?, completion, choices, between, answer })
        }
        (None, Some(messages), _) => {
            only(&["messages", "turns"])?;
            Ok(RowParts::Conversation(template("messages", messages)?))
        }
        (None, None, Some(text)) => {
            only(&["text", "pair", "label"])?;
            let label = optional("label", &spec.label)?.ok_or("label: missing: name the column of labels")?;
            Ok(RowParts::Labelled { text: template("text", text)?, pair: optional("pair", &spec.pair)?, label })
        }
        (None, None, None) => {
            Err("prompt: missing: give prompt and completion, or messages, or text and label".to_owned())
        }
    }
}

#[cfg(test)]
mod tests;
