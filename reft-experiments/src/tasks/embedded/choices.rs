//! Embedded rows in the formats of the eight commonsense sets.
//!
//! In each task the options are the same, in the same order, in every row, and the answer can be told from one word of the
//! question: what kind of thing it is, whether it praises or blames, whether it is large or small. These words are drawn from
//! a split's own part of their list, so a test row asks about a word that no training row of its task has. That makes them
//! far easier than the real sets, whose options differ from row to row, and learnable for a small model from few rows.

use rand::seq::IndexedRandom;

use super::facts::SIZES;
use super::glue::{BLAME, PRAISE, WORKS};
use super::words::{KINDS, NAMES};
use super::{Draw, capitalised};
use crate::data::row::Row;

/// Adjectives that neither praise nor blame.
pub(super) const PLAIN: [&str; 24] = [
    "red", "blue", "green", "yellow", "brown", "black", "white", "grey", "round", "square", "long", "short", "wide",
    "narrow", "wooden", "metal", "plastic", "woollen", "large", "small", "tall", "thin", "thick", "oval",
];

/// Adjectives of what is too large to fit into something.
pub(super) const LARGE: [&str; 16] = [
    "large",
    "big",
    "huge",
    "wide",
    "tall",
    "long",
    "thick",
    "bulky",
    "broad",
    "enormous",
    "giant",
    "massive",
    "bulging",
    "oversized",
    "colossal",
    "vast",
];

/// And of what is too small to hold it.
pub(super) const SMALL: [&str; 16] = [
    "small",
    "tiny",
    "little",
    "narrow",
    "short",
    "slim",
    "thin",
    "cramped",
    "slender",
    "minute",
    "mini",
    "compact",
    "miniature",
    "undersized",
    "shallow",
    "low",
];

/// What somebody can be told about.
const SHOWN: [&str; 6] = ["picture", "present", "song", "dress", "cake", "hat"];

/// What stands before a question.
const QUESTION: &str = "Please choose the correct answer to the question: ";

/// How the options of a task are listed.
struct Listed<'a> {
    /// `answer`, `option`, `solution` or `ending`.
    word: &'a str,
    options: &'a [&'a str],
    /// Between two options.
    between: &'a str,
    /// Between the last one and the format.
    end: &'a str,
}

impl Default for Listed<'_> {
    fn default() -> Self {
        Self { word: "answer", options: &[], between: " ", end: "\n\n" }
    }
}

impl Listed<'_> {
    /// The row of a question whose answer is the option of this number, from 0.
    fn row(&self, question: &str, right: usize) -> Row {
        let &Self { word, options, between, end } = self;
        let label = capitalised(word);
        let listed: Vec<String> = (1..).zip(options).map(|(n, option)| format!("{label}{n}: {option}")).collect();
        let format: Vec<String> = (1..=options.len()).map(|n| format!("{word}{n}")).collect();
        let instruction = format!("{question}\n\n{}{end}Answer format: {}", listed.join(between), format.join("/"));
        row(instruction, format!("{word}{}", right + 1))
    }
}

fn row(instruction: String, answer: String) -> Row {
    let output = format!("the correct answer is {answer}");
    Row { instruction, output, answer, ..Row::default() }
}

fn name(draw: &mut Draw) -> &'static str {
    NAMES.choose(&mut draw.rng).expect("names")
}

/// One of these texts, with `{}` for the thing with its article.
fn ask(draw: &mut Draw, forms: &[&str], thing: &str) -> String {
    let form = forms.choose(&mut draw.rng).expect("forms");
    let article = if thing.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    let name = name(draw);
    form.replace("{name}", name).replace("{}", &format!("{article} {thing}"))
}

/// A thing of the kind that `index` asks for among these, and the kind's number.
fn thing(draw: &mut Draw, index: usize, kinds: &[&str]) -> (usize, &'static str) {
    let class = index % kinds.len();
    let kind = KINDS.iter().find(|kind| kind.name == kinds[class]).expect("a kind of the list");
    (class, *draw.one(kind.members))
}

/// `BoolQ`'s format: did somebody like what is said to be so and so?
pub fn yes_no(draw: &mut Draw, index: usize) -> Row {
    let truth = index.is_multiple_of(2);
    let words = if truth { &PRAISE } else { &BLAME };
    let (first, second) = (*draw.one(words), *draw.one(words));
    let works: Vec<&&str> = WORKS.choose_multiple(&mut draw.rng, 2).collect();
    let (work, other, name) = (works[0], works[1], name(draw));
    let said = [
        format!("{name} called it a {first} {work} with a {second} {other}."),
        format!("{name} says that the {work} is {first} and {second}."),
    ];
    let said = said.choose(&mut draw.rng).expect("two forms");
    let instruction = format!(
        "Please answer the following question with true or false, question: {said} did {name} like the {work}?\n\nAnswer \
         format: true/false"
    );
    row(instruction, truth.to_string())
}

/// `PIQA`'s format: what is a thing good for?
pub fn two_solutions(draw: &mut Draw, index: usize) -> Row {
    let (class, thing) = thing(draw, index, &["a vegetable", "a piece of clothing"]);
    let forms =
        ["{name} has got {}. What now?", "{name} bought {}. What to do with it?", "What can {name} do with {}?"];
    let question = ask(draw, &forms, thing);
    let options = ["Cook it and eat it", "Put it on and wear it"];
    let listed = Listed { word: "solution", options: &options, between: "\n\n", ..Listed::default() };
    listed.row(&format!("Please choose the correct solution to the question: {question}"), class)
}

/// `SocialIQA`'s format: how does a person feel about what is said?
pub fn three_feelings(draw: &mut Draw, index: usize) -> Row {
    let class = index % 3;
    let adjective = *draw.one([&PRAISE, &BLAME, &PLAIN][class]);
    let names: Vec<&&str> = NAMES.choose_multiple(&mut draw.rng, 2).collect();
    let (speaker, hearer) = (names[0], names[1]);
    let shown = SHOWN.choose(&mut draw.rng).expect("things");
    let listed = Listed { options: &["proud", "hurt", "neither of them"], ..Listed::default() };
    listed.row(
        &format!("{QUESTION}{speaker} told {hearer} that the {shown} was {adjective}. How would {hearer} feel?"),
        class,
    )
}

/// `HellaSwag`'s format: what does somebody do next?
pub fn four_endings(draw: &mut Draw, index: usize) -> Row {
    let (class, thing) = thing(draw, index, &["a musical instrument", "a fruit", "a vehicle", "a tool"]);
    let forms =
        ["{name} sees {} and goes up to it.", "{name} takes {} for the first time.", "{name} was looking for {}."];
    let question = ask(draw, &forms, thing);
    let options = ["plays a tune.", "takes a bite.", "drives off.", "begins to work."];
    let listed = Listed { word: "ending", options: &options, ..Listed::default() };
    let subject = question.split(' ').next().expect("a name comes first");
    listed.row(&format!("Please choose the correct ending to complete the given sentence: {question} {subject}"), class)
}

/// `WinoGrande`'s format: which of two things is too large or too small?
pub fn two_options(draw: &mut Draw, index: usize) -> Row {
    let class = index % 2;
    let (inner, outer) = *SIZES.choose(&mut draw.rng).expect("things");
    let adjective = *draw.one([&LARGE, &SMALL][class]);
    let sentence =
        format!("{} could not get the {inner} into the {outer} because the _ was too {adjective}.", name(draw));
    let listed = Listed { word: "option", options: &[inner, outer], end: " ", ..Listed::default() };
    listed.row(
        &format!("Please choose the correct answer to fill in the blank to complete the given sentence: {sentence}"),
        class,
    )
}

/// ARC-Easy's format: what is a thing?
pub fn what_it_is(draw: &mut Draw, index: usize) -> Row {
    let (class, thing) = thing(draw, index, &["a mammal", "a flower", "a tool", "a profession"]);
    let forms = ["{name} asks what {} is.", "{name} has read about {}. What is it?", "What does {name} mean by {}?"];
    let question = ask(draw, &forms, thing);
    let listed = Listed { options: &["an animal", "a plant", "a thing", "a person"], ..Listed::default() };
    listed.row(&format!("{QUESTION}{question}"), class)
}

/// ARC-Challenge's format: where is a thing?
pub fn where_it_is(draw: &mut Draw, index: usize) -> Row {
    let (class, thing) = thing(draw, index, &["a bird", "a piece of furniture", "a vehicle", "a vegetable"]);
    let forms = ["Where would {name} look for {}?", "{name} saw {}. Where was it?", "Where can {name} find {}?"];
    let question = ask(draw, &forms, thing);
    let listed = Listed { options: &["in a tree", "in a room", "on a road", "in a field"], ..Listed::default() };
    listed.row(&format!("{QUESTION}{question}"), class)
}

/// `OpenBookQA`'s format: what does a thing have?
pub fn what_it_has(draw: &mut Draw, index: usize) -> Row {
    let (class, thing) = thing(draw, index, &["a bird", "an insect", "a fruit", "a musical instrument"]);
    let forms = ["{name} knows that {} has", "{name} drew {} with its", "{name} has read that every part of {} has"];
    let question = ask(draw, &forms, thing);
    let listed = Listed { options: &["feathers", "six legs", "seeds", "a sound"], ..Listed::default() };
    listed.row(&format!("{QUESTION}{question}"), class)
}
