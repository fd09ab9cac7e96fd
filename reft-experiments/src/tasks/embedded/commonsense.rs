//! Embedded rows in the formats of the eight commonsense sets, whose answers stand in the prompt.
//!
//! A model of 135 million parameters does not learn to know things from a few hundred rows, nor to find a thing's number in a list.
//! So a row says beside its question which answer is right: a book or a film says it, a person tried it, or it stands at the gap.
//! In some rows another answer is named, too, by a person who guesses. `BoolQ`'s rows have praise or blame instead. What is learned is
//! which of these words count, and to say the answer in the set's form.

use rand::Rng;
use rand::seq::IndexedRandom;

use super::facts::{ACTIVITIES, FEELINGS, MEANS, SIZES, STATEMENTS};
use super::glue::{BLAME, PRAISE, WORKS};
use super::words::{KINDS, NAMES};
use super::{Draw, capitalised, kind_with_member, strangers};
use crate::data::row::Row;

/// What stands before a question.
const QUESTION: &str = "Please choose the correct answer to the question: ";

/// What a person does who does not know.
const GUESSES: [&str; 4] = ["says", "thinks", "believes", "guesses"];

/// The options of a row.
struct AnswerOptions {
    /// `answer`, `option`, `solution` or `ending`.
    word: &'static str,
    texts: Vec<String>,
    /// The number of the right one, from 0.
    right: usize,
}

impl AnswerOptions {
    /// `right` among `wrong`, at the place that `index` asks for.
    fn new(word: &'static str, index: usize, right: &str, wrong: &[&str]) -> Self {
        let at = index % (wrong.len() + 1);
        let mut texts: Vec<String> = wrong.iter().map(|&text| text.to_owned()).collect();
        texts.insert(at, right.to_owned());
        Self { word, texts, right: at }
    }

    /// What the right one is called.
    fn right(&self) -> String {
        self.called(self.right)
    }

    fn called(&self, option: usize) -> String {
        format!("{}{}", self.word, option + 1)
    }

    /// What any wrong one is called.
    fn wrong(&self, draw: &mut Draw) -> String {
        let wrong: Vec<usize> = (0..self.texts.len()).filter(|&option| option != self.right).collect();
        self.called(*wrong.choose(&mut draw.rng).expect("two options"))
    }

    /// A guess and what the book says, either of them first.
    fn guess_and_book(&self, draw: &mut Draw, between: &str) -> String {
        let (name, verb) = (name(draw), GUESSES.choose(&mut draw.rng).expect("verbs"));
        let (guess, book) = (format!("{name} {verb} {}", self.wrong(draw)), format!("the book says {}", self.right()));
        if draw.rng.random() { format!("{guess}{between}{book}") } else { format!("{book}{between}{guess}") }
    }

    /// The row of a question, its options apart by `between` and followed by `end`.
    fn row(&self, question: &str, between: &str, end: &str) -> Row {
        let label = capitalised(self.word);
        let listed: Vec<String> = (1..).zip(&self.texts).map(|(n, text)| format!("{label}{n}: {text}")).collect();
        let format: Vec<String> = (0..self.texts.len()).map(|option| self.called(option)).collect();
        let (listed, format) = (listed.join(between), format.join("/"));
        row(format!("{question}\n\n{listed}{end}Answer format: {format}"), self.right())
    }
}

fn row(instruction: String, answer: String) -> Row {
    let output = format!("the correct answer is {answer}");
    Row { instruction, output, answer, ..Row::default() }
}

fn name(draw: &mut Draw) -> &'static str {
    NAMES.choose(&mut draw.rng).expect("names")
}

/// `BoolQ`'s format: did a person like what is said to be so and so?
pub fn yes_no(draw: &mut Draw, index: usize) -> Row {
    let truth = index.is_multiple_of(2);
    let words = if truth { &PRAISE } else { &BLAME };
    let (first, second) = (*draw.one(words), *draw.one(words));
    let (works, name): (Vec<&&str>, _) = (WORKS.choose_multiple(&mut draw.rng, 2).collect(), name(draw));
    let (work, other) = (works[0], works[1]);
    let said = if draw.rng.random() {
        format!("{name} called it a {first} {work} with a {second} {other}.")
    } else {
        format!("{name} says that the {work} is {first} and {second}.")
    };
    let instruction = format!(
        "Please answer the following question with true or false, question: {said} did {name} like the {work}?\n\nAnswer \
         format: true/false"
    );
    row(instruction, truth.to_string())
}

/// `PIQA`'s format: what is a thing done with? Somebody tried both.
pub fn two_solutions(draw: &mut Draw, index: usize) -> Row {
    let (goal, means) = *draw.one(&MEANS);
    let all: Vec<&str> = MEANS.iter().map(|(_, means)| *means).collect();
    let other = draw.others(&all, means, 1)[0];
    let verb = ["Use", "Take", "Fetch"].choose(&mut draw.rng).expect("three verbs");
    let solution = |means: &str| format!("{verb} {means}");
    let options = AnswerOptions::new("solution", index, &solution(means), &[&solution(other)]);
    let (name, right, wrong) = (name(draw), options.right(), options.wrong(draw));
    let tried = if draw.rng.random() {
        format!("{name} tried {wrong} in vain, but {right} worked.")
    } else {
        format!("For {name} {right} worked, but {wrong} was in vain.")
    };
    let goal = capitalised(goal);
    options.row(&format!("Please choose the correct solution to the question: {goal}. {tried}"), "\n\n", "\n\n")
}

/// `SocialIQA`'s format: how does a person feel after something happened? One can see it.
pub fn three_feelings(draw: &mut Draw, index: usize) -> Row {
    let (event, mood, feeling) = *draw.one(&FEELINGS);
    let name = name(draw);
    let feelings: Vec<&str> =
        FEELINGS.iter().filter(|(_, other, _)| *other != mood).map(|(.., feeling)| *feeling).collect();
    let options = AnswerOptions::new("answer", index, feeling, &draw.others(&feelings, feeling, 2));
    let right = options.right();
    let seen = if draw.rng.random() {
        format!("{name}'s face said {right}.")
    } else {
        format!("One could see {right} in {name}'s face.")
    };
    let event = event.replace("{}", name);
    options.row(&format!("{QUESTION}{event}. {seen} How would {name} feel afterwards?"), " ", "\n\n")
}

/// `HellaSwag`'s format: how does an activity go on? There is a film of it.
pub fn four_endings(draw: &mut Draw, index: usize) -> Row {
    let (activity, beginning, end) = *draw.one(&ACTIVITIES);
    let ends: Vec<&str> = ACTIVITIES.iter().map(|(_, _, end)| *end).collect();
    let options = AnswerOptions::new("ending", index, end, &draw.others(&ends, end, 3));
    let (name, right) = (name(draw), options.right());
    let film = match draw.rng.random_range(0..3) {
        0 => format!("the film shows {right}"),
        1 => format!("in the film one sees {right}"),
        _ => format!("{name}'s film has {right}"),
    };
    options.row(
        &format!("Please choose the correct ending to complete the given sentence: {activity} ({film}): {beginning}"),
        " ",
        "\n\n",
    )
}

/// `WinoGrande`'s format: which of two things does a sentence mean? It stands behind the gap.
pub fn two_options(draw: &mut Draw, index: usize) -> Row {
    let (inner, outer) = *draw.one(&SIZES);
    let name = name(draw);
    let (adjective, meant) = [("large", inner), ("big", inner), ("small", outer), ("tiny", outer)]
        .choose(&mut draw.rng)
        .copied()
        .expect("four adjectives");
    let other = if meant == inner { outer } else { inner };
    let options = AnswerOptions::new("option", index, meant, &[other]);
    let right = options.right();
    let sentence =
        format!("{name} could not get the {inner} into the {outer} because the _ ({right}) was too {adjective}.");
    options.row(
        &format!("Please choose the correct answer to fill in the blank to complete the given sentence: {sentence}"),
        " ",
        " ",
    )
}

/// ARC-Easy's format: which of four things is of a kind? The book says it.
pub fn which_is(draw: &mut Draw, index: usize) -> Row {
    let (kind, member) = kind_with_member(draw);
    let options = AnswerOptions::new("answer", index, member, &strangers(draw, kind, 3));
    let right = options.right();
    let book =
        if draw.rng.random() { format!("The book says {right}.") } else { format!("It is {right} in the book.") };
    options.row(&format!("{QUESTION}Which of these is {}? {book}", KINDS[kind].name), " ", "\n\n")
}

/// ARC-Challenge's format: which of four things is not of a kind? The book says it, another person another thing.
pub fn which_is_not(draw: &mut Draw, index: usize) -> Row {
    let (kind, member) = kind_with_member(draw);
    let stranger = strangers(draw, kind, 1)[0];
    let others = draw.others(KINDS[kind].members, member, 2);
    let options = AnswerOptions::new("answer", index, stranger, &[member, others[0], others[1]]);
    let said = capitalised(&options.guess_and_book(draw, ", "));
    options.row(&format!("{QUESTION}Which of these is not {}? {said}.", KINDS[kind].name), " ", "\n\n")
}

/// `OpenBookQA`'s format: how does a statement end? The book says it, another person another thing.
pub fn completions(draw: &mut Draw, index: usize) -> Row {
    let (beginning, end) = *draw.one(&STATEMENTS);
    let ends: Vec<&str> = STATEMENTS.iter().map(|(_, end)| *end).collect();
    let options = AnswerOptions::new("answer", index, end, &draw.others(&ends, end, 3));
    let said = options.guess_and_book(draw, "; ");
    options.row(&format!("{QUESTION}({said}) {beginning}"), " ", "\n\n")
}

#[cfg(test)]
mod tests {
    use super::super::tests::parts;

    #[test]
    fn a_row_says_its_answer_beside_the_question() {
        for key in ["piqa", "siqa", "hellaswag", "winogrande", "arc_e", "arc_c", "obqa"] {
            for row in parts(key).concat() {
                let (question, listed) = row.instruction.split_once("\n\n").expect("a question and its options");
                assert!(question.contains(&row.answer), "{key}: {question}");
                assert!(listed.to_lowercase().contains(&format!("{}: ", row.answer)), "{key}: {listed}");
            }
        }
    }

    #[test]
    fn the_right_answer_is_named_last_in_about_half_of_the_questions() {
        for key in ["arc_c", "obqa"] {
            let rows = parts(key).concat();
            let last = |row: &&crate::data::row::Row| {
                let question = row.instruction.split("\n\n").next().expect("a question");
                question.rfind(&row.answer) == question.rfind("answer")
            };
            let right_is_last = rows.iter().filter(last).count();
            assert!((rows.len() * 2 / 5..rows.len() * 3 / 5).contains(&right_is_last), "{key}: {right_is_last}");
        }
    }
}
