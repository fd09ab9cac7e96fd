//! Rows as token ids: what the model sees, and which part of it is the prompt.

use std::ops::Range;

use rayon::prelude::*;
use sha2::{Digest, Sha256};

/// One training row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Example {
    /// Token ids of prompt, completion and end token, cut to the run's maximum length.
    pub ids: Vec<i64>,
    /// Tokens of the prompt alone. The rest is what the model learns to say (eq. 4); where the tokenizer merges across
    /// the boundary, the boundary is by length, as in the reference.
    pub prompt: usize,
    /// The task and the row, for messages.
    pub name: String,
    /// Tokens beyond the maximum length, which were cut off.
    pub lost: usize,
}

/// What decides an example's pass: a hash of its token ids and of where its prompt ends.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ExampleDigest(pub [u8; 32]);

impl Example {
    /// What decides its pass. Its name does not, and need not be its own.
    pub fn digest(&self) -> ExampleDigest {
        let mut hash = Sha256::new();
        hash.update(self.prompt.to_le_bytes());
        for id in &self.ids {
            hash.update(id.to_le_bytes());
        }
        ExampleDigest(hash.finalize().into())
    }

    /// Output tokens that something before them can predict.
    pub fn labels(&self) -> usize {
        self.ids.len().saturating_sub(self.prompt.max(1))
    }

    /// Positions of the tokens that predict them: each is followed by one.
    pub fn predictors(&self) -> Range<usize> {
        let end = self.ids.len().saturating_sub(1);
        end - self.labels()..end
    }
}

/// A row before tokenisation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Text {
    /// What the model is given.
    pub prompt: String,
    /// What it learns to say, without the end token.
    pub completion: String,
    /// The task and the row, for messages.
    pub name: String,
}

/// Tokenises rows in parallel, in order. `eos` is the end token as text.
///
/// # Errors
/// The tokenizer's first.
pub fn encode<E: Send>(
    rows: &[Text],
    eos: &str,
    max_length: usize,
    tokenise: impl Fn(&str) -> Result<Vec<i64>, E> + Sync,
) -> Result<Vec<Example>, E> {
    let one = |row: &Text| {
        let mut ids = tokenise(&format!("{}{}{eos}", row.prompt, row.completion))?;
        let prompt = tokenise(&row.prompt)?.len().min(max_length);
        let lost = ids.len().saturating_sub(max_length);
        ids.truncate(max_length);
        Ok(Example { ids, prompt, name: row.name.clone(), lost })
    };
    rows.par_iter().map(one).collect()
}
