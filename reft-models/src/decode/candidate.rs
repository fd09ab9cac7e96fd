//! Candidates for the next token of a search, and the continuations that come of them.

use super::Generation;

/// A token that a lane might take next.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Candidate {
    /// The lane's score with this token, where scores matter.
    pub score: f32,
    pub lane: usize,
    pub token: i64,
}

/// What a search does next.
pub(super) enum SearchStep {
    /// It goes on with these tokens, one for each lane from now on.
    Lanes(Vec<Candidate>),
    /// It is complete.
    Done(Generation),
}
