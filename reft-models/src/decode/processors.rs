//! Rules that change the scores of the next token before one is chosen. They compose: each sees what the one before left.
//!
//! A score is a logit, or a log-probability in beam search. What must not be said has the score `-∞`.

use super::settings::{Decoding, Sampling};

/// What came before the token to be chosen.
#[derive(Clone, Copy, Debug)]
pub struct History<'a> {
    /// The prompt and everything said since.
    pub ids: &'a [i64],
    /// Tokens of the prompt.
    pub prompt: usize,
}

/// One rule.
pub trait LogitsProcessor: Send + Sync {
    /// Changes `scores`, one for each token of the vocabulary.
    fn apply(&self, history: History<'_>, scores: &mut [f32]);
}

/// The rules of some settings, in the order of Hugging Face's `generate`.
pub fn processors(decoding: &Decoding, ends: &[i64]) -> Vec<Box<dyn LogitsProcessor>> {
    let mut all: Vec<Box<dyn LogitsProcessor>> = Vec::new();
    if (decoding.repetition_penalty - 1.0).abs() > f64::EPSILON {
        all.push(Box::new(RepetitionPenalty(decoding.repetition_penalty as f32)));
    }
    if decoding.no_repeat_ngram > 0 {
        all.push(Box::new(NoRepeatNgram(decoding.no_repeat_ngram)));
    }
    if decoding.min_new_tokens > 0 {
        all.push(Box::new(MinNewTokens { min: decoding.min_new_tokens, ends: ends.to_vec() }));
    }
    if let Some(Sampling { temperature, top_k, top_p }) = decoding.sample {
        // With several beams one token besides the end tokens must stay, else a beam could only end.
        let keep = if decoding.beams > 1 { ends.len() + 1 } else { 1 };
        all.push(Box::new(Temperature(temperature as f32)));
        if top_k > 0 {
            all.push(Box::new(TopK { k: top_k.max(keep) }));
        }
        if top_p < 1.0 {
            all.push(Box::new(TopP { p: top_p as f32, keep }));
        }
    }
    all
}

/// A token that occurred: a positive score is divided by the penalty, a negative one multiplied.
pub struct RepetitionPenalty(pub f32);

impl LogitsProcessor for RepetitionPenalty {
    fn apply(&self, history: History<'_>, scores: &mut [f32]) {
        let mut ids = history.ids.to_vec();
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            if let Some(score) = scores.get_mut(id as usize) {
                *score = if *score < 0.0 { *score * self.0 } else { *score / self.0 };
            }
        }
    }
}

/// What would complete a sequence of `n` tokens that occurred before must not be said.
pub struct NoRepeatNgram(pub usize);

impl LogitsProcessor for NoRepeatNgram {
    fn apply(&self, history: History<'_>, scores: &mut [f32]) {
        let before = self.0 - 1;
        let Some(last) = history.ids.len().checked_sub(before).map(|from| &history.ids[from..]) else { return };
        for ngram in history.ids.windows(self.0).filter(|ngram| ngram[..before] == *last) {
            if let Some(score) = scores.get_mut(ngram[before] as usize) {
                *score = f32::NEG_INFINITY;
            }
        }
    }
}

/// No end token before `min` tokens were said.
pub struct MinNewTokens {
    /// How many.
    pub min: usize,
    /// The end tokens.
    pub ends: Vec<i64>,
}

impl LogitsProcessor for MinNewTokens {
    fn apply(&self, history: History<'_>, scores: &mut [f32]) {
        if history.ids.len() - history.prompt < self.min {
            for &end in &self.ends {
                if let Some(score) = scores.get_mut(end as usize) {
                    *score = f32::NEG_INFINITY;
                }
            }
        }
    }
}

/// Divides every score.
pub struct Temperature(pub f32);

impl LogitsProcessor for Temperature {
    fn apply(&self, _: History<'_>, scores: &mut [f32]) {
        for score in scores {
            *score /= self.0;
        }
    }
}

/// The `k` highest scores stay, and those equal to the lowest of them.
pub struct TopK {
    /// How many.
    pub k: usize,
}

impl LogitsProcessor for TopK {
    fn apply(&self, _: History<'_>, scores: &mut [f32]) {
        if self.k >= scores.len() {
            return;
        }
        let mut sorted = scores.to_vec();
        let (_, lowest, _) = sorted.select_nth_unstable_by(self.k - 1, |a, b| b.total_cmp(a));
        let lowest = *lowest;
        scores.iter_mut().filter(|score| **score < lowest).for_each(|score| *score = f32::NEG_INFINITY);
    }
}

/// The likeliest tokens stay until their probabilities add up to `p`, and `keep` of them at least.
pub struct TopP {
    /// The sum.
    pub p: f32,
    /// How many stay whatever their probability.
    pub keep: usize,
}

impl LogitsProcessor for TopP {
    fn apply(&self, _: History<'_>, scores: &mut [f32]) {
        let mut ids: Vec<usize> = (0..scores.len()).filter(|&id| scores[id] > f32::NEG_INFINITY).collect();
        ids.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
        let Some(&highest) = ids.last() else { return };
        let weight = |id: usize| f64::from(scores[id] - scores[highest]).exp();
        let total: f64 = ids.iter().map(|&id| weight(id)).sum();
        // From the least likely on: what the tail up to and including a token weighs decides about this token.
        let mut tail = 0.0;
        let gone = ids[..ids.len().saturating_sub(self.keep)].iter().take_while(|&&id| {
            tail += weight(id) / total;
            tail <= f64::from(1.0 - self.p)
        });
        let gone: Vec<usize> = gone.copied().collect();
        for id in gone {
            scores[id] = f32::NEG_INFINITY;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: f32 = f32::NEG_INFINITY;

    fn after(processor: &dyn LogitsProcessor, ids: &[i64], prompt: usize, scores: &[f32]) -> Vec<f32> {
        let mut scores = scores.to_vec();
        processor.apply(History { ids, prompt }, &mut scores);
        scores
    }

    #[test]
    fn a_repeated_token_is_penalised_once() {
        assert_eq!(after(&RepetitionPenalty(2.0), &[0, 1, 1, 9], 2, &[3.0, -1.0, 5.0]), [1.5, -2.0, 5.0]);
    }

    #[test]
    fn a_sequence_is_not_completed_twice() {
        let scores = [0.0; 4];
        assert_eq!(after(&NoRepeatNgram(2), &[1, 2, 3, 1], 0, &scores), [0.0, 0.0, NONE, 0.0]);
        assert_eq!(after(&NoRepeatNgram(3), &[1, 2, 3, 1], 0, &scores), scores);
        assert_eq!(after(&NoRepeatNgram(1), &[1, 3], 0, &scores), [0.0, NONE, 0.0, NONE], "no token twice");
        assert_eq!(after(&NoRepeatNgram(9), &[1, 3], 0, &scores), scores, "too little was said");
    }

    #[test]
    fn end_tokens_are_masked_below_the_minimum_of_new_tokens() {
        let rule = MinNewTokens { min: 2, ends: vec![0] };
        assert_eq!(after(&rule, &[5, 5, 5], 2, &[1.0, 2.0]), [NONE, 2.0]);
        assert_eq!(after(&rule, &[5, 5, 5, 5], 2, &[1.0, 2.0]), [1.0, 2.0]);
    }

    #[test]
    fn top_k_and_top_p_mask_unlikely_tokens() {
        assert_eq!(after(&TopK { k: 2 }, &[], 0, &[1.0, 3.0, 2.0, 2.0]), [NONE, 3.0, 2.0, 2.0]);
        let scores = [0.5f32, 0.3, 0.15, 0.05].map(f32::ln);
        assert_eq!(after(&TopP { p: 0.7, keep: 1 }, &[], 0, &scores), [scores[0], scores[1], NONE, NONE]);
        assert_eq!(after(&TopP { p: 0.1, keep: 2 }, &[], 0, &scores), [scores[0], scores[1], NONE, NONE]);
        assert_eq!(after(&TopP { p: 0.1, keep: 1 }, &[], 0, &[NONE, 1.0]), [NONE, 1.0]);
    }
}
