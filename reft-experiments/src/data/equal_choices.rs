//! Rows to choose in where two choices are the same text: the likelihoods of both are the same, and the first of them is chosen.

use super::row::Row;

/// A line for people about such rows of a task; none where there are none.
pub fn describe(task: &str, rows: &[Row]) -> Option<String> {
    let of = |row: &Row| {
        let choices = &row.choices;
        (1..choices.len()).find_map(|at| Some((choices[..at].iter().position(|one| *one == choices[at])?, at)))
    };
    let with: Vec<_> =
        rows.iter().enumerate().filter_map(|(index, row)| Some((row.name(task, index), of(row)?))).collect();
    let (name, (one, other)) = with.first()?;
    Some(format!(
        "{task}: two choices of {} of {} rows are the same text, of which the first can be chosen only (choices {one} and {other} of \
         {name} are the first): correct them, or take these rows out",
        with.len(),
        rows.len()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_with_equal_choices_are_counted_and_the_first_is_named() {
        let row =
            |choices: &[&str]| Row { choices: choices.iter().map(|&text| text.to_owned()).collect(), ..Row::default() };
        let rows = [row(&[" a", " b"]), row(&[" a", " b", " b"]), row(&[]), row(&[" c", " c"])];
        let said = describe("quiz", &rows).expect("two rows");
        assert!(
            said.starts_with("quiz: two choices of 2 of 4 rows") && said.contains("choices 1 and 2 of quiz row 1"),
            "{said}"
        );
        assert_eq!(describe("quiz", &rows[..1]), None);
    }
}
