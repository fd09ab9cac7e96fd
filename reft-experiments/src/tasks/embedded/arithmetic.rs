//! Embedded arithmetic: word problems with their steps, in the formats of `AQuA`, GSM8K, MAWPS and SVAMP.
//!
//! Every step is a calculation of whole numbers from 2 to 99. The stories are the same in every split, their numbers
//! are not: those that a test row's steps need are needed together by no training row, in whatever order.

use std::ops::RangeInclusive;

use rand::Rng;
use rand::seq::IndexedRandom;

use super::Draw;
use super::stories::{AQUA, GSM8K, MAWPS, Op, Operand, SVAMP, Story, THINGS};
use super::words::NAMES;
use crate::data::row::Row;

/// Numbers of a question.
const NUMBERS: RangeInclusive<usize> = 2..=30;

/// Results of a step.
const RESULTS: RangeInclusive<usize> = 2..=99;

/// How far the wrong choices are from the right one at most.
const NEAR: usize = 9;

impl Op {
    fn sign(self) -> char {
        match self {
            Self::Plus => '+',
            Self::Minus => '-',
            Self::Times => '*',
            Self::Over => '/',
        }
    }

    /// The result, if it is one that a step may have.
    fn apply(self, left: usize, right: usize) -> Option<usize> {
        let result = match self {
            Self::Plus => Some(left + right),
            Self::Minus => left.checked_sub(right),
            Self::Times => Some(left * right),
            Self::Over => left.is_multiple_of(right).then(|| left / right),
        };
        result.filter(|result| RESULTS.contains(result))
    }
}

impl Operand {
    fn value(self, given: &[usize], found: &[usize]) -> usize {
        match self {
            Self::Given(at) => given[at],
            Self::Found(at) => found[at],
            Self::Fixed(number) => number,
        }
    }
}

impl Story {
    /// Numbers in the question.
    fn numbers(&self) -> usize {
        (0..3).filter(|number| self.question.contains(&format!("{{{number}}}"))).count()
    }

    /// The numbers that the steps need, in ascending order.
    fn operands(&self, given: &[usize]) -> Vec<usize> {
        let used = |at| self.steps.iter().any(|(_, left, _, right)| [*left, *right].contains(&Operand::Given(at)));
        let needed = given.iter().enumerate().filter(|(at, _)| used(*at));
        let mut numbers: Vec<usize> = needed.map(|(_, number)| *number).collect();
        numbers.sort_unstable();
        numbers
    }

    /// Every step as a sentence, and the answer; none if a result is out of range.
    fn work(&self, given: &[usize]) -> Option<(String, usize)> {
        let (mut sentences, mut found) = (Vec::new(), Vec::new());
        for (beginning, left, op, right) in self.steps {
            let (left, right) = (left.value(given, &found), right.value(given, &found));
            let result = op.apply(left, right)?;
            sentences.push(format!("{beginning} {left} {} {right} = {result}.", op.sign()));
            found.push(result);
        }
        Some((sentences.join(" "), *found.last()?))
    }
}

/// A problem in full.
struct WordProblem {
    question: String,
    steps: String,
    result: usize,
}

impl WordProblem {
    /// One of these stories with numbers of this part.
    fn draw(draw: &mut Draw, stories: &[Story]) -> Self {
        let story = stories.choose(&mut draw.rng).expect("stories");
        let names: Vec<&&str> = NAMES.choose_multiple(&mut draw.rng, 2).collect();
        let things: Vec<&&str> = THINGS.choose_multiple(&mut draw.rng, 2).collect();
        let words = [("{name}", names[0]), ("{friend}", names[1]), ("{things}", things[0]), ("{others}", things[1])];
        let fill = |text: &str| words.iter().fold(text.to_owned(), |text, (slot, word)| text.replace(slot, word));
        loop {
            let given: Vec<usize> = (0..story.numbers()).map(|_| draw.rng.random_range(NUMBERS)).collect();
            let Some((steps, result)) = story.work(&given) else { continue };
            if draw.part.holds(eighth(&story.operands(&given))) {
                return Self { question: numbered(&fill(story.question), &given), steps: fill(&steps), result };
            }
        }
    }

    fn row(self, choices: &str, answer: String) -> Row {
        let Self { question, steps, .. } = self;
        let output = format!("{steps} The answer is {answer}.");
        Row { instruction: question + choices, output, answer, ..Row::default() }
    }
}

/// A question with its numbers in place.
fn numbered(question: &str, given: &[usize]) -> String {
    let place = |text: String, (at, number): (usize, &usize)| text.replace(&format!("{{{at}}}"), &number.to_string());
    given.iter().enumerate().fold(question.to_owned(), place)
}

/// Which eighth of all numbers these belong to. The hash keeps it apart from sums and differences: otherwise some
/// answers would occur in one part only.
fn eighth(numbers: &[usize]) -> usize {
    let mix = |hash: u64, number: &usize| {
        let product = (hash ^ *number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        product ^ (product >> 32)
    };
    (numbers.iter().fold(0, mix) % 8) as usize
}

fn with_number(draw: &mut Draw, stories: &[Story]) -> Row {
    let problem = WordProblem::draw(draw, stories);
    let answer = problem.result.to_string();
    problem.row("", answer)
}

/// `AQuA`'s format: which of five numbers is the answer?
pub fn aqua(draw: &mut Draw, index: usize) -> Row {
    let problem = WordProblem::draw(draw, &AQUA);
    let right = problem.result;
    let near: Vec<usize> =
        (right.saturating_sub(NEAR).max(1)..=right + NEAR).filter(|&number| number != right).collect();
    let mut choices: Vec<usize> = near.choose_multiple(&mut draw.rng, 4).copied().collect();
    choices.insert(index % 5, right);
    let lettered = || ('A'..='E').zip(&choices);
    let listed: Vec<String> = lettered().map(|(letter, choice)| format!("({letter}) {choice}")).collect();
    let answer = lettered().find(|(_, choice)| **choice == right).map_or(String::new(), |(letter, _)| letter.into());
    problem.row(&format!(" Answer Choices: {}", listed.join(" ")), answer)
}

/// GSM8K's format: problems of several steps.
pub fn gsm8k(draw: &mut Draw, _: usize) -> Row {
    with_number(draw, &GSM8K)
}

/// MAWPS's format: problems of one or two steps.
pub fn mawps(draw: &mut Draw, _: usize) -> Row {
    with_number(draw, &MAWPS)
}

/// SVAMP's format: problems of one step with a number too many.
pub fn svamp(draw: &mut Draw, _: usize) -> Row {
    with_number(draw, &SVAMP)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::LazyLock;

    use regex::Regex;

    use super::super::tests::parts;
    use super::*;
    use crate::tasks::TaskId;

    const KEYS: [&str; 4] = ["aqua", "gsm8k_alpaca", "mawps", "svamp"];

    static EQUATION: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"(\d+) ([-+*/]) (\d+) = (\d+)").expect("a fixed pattern"));

    static NUMBER: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\d+").expect("a fixed pattern"));

    struct Equation {
        left: usize,
        sign: char,
        right: usize,
        result: usize,
    }

    fn numbers(text: &str) -> Vec<usize> {
        NUMBER.find_iter(text).map(|found| found.as_str().parse::<usize>().expect("digits")).collect()
    }

    fn equations(row: &Row) -> Vec<Equation> {
        let equation = |found: regex::Captures<'_>| {
            let number = |group: usize| found[group].parse::<usize>().expect("digits");
            let sign = found[2].chars().next().expect("a sign");
            Equation { left: number(1), sign, right: number(3), result: number(4) }
        };
        EQUATION.captures_iter(&row.output).map(equation).collect()
    }

    /// The numbers that a row's steps take from its question or from common knowledge, in ascending order.
    fn taken(row: &Row) -> Vec<usize> {
        let (mut taken, mut found) = (Vec::new(), Vec::new());
        for Equation { left, right, result, .. } in equations(row) {
            match (found.contains(&left), found.contains(&right)) {
                (true, _) => taken.push(right),
                (false, true) => taken.push(left),
                (false, false) => taken.extend([left, right]),
            }
            found.push(result);
        }
        taken.sort_unstable();
        taken
    }

    /// A row's steps without numbers and names.
    fn story(row: &Row) -> String {
        let words = NAMES.iter().fold(row.output.clone(), |text, name| text.replace(name, "Somebody"));
        NUMBER.replace_all(&words, "").into_owned()
    }

    /// What the last step must come to.
    fn result(row: &Row) -> usize {
        let Some((_, choices)) = row.instruction.split_once("Answer Choices: ") else { return numbers(&row.answer)[0] };
        let (_, choice) = choices.split_once(&format!("({}) ", row.answer)).expect("a choice");
        numbers(choice)[0]
    }

    #[test]
    fn every_step_is_right_and_begins_from_numbers_at_hand() {
        for row in KEYS.iter().flat_map(|key| parts(key).concat()) {
            let mut at_hand = [numbers(&row.instruction), vec![2, 4]].concat();
            let equations = equations(&row);
            for Equation { left, sign, right, result } in &equations {
                let checked = match sign {
                    '+' => left + right,
                    '-' => left - right,
                    '*' => left * right,
                    _ => left / right,
                };
                let whole = *sign != '/' || left.is_multiple_of(*right);
                assert!(checked == *result && whole && at_hand.contains(left) && at_hand.contains(right), "{row:?}");
                at_hand.push(*result);
            }
            assert_eq!(equations.last().map(|last| last.result), Some(result(&row)), "{row:?}");
        }
    }

    #[test]
    fn every_output_ends_with_the_answer_and_is_scored_right() {
        for key in KEYS {
            let task = key.parse::<TaskId>().expect("a task").task();
            for row in parts(key).concat() {
                let said = task.completion(&row);
                assert!(said.ends_with(&format!(" The answer is {}.", row.answer)) && said.len() < 130, "{row:?}");
                assert!(task.correct(&row, &task.extract(&said)), "{row:?}");
                assert!(!task.prompt(&row).contains(['{', '}']) && !said.contains(['{', '}']), "{row:?}");
            }
        }
    }

    #[test]
    fn numbers_of_one_split_are_needed_together_in_no_other() {
        for key in KEYS {
            let mut homes: BTreeMap<(String, Vec<usize>), usize> = BTreeMap::new();
            for (part, rows) in parts(key).iter().enumerate() {
                for row in rows {
                    assert_eq!(*homes.entry((story(row), taken(row))).or_insert(part), part, "{row:?}");
                }
            }
        }
    }

    #[test]
    fn choices_are_five_different_numbers() {
        for row in parts("aqua").concat() {
            let (_, choices) = row.instruction.split_once("Answer Choices: ").expect("choices");
            let mut choices = numbers(choices);
            choices.sort_unstable();
            choices.dedup();
            assert_eq!(choices.len(), 5, "{row:?}");
        }
    }
}
