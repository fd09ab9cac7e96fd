//! GLUE's tasks from parquet files as the hub publishes them: the same rows as from the archive's tables, and one-line
//! answers to files that are not as they should be.

#![cfg(feature = "parquet")]

#[path = "support/parquet.rs"]
mod parquet_file;

use std::path::Path;

use parquet_file::{Cells, file};
use reft_core::rng::Seed;
use reft_experiments::data::row::Row;
use reft_experiments::data::source::DataSources;
use reft_experiments::tasks::glue::{COLA, Glue, MNLI, MRPC, QNLI, QQP, RTE, SST2, STSB, WNLI};
use reft_experiments::tasks::labelled::LabelledTask;
use reft_experiments::tasks::{DataKind, Task};

/// A task in both forms: folder, first line and one line of its table, with texts and label as A, B and L; the columns of its
/// parquet files; and its labels in both.
struct Case {
    task: &'static Glue,
    folder: &'static str,
    head: &'static str,
    line: &'static str,
    columns: &'static [&'static str],
    labels: &'static [(&'static str, f32)],
}

const BINARY: &[(&str, f32)] = &[("1", 1.0), ("0", 0.0), ("1", 1.0)];
const ENTAILMENT: &[(&str, f32)] = &[("not_entailment", 1.0), ("entailment", 0.0), ("entailment", 0.0)];
const PAIR: &[&str] = &["sentence1", "sentence2"];

#[rustfmt::skip]
const CASES: [Case; 9] = [
    Case { task: &COLA, folder: "CoLA", head: "", line: "gj04\tL\t*\tA", columns: &["sentence"], labels: BINARY },
    Case { task: &SST2, folder: "SST-2", head: "sentence\tlabel\n", line: "A\tL", columns: &["sentence"], labels: BINARY },
    Case { task: &MRPC, folder: "MRPC", head: "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n", line: "L\t1\t2\tA\tB",
        columns: PAIR, labels: BINARY },
    Case { task: &QQP, folder: "QQP", head: "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n",
        line: "1\t2\t3\tA\tB\tL", columns: &["question1", "question2"], labels: BINARY },
    Case { task: &STSB, folder: "STS-B", head: "index\tsentence1\tsentence2\tscore\n", line: "1\tA\tB\tL",
        columns: PAIR, labels: &[("3.8", 3.8), ("0", 0.0), ("2.533", 2.533)] },
    Case { task: &MNLI, folder: "MNLI", head: "index\tsentence1\tsentence2\tgold_label\n", line: "1\tA\tB\tL",
        columns: &["premise", "hypothesis"], labels: &[("neutral", 1.0), ("contradiction", 2.0), ("entailment", 0.0)] },
    Case { task: &QNLI, folder: "QNLI", head: "index\tquestion\tsentence\tlabel\n", line: "1\tA\tB\tL",
        columns: &["question", "sentence"], labels: ENTAILMENT },
    Case { task: &RTE, folder: "RTE", head: "index\tsentence1\tsentence2\tlabel\n", line: "1\tA\tB\tL",
        columns: PAIR, labels: ENTAILMENT },
    Case { task: &WNLI, folder: "WNLI", head: "index\tsentence1\tsentence2\tlabel\n", line: "1\tA\tB\tL",
        columns: PAIR, labels: BINARY },
];

/// First and second texts of the rows.
const TEXTS: [[&str; 3]; 2] = [["Said \"so,", "Größe 1 '", "a"], ["then", "日本語", "b"]];

fn write(folder: &Path, name: &str, bytes: &[u8]) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
    std::fs::write(path, bytes).expect("writable");
}

impl Case {
    fn table(&self) -> String {
        let cell = |row: usize, cell| match cell {
            "A" => TEXTS[0][row],
            "B" => TEXTS[1][row],
            "L" => self.labels[row].0,
            cell => cell,
        };
        let line = |row| self.line.split('\t').map(|name| cell(row, name)).collect::<Vec<_>>().join("\t") + "\n";
        self.head.to_owned() + &(0..self.labels.len()).map(line).collect::<String>()
    }

    fn labels(&self) -> Cells {
        let numbers = self.labels.iter().map(|(_, number)| *number);
        if self.task.labels.outputs() == 1 {
            Cells::Scores(numbers.map(Some).collect())
        } else {
            Cells::Classes(numbers.map(|number| Some(number as i64)).collect())
        }
    }

    fn hub(&self) -> Vec<u8> {
        let cells = |(name, texts): (&&'static str, [&'static str; 3])| (*name, Cells::Texts(texts.map(Some).to_vec()));
        let mut columns: Vec<(&str, Cells)> = self.columns.iter().zip(TEXTS).map(cells).collect();
        columns.push(("label", self.labels()));
        columns.push(("idx", Cells::Classes(vec![Some(0), Some(1), Some(2)])));
        file(&columns)
    }

    fn name(&self, stem: &str, shard: &str) -> String {
        format!("glue/{}/{stem}-{shard}.parquet", self.task.key())
    }

    fn validation(&self) -> [&str; 2] {
        if self.task.key() == "mnli" { ["dev_matched", "validation_matched"] } else { ["dev", "validation"] }
    }
}

const ONE: &str = "00000-of-00001";

#[test]
fn rows_are_those_of_the_tables() {
    for case in CASES {
        let folders = [(); 2].map(|()| tempfile::tempdir().expect("a temporary folder"));
        let [table, validation] = case.validation();
        for name in ["train", table] {
            write(folders[0].path(), &format!("glue_data/{}/{name}.tsv", case.folder), case.table().as_bytes());
        }
        for stem in ["train", validation] {
            write(folders[1].path(), &case.name(stem, ONE), &case.hub());
        }
        let [tables, hub] = folders.each_ref().map(|folder| DataSources::local(folder.path()));
        let key = case.task.key();
        let rows = case.task.training(DataKind::Real, &hub).expect(key);
        assert_eq!(rows, case.task.training(DataKind::Real, &tables).expect(key), "{key}");
        assert_eq!(rows.len(), 3);
        let halves = |sources| case.task.validation(DataKind::Real, sources, Seed(7)).expect(key);
        assert_eq!(halves(&hub), halves(&tables), "{key}");
    }
}

fn rte() -> &'static Case {
    const { &CASES[7] }
}

fn training(folder: &Path) -> Result<Vec<Row>, String> {
    rte().task.training(DataKind::Real, &DataSources::local(folder)).map_err(|error| error.to_string())
}

#[test]
fn files_of_one_set_are_joined_in_order_and_a_missing_one_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let one = |text: &'static str| {
        let texts = |text| Cells::Texts(vec![Some(text)]);
        let label = Cells::Classes(vec![Some(0)]);
        file(&[("sentence1", texts(text)), ("sentence2", texts("b")), ("label", label)])
    };
    write(folder.path(), &rte().name("train", "00001-of-00002"), &one("second"));
    let error = training(folder.path()).expect_err("one of two");
    for part in ["glue/rte: 1 of the 2 files train-*-of-00002.parquet are there", "copy the others"] {
        assert!(error.contains(part), "{error}");
    }
    write(folder.path(), &rte().name("train", "00000-of-00002"), &one("first"));
    write(folder.path(), &rte().name("validation", ONE), &one("not of this set"));
    let rows = training(folder.path()).expect("two of two");
    assert_eq!(rows.iter().map(|row| row.instruction.as_str()).collect::<Vec<_>>(), ["first", "second"]);
}

#[test]
fn a_table_comes_before_parquet_files_in_the_same_folder_and_never_before_the_users_own() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let table = "index\tsentence1\tsentence2\tlabel\n1\tof the table\tb\tentailment\n";
    let first = |folder: &Path| training(folder).expect("rows")[0].instruction.clone();
    // `cache` is looked in after the user's folder.
    write(folder.path(), "cache/glue_data/RTE/train.tsv", table.as_bytes());
    assert_eq!(first(folder.path()), "of the table");
    write(folder.path(), &rte().name("train", ONE), &rte().hub());
    assert_eq!(first(folder.path()), TEXTS[0][0]);
    write(folder.path(), "glue_data/RTE/train.tsv", table.as_bytes());
    assert_eq!(first(folder.path()), "of the table");
}

/// What is said of such a file.
fn complaint(bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write(folder.path(), &rte().name("train", ONE), bytes);
    let error = training(folder.path()).expect_err("refused");
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.contains("glue/rte/train-00000-of-00001.parquet: "), "{error}");
    error
}

#[test]
fn wrong_files_are_answered_with_one_line_that_names_row_column_and_remedy() {
    let texts = |cells: &[Option<&'static str>]| Cells::Texts(cells.to_vec());
    let good = || texts(&[Some("a"), Some("b"), Some("c")]);
    let classes = |cells: &[i64]| Cells::Classes(cells.iter().copied().map(Some).collect());
    let of = |first: Cells, label: Cells| file(&[("sentence1", first), ("sentence2", good()), ("label", label)]);
    let check = |bytes: &[u8], parts: &[&str]| {
        let error = complaint(bytes);
        for part in parts {
            assert!(error.contains(part), "`{part}` is not in: {error}");
        }
    };
    check(
        &of(good(), classes(&[0, 1, 2])),
        &["row 3, column `label`: 2 is not one of rte", "entailment, not_entailment"],
    );
    check(&of(good(), classes(&[0, -1, 1])), &["row 2, column `label`: -1 is not", "test set"]);
    check(
        &of(good(), Cells::Scores(vec![Some(1.0); 3])),
        &["column `label` holds FLOAT, not classes", "another task's"],
    );
    check(&of(classes(&[1, 2, 3]), classes(&[0, 1, 0])), &["column `sentence1` holds INT64, not texts"]);
    check(&of(texts(&[Some("a"), Some("b"), None]), classes(&[0, 1, 0])), &["row 3, column `sentence1`: no value"]);
    check(
        &of(good(), Cells::Classes(vec![Some(0), None, Some(1)])),
        &["row 2, column `label`: no value", "copy it again"],
    );
    let bytes = Cells::Bytes(vec![Some(b"a"), Some(b"\xff\xfe"), Some(b"c")]);
    check(&of(bytes, classes(&[0, 1, 0])), &["row 2, column `sentence1`: not a text in UTF-8"]);
    let other = file(&[("premise", good()), ("sentence2", good()), ("label", classes(&[0, 1, 0]))]);
    check(&other, &["no column `sentence1` among premise, sentence2, label"]);
    check(&of(texts(&[]), classes(&[])), &["no rows", "copy it again"]);
    check(b"PAR1", &["not readable as parquet", "truncated", "copy it again"]);
    check(b"version https://git-lfs.github.com/spec/v1\n", &["not readable as parquet"]);
}

#[test]
fn a_truncated_or_damaged_file_never_stops_the_program() {
    let whole = rte().hub();
    for cut in (0..whole.len()).step_by(5) {
        assert!(complaint(&whole[..cut]).contains("not readable as parquet"), "{cut} of {} bytes", whole.len());
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut refused = 0;
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        write(folder.path(), &rte().name("train", ONE), &bytes);
        refused += usize::from(training(folder.path()).is_err());
    }
    assert!(refused > whole.len() / 10, "{refused} of {}", whole.len());
}
