//! Embedded rows in GLUE's formats: acceptability (`CoLA`), sentiment (SST-2), paraphrase (MRPC), inference (RTE) and
//! similarity (STS-B). The first text is the row's instruction, the second its input, the label its answer.
//!
//! Nouns, adjectives and places are drawn from a split's own part of the lists, so validation rows are about words that
//! training rows do not have; names, days and verbs occur in every split.

use rand::Rng;
use rand::seq::IndexedRandom;

use super::words::{KINDS, NAMES};
use super::{Draw, capitalised, kind_with_member, strangers};
use crate::data::row::Row;

/// Adjectives for any thing.
const LOOKS: [&str; 24] = [
    "old",
    "small",
    "red",
    "broken",
    "new",
    "heavy",
    "green",
    "strange",
    "large",
    "blue",
    "famous",
    "dirty",
    "white",
    "tiny",
    "lovely",
    "cheap",
    "yellow",
    "huge",
    "clean",
    "black",
    "pretty",
    "expensive",
    "brown",
    "silent",
];

/// Where something happens.
const PLACES: [&str; 24] = [
    "in the garden",
    "near the station",
    "behind the house",
    "at the market",
    "on the bridge",
    "in the museum",
    "by the river",
    "at the school",
    "in the cellar",
    "on the hill",
    "near the church",
    "at the harbour",
    "in the kitchen",
    "behind the theatre",
    "in the park",
    "at the hotel",
    "on the beach",
    "near the forest",
    "in the library",
    "at the airport",
    "behind the barn",
    "on the roof",
    "in the street",
    "at the lake",
];

/// What somebody does with a thing: the plain form, the past, the participle and the form with -ing.
const VERBS: [[&str; 4]; 12] = [
    ["see", "saw", "seen", "seeing"],
    ["draw", "drew", "drawn", "drawing"],
    ["take", "took", "taken", "taking"],
    ["forget", "forgot", "forgotten", "forgetting"],
    ["choose", "chose", "chosen", "choosing"],
    ["give away", "gave away", "given away", "giving away"],
    ["hide", "hid", "hidden", "hiding"],
    ["know", "knew", "known", "knowing"],
    ["write about", "wrote about", "written about", "writing about"],
    ["speak of", "spoke of", "spoken of", "speaking of"],
    ["break", "broke", "broken", "breaking"],
    ["steal", "stole", "stolen", "stealing"],
];

/// Praise of a film, its cast or its story.
pub(super) const PRAISE: [&str; 24] = [
    "moving",
    "brilliant",
    "funny",
    "charming",
    "clever",
    "touching",
    "gripping",
    "delightful",
    "wonderful",
    "witty",
    "beautiful",
    "superb",
    "warm",
    "thrilling",
    "fresh",
    "powerful",
    "lovely",
    "inspired",
    "graceful",
    "excellent",
    "hilarious",
    "elegant",
    "tender",
    "marvellous",
];

/// And blame.
pub(super) const BLAME: [&str; 24] = [
    "dull",
    "tedious",
    "clumsy",
    "boring",
    "stale",
    "lifeless",
    "silly",
    "shallow",
    "awful",
    "tiresome",
    "ugly",
    "pointless",
    "cold",
    "predictable",
    "flat",
    "weak",
    "annoying",
    "lazy",
    "sloppy",
    "terrible",
    "messy",
    "bland",
    "pretentious",
    "dreadful",
];

/// What is praised or blamed.
pub(super) const WORKS: [&str; 12] = [
    "film",
    "comedy",
    "drama",
    "story",
    "script",
    "performance",
    "movie",
    "plot",
    "documentary",
    "cast",
    "ending",
    "romance",
];

const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

fn pick<T: Copy>(draw: &mut Draw, list: &[T]) -> T {
    *list.choose(&mut draw.rng).expect("a list with items")
}

/// Two different items.
fn two<T: Copy>(draw: &mut Draw, list: &[T]) -> (T, T) {
    let both: Vec<T> = list.choose_multiple(&mut draw.rng, 2).copied().collect();
    (both[0], both[1])
}

fn row(first: String, second: String, label: &str) -> Row {
    Row { instruction: first, input: second, answer: label.to_owned(), ..Row::default() }
}

/// `CoLA`: a sentence, or the same sentence with one thing wrong about its order or its forms.
pub fn acceptability(draw: &mut Draw, index: usize) -> Row {
    let (_, noun) = kind_with_member(draw);
    let (look, place) = (*draw.one(&LOOKS), *draw.one(&PLACES));
    let (name, [plain, past, participle, ing]) = (pick(draw, &NAMES), pick(draw, &VERBS));
    let thing = format!("the {look} {noun}");
    let acceptable = index.is_multiple_of(2);
    let said = match (draw.rng.random_range(0..5), acceptable) {
        (0, true) => format!("{name} {past} {thing} {place}."),
        (0, false) => format!("{name} {past} {look} the {noun} {place}."),
        (1, true) => format!("{name} has {participle} {thing} {place}."),
        (1, false) => format!("{name} have {participle} {thing} {place}."),
        (2, true) => format!("Did {name} {plain} {thing} {place}?"),
        (2, false) => format!("Did {name} {past} {thing} {place}?"),
        (3, true) => format!("{name} was {ing} {thing} {place}."),
        (3, false) => format!("{name} was {plain} {thing} {place}."),
        (_, true) => format!("Which {look} {noun} did {name} {plain} {place}?"),
        (_, false) => format!("Which {look} {noun} did {name} {plain} it {place}?"),
    };
    row(said, String::new(), if acceptable { "1" } else { "0" })
}

/// `SST-2`: a phrase of a review.
pub fn sentiment(draw: &mut Draw, index: usize) -> Row {
    let positive = index.is_multiple_of(2);
    let words = if positive { &PRAISE } else { &BLAME };
    let (first, second) = (*draw.one(words), *draw.one(words));
    let (work, other) = two(draw, &WORKS);
    let said = match draw.rng.random_range(0..5) {
        0 => format!("a {first} {work} with a {second} {other}"),
        1 => format!("the {work} is {first} , and the {other} is {second}"),
        2 => format!("what a {first} {work} this is , {second} from beginning to end"),
        3 => format!("its {other} is as {first} as the {work} is {second}"),
        _ => format!("i found the {other} of this {work} {first} and {second} ."),
    };
    row(said, String::new(), if positive { "1" } else { "0" })
}

/// `MRPC`: who gave what to whom and when, said in two ways, or with one thing changed.
pub fn paraphrase(draw: &mut Draw, index: usize) -> Row {
    let (kind, noun) = kind_with_member(draw);
    let (look, place) = (*draw.one(&LOOKS), *draw.one(&PLACES));
    let ((giver, taker), (day, other_day)) = (two(draw, &NAMES), two(draw, &DAYS));
    let first = format!("{giver} gave the {look} {noun} to {taker} {place} on {day}.");
    let same = index.is_multiple_of(2);
    let other = strangers(draw, kind, 1)[0];
    let (giver, taker, noun, day) = match (same, draw.rng.random_range(0..3)) {
        (true, _) => (giver, taker, noun, day),
        (false, 0) => (taker, giver, noun, day),
        (false, 1) => (giver, taker, other, day),
        (false, _) => (giver, taker, noun, other_day),
    };
    let second = match draw.rng.random_range(0..3) {
        0 => format!("On {day}, {taker} was given the {look} {noun} by {giver} {place}."),
        1 => format!("{}, {taker} got the {look} {noun} from {giver} on {day}.", capitalised(place)),
        _ => format!("The {look} {noun} that {taker} has was a present from {giver}, {place} on {day}."),
    };
    row(first, second, if same { "1" } else { "0" })
}

/// `RTE`: a sentence about two things, and one about a kind of things that one of them is, or none.
pub fn inference(draw: &mut Draw, index: usize) -> Row {
    let (kind, noun) = kind_with_member(draw);
    let (look, place) = (*draw.one(&LOOKS), *draw.one(&PLACES));
    let (name, [_, past, participle, _]) = (pick(draw, &NAMES), pick(draw, &VERBS));
    let day = pick(draw, &DAYS);
    let follows = index.is_multiple_of(2);
    let others: Vec<usize> = (0..KINDS.len()).filter(|&other| other != kind).collect();
    let named = if follows { kind } else { pick(draw, &others) };
    let first = format!("On {day} {name} {past} the {look} {noun} that stood {place}, and went home.");
    let about = KINDS[named].name;
    let second = match draw.rng.random_range(0..3) {
        0 => format!("{name} {past} {about}."),
        1 => format!("What {name} {past} was {about}."),
        _ => format!("{} was {participle} by {name}.", capitalised(about)),
    };
    row(first, second, if follows { "entailment" } else { "not_entailment" })
}

/// `STS-B`: two sentences that share so much of who does what with which thing: 1 for the person, 2 for the deed and 2 for
/// the thing.
pub fn similarity(draw: &mut Draw, index: usize) -> Row {
    let (kind, noun) = kind_with_member(draw);
    let (look, place) = (*draw.one(&LOOKS), *draw.one(&PLACES));
    let ((name, other_name), (verb, other_verb)) = (two(draw, &NAMES), two(draw, &VERBS));
    let other_noun = strangers(draw, kind, 1)[0];
    let score = index % 6;
    let by_deed = draw.rng.random_range(0..2) == 0;
    let (same_name, same_deed, same_thing) = match score {
        0 | 1 => (score == 1, false, false),
        2 | 3 => (score == 3, by_deed, !by_deed),
        _ => (score == 5, true, true),
    };
    let first = format!("{name} is {} the {look} {noun} {place}.", verb[3]);
    let name = if same_name { name } else { other_name };
    let verb = if same_deed { verb } else { other_verb };
    let noun = if same_thing { noun } else { other_noun };
    let second = match draw.rng.random_range(0..2) {
        0 => format!("The {look} {noun} {place} is being {} by {name}.", verb[2]),
        _ => format!("{}, {name} is {} the {look} {noun}.", capitalised(place), verb[3]),
    };
    row(first, second, &format!("{score}.000"))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::super::{Generate, pairs};
    use super::*;
    use crate::data::split::{Selection, Split, fingerprint};

    /// Every task, its labels, and the fingerprint of its rows.
    const TASKS: [(&str, Generate, usize, &str); 5] = [
        ("cola", acceptability, 2, "f9e76579ebe2defb3c96d5cfef2a1dea"),
        ("sst2", sentiment, 2, "a5c77a47952c822c87f8c4e5e17c28f8"),
        ("mrpc", paraphrase, 2, "4065cf70571ef5c8b8d2a03e41bcb934"),
        ("rte", inference, 2, "c83caa77829474e779867b86239e96f0"),
        ("stsb", similarity, 6, "a0dcfe3f19cd2928bb9bc72a90cb8933"),
    ];

    fn parts(task: &str, generate: Generate) -> Vec<Vec<Row>> {
        let test = Split::Test(Selection { chosen_by: "a test".to_owned() });
        [Split::Train, Split::Dev, test].iter().map(|split| pairs(task, generate, split)).collect()
    }

    #[test]
    fn splits_are_disjoint_balanced_and_always_the_same() {
        let mut found = Vec::new();
        for (task, generate, labels, _) in TASKS {
            let parts = parts(task, generate);
            assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), [480, 60, 120]);
            let texts: BTreeSet<(&str, &str)> =
                parts.iter().flatten().map(|row| (row.instruction.as_str(), row.input.as_str())).collect();
            assert_eq!(texts.len(), 660, "{task}: a row occurs twice");
            for part in &parts {
                let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
                for row in part {
                    *counts.entry(&row.answer).or_default() += 1;
                }
                assert_eq!(counts.len(), labels, "{task}: {counts:?}");
                assert!(counts.values().all(|&n| n == part.len() / labels), "{task}: {counts:?}");
            }
            found.push((task, fingerprint(&parts.concat())));
        }
        let expected: Vec<(&str, String)> = TASKS.map(|(task, _, _, known)| (task, known.to_owned())).to_vec();
        assert_eq!(found, expected, "the embedded rows changed");
    }

    #[test]
    fn validation_rows_have_words_of_their_own() {
        for (task, generate, ..) in TASKS {
            let parts = parts(task, generate);
            let words = |part: &[Row]| -> BTreeSet<String> {
                let text: String = part.iter().map(|row| format!("{} {} ", row.instruction, row.input)).collect();
                text.split_whitespace().map(str::to_lowercase).collect()
            };
            let (train, test) = (words(&parts[0]), words(&parts[2]));
            assert!(test.difference(&train).count() >= 6, "{task}: {:?}", test.difference(&train));
        }
    }
}
