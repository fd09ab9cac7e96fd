//! The files of a GLUE task: tables in the archive's layout, or parquet files in the hub's.

use std::path::Path;

use super::Glue;
use crate::data::error::DataError;
use crate::data::labels::LabelColumn;
use crate::data::labels::Labels;
use crate::data::left_out::LeftOut;
use crate::data::parquet_error::ParquetError;
use crate::data::parquet_table;
use crate::data::published::{PublishedFiles, PublishedLocation};
use crate::data::row::Row;
use crate::data::source::DataSources;
use crate::data::table::{self, TableRecord, UnevenLines};
use crate::tasks::DataKind;

impl Labels {
    /// A label in the hub's files, where a class is its number, in the words of the published files.
    fn of_hub(self, label: &str) -> Option<String> {
        match self {
            Self::Classes(names) => names.get(label.parse::<usize>().ok()?).map(|name| (*name).to_owned()),
            Self::Score(_) | Self::Number => self.target(label).map(|_| label.to_owned()),
        }
    }

    /// What a parquet file holds them as.
    fn stored(self) -> LabelColumn {
        match self {
            Self::Classes(_) => LabelColumn::Classes,
            Self::Score(_) | Self::Number => LabelColumn::Scores,
        }
    }
}

impl Glue {
    /// Lines of the published files that are known to be broken and were left out.
    ///
    /// # Errors
    /// When the data is not to be had, or damaged.
    pub(super) fn broken_lines(&self, kind: DataKind, sources: &DataSources) -> Result<Vec<LeftOut>, DataError> {
        if kind == DataKind::Embedded || self.layout.uneven == UnevenLines::Refused {
            return Ok(Vec::new());
        }
        let mut all = Vec::new();
        for name in ["train", self.validation] {
            if let PublishedFiles::Table(file) = self.find(name, sources)? {
                let lines = table::read(&file, &self.layout)?.left_out;
                all.extend((!lines.is_empty()).then_some(LeftOut { file, lines, files: Vec::new() }));
            }
        }
        Ok(all)
    }

    /// Where a set is.
    fn find(&self, name: &str, sources: &DataSources) -> Result<PublishedFiles, DataError> {
        let place = PublishedLocation {
            table: format!("glue_data/{}/{name}.tsv", self.folder),
            folder: format!("glue/{}", self.key),
            stem: name.replace("dev", "validation"),
        };
        let cache = sources.folders().last().map(|cache| cache.join("glue").display().to_string()).unwrap_or_default();
        let (folder, key) = (self.folder, self.key);
        let how = format!(
            "GLUE's {folder} is on https://gluebenchmark.com/tasks; or run `hf download nyu-mll/glue --repo-type dataset --include '{key}/*' --local-dir {cache}`"
        );
        place.find(sources, &how)
    }

    /// The rows of a set, such as `train` or `dev`.
    pub(super) fn file(&self, name: &str, sources: &DataSources) -> Result<Vec<Row>, DataError> {
        match self.find(name, sources)? {
            PublishedFiles::Table(path) => {
                sources.note(&format!("glue_data/{}/{name}.tsv", self.folder), &path)?;
                self.table(&path)
            }
            PublishedFiles::Parquet(files) => {
                for path in &files {
                    let file = path.file_name().unwrap_or_default().to_string_lossy();
                    sources.note(&format!("glue/{}/{file}", self.key), path)?;
                }
                let rows = files.iter().map(|path| self.parquet(path)).collect::<Result<Vec<_>, _>>()?.concat();
                if rows.is_empty() { Err(DataError::Empty { path: files[0].clone() }) } else { Ok(rows) }
            }
        }
    }

    fn table(&self, path: &Path) -> Result<Vec<Row>, DataError> {
        let row = |TableRecord { line, mut fields }: TableRecord| {
            let label = fields.pop().unwrap_or_default();
            if self.labels.target(&label).is_none() {
                let (task, known) = (self.key, self.labels.describe());
                return Err(DataError::Label { path: path.to_owned(), line, label, task, known });
            }
            Ok(row(fields, label))
        };
        table::read(path, &self.layout)?.records.into_iter().map(row).collect()
    }

    fn parquet(&self, path: &Path) -> Result<Vec<Row>, ParquetError> {
        let row = |TableRecord { line, mut fields }: TableRecord| {
            let label = fields.pop().unwrap_or_default();
            let (task, known) = (self.key, self.labels.describe());
            let unknown =
                || ParquetError::Label { path: path.to_owned(), row: line, label: label.clone(), task, known };
            let answer = self.labels.of_hub(&label).ok_or_else(unknown)?;
            Ok(row(fields, answer))
        };
        parquet_table::read(path, self.texts, self.labels.stored())?.into_iter().map(row).collect()
    }
}

/// A row of a text or two and its label.
fn row(texts: Vec<String>, answer: String) -> Row {
    let mut texts = texts.into_iter();
    let (instruction, input) = (texts.next().unwrap_or_default(), texts.next().unwrap_or_default());
    Row { instruction, input, answer, ..Row::default() }
}

#[cfg(test)]
mod tests {
    use reft_core::rng::Seed;

    use super::super::{COLA, MNLI, MRPC, QNLI, QQP, RTE, SST2, STSB, WNLI};
    use super::*;
    use crate::data::split::{Selection, Split};
    use crate::data::table::Column;
    use crate::tasks::Task;
    use crate::tasks::labelled::LabelledTask;

    /// A folder with these lines as a task's files.
    fn sources(task: &Glue, lines: &str) -> (tempfile::TempDir, DataSources) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let place = folder.path().join("glue_data").join(task.folder);
        std::fs::create_dir_all(&place).expect("writable");
        for name in ["train", task.validation] {
            std::fs::write(place.join(format!("{name}.tsv")), lines).expect("writable");
        }
        let sources = DataSources::local(folder.path());
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
            // Columns that are not read come first, as in the published files.
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
        for task in [&COLA, &SST2, &MRPC, &QQP, &STSB, &MNLI, &QNLI, &RTE, &WNLI] {
            let labels: &[&str] = match task.labels {
                Labels::Classes(names) => names,
                Labels::Score(_) | Labels::Number => &["0.000", "3.8", "5"],
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
        check(
            &MRPC,
            &truncated[..truncated.len() - 13],
            &["dev.tsv:3: 2 columns instead of 4", "truncated", "copy it again"],
        );
        check(&COLA, "gj04\t1\n", &["dev.tsv:1: 2 columns instead of 4"]);
        check(&QNLI, &lines(&QNLI, &[]), &["dev.tsv", "no rows"]);
        check(&QNLI, "", &["dev.tsv:1", "no column `question`"]);
        check(&QNLI, &lines(&RTE, &["entailment"]), &["no column `question` among index, sentence1"]);
        check(&WNLI, &lines(&WNLI, &["1"]), &["wnli", "at least one"]);
        let broken = lines(&QQP, &["1", "0"]) + "7\tsaid\n" + "7\ta\tb\t1\n";
        check(&QQP, &broken, &["dev.tsv:4: the first of 1 lines of 4 without 4 columns", "copy it again"]);
    }

    #[test]
    fn missing_data_says_how_to_get_it_and_test_rows_have_no_other_door() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let sources = DataSources::local(folder.path());
        let error = QNLI.training(DataKind::Real, &sources).expect_err("missing").to_string();
        for part in
            ["glue_data/QNLI/train.tsv or glue/qnli/train-*.parquet", "GLUE's QNLI", "gluebenchmark.com", "REFT_DATA"]
        {
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
