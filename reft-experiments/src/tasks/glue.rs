//! GLUE (tables 4, 13 and 16): sentences and pairs of sentences to be classified or scored by an encoder.

mod files;

use super::description::{AnswerForm, Description};
use super::embedded::{self, Generate};
use super::labelled::LabelledTask;
use super::{DataKind, Task};
use crate::data::error::DataError;
use crate::data::halves::{self, ValidationHalves, Watched};
use crate::data::labels::Labels;
use crate::data::left_out::LeftOut;
use crate::data::own::spec::DataSpec;
use crate::data::row::Row;
use crate::data::source::DataSources;
use crate::data::split::{Selection, Split};
use crate::data::table::{Column, TableLayout, UnevenLines};
use crate::score::metric::Metric;
use crate::score::scoring::Scoring;
use reft_core::rng::Seed;

/// One task.
pub struct Glue {
    key: &'static str,
    /// As its authors write it.
    title: &'static str,
    /// What has to be said of its texts.
    about: &'static str,
    /// Its folder in GLUE's archive.
    folder: &'static str,
    /// The text or the two texts, then the label.
    layout: TableLayout,
    /// The text or the two texts in the hub's files, whose folders have the tasks' keys as names.
    texts: &'static [&'static str],
    /// What the rows are.
    pub labels: Labels,
    /// What a causal model says for each class; the class's name where there are none.
    words: &'static [&'static str],
    /// What it is measured by in the paper, and what epochs are chosen by.
    pub metric: Metric,
    /// What GLUE's own protocol reports beside it.
    pub second: Option<Metric>,
    /// The validation rows that are watched while training.
    pub watched: Watched,
    /// The file of validation rows.
    validation: &'static str,
    /// Makes rows like its; none for a real set only.
    embedded: Option<Generate>,
}

const BINARY: Labels = Labels::Classes(&["0", "1"]);
const ENTAILMENT: Labels = Labels::Classes(&["entailment", "not_entailment"]);

/// A file with a line of names.
const fn named(columns: &'static [Column]) -> TableLayout {
    TableLayout { columns, width: 0, uneven: UnevenLines::Refused }
}

const PAIR: TableLayout = named(&[Column::Named("sentence1"), Column::Named("sentence2"), Column::Named("label")]);

/// What most tasks have in common.
const COMMON: Glue = Glue {
    key: "",
    title: "",
    about: "",
    folder: "",
    layout: PAIR,
    texts: &["sentence1", "sentence2"],
    labels: BINARY,
    words: &[],
    metric: Metric::Accuracy,
    second: None,
    watched: Watched::Half,
    validation: "dev",
    embedded: None,
};

/// `cola`: is a sentence acceptable English?
pub static COLA: Glue = Glue {
    key: "cola",
    title: "CoLA",
    about: "whether a sentence is acceptable English",
    folder: "CoLA",
    layout: TableLayout { columns: &[Column::At(3), Column::At(1)], width: 4, uneven: UnevenLines::Refused },
    texts: &["sentence"],
    metric: Metric::Matthews,
    embedded: Some(embedded::glue::acceptability),
    words: &["unacceptable", "acceptable"],
    ..COMMON
};
/// `sst2`: is a phrase about a film positive?
pub static SST2: Glue = Glue {
    key: "sst2",
    title: "SST-2",
    about: "whether a phrase about a film is positive",
    folder: "SST-2",
    layout: named(&[Column::Named("sentence"), Column::Named("label")]),
    texts: &["sentence"],
    embedded: Some(embedded::glue::sentiment),
    words: &["negative", "positive"],
    ..COMMON
};
/// `mrpc`: do two sentences say the same?
pub static MRPC: Glue = Glue {
    key: "mrpc",
    title: "MRPC",
    about: "whether two sentences say the same",
    folder: "MRPC",
    layout: named(&[Column::Named("#1 String"), Column::Named("#2 String"), Column::Named("Quality")]),
    second: Some(Metric::F1),
    embedded: Some(embedded::glue::paraphrase),
    words: &["not_equivalent", "equivalent"],
    ..COMMON
};
/// `qqp`: do two questions ask the same? A few of its published lines are broken in two; the hub's copy lacks these rows.
pub static QQP: Glue = Glue {
    key: "qqp",
    title: "QQP",
    about: "whether two questions ask the same",
    folder: "QQP",
    layout: TableLayout {
        columns: &[Column::Named("question1"), Column::Named("question2"), Column::Named("is_duplicate")],
        width: 0,
        uneven: UnevenLines::LeftOut,
    },
    texts: &["question1", "question2"],
    second: Some(Metric::F1),
    watched: Watched::Rows(1000),
    words: &["not_duplicate", "duplicate"],
    ..COMMON
};
/// `stsb`: how similar are two sentences?
pub static STSB: Glue = Glue {
    key: "stsb",
    title: "STS-B",
    about: "how similar two sentences are, from 0 to 5",
    folder: "STS-B",
    layout: named(&[Column::Named("sentence1"), Column::Named("sentence2"), Column::Named("score")]),
    labels: Labels::Score(5.0),
    metric: Metric::Pearson,
    second: Some(Metric::Spearman),
    embedded: Some(embedded::glue::similarity),
    ..COMMON
};
/// `mnli`: does a sentence follow from another, or contradict it? Matched validation rows only, as in the paper.
pub static MNLI: Glue = Glue {
    key: "mnli",
    title: "MNLI",
    about: "whether a sentence follows from another, contradicts it, or neither",
    folder: "MNLI",
    layout: named(&[Column::Named("sentence1"), Column::Named("sentence2"), Column::Named("gold_label")]),
    texts: &["premise", "hypothesis"],
    labels: Labels::Classes(&["entailment", "neutral", "contradiction"]),
    watched: Watched::Rows(1000),
    validation: "dev_matched",
    ..COMMON
};
/// `qnli`: does a sentence answer a question?
pub static QNLI: Glue = Glue {
    key: "qnli",
    title: "QNLI",
    about: "whether a sentence answers a question",
    folder: "QNLI",
    layout: named(&[Column::Named("question"), Column::Named("sentence"), Column::Named("label")]),
    texts: &["question", "sentence"],
    labels: ENTAILMENT,
    watched: Watched::Rows(1000),
    ..COMMON
};
/// `rte`: does a sentence follow from another?
pub static RTE: Glue = Glue {
    key: "rte",
    title: "RTE",
    about: "whether a sentence follows from another",
    folder: "RTE",
    labels: ENTAILMENT,
    embedded: Some(embedded::glue::inference),
    ..COMMON
};
/// `wnli`: does a sentence with its pronoun replaced follow? Not in the paper's tables.
pub static WNLI: Glue = Glue {
    key: "wnli",
    title: "WNLI",
    about: "whether a sentence with its pronoun replaced follows",
    folder: "WNLI",
    words: &["not_entailment", "entailment"],
    ..COMMON
};

impl Glue {
    /// What a causal model says for a label.
    fn word<'a>(&self, name: &'a str) -> &'a str {
        let Labels::Classes(names) = self.labels else { return name };
        names.iter().zip(self.words).find(|(class, _)| **class == name).map_or(name, |(_, word)| word)
    }

    /// A row of a set that has no embedded ones.
    fn sample(&self) -> Row {
        let Labels::Classes(names) = self.labels else { return Row::default() };
        let texts = ["Why is the sky blue?", "What makes the sky look blue?"].map(str::to_owned);
        let [instruction, input] = texts;
        Row { instruction, input, answer: names[0].to_owned(), ..Row::default() }
    }

    fn made(&self, splits: &[Split]) -> Result<Vec<Row>, DataError> {
        let remedy = "it has no embedded rows; set data.source: real";
        let none = || DataError::NoRows { task: self.key, split: "embedded", remedy };
        let generate = self.embedded.ok_or_else(none)?;
        Ok(splits.iter().flat_map(|split| embedded::pairs(self.key, generate, split)).collect())
    }
}

impl Task for Glue {
    fn key(&self) -> &'static str {
        self.key
    }

    fn description(&self) -> Description {
        let form = match self.labels {
            Labels::Classes(names) => AnswerForm::OneOf(names.len()),
            Labels::Score(_) | Labels::Number => AnswerForm::Number,
        };
        Description { title: self.title, column: self.key, about: self.about, origin: "GLUE", form }
    }

    fn scoring(&self) -> &Scoring {
        self.metric.scoring()
    }

    fn example(&self) -> Row {
        self.embedded.map_or_else(|| self.sample(), |generate| embedded::example(self.key, generate))
    }

    fn splits(&self, kind: DataKind) -> Vec<&'static str> {
        // The watched and the held part of the validation rows.
        let there = kind == DataKind::Real || self.embedded.is_some();
        if there { vec!["train", "dev", "test"] } else { Vec::new() }
    }

    fn rows(&self, kind: DataKind, split: &Split, sources: &DataSources) -> Result<Vec<Row>, DataError> {
        match split {
            Split::Train | Split::TrainWithoutDev => self.training(kind, sources),
            Split::Dev | Split::Test(_) => {
                let remedy = "a run splits its validation rows by its seed: use `reft train`";
                Err(DataError::NoRows { task: self.key, split: split.name(), remedy })
            }
        }
    }

    /// The names of the texts with the texts, as T5 wrote GLUE (Raffel et al. 2020, appendix D), a line each.
    fn prompt(&self, row: &Row) -> String {
        let texts = self.texts.iter().zip([&row.instruction, &row.input]);
        let lines: String = texts.map(|(name, text)| format!("{name}: {text}\n")).collect();
        format!("{}\n{lines}label:\n", self.key)
    }

    /// The label's word.
    fn completion(&self, row: &Row) -> String {
        self.word(&row.answer).to_owned()
    }

    /// The label whose word the first line begins with, by its name in the published files; or the number there.
    fn extract(&self, said: &str) -> String {
        let line = said.trim_start().lines().next().unwrap_or_default();
        match self.labels {
            Labels::Classes(names) => {
                let begins = |name: &&&str| line.to_lowercase().starts_with(&self.word(name).to_lowercase());
                names.iter().filter(begins).max_by_key(|name| self.word(name).len()).map_or("", |name| name).to_owned()
            }
            Labels::Score(_) | Labels::Number => {
                let number = line.split_whitespace().next().unwrap_or_default();
                self.labels.named(number).map_or_else(String::new, |_| number.to_owned())
            }
        }
    }

    fn labelled(&self) -> Option<&dyn LabelledTask> {
        Some(self)
    }
}

impl LabelledTask for Glue {
    fn known(&self) -> Option<Labels> {
        Some(self.labels)
    }

    fn labels(&self, _: &[Row]) -> Result<Labels, DataError> {
        Ok(self.labels)
    }

    fn has_classes(&self) -> bool {
        self.labels.are_classes()
    }

    fn as_labelled(&self) -> DataSpec {
        DataSpec {
            name: Some(self.key.to_owned()),
            text: self.texts.first().map(|name| (*name).to_owned()),
            pair: self.texts.get(1).map(|name| (*name).to_owned()),
            label: Some("label".to_owned()),
            score: Some(self.scoring().clone()),
            ..DataSpec::default()
        }
    }

    fn second(&self) -> Option<Metric> {
        self.second
    }

    fn training(&self, kind: DataKind, sources: &DataSources) -> Result<Vec<Row>, DataError> {
        match kind {
            DataKind::Embedded => self.made(&[Split::Train]),
            DataKind::Real => self.file("train", sources),
        }
    }

    fn validation(&self, kind: DataKind, sources: &DataSources, seed: Seed) -> Result<ValidationHalves, DataError> {
        let rows = match kind {
            DataKind::Embedded => {
                let made = Selection { chosen_by: "made here, split anew by every run's seed".to_owned() };
                self.made(&[Split::Dev, Split::Test(made)])?
            }
            DataKind::Real => self.file(self.validation, sources)?,
        };
        if rows.len() < 2 {
            let remedy = "both parts of the validation rows need at least one: give the whole file";
            return Err(DataError::NoRows { task: self.key, split: "validation", remedy });
        }
        Ok(halves::split(rows, self.watched, seed))
    }

    fn left_out(&self, kind: DataKind, sources: &DataSources) -> Result<Vec<LeftOut>, DataError> {
        self.broken_lines(kind, sources)
    }
}
