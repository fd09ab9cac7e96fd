//! Rows as an encoder reads them: one text or two as tokens, with what they are.

use rayon::prelude::*;
use reft_models::tokenizer::{Tokenizer, TokenizerError, TypedTokens};

use super::row::Row;
pub use crate::score::metric::Target;

/// One row.
#[derive(Clone, PartialEq, Debug)]
pub struct Labelled {
    /// Token ids, special ones included.
    pub ids: Vec<i64>,
    /// The type of each: first text or second.
    pub types: Vec<i64>,
    /// What the row is.
    pub target: Target,
    /// The task and the row, for messages.
    pub name: String,
}

/// Rows as tokens.
#[derive(Clone, PartialEq, Debug)]
pub struct EncodedRows {
    /// In the order of the rows.
    pub rows: Vec<Labelled>,
    /// What those are called that are longer than the maximum length and were cut.
    pub cut: Vec<String>,
}

/// Tokenises rows in parallel, in order; the longer of two texts is cut until both fit into `max_length` tokens.
///
/// # Errors
/// When the tokenizer cannot encode a text.
pub fn encode(
    rows: &[Row],
    task: &str,
    target: impl Fn(&Row) -> Target + Sync,
    tokenizer: &Tokenizer,
    max_length: usize,
) -> Result<EncodedRows, TokenizerError> {
    let one = |(index, row): (usize, &Row)| -> Result<(Labelled, bool), TokenizerError> {
        let second = (!row.input.is_empty()).then_some(row.input.as_str());
        let TypedTokens { ids, types } = tokenizer.encode_pair(&row.instruction, second, max_length)?;
        // Only a row that fills the maximum can have been cut.
        let cut = ids.len() >= max_length
            && tokenizer.encode_pair(&row.instruction, second, usize::MAX)?.ids.len() > ids.len();
        Ok((Labelled { ids, types, target: target(row), name: row.name(task, index) }, cut))
    };
    let encoded = rows.par_iter().enumerate().map(one).collect::<Result<Vec<_>, _>>()?;
    let cut = encoded.iter().filter(|(_, cut)| *cut).map(|(row, _)| row.name.clone()).collect();
    Ok(EncodedRows { rows: encoded.into_iter().map(|(row, _)| row).collect(), cut })
}
