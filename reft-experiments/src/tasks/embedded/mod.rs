//! Embedded tasks: rows made from this project's own word lists, in the answer formats of the eight commonsense sets
//! (here), of the arithmetic sets ([`arithmetic`]), of GLUE ([`glue`]) and as instructions to follow ([`instructions`]).
//!
//! They need no download and are small enough for two cores. Their scores say nothing about the real sets. Each split
//! draws its facts (words, pairs, activities) from a part of the lists of its own, so no test row asks about a fact that
//! a training row asks about (feelings are few and occur in every part, the events that cause them do not); right
//! answers stand at every place equally often. A part has few facts (a test part of siqa, hellaswag and piqa six, of
//! winogrande four), so rows of one part are not independent draws.

pub mod arithmetic;
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

use self::facts::{ACTIVITIES, FEELINGS, MEANS, SIZES, STATEMENTS};
use self::words::{KINDS, NAMES};
use crate::data::row::Row;
use crate::data::split::Split;

/// Makes the `index`-th row of a part: the right answer's place is `index` modulo the number of choices.
pub type Generate = fn(&mut Draw, usize) -> Row;

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

/// `right` among `wrong`, at the place that `index` asks for; with the answer's word.
fn place(index: usize, right: &str, wrong: &[&str], word: &str) -> (String, String) {
    let at = index % (wrong.len() + 1);
    let mut choices = wrong.to_vec();
    choices.insert(at, right);
    let label = capitalised(word);
    let listed: Vec<String> = (1..).zip(&choices).map(|(n, choice)| format!("{label}{n}: {choice}")).collect();
    (listed.join(" "), format!("{word}{}", at + 1))
}

fn capitalised(word: &str) -> String {
    let (first, rest) = word.split_at(1);
    first.to_uppercase() + rest
}

fn row(instruction: String, answer: String) -> Row {
    let output = format!("the correct answer is {answer}");
    Row { instruction, output, answer, ..Row::default() }
}

fn multiple_choice(question: &str, index: usize, right: &str, wrong: &[&str]) -> Row {
    let (choices, answer) = place(index, right, wrong, "answer");
    let format = (1..=wrong.len() + 1).map(|n| format!("answer{n}")).collect::<Vec<_>>().join("/");
    let instruction =
        format!("Please choose the correct answer to the question: {question}\n\n{choices}\n\nAnswer format: {format}");
    row(instruction, answer)
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

/// `BoolQ`'s format: is a member of one kind of this kind?
pub fn yes_no(draw: &mut Draw, index: usize) -> Row {
    let (kind, member) = kind_with_member(draw);
    let truth = index.is_multiple_of(2);
    let subject = if truth { member } else { strangers(draw, kind, 1)[0] };
    let question = match draw.rng.random_range(0..3) {
        0 => format!("is the {subject} {}?", KINDS[kind].name),
        1 => format!("would you call the {subject} {}?", KINDS[kind].name),
        _ => format!("does the word {subject} name {}?", KINDS[kind].name),
    };
    let instruction = format!(
        "Please answer the following question with true or false, question: {question}\n\nAnswer format: true/false"
    );
    row(instruction, truth.to_string())
}

/// `PIQA`'s format: what is a thing done with?
pub fn two_solutions(draw: &mut Draw, index: usize) -> Row {
    let (goal, means) = *draw.one(&MEANS);
    let all: Vec<&str> = MEANS.iter().map(|(_, means)| *means).collect();
    let other = draw.others(&all, means, 1)[0];
    let verb = ["Use", "Take", "Fetch"].choose(&mut draw.rng).expect("three verbs");
    let solution = |means| format!("{verb} {means}");
    let (first, second) = if index.is_multiple_of(2) { (means, other) } else { (other, means) };
    let instruction = format!(
        "Please choose the correct solution to the question: {}\n\nSolution1: {}\n\nSolution2: {}\n\nAnswer format: \
         solution1/solution2",
        capitalised(goal),
        solution(first),
        solution(second)
    );
    row(instruction, format!("solution{}", 1 + index % 2))
}

/// `SocialIQA`'s format: how does a person feel after something happened?
pub fn three_feelings(draw: &mut Draw, index: usize) -> Row {
    let (event, mood, feeling) = *draw.one(&FEELINGS);
    let name = NAMES.choose(&mut draw.rng).expect("names");
    let feelings: Vec<&str> =
        FEELINGS.iter().filter(|(_, other, _)| *other != mood).map(|(.., feeling)| *feeling).collect();
    let wrong = draw.others(&feelings, feeling, 2);
    let question = format!("{}. How would {name} feel afterwards?", event.replace("{}", name));
    multiple_choice(&question, index, feeling, &wrong)
}

/// `HellaSwag`'s format: how does an activity go on?
pub fn four_endings(draw: &mut Draw, index: usize) -> Row {
    let (activity, beginning, end) = *draw.one(&ACTIVITIES);
    let ends: Vec<&str> = ACTIVITIES.iter().map(|(_, _, end)| *end).collect();
    let wrong = draw.others(&ends, end, 3);
    let (choices, answer) = place(index, end, &wrong, "ending");
    let instruction = format!(
        "Please choose the correct ending to complete the given sentence: {activity}: {beginning}\n\n{choices}\n\nAnswer \
         format: ending1/ending2/ending3/ending4"
    );
    row(instruction, answer)
}

/// `WinoGrande`'s format: which of two things does a sentence mean?
pub fn two_options(draw: &mut Draw, index: usize) -> Row {
    let (inner, outer) = *draw.one(&SIZES);
    let name = NAMES.choose(&mut draw.rng).expect("names");
    let (adjective, meant) = [("large", inner), ("big", inner), ("small", outer), ("tiny", outer)]
        .choose(&mut draw.rng)
        .copied()
        .expect("four adjectives");
    let sentence = format!("{name} could not get the {inner} into the {outer} because the _ was too {adjective}.");
    let other = if meant == inner { outer } else { inner };
    let (choices, answer) = place(index, meant, &[other], "option");
    let instruction = format!(
        "Please choose the correct answer to fill in the blank to complete the given sentence: {sentence}\n\n{choices} \
         Answer format: option1/option2"
    );
    row(instruction, answer)
}

/// ARC-Easy's format: which of four things is of a kind?
pub fn which_is(draw: &mut Draw, index: usize) -> Row {
    let (kind, member) = kind_with_member(draw);
    let wrong = strangers(draw, kind, 3);
    multiple_choice(&format!("Which of these is {}?", KINDS[kind].name), index, member, &wrong)
}

/// ARC-Challenge's format: which of four things is not of a kind?
pub fn which_is_not(draw: &mut Draw, index: usize) -> Row {
    let (kind, member) = kind_with_member(draw);
    let stranger = strangers(draw, kind, 1)[0];
    let others = draw.others(KINDS[kind].members, member, 2);
    let wrong = [member, others[0], others[1]];
    multiple_choice(&format!("Which of these is not {}?", KINDS[kind].name), index, stranger, &wrong)
}

/// `OpenBookQA`'s format: how does a statement end?
pub fn completions(draw: &mut Draw, index: usize) -> Row {
    let (beginning, end) = *draw.one(&STATEMENTS);
    let ends: Vec<&str> = STATEMENTS.iter().map(|(_, end)| *end).collect();
    let wrong = draw.others(&ends, end, 3);
    multiple_choice(beginning, index, end, &wrong)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::facts::OPPOSITES;
    use super::*;
    use crate::data::source::DataSources;
    use crate::data::split::{Selection, fingerprint};
    use crate::tasks::{DataKind, TASKS};

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

    /// The rows of every split of a task.
    pub fn parts(key: &str) -> Vec<Vec<Row>> {
        let task = TASKS.iter().find(|task| task.key() == key).expect("a task");
        let nowhere = DataSources::local(std::path::Path::new("nowhere"));
        splits().iter().map(|split| task.rows(DataKind::Embedded, split, &nowhere).expect("made here")).collect()
    }

    #[test]
    fn splits_are_disjoint_and_always_the_same() {
        for key in TASKS[..8].iter().map(|task| task.key()).chain(FURTHER.map(|(key, _)| key)) {
            let parts = parts(key);
            assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), [480, 60, 120]);
            let all: BTreeSet<&String> = parts.iter().flatten().map(|row| &row.instruction).collect();
            assert_eq!(all.len(), 660, "{key}: an instruction occurs twice");
            assert_eq!(self::parts(key), parts);
        }
    }

    #[test]
    fn every_choice_is_right_equally_often() {
        for key in TASKS[..8].iter().map(|task| task.key()).chain(["aqua"]) {
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
            "6b777de5af8745600a19924860b9b331",
            "8a9573adf6622ed123b80970c3727bb8",
            "b05a3a0c7ff00c34983cf070e3496221",
            "a4d2c99e01652759396e418d7653a8ae",
            "2a4e4b175015fe9456db26f253554a31",
            "561dde2dad396cdeca0ddff8080cc802",
            "f4e5c682dda6c0be6c8a78a446ac8b05",
            "9d44c9d00402ed698847e5a388087fd9",
        ];
        for (task, expected) in TASKS[..8].iter().zip(known) {
            assert_eq!(fingerprint(&parts(task.key()).concat()), expected, "{}: the embedded rows changed", task.key());
        }
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
        apart("opposites", &OPPOSITES.map(|(word, _)| word));
    }

    #[test]
    fn every_answer_is_one_of_the_choices_named() {
        for task in &TASKS[..8] {
            for row in parts(task.key()).concat() {
                let format = row.instruction.rsplit("Answer format: ").next().expect("a format");
                assert!(format.split('/').any(|choice| choice == row.answer), "{row:?}");
            }
        }
    }
}
