//! The classes that a description of labelled rows lists.

use super::cell_row::CellRow;
use super::fault::OwnDataError;
use super::spec::DataSpec;
use crate::data::row::Row;
use crate::score::scoring::{Scoring, ScoringKind};
use crate::suggest::did_you_mean;

/// Names of classes in a message.
pub(super) fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

/// Refuses classes that cannot be meant.
pub(super) fn check(spec: &DataSpec, scoring: &Scoring) -> Result<(), String> {
    let Some(classes) = &spec.classes else { return Ok(()) };
    if scoring.kind() == ScoringKind::Numbers {
        return Err(format!("classes: score: {scoring} is of numbers: leave classes out, or choose another score"));
    }
    let twice = (1..classes.len()).find(|&at| classes[..at].contains(&classes[at]));
    match twice {
        Some(at) => Err(format!("classes: `{}` is listed twice: leave one out", classes[at].0)),
        None if classes.len() < 2 => Err("classes: fewer than two: list every class, or leave it out".to_owned()),
        None => Ok(()),
    }
}

/// Refuses a label that is none of the listed classes.
pub(super) fn check_row(spec: &DataSpec, cells: &CellRow, row: &Row) -> Result<(), OwnDataError> {
    let Some(classes) = &spec.classes else { return Ok(()) };
    if classes.iter().any(|class| class.0 == row.answer) {
        return Ok(());
    }
    let names = || classes.iter().map(|class| class.0.as_str());
    Err(cells.fault(format!(
        "the label `{}` is none of the classes {}{}: correct it, take the row out, or add it to classes",
        row.answer,
        listed(names()),
        did_you_mean(&row.answer, names())
    )))
}
