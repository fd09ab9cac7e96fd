//! Decoding state of one prompt: which tokens it takes next, when its answer is complete.
//!
//! A search has *lanes*, the continuations it follows side by side. After a pass it looks at its lanes' scores and says
//! which lane goes on with which token; a lane may go on more than once, another not at all.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use reft_core::rng::Seed;

use super::beams::Beams;
use super::candidate::{Candidate, SearchStep};
use super::processors::{History, LogitsProcessor};
use super::{Generation, Generator, StoppingCriterion};

/// The state of a search.
pub(super) enum PromptSearch {
    /// One lane.
    Single { said: Vec<i64>, rng: Option<ChaCha8Rng> },
    /// Several.
    Beams(Beams),
}

impl PromptSearch {
    /// A search that has said nothing yet, for a prompt that came `occurrence` times before.
    pub(super) fn new(generator: &Generator<'_>, prompt: &[i64], occurrence: u64) -> Self {
        // By prompt and not by number: what is drawn does not depend on what else is in the batch, and equal prompts
        // draw different answers.
        let stream = |_| Seed(generator.seed).stream(&format!("decode {prompt:?}"), occurrence);
        let rng = generator.decoding.sample.map(stream);
        match generator.decoding.beams {
            1 => Self::Single { said: Vec::new(), rng },
            _ => Self::Beams(Beams::new(generator, rng)),
        }
    }

    /// What each lane has said.
    pub(super) fn lanes(&self) -> Vec<&[i64]> {
        match self {
            Self::Single { said, .. } => vec![said],
            Self::Beams(beams) => beams.lanes(),
        }
    }

    /// Tokens to take next, the best first, from scores `[lanes, V]`, which the rules change. None where the rules leave
    /// nothing to say.
    pub(super) fn propose(
        &mut self,
        prompt: &[i64],
        rows: &mut [f32],
        rules: &[Box<dyn LogitsProcessor>],
    ) -> Vec<Candidate> {
        let lanes = self.lanes();
        let width = rows.len() / lanes.len();
        for (said, row) in lanes.into_iter().zip(rows.chunks_mut(width)) {
            let ids = [prompt, said].concat();
            for rule in rules {
                rule.apply(History { ids: &ids, prompt: prompt.len() }, row);
            }
        }
        match self {
            Self::Single { rng, .. } => {
                if rows[best(rows)] == f32::NEG_INFINITY {
                    return Vec::new();
                }
                let token = rng.as_mut().map_or_else(|| best(rows), |rng| draw(rows, rng)) as i64;
                vec![Candidate { score: 0.0, lane: 0, token }]
            }
            Self::Beams(beams) => beams.propose(rows, width),
        }
    }

    /// Takes the tokens proposed.
    pub(super) fn accept(
        &mut self,
        proposed: &[Candidate],
        generator: &Generator<'_>,
        ended: &dyn Fn(&[i64]) -> bool,
    ) -> SearchStep {
        match self {
            Self::Single { said, .. } => {
                for candidate in proposed {
                    said.push(candidate.token);
                    if said.len() >= generator.stop.max_new || ended(said) {
                        return SearchStep::Done(Generation { ids: std::mem::take(said), score: None });
                    }
                }
                match proposed.first() {
                    Some(&candidate) => SearchStep::Lanes(vec![candidate]),
                    None => SearchStep::Done(Generation { ids: std::mem::take(said), score: None }),
                }
            }
            Self::Beams(beams) => beams.accept(proposed, ended),
        }
    }
}

/// The most likely tokens as far as the guess agrees with them, and the one that comes after.
pub(super) fn confirmed(tokens: &[i64], guess: &[i64]) -> Vec<Candidate> {
    let right = guess.iter().zip(tokens).take_while(|(guessed, token)| guessed == token).count();
    tokens[..=right].iter().map(|&token| Candidate { score: 0.0, lane: 0, token }).collect()
}

/// Whether what was said is complete: an end token came, or the stopping criterion held.
pub(super) fn ended<'a>(
    generator: &'a Generator<'_>,
    prompt: usize,
    decided: StoppingCriterion<'a>,
) -> impl Fn(&[i64]) -> bool + 'a {
    move |said| said.last().is_some_and(|last| generator.stop.ends.contains(last)) || decided(prompt, said)
}

/// The place of the highest score, the first of equals.
fn best(scores: &[f32]) -> usize {
    let better = |best: usize, at: usize| if scores[at] > scores[best] { at } else { best };
    (1..scores.len()).fold(0, better)
}

/// A place drawn by the probabilities that scores stand for.
fn draw(scores: &[f32], rng: &mut ChaCha8Rng) -> usize {
    let highest = scores[best(scores)];
    let weight = |score: &f32| f64::from(score - highest).exp();
    let mut left = rng.random::<f64>() * scores.iter().map(weight).sum::<f64>();
    let falls = |score: &f32| {
        left -= weight(score);
        left < 0.0
    };
    // Rounding may leave a little behind the last.
    scores.iter().position(falls).unwrap_or_else(|| best(scores))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_follow_the_probabilities() {
        let scores = [0.2f32, 0.5, 0.3].map(f32::ln);
        let mut rng = Seed(1).stream("a test", 0);
        let mut counts = [0f64; 3];
        (0..10_000).for_each(|_| counts[draw(&scores, &mut rng)] += 1.0 / 10_000.0);
        // Five standard deviations of a count of 10,000 draws are at most 0.025.
        for (count, p) in counts.iter().zip([0.2, 0.5, 0.3]) {
            assert!((count - p).abs() < 0.025, "{counts:?}");
        }
    }

    #[test]
    fn a_guess_is_confirmed_up_to_its_first_mistake() {
        let tokens = |best: &[i64], guess: &[i64]| -> Vec<i64> {
            confirmed(best, guess).iter().map(|candidate| candidate.token).collect()
        };
        assert_eq!(tokens(&[4], &[]), [4]);
        assert_eq!(tokens(&[4, 5, 6], &[4, 5]), [4, 5, 6]);
        assert_eq!(tokens(&[4, 5, 6], &[4, 7]), [4, 5]);
        assert_eq!(tokens(&[4, 5, 6], &[9, 5]), [4]);
    }

    #[test]
    fn what_must_not_be_said_is_never_drawn() {
        let scores = [f32::NEG_INFINITY, 1.0, f32::NEG_INFINITY];
        let mut rng = Seed(1).stream("a test", 0);
        assert!((0..100).all(|_| draw(&scores, &mut rng) == 1));
    }
}
