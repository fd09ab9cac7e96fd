//! Embedded tasks: rows made from this project's own word lists, in the answer formats of the eight commonsense sets
//! ([`commonsense`]), of the arithmetic sets ([`arithmetic`]), of GLUE ([`glue`]) and as instructions to follow ([`instructions`]).
//!
//! They need no download and are small enough for two cores. Their scores say nothing about the real sets. Each split
//! draws its facts (words, pairs, activities) from a part of the lists of its own, so no test row asks about a fact that
//! a training row asks about (feelings are few and occur in every part, the events that cause them do not); right
//! answers stand at every place equally often. A part has few facts (a test part of siqa, hellaswag and piqa six, of
//! winogrande four), so rows of one part are not independent draws.

pub mod arithmetic;
pub mod commonsense;
mod facts;
pub mod glue;
pub mod instructions;
mod stories;
mod words;

use std::collections::BTreeSet;

use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;
use reft_core::rng::Seed;

use self::words::KINDS;
use crate::data::row::Row;
use crate::data::split::Split;

/// Makes the `index`-th row of a part: the right answer's place is `index` modulo the number of choices.
pub type Generate = fn(&mut Draw, usize) -> Row;

/// The first training row that is made.
pub fn example(task: &str, generate: Generate) -> Row {
    let part = ListPart::Train;
    generate(&mut Draw { part, rng: Seed(0).stream(task, part as u64) }, 0)
}

/// Rows of one split, no two with the same instruction.
pub fn rows(task: &str, generate: Generate, split: &Split) -> Vec<Row> {
    distinct(task, generate, split, |row| row.instruction.clone())
}

/// Rows of one split, no two with the same two texts.
pub fn pairs(task: &str, generate: Generate, split: &Split) -> Vec<Row> {
    distinct(task, generate, split, |row| (row.instruction.clone(), row.input.clone()))
}

fn distinct<T: Ord>(task: &str, generate: Generate, split: &Split, identity: impl Fn(&Row) -> T) -> Vec<Row> {
    let (part, count) = match split {
        Split::Train | Split::TrainWithoutDev => (ListPart::Train, 480),
        Split::Dev => (ListPart::Dev, 60),
        Split::Test(_) => (ListPart::Test, 120),
    };
    let mut draw = Draw { part, rng: Seed(0).stream(task, part as u64) };
    let mut seen = BTreeSet::new();
    let mut rows: Vec<Row> = Vec::with_capacity(count);
    while rows.len() < count {
        let row = generate(&mut draw, rows.len());
        if seen.insert(identity(&row)) {
            rows.push(row);
        }
    }
    rows.shuffle(&mut draw.rng);
    rows
}

/// A split's part of every list.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ListPart {
    Train,
    Dev,
    Test,
}

impl ListPart {
    /// Whether the `index`-th of many things is this part's: of every eight five for training, one for dev, two for
    /// test.
    fn holds(self, index: usize) -> bool {
        match self {
            Self::Train => index % 8 < 5,
            Self::Dev => index % 8 == 5,
            Self::Test => index % 8 > 5,
        }
    }
}

/// A source of random choices within one part.
pub struct Draw {
    part: ListPart,
    rng: ChaCha8Rng,
}

impl Draw {
    /// This part's items of a list.
    fn mine<'l, T>(&self, list: &'l [T]) -> Vec<&'l T> {
        list.iter().enumerate().filter(|(index, _)| self.part.holds(*index)).map(|(_, item)| item).collect()
    }

    fn one<'l, T>(&mut self, list: &'l [T]) -> &'l T {
        let mine = self.mine(list);
        mine.choose(&mut self.rng).expect("every part has items")
    }

    /// `n` different items of the whole list that are not `taken`.
    fn others(&mut self, list: &[&'static str], taken: &str, n: usize) -> Vec<&'static str> {
        let distinct: BTreeSet<&'static str> = list.iter().copied().filter(|item| *item != taken).collect();
        distinct.into_iter().collect::<Vec<_>>().choose_multiple(&mut self.rng, n).copied().collect()
    }
}

fn capitalised(word: &str) -> String {
    let (first, rest) = word.split_at(1);
    first.to_uppercase() + rest
}

/// A kind, a member of it from this part, and members of other kinds.
fn kind_with_member(draw: &mut Draw) -> (usize, &'static str) {
    let kind = draw.rng.random_range(0..KINDS.len());
    let member = *draw.one(KINDS[kind].members);
    (kind, member)
}

fn strangers(draw: &mut Draw, kind: usize, n: usize) -> Vec<&'static str> {
    let others: Vec<usize> = (0..KINDS.len()).filter(|&other| other != kind).collect();
    let chosen: Vec<usize> = others.choose_multiple(&mut draw.rng, n).copied().collect();
    let member = |other: usize| draw.one::<&'static str>(KINDS[other].members);
    chosen.into_iter().map(member).copied().collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::facts::{ACTIVITIES, FEELINGS, MEANS, OPPOSITES, SIZES, STATEMENTS};
    use super::glue::{BLAME, PRAISE};
    use super::*;
    use crate::data::source::DataSources;
    use crate::data::split::{Selection, fingerprint};
    use crate::tasks::{DataKind, Task, find, registry};

    /// Tasks beside the eight, with the fingerprints of their rows.
    const FURTHER: [(&str, &str); 5] = [
        ("aqua", "da488a4ac45d64c2d74df81f4b075298"),
        ("gsm8k_alpaca", "37afad896428d2a60d1c096f91685ee5"),
        ("mawps", "bd98337dfa427b26937f3c06245685b6"),
        ("svamp", "f612015322fcff12109822064cb03cda"),
        ("instruct", "170825c3d826eb692c76389171cec027"),
    ];

    fn splits() -> [Split; 3] {
        [Split::Train, Split::Dev, Split::Test(Selection { chosen_by: "a test".to_owned() })]
    }

    /// The eight commonsense tasks.
    fn eight() -> Vec<&'static dyn Task> {
        registry().entries()[..8].iter().map(|entry| entry.task()).collect()
    }

    /// The rows of every split of a task.
    pub fn parts(key: &str) -> Vec<Vec<Row>> {
        let task = find(key).expect("a task");
        let nowhere = DataSources::local(std::path::Path::new("nowhere"));
        splits().iter().map(|split| task.rows(DataKind::Embedded, split, &nowhere).expect("made here")).collect()
    }

    #[test]
    fn splits_are_disjoint_and_always_the_same() {
        for key in eight().into_iter().map(Task::key).chain(FURTHER.map(|(key, _)| key)) {
            let parts = parts(key);
            assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), [480, 60, 120]);
            let all: BTreeSet<&String> = parts.iter().flatten().map(|row| &row.instruction).collect();
            assert_eq!(all.len(), 660, "{key}: an instruction occurs twice");
            assert_eq!(self::parts(key), parts);
        }
    }

    #[test]
    fn every_choice_is_right_equally_often() {
        for key in eight().into_iter().map(Task::key).chain(["aqua"]) {
            for part in parts(key) {
                let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
                for row in &part {
                    *counts.entry(&row.answer).or_default() += 1;
                }
                assert!(counts.len() > 1, "{key}: {counts:?}");
                assert!(counts.values().all(|&n| n == part.len() / counts.len()), "{key}: {counts:?}");
            }
        }
    }

    #[test]
    fn rows_are_the_same_on_every_machine_and_release() {
        let known: [&str; 8] = [
            "61f911e5ad937b3cccc3655ad37f9ae6",
            "e3a33117f79628d90bcee1845a8b59e0",
            "2e4c06cb2c05810f00c54e99f05dac7d",
            "79353178296b7f39f9f3bc4e51ecaa7c",
            "c937e61f5a69df38f63c8cadfddb7de6",
            "617277c276b3b03d65907dbe7784bafe",
            "37039de9ff5735a8c469884756593e0e",
            "8e51d6fab2705cbb607464675dd6cb77",
        ];
        let found: Vec<String> = eight().iter().map(|task| fingerprint(&parts(task.key()).concat())).collect();
        assert_eq!(found, known, "the embedded rows changed");
    }

    #[test]
    fn rows_of_further_tasks_are_the_same_on_every_machine_and_release() {
        for (key, expected) in FURTHER {
            assert_eq!(fingerprint(&parts(key).concat()), expected, "{key}: the embedded rows changed");
        }
    }

    #[test]
    fn test_rows_ask_about_facts_of_their_own() {
        fn apart<T: Ord>(what: &str, list: &[T]) {
            let of = |part| Draw { part, rng: Seed(0).stream("unused", 0) }.mine(list);
            let parts = [ListPart::Train, ListPart::Dev, ListPart::Test].map(of);
            assert!(parts.iter().all(|part| !part.is_empty()), "{what}: an empty part");
            assert_eq!(
                parts.concat().into_iter().collect::<BTreeSet<_>>().len(),
                list.len(),
                "{what}: a fact in two parts"
            );
        }
        for kind in &KINDS {
            apart(kind.name, kind.members);
        }
        apart("means", &MEANS.map(|(_, means)| means));
        apart("events", &FEELINGS.map(|(event, ..)| event));
        apart("activities", &ACTIVITIES.map(|(activity, ..)| activity));
        apart("things", &SIZES.map(|(inner, _)| inner));
        apart("statements", &STATEMENTS.map(|(beginning, _)| beginning));
        apart("praise", &PRAISE);
        apart("blame", &BLAME);
        apart("opposites", &OPPOSITES.map(|(word, _)| word));
    }

    #[test]
    fn every_answer_is_one_of_the_choices_named() {
        for task in eight() {
            for row in parts(task.key()).concat() {
                let format = row.instruction.rsplit("Answer format: ").next().expect("a format");
                assert!(format.split('/').any(|choice| choice == row.answer), "{row:?}");
            }
        }
    }
}
