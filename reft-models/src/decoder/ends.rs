//! Embedding and head of a decoder, tied or not.

use super::DecoderError;
use super::config::DecoderConfig;
use crate::weights::Weights;

/// One tensor, which may be stored under either name, or two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EmbeddingWeights {
    /// The embedding is the head.
    Embedding,
    /// The head is the embedding.
    Head,
    /// Each has its own.
    Two,
}

impl EmbeddingWeights {
    /// Tied ends that are stored under both names with different values are two tensors, as in transformers 5;
    /// transformers 4 took the embedding for both.
    pub fn find(weights: &Weights, config: &DecoderConfig, root: &str) -> Result<Self, DecoderError> {
        let (embedding, head, tied) = (config.names.embedding_below(root), config.names.head_weight(), config.tied);
        let (stored, head_stored) = (weights.contains(&embedding), weights.contains(&head));
        if !tied && stored && !head_stored && weights.stored_otherwise(&head).is_none() {
            return Err(DecoderError::NoHead { path: weights.path().to_owned(), name: head });
        }
        if tied && !stored && head_stored {
            return Ok(Self::Head);
        }
        Ok(if tied && (!head_stored || weights.equal(&embedding, &head)?) { Self::Embedding } else { Self::Two })
    }

    /// As the configuration says, where there is no checkpoint.
    pub fn announced(config: &DecoderConfig) -> Self {
        if config.tied { Self::Embedding } else { Self::Two }
    }

    pub fn are_one(self) -> bool {
        self != Self::Two
    }

    /// What a user should know of a checkpoint that contradicts its configuration.
    pub fn note(self, weights: &Weights, config: &DecoderConfig, root: &str) -> Option<String> {
        (config.tied && !self.are_one()).then(|| {
            let (path, head) = (weights.path().display(), config.names.head_weight());
            let embedding = config.names.embedding_below(root);
            format!(
                "{path}: tie_word_embeddings is true, but `{head}` and `{embedding}` differ: both are used, as \
                 transformers 5 does; remove `{head}` to tie them, or set tie_word_embeddings to false"
            )
        })
    }
}
