//! Ids against the tables that a model looks them up in.

use super::{Tokenizer, TokenizerError, TypedTokens};

/// Rows of a model's tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Rows of the embedding, which may be more than there are tokens.
    pub embedding: i64,
    /// Rows of the table of token types, 0 for an encoder without one; none for a language model.
    pub types: Option<i64>,
}

impl Tokenizer {
    /// The tokenizer of a model with such tables: a text that needs a token or type beyond them is refused when it is
    /// encoded.
    #[must_use]
    pub fn within(mut self, bounds: Bounds) -> Self {
        self.bounds = Some(bounds);
        self
    }

    pub(super) fn check(&self, ids: &[i64]) -> Result<(), TokenizerError> {
        let Some(Bounds { embedding, .. }) = self.bounds else { return Ok(()) };
        match ids.iter().find(|&&id| id >= embedding) {
            Some(&id) => {
                let token = self.piece(id).unwrap_or_default();
                Err(TokenizerError::BeyondEmbedding { token, id, rows: embedding })
            }
            None => Ok(()),
        }
    }

    /// The same with the types; a model without types is given none.
    pub(super) fn checked(&self, mut typed: TypedTokens) -> Result<TypedTokens, TokenizerError> {
        self.check(&typed.ids)?;
        match self.bounds.and_then(|bounds| bounds.types) {
            None => {}
            Some(0) => typed.types.fill(0),
            Some(rows) => {
                if let Some(&kind) = typed.types.iter().find(|&&kind| kind >= rows) {
                    return Err(TokenizerError::BeyondTypes { kind, rows });
                }
            }
        }
        Ok(typed)
    }
}
