//! Prompt-lookup speculative decoding: drafts from n-grams that this and other answers had before.
//!
//! Answers to one task repeat each other ("the correct answer is …"), and long ones repeat themselves. A guess is fed
//! together with the last token, and the pass that follows says of every guessed token whether greedy decoding would
//! have said it: the answer stays the same, only several of its tokens come out of one pass. Guesses that fail cost
//! time, so each answer gets as many as it has lately earned.

use std::collections::HashMap;

/// Tokens that must agree before what followed them is guessed again.
const CONTEXT: usize = 2;
/// Tokens that a new answer's first guess may have.
const FIRST: usize = 4;
/// Stands before an answer's first token.
const BEGIN: i64 = -1;

/// What all answers of a run have said so far.
pub(super) struct PromptLookup {
    /// Tokens guessed at once at most; 0 for none.
    most: usize,
    answers: Vec<DraftSource>,
    /// Where a context occurred last: the answer, and the place of the token after it.
    last: HashMap<[i64; CONTEXT], (usize, usize)>,
}

struct DraftSource {
    said: Vec<i64>,
    /// Tokens that its next guess may have.
    trust: usize,
}

impl PromptLookup {
    /// For so many answers.
    pub(super) fn new(most: usize, answers: usize) -> Self {
        let empty = || DraftSource { said: Vec::new(), trust: FIRST.min(most) };
        Self { most, answers: (0..answers).map(|_| empty()).collect(), last: HashMap::new() }
    }

    /// The tokens that this answer might go on with, at most `room`.
    pub(super) fn of(&self, answer: usize, room: usize) -> &[i64] {
        let trust = self.answers[answer].trust.min(room);
        let guess = self.likely(answer);
        &guess[..guess.len().min(trust)]
    }

    fn likely(&self, answer: usize) -> &[i64] {
        let said = &self.answers[answer].said;
        let place = self.last.get(&context(said, said.len())).filter(|_| self.most > 0);
        place.map_or(&[], |&(other, at)| &self.answers[other].said[at..])
    }

    /// This answer has grown to `said` by a pass that was fed a guess of this length.
    pub(super) fn learn(&mut self, answer: usize, said: &[i64], guessed: usize) {
        if self.most == 0 {
            return;
        }
        let known = self.answers[answer].said.len();
        let (new, mut trust) = (&said[known..], self.answers[answer].trust);
        if guessed > 0 && new.len() > guessed {
            trust = (2 * trust).min(self.most);
        } else if guessed > 0 {
            trust = new.len() - 1;
        } else if self.likely(answer).first() == new.first() && !new.is_empty() {
            trust = (trust + 1).min(self.most);
        }
        self.answers[answer].trust = trust;
        for (at, &token) in (known..).zip(new) {
            self.last.insert(context(&self.answers[answer].said, at), (answer, at));
            self.answers[answer].said.push(token);
        }
    }
}

/// The tokens before place `at`.
fn context(said: &[i64], at: usize) -> [i64; CONTEXT] {
    std::array::from_fn(|back| (at + back).checked_sub(CONTEXT).map_or(BEGIN, |place| said[place]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_guessed_from_another_and_from_itself() {
        let mut guesses = PromptLookup::new(8, 2);
        assert_eq!(guesses.of(0, 9), [] as [i64; 0], "nothing was generated yet");
        guesses.learn(0, &[5, 6, 7, 8, 9], 0);
        assert_eq!(guesses.of(1, 9), [5, 6, 7, 8], "how the other began");
        assert_eq!(guesses.of(1, 2), [5, 6], "no more than there is room for");
        guesses.learn(1, &[5, 6, 1, 2, 3, 1, 2], 0);
        assert_eq!(guesses.of(1, 9), [3, 1, 2], "what it said after 1, 2");
    }

    #[test]
    fn the_draft_length_grows_after_accepted_drafts_and_drops_to_0_after_rejected_ones() {
        let mut guesses = PromptLookup::new(8, 3);
        guesses.learn(0, &(0..40).collect::<Vec<i64>>(), 0);
        guesses.learn(1, &[0, 1, 2, 3, 4], 4);
        assert_eq!(guesses.of(1, 99).len(), 8, "all four were right, and a fifth came");
        guesses.learn(2, &[50], 4);
        guesses.learn(2, &[50, 0], 0);
        guesses.learn(2, &[50, 0, 1], 0);
        assert_eq!(guesses.of(2, 99).len(), 0, "all four were wrong");
        guesses.learn(2, &[50, 0, 1, 2], 0);
        assert_eq!(guesses.of(2, 99), [3], "the guess that was not made would have been right");
    }

    #[test]
    fn no_guesses_where_none_are_wanted() {
        let mut guesses = PromptLookup::new(0, 2);
        guesses.learn(0, &[5, 6, 7], 0);
        assert!(guesses.of(1, 9).is_empty());
    }
}
