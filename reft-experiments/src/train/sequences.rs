//! A training row as the sequences of tokens that are run for it.

use super::model_with_loss::TokenRow;
use crate::data::encode::Example;

/// A row of a causal model's training: what the adapted model runs for it, and what the base model does.
pub trait TrainingRow: TokenRow {
    /// Sequences that the adapted model runs.
    fn adapted(&self) -> &[Example];

    /// Sequences that the base model runs: without edits, and without a gradient.
    fn base(&self) -> &[Example] {
        &[]
    }

    /// The set of interventions (index in `refts`) that alone edits the row; none where all of them do.
    fn part(&self) -> Option<usize> {
        None
    }

    /// Its class, from 0; none of a row without one.
    fn class(&self) -> Option<i64> {
        None
    }
}

impl TokenRow for Example {
    fn tokens(&self) -> usize {
        self.ids.len()
    }

    fn name(&self) -> &str {
        &self.name
    }
}

impl TrainingRow for Example {
    fn adapted(&self) -> &[Example] {
        std::slice::from_ref(self)
    }
}

/// Several sequences of one row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sequences {
    /// Those that the adapted model runs; their names differ between all rows, since the activation cache knows them by these.
    pub adapted: Vec<Example>,
    /// Those that the base model runs; likewise among themselves.
    pub base: Vec<Example>,
    /// The task and the row, for messages.
    pub name: String,
    /// The row's class, from 0; none of a row without one.
    pub class: Option<i64>,
}

impl Sequences {
    /// One sequence, and none of the base model.
    pub fn of(example: Example) -> Self {
        Self { name: example.name.clone(), adapted: vec![example], base: Vec::new(), class: None }
    }
}

impl TokenRow for Sequences {
    fn tokens(&self) -> usize {
        self.adapted.iter().map(TokenRow::tokens).sum()
    }

    fn name(&self) -> &str {
        &self.name
    }
}

impl TrainingRow for Sequences {
    fn adapted(&self) -> &[Example] {
        &self.adapted
    }

    fn base(&self) -> &[Example] {
        &self.base
    }

    fn class(&self) -> Option<i64> {
        self.class
    }
}

/// A row that one of several sets of interventions learns from, and no other: training of a composed subspace (appendix G.1),
/// whose sets share one orthonormal `R`.
#[derive(Clone, Debug)]
pub struct AssignedRow {
    /// The row.
    pub example: Example,
    /// Index of the set in `refts`.
    pub part: usize,
}

impl TokenRow for AssignedRow {
    fn tokens(&self) -> usize {
        self.example.tokens()
    }

    fn name(&self) -> &str {
        self.example.name()
    }
}

impl TrainingRow for AssignedRow {
    fn adapted(&self) -> &[Example] {
        self.example.adapted()
    }

    fn part(&self) -> Option<usize> {
        Some(self.part)
    }
}
