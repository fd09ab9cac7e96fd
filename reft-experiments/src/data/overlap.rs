//! Questions that are on both sides of a split: a score on them says nothing about questions that were not seen.

use std::collections::HashMap;

use super::row::Row;

/// Rows to be scored whose questions are also trained on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Overlap {
    /// Rows to be scored.
    pub rows: usize,
    /// Those whose question is trained on, letter by letter.
    pub exact: usize,
    /// Those whose question is, when only letters and digits count and case does not; the exact ones among them.
    pub normalised: usize,
    /// The first of them: its number, from 0, and that of the training row.
    pub first: Option<(usize, usize)>,
}

/// A row's whole question, its texts in this form. Of a pair of sentences it matters which words are in which.
fn question(row: &Row, form: fn(&str) -> String) -> String {
    let texts = [&row.instruction, &row.input].into_iter().filter(|text| !text.is_empty());
    texts.map(|text| form(text)).collect::<Vec<_>>().join("\n")
}

/// A question as it is compared with others: letters and digits only, whatever their case.
pub fn normalised(question: &str) -> String {
    question.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

impl Overlap {
    /// Of rows to be scored with rows trained on.
    pub fn new<'a>(scored: &[Row], trained: impl IntoIterator<Item = &'a Row>) -> Self {
        let mut seen: HashMap<String, (usize, Vec<String>)> = HashMap::new();
        for (number, row) in trained.into_iter().enumerate() {
            let exact = question(row, str::to_owned);
            seen.entry(question(row, normalised)).or_insert((number, Vec::new())).1.push(exact);
        }
        let mut overlap = Self { rows: scored.len(), ..Self::default() };
        for (number, row) in scored.iter().enumerate() {
            let Some((trained, questions)) = seen.get(&question(row, normalised)) else { continue };
            overlap.normalised += 1;
            overlap.exact += usize::from(questions.contains(&question(row, str::to_owned)));
            overlap.first.get_or_insert((number, *trained));
        }
        overlap
    }

    /// In a line for people; none when there is nothing to say.
    pub fn describe(&self, task: &str, split: &str) -> Option<String> {
        let (scored, trained) = self.first.map(|(scored, trained)| (scored + 1, trained + 1))?;
        Some(format!(
            "{task}: {} of {} {split} questions are also trained on ({} letter by letter), the first is row {scored} (training \
             row {trained})",
            self.normalised, self.rows, self.exact
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(instruction: &str, input: &str) -> Row {
        Row { instruction: instruction.to_owned(), input: input.to_owned(), ..Row::default() }
    }

    #[test]
    fn pairs_of_sentences_are_the_same_when_both_are() {
        let trained = [row("A dog runs.", "A cat sleeps."), row("It rains.", "It pours.")];
        let scored = [
            row("A dog runs.", "A cat sleeps"),
            row("A dog runs. A", "cat sleeps."),
            row("A dog runs.", "It pours."),
            row("It rains.", "It pours."),
            row("It rains.", ""),
        ];
        let overlap = Overlap::new(&scored, &trained);
        assert_eq!(overlap, Overlap { rows: 5, exact: 1, normalised: 2, first: Some((0, 0)) });
    }

    #[test]
    fn same_questions_are_found_letter_by_letter_and_otherwise() {
        let trained = [row("What is 2 + 2?", ""), row("Add", "1, 2"), row("What is 2 + 2 ?", "")];
        let scored = [
            row("new", ""),
            row("what is 2+2", ""),
            row("What is 2 + 2 ?", ""),
            row("Add", "1, 3"),
            row("Add", "1, 2"),
        ];
        let overlap = Overlap::new(&scored, &trained);
        assert_eq!(overlap, Overlap { rows: 5, exact: 2, normalised: 3, first: Some((1, 0)) });
        let said = overlap.describe("add", "dev").expect("something");
        assert!(
            said.starts_with("add: 3 of 5 dev questions are also trained on (2 letter by letter), the first is row 2 (training row 1)"),
            "{said}"
        );
        assert_eq!(Overlap::new(&scored[..1], &trained).describe("add", "dev"), None);
    }
}
