//! GLUE (tables 4, 13 and 16): sentences and pairs of sentences to be classified or scored by an encoder.

use super::embedded::{self, Generate};
use super::{DataKind, Task};
use crate::data::halves::{self, Halves, Watched};
use crate::data::labelled::Target;
use crate::data::row::Row;
use crate::data::source::{DataError, Sources};
use crate::data::split::{Selection, Split};
use crate::data::table::{self, Column, Layout};
use crate::score::metric::Metric;
use reft_core::rng::Seed;

/// What the rows of a task are.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Labels {
    /// These classes, by the names in the published files, in the order of Hugging Face's copies.
    Classes(&'static [&'static str]),
    /// A score from 0 to this.
    Score(f64),
}

impl Labels {
    /// What a label says; none where it is not one of the task's.
    pub fn target(self, label: &str) -> Option<Target> {
        match self {
            Self::Classes(names) => names.iter().position(|name| *name == label).map(|at| Target::Class(at as i64)),
            Self::Score(most) => {
                let score = label.parse::<f64>().ok().filter(|score| (0.0..=most).contains(score));
                score.map(Target::Score)
            }
        }
    }

    /// An answer in the words of the published files.
    pub fn name(self, target: Target) -> String {
        match (self, target) {
            (Self::Classes(names), Target::Class(class)) => names[class as usize].to_owned(),
            (Self::Classes(_) | Self::Score(_), target) => format!("{:.3}", target.number()),
        }
    }

    /// Outputs of a head: one a class, or one for a score.
    pub fn outputs(self) -> i64 {
        match self {
            Self::Classes(names) => names.len() as i64,
            Self::Score(_) => 1,
        }
    }

    /// In words.
    fn describe(self) -> String {
        match self {
            Self::Classes(names) => format!("the classes {}", names.join(", ")),
            Self::Score(most) => format!("scores from 0 to {most}"),
        }
    }
}

/// One task.
pub struct Glue {
    key: &'static str,
    /// Its folder in GLUE's archive.
    folder: &'static str,
    /// The text or the two texts, then the label.
    layout: Layout,
    /// What the rows are.
    pub labels: Labels,
    /// What it is measured by in the paper.
    pub metric: Metric,
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
const fn named(columns: &'static [Column]) -> Layout {
    Layout { columns, width: 0, broken: 0 }
}

const PAIR: Layout = named(&[Column::Named("sentence1"), Column::Named("sentence2"), Column::Named("label")]);

/// What most tasks have in common.
const COMMON: Glue = Glue {
    key: "",
    folder: "",
    layout: PAIR,
    labels: BINARY,
    metric: Metric::Accuracy,
    watched: Watched::Half,
    validation: "dev",
    embedded: None,
};

/// `cola`: is a sentence acceptable English?
pub static COLA: Glue = Glue {
    key: "cola",
    folder: "CoLA",
    layout: Layout { columns: &[Column::At(3), Column::At(1)], width: 4, broken: 0 },
    metric: Metric::Matthews,
    embedded: Some(embedded::glue::acceptability),
    ..COMMON
};
/// `sst2`: is a phrase about a film positive?
pub static SST2: Glue = Glue {
    key: "sst2",
    folder: "SST-2",
    layout: named(&[Column::Named("sentence"), Column::Named("label")]),
    embedded: Some(embedded::glue::sentiment),
    ..COMMON
};
/// `mrpc`: do two sentences say the same?
pub static MRPC: Glue = Glue {
    key: "mrpc",
    folder: "MRPC",
    layout: named(&[Column::Named("#1 String"), Column::Named("#2 String"), Column::Named("Quality")]),
    embedded: Some(embedded::glue::paraphrase),
    ..COMMON
};
/// `qqp`: do two questions ask the same? The published training file has 24 lines that lack columns.
pub static QQP: Glue = Glue {
    key: "qqp",
    folder: "QQP",
    layout: Layout {
        columns: &[Column::Named("question1"), Column::Named("question2"), Column::Named("is_duplicate")],
        width: 0,
        broken: 24,
    },
    watched: Watched::Rows(1000),
    ..COMMON
};
/// `stsb`: how similar are two sentences?
pub static STSB: Glue = Glue {
    key: "stsb",
    folder: "STS-B",
    layout: named(&[Column::Named("sentence1"), Column::Named("sentence2"), Column::Named("score")]),
    labels: Labels::Score(5.0),
    metric: Metric::Pearson,
    embedded: Some(embedded::glue::similarity),
    ..COMMON
};
/// `mnli`: does a sentence follow from another, or contradict it? Matched validation rows only, as in the paper.
pub static MNLI: Glue = Glue {
    key: "mnli",
    folder: "MNLI",
    layout: named(&[Column::Named("sentence1"), Column::Named("sentence2"), Column::Named("gold_label")]),
    labels: Labels::Classes(&["entailment", "neutral", "contradiction"]),
    watched: Watched::Rows(1000),
    validation: "dev_matched",
    ..COMMON
};
/// `qnli`: does a sentence answer a question?
pub static QNLI: Glue = Glue {
    key: "qnli",
    folder: "QNLI",
    layout: named(&[Column::Named("question"), Column::Named("sentence"), Column::Named("label")]),
    labels: ENTAILMENT,
    watched: Watched::Rows(1000),
    ..COMMON
};
/// `rte`: does a sentence follow from another?
pub static RTE: Glue =
    Glue { key: "rte", folder: "RTE", labels: ENTAILMENT, embedded: Some(embedded::glue::inference), ..COMMON };
/// `wnli`: does a sentence with its pronoun replaced follow? Not in the paper's tables.
pub static WNLI: Glue = Glue { key: "wnli", folder: "WNLI", ..COMMON };

impl Glue {
    /// The rows to learn from.
    ///
    /// # Errors
    /// When the data is not to be had, or damaged.
    pub fn training(&self, kind: DataKind, sources: &Sources) -> Result<Vec<Row>, DataError> {
        match kind {
            DataKind::Embedded => self.made(&[Split::Train]),
            DataKind::Real => self.file("train", sources),
        }
    }

    /// The validation rows, split by a run's seed.
    ///
    /// # Errors
    /// When the data is not to be had or damaged, or one part would be empty.
    pub fn validation(&self, kind: DataKind, sources: &Sources, seed: Seed) -> Result<Halves, DataError> {
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

    /// What a row is. Rows were checked when they were read.
    pub fn target(&self, row: &Row) -> Target {
        self.labels.target(&row.answer).expect("a label that was checked")
    }

    fn made(&self, splits: &[Split]) -> Result<Vec<Row>, DataError> {
        let remedy = "it has no embedded rows; set data.source: real";
        let none = || DataError::NoRows { task: self.key, split: "embedded", remedy };
        let generate = self.embedded.ok_or_else(none)?;
        Ok(splits.iter().flat_map(|split| embedded::pairs(self.key, generate, split)).collect())
    }

    fn file(&self, name: &str, sources: &Sources) -> Result<Vec<Row>, DataError> {
        let how = format!("GLUE's {} is on https://gluebenchmark.com/tasks", self.folder);
        let path = sources.file(&format!("glue_data/{}/{name}.tsv", self.folder), &how)?;
        let row = |record: table::Record| {
            let mut fields = record.fields.into_iter();
            let (first, second, third) = (fields.next(), fields.next(), fields.next());
            let (input, label) = match third {
                Some(label) => (second.unwrap_or_default(), label),
                None => (String::new(), second.unwrap_or_default()),
            };
            if self.labels.target(&label).is_none() {
                let (task, known) = (self.key, self.labels.describe());
                return Err(DataError::Label { path: path.clone(), line: record.line, label, task, known });
            }
            Ok(Row { instruction: first.unwrap_or_default(), input, output: String::new(), answer: label })
        };
        table::read(&path, &self.layout)?.into_iter().map(row).collect()
    }
}

impl Task for Glue {
    fn key(&self) -> &'static str {
        self.key
    }

    fn rows(&self, kind: DataKind, split: &Split, sources: &Sources) -> Result<Vec<Row>, DataError> {
        match split {
            Split::Train | Split::TrainWithoutDev => self.training(kind, sources),
            Split::Dev | Split::Test(_) => {
                let remedy = "a run splits its validation rows by its seed: use `reft train` with an encoder";
                Err(DataError::NoRows { task: self.key, split: split.name(), remedy })
            }
        }
    }

    fn prompt(&self, row: &Row) -> String {
        [row.instruction.as_str(), row.input.as_str()].join("\n").trim_end().to_owned()
    }

    fn completion(&self, row: &Row) -> String {
        row.answer.clone()
    }

    fn extract(&self, said: &str) -> String {
        said.trim().to_owned()
    }

    fn glue(&self) -> Option<&'static Glue> {
        TASKS.iter().copied().find(|task| task.key == self.key)
    }
}

/// Every task of GLUE.
static TASKS: [&Glue; 9] = [&COLA, &SST2, &MRPC, &QQP, &STSB, &MNLI, &QNLI, &RTE, &WNLI];

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with these lines as a task's files.
    fn sources(task: &Glue, lines: &str) -> (tempfile::TempDir, Sources) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let place = folder.path().join("glue_data").join(task.folder);
        std::fs::create_dir_all(&place).expect("writable");
        for name in ["train", task.validation] {
            std::fs::write(place.join(format!("{name}.tsv")), lines).expect("writable");
        }
        let sources = Sources::local(folder.path());
        (folder, sources)
    }

    /// A line that says the same in every layout, with this label.
    fn lines(task: &Glue, labels: &[&str]) -> String {
        let named = |column: &Column| match column {
            Column::Named(name) => (*name).to_owned(),
            Column::At(_) => String::new(),
        };
        let columns = task.layout.columns;
        let header = match task.layout.width {
            // Columns that nobody asks for come first, as in the published files.
            0 => format!("index\t{}\n", columns.iter().map(named).collect::<Vec<_>>().join("\t")),
            _ => String::new(),
        };
        let row = |label: &&str| match (task.layout.width, columns.len()) {
            (0, 2) => format!("7\tsaid \"so\t{label}\n"),
            (0, _) => format!("7\tsaid \"so\tthen this\t{label}\n"),
            _ => format!("gj04\t{label}\t*\tsaid \"so\n"),
        };
        header + &labels.iter().map(row).collect::<String>()
    }

    #[test]
    fn every_task_reads_its_published_layout() {
        for task in TASKS {
            let labels: &[&str] = match task.labels {
                Labels::Classes(names) => names,
                Labels::Score(_) => &["0.000", "3.8", "5"],
            };
            let (_folder, sources) = sources(task, &lines(task, labels));
            let rows = task.training(DataKind::Real, &sources).expect(task.key);
            assert_eq!(rows.iter().map(|row| row.answer.as_str()).collect::<Vec<_>>(), labels, "{}", task.key);
            assert!(rows.iter().all(|row| row.instruction == "said \"so"), "{}: {rows:?}", task.key);
            let pair = task.layout.columns.len() == 3;
            assert!(rows.iter().all(|row| row.input == if pair { "then this" } else { "" }), "{}", task.key);
            let outputs = if task.labels.outputs() == 1 { 3 } else { task.labels.outputs() };
            assert_eq!(outputs as usize, labels.len());
            let halves = task.validation(DataKind::Real, &sources, Seed(1)).expect(task.key);
            assert_eq!(halves.watched.len() + halves.held.count(), labels.len());
        }
    }

    #[test]
    fn wrong_files_are_answered_with_one_line_that_names_place_and_remedy() {
        let check = |task: &Glue, text: &str, parts: &[&str]| {
            let (_folder, sources) = sources(task, text);
            let error = task.validation(DataKind::Real, &sources, Seed(1)).expect_err("refused").to_string();
            assert_eq!(error.lines().count(), 1, "{error}");
            for part in parts {
                assert!(error.contains(part), "`{part}` is not in: {error}");
            }
        };
        check(&COLA, &lines(&COLA, &["1", "2"]), &["dev.tsv:2", "label `2`", "cola", "the classes 0, 1"]);
        check(&RTE, &lines(&RTE, &["entailment", "not_entailm"]), &["dev.tsv:3", "`not_entailm`"]);
        check(&SST2, &lines(&SST2, &["1", "3.8"]), &["dev.tsv:3", "`3.8`", "the classes 0, 1"]);
        check(&STSB, &lines(&STSB, &["3.8", "good"]), &["`good`", "scores from 0 to 5"]);
        check(&STSB, &lines(&STSB, &["3.8", "5.5"]), &["`5.5`", "scores from 0 to 5"]);
        check(&STSB, &lines(&STSB, &["3.8", "nan"]), &["`nan`", "scores from 0 to 5"]);
        let truncated = lines(&MRPC, &["1", "0"]);
        check(&MRPC, &truncated[..truncated.len() - 13], &["dev.tsv:3: 2 of 4 columns", "truncated", "copy it again"]);
        check(&COLA, "gj04\t1\n", &["dev.tsv:1: 2 of 4 columns"]);
        check(&QNLI, &lines(&QNLI, &[]), &["dev.tsv", "no rows"]);
        check(&QNLI, "", &["dev.tsv:1", "no column `question`"]);
        check(&QNLI, &lines(&RTE, &["entailment"]), &["no column `question` among index, sentence1"]);
        check(&WNLI, &lines(&WNLI, &["1"]), &["wnli", "at least one"]);
        let broken = lines(&QQP, &["1", "0"]) + &"7\tsaid\n".repeat(25);
        check(&QQP, &broken, &["dev.tsv:28: 2 of 4 columns"]);
    }

    #[test]
    fn missing_data_says_how_to_get_it_and_test_rows_have_no_other_door() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let sources = Sources::local(folder.path());
        let error = QNLI.training(DataKind::Real, &sources).expect_err("missing").to_string();
        for part in ["glue_data/QNLI/train.tsv", "GLUE's QNLI", "gluebenchmark.com", "REFT_DATA"] {
            assert!(error.contains(part), "`{part}` is not in: {error}");
        }
        let test = Split::Test(Selection { chosen_by: "a test".to_owned() });
        for split in [Split::Dev, test] {
            let error = COLA.rows(DataKind::Embedded, &split, &sources).expect_err("refused").to_string();
            assert!(error.contains("splits its validation rows by its seed"), "{error}");
        }
        let error = QQP.training(DataKind::Embedded, &sources).expect_err("none").to_string();
        assert!(error.contains("data.source: real"), "{error}");
    }
}
