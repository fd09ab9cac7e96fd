//! Which rows of a data set are for training, for choosing and for reporting.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use rand::seq::SliceRandom;
use reft_core::rng::Seed;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::strata;
use crate::data::row::Row;

/// How much of a data set one split gets.
#[derive(Clone, PartialEq, Debug)]
pub enum Portion {
    /// This part of the rows, from 0 to below 1; at least one row unless it is 0.
    Part(f64),
    /// So many rows.
    Rows(usize),
    /// Those of a file, or of the files of a folder whose names begin so.
    Named(String),
}

impl Portion {
    /// Rows of `all`.
    fn count(&self, all: usize) -> usize {
        match self {
            Self::Part(part) if *part > 0.0 => ((all as f64 * part).round() as usize).max(1),
            Self::Rows(rows) => *rows,
            Self::Part(_) | Self::Named(_) => 0,
        }
    }

    /// Whether the split has no rows by declaration.
    pub fn is_none(&self) -> bool {
        match self {
            Self::Part(part) => *part == 0.0,
            Self::Rows(rows) => *rows == 0,
            Self::Named(_) => false,
        }
    }
}

impl Serialize for Portion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Part(part) => serializer.serialize_f64(*part),
            Self::Rows(rows) => serializer.serialize_u64(*rows as u64),
            Self::Named(name) => serializer.serialize_str(name),
        }
    }
}

impl<'de> Deserialize<'de> for Portion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PortionVisitor;
        impl Visitor<'_> for PortionVisitor {
            type Value = Portion;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a part such as 0.1, a number of rows, or a file's name")
            }

            fn visit_f64<E: Error>(self, part: f64) -> Result<Portion, E> {
                match part {
                    _ if (0.0..1.0).contains(&part) => Ok(Portion::Part(part)),
                    _ if part.fract() == 0.0 && part > 1.0 => Ok(Portion::Rows(part as usize)),
                    _ => Err(E::custom(format!("{part}: write a part below 1 such as 0.1, or a whole number of rows"))),
                }
            }

            fn visit_u64<E: Error>(self, rows: u64) -> Result<Portion, E> {
                Ok(Portion::Rows(rows as usize))
            }

            fn visit_i64<E: Error>(self, rows: i64) -> Result<Portion, E> {
                u64::try_from(rows).map(|rows| Portion::Rows(rows as usize)).map_err(|_| {
                    E::custom(format!("{rows}: write a part below 1 such as 0.1, or a whole number of rows"))
                })
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Portion, E> {
                if let Some(part) = text.strip_suffix('%').and_then(|part| part.trim().parse::<f64>().ok()) {
                    return Err(E::custom(format!("{text}: write {} for it", part / 100.0)));
                }
                match text.parse::<f64>() {
                    Ok(number) => self.visit_f64(number),
                    Err(_) => Ok(Portion::Named(text.to_owned())),
                }
            }
        }
        deserializer.deserialize_any(PortionVisitor)
    }
}

/// `split:` which rows are held out of training.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Splits {
    /// The files of a folder that are not held out, by the beginning of their names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train: Option<String>,
    /// Rows to choose settings by.
    pub dev: Portion,
    /// Rows to report.
    pub test: Portion,
    /// Whether every class has its part of each split; of rows with classes it has, unless this says otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stratify: Option<bool>,
}

impl Default for Splits {
    fn default() -> Self {
        Self { train: None, dev: Portion::Part(0.1), test: Portion::Part(0.0), stratify: None }
    }
}

/// The rows of each split, each in the order of the file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SplitRows {
    /// To train on.
    pub train: Vec<Row>,
    /// To choose by.
    pub dev: Vec<Row>,
    /// To report.
    pub test: Vec<Row>,
}

/// Deals rows out to splits, always in the same way: questions are held out, not rows, so that every copy of one goes to the
/// same split. Named portions get none here. With `class`, every class has its part of each split.
pub fn deal(rows: Vec<Row>, dev: &Portion, test: &Portion, class: Option<fn(&Row) -> &str>) -> SplitRows {
    let rooms = [dev.count(rows.len()), test.count(rows.len())];
    let mut strata: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    // Copies of a question are of the class of the first.
    let mut firsts: HashMap<String, &Row> = HashMap::new();
    for row in &rows {
        let first = firsts.entry(row.question()).or_insert(row);
        strata.entry(class.map_or("", |class| class(first))).or_default().push(row);
    }
    let counts: Vec<usize> = strata.values().map(Vec::len).collect();
    let rooms = if counts.len() > 1 { strata::rooms(&counts, rooms) } else { vec![rooms; counts.len()] };
    let held: HashMap<String, HeldOut> =
        strata.values().zip(rooms).flat_map(|(rows, rooms)| held_out(rows, rooms)).collect();
    let mut dealt = SplitRows::default();
    for row in rows {
        match held.get(&row.question()) {
            None => dealt.train.push(row),
            Some(HeldOut::Dev) => dealt.dev.push(row),
            Some(HeldOut::Test) => dealt.test.push(row),
        }
    }
    dealt
}

/// The questions that are held out of some rows, where dev and test have room for so many rows.
fn held_out(rows: &[&Row], mut rooms: [usize; 2]) -> HashMap<String, HeldOut> {
    let mut copies: HashMap<String, usize> = HashMap::new();
    let mut questions: Vec<String> = Vec::new();
    for row in rows {
        let count = copies.entry(row.question()).or_default();
        if *count == 0 {
            questions.push(row.question());
        }
        *count += 1;
    }
    questions.shuffle(&mut Seed(0).stream("own split", 0));
    let mut held: HashMap<String, HeldOut> = HashMap::new();
    for question in questions {
        let copies = copies[&question];
        let fits = [HeldOut::Dev, HeldOut::Test].into_iter().find(|held| rooms[*held as usize] >= copies);
        if let Some(split) = fits {
            rooms[split as usize] -= copies;
            held.insert(question, split);
        }
    }
    held
}

/// The splits that are held out of training.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum HeldOut {
    Dev,
    Test,
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use reft_core::value_reader;
    use serde_json::json;

    use super::*;

    fn rows(count: usize, questions: usize) -> Vec<Row> {
        let row = |n: usize| Row { instruction: (n % questions).to_string(), output: n.to_string(), ..Row::default() };
        (0..count).map(row).collect()
    }

    #[test]
    fn splits_are_always_the_same_disjoint_and_hold_every_copy_of_a_question_together() {
        let dealt = deal(rows(300, 100), &Portion::Part(0.1), &Portion::Rows(60), None);
        assert_eq!([dealt.train.len(), dealt.dev.len(), dealt.test.len()], [210, 30, 60]);
        assert_eq!(deal(rows(300, 100), &Portion::Part(0.1), &Portion::Rows(60), None), dealt);
        let asked = |rows: &[Row]| rows.iter().map(|row| row.instruction.clone()).collect::<HashSet<_>>();
        let parts = [asked(&dealt.train), asked(&dealt.dev), asked(&dealt.test)];
        assert!(parts[0].is_disjoint(&parts[1]) && parts[0].is_disjoint(&parts[2]) && parts[1].is_disjoint(&parts[2]));
    }

    #[test]
    fn every_class_has_its_part_of_each_split() {
        let class = |row: usize| if row.is_multiple_of(20) { "rare" } else { ["a", "b"][row % 2] };
        let row = |n: usize| Row { instruction: n.to_string(), answer: class(n).to_owned(), ..Row::default() };
        let all = || (0..100).map(row).collect::<Vec<_>>();
        let dealt = deal(all(), &Portion::Part(0.1), &Portion::Rows(10), Some(|row| &row.answer));
        for (split, rows, size) in [("train", &dealt.train, 80), ("dev", &dealt.dev, 10), ("test", &dealt.test, 10)] {
            let count = |class: &str| rows.iter().filter(|row| row.answer == class).count();
            assert_eq!(rows.len(), size, "{split}");
            assert!(count("rare") >= 1 && ["a", "b"].iter().all(|class| count(class) * 3 >= size), "{split}: {rows:?}");
        }
        assert_eq!(deal(all(), &Portion::Part(0.1), &Portion::Rows(10), Some(|row| &row.answer)), dealt);
    }

    #[test]
    fn a_few_rows_still_have_a_dev_row_unless_none_is_wanted() {
        let count = |dev| deal(rows(4, 4), &dev, &Portion::Part(0.0), None).dev.len();
        assert_eq!((count(Portion::Part(0.1)), count(Portion::Part(0.0)), count(Portion::Rows(2))), (1, 0, 2));
    }

    #[test]
    fn portions_are_parts_numbers_and_names() {
        let read = |value| value_reader::read::<Portion>(&value).map_err(|error| error.to_string());
        assert_eq!(read(json!(0.1)), Ok(Portion::Part(0.1)));
        assert_eq!(read(json!(20)), Ok(Portion::Rows(20)));
        assert_eq!(read(json!("dev.tsv")), Ok(Portion::Named("dev.tsv".to_owned())));
        for wrong in [json!(-1), json!(1.5), json!(-0.1), json!(1.0)] {
            assert!(read(wrong.clone()).is_err_and(|error| error.contains("a part below 1")), "{wrong}");
        }
        let splits = value_reader::read::<Splits>(&json!({"devv": 0.1})).expect_err("unknown").to_string();
        assert!(splits.contains("devv") && splits.contains("dev"), "{splits}");
    }
}
