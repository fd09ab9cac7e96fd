//! Beam search, and beam sampling: several continuations of a prompt, of which the best complete one is the answer.
//!
//! The rules are those of Hugging Face's `generate`: of the best continuations of all beams, twice as many as there are
//! beams are looked at (more with several end tokens); those that end become *complete* if they are among the first; the
//! others go on.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::candidate::{Candidate, SearchStep};
use super::settings::EarlyStopping;
use super::{Generation, Generator};

/// A continuation that goes on.
#[derive(Clone, Debug)]
struct Beam {
    said: Vec<i64>,
    /// Sum of log-probabilities.
    score: f32,
}

/// The state of a beam search.
pub(super) struct Beams {
    width: usize,
    /// Continuations looked at in each step.
    looked_at: usize,
    length_penalty: f64,
    early_stopping: EarlyStopping,
    max_new: usize,
    rng: Option<ChaCha8Rng>,
    open: Vec<Beam>,
    /// At most `width`, with their scores.
    complete: Vec<Generation>,
}

impl Beams {
    /// One empty beam: all beams begin as continuations of the same prompt.
    pub(super) fn new(generator: &Generator<'_>, rng: Option<ChaCha8Rng>) -> Self {
        let width = generator.decoding.beams;
        Self {
            width,
            looked_at: width * (1 + generator.stop.ends.len()).max(2),
            length_penalty: generator.decoding.length_penalty,
            early_stopping: generator.decoding.early_stopping,
            max_new: generator.stop.max_new,
            rng,
            open: vec![Beam { said: Vec::new(), score: 0.0 }],
            complete: Vec::new(),
        }
    }

    pub(super) fn lanes(&self) -> Vec<&[i64]> {
        self.open.iter().map(|beam| beam.said.as_slice()).collect()
    }

    /// The continuations to look at, best first, from log-probabilities `[lanes, width]`.
    pub(super) fn propose(&mut self, rows: &[f32], width: usize) -> Vec<Candidate> {
        let of_lane = |(lane, (beam, row)): (usize, (&Beam, &[f32]))| {
            let score = beam.score;
            let possible = row.iter().enumerate().filter(|(_, score)| **score > f32::NEG_INFINITY);
            possible
                .map(move |(token, value)| Candidate { score: value + score, lane, token: token as i64 })
                .collect::<Vec<_>>()
        };
        let mut all: Vec<Candidate> = self.open.iter().zip(rows.chunks(width)).enumerate().flat_map(of_lane).collect();
        let mut key: Vec<f64> = Vec::new();
        if let Some(rng) = &mut self.rng {
            // The highest of score plus Gumbel noise are a draw without replacement by softmax probabilities.
            key = all.iter().map(|candidate| f64::from(candidate.score) - (-rng.random::<f64>().ln()).ln()).collect();
        }
        let by_key = |a: &usize, b: &usize| match (key.get(*a), key.get(*b)) {
            (Some(a), Some(b)) => b.total_cmp(a),
            _ => all[*b].score.total_cmp(&all[*a].score),
        };
        let mut order: Vec<usize> = (0..all.len()).collect();
        if order.len() > self.looked_at {
            order.select_nth_unstable_by(self.looked_at, by_key);
            order.truncate(self.looked_at);
        }
        all = order.into_iter().map(|index| all[index]).collect();
        all.sort_by(|a, b| b.score.total_cmp(&a.score));
        all
    }

    /// Goes on with the best of them.
    pub(super) fn accept(&mut self, proposed: &[Candidate], ended: &dyn Fn(&[i64]) -> bool) -> SearchStep {
        if proposed.is_empty() {
            // The rules leave nothing to say: every beam ends here.
            for beam in std::mem::take(&mut self.open).into_iter().filter(|beam| !beam.said.is_empty()) {
                self.keep(beam.said, beam.score);
            }
            return SearchStep::Done(self.best());
        }
        let (mut lanes, mut open) = (Vec::new(), Vec::new());
        for (rank, candidate) in proposed.iter().enumerate() {
            let mut said = self.open[candidate.lane].said.clone();
            said.push(candidate.token);
            if ended(&said) {
                if rank < self.width {
                    self.keep(said, candidate.score);
                }
                continue;
            }
            open.push(Beam { said, score: candidate.score });
            lanes.push(*candidate);
            if lanes.len() == self.width {
                break;
            }
        }
        let length = self.open[0].said.len() + 1;
        let done = proposed.first().is_none_or(|best| self.decided(best.score, length));
        if !done && length < self.max_new && !open.is_empty() {
            self.open = open;
            return SearchStep::Lanes(lanes);
        }
        if !done {
            for beam in open {
                self.keep(beam.said, beam.score);
            }
        }
        SearchStep::Done(self.best())
    }

    /// The best complete answer.
    fn best(&mut self) -> Generation {
        let by_score =
            |a: &Generation, b: &Generation| a.score.unwrap_or(f32::MIN).total_cmp(&b.score.unwrap_or(f32::MIN));
        let best = std::mem::take(&mut self.complete).into_iter().max_by(by_score);
        best.unwrap_or(Generation { ids: Vec::new(), score: None })
    }

    /// A sum of log-probabilities as the score of something of this length.
    fn penalised(&self, sum: f32, length: usize) -> f32 {
        (f64::from(sum) / (length as f64).powf(self.length_penalty)) as f32
    }

    /// A complete answer, if it is among the best.
    fn keep(&mut self, ids: Vec<i64>, sum: f32) {
        let score = Some(self.penalised(sum, ids.len()));
        self.complete.push(Generation { ids, score });
        if self.complete.len() > self.width {
            let worst = self.worst();
            self.complete.remove(worst);
        }
    }

    fn worst(&self) -> usize {
        let score = |&at: &usize| self.complete[at].score.unwrap_or(f32::MIN);
        (0..self.complete.len()).min_by(|a, b| score(a).total_cmp(&score(b))).unwrap_or(0)
    }

    /// Whether no open beam matters any more, when the best continuation has this sum and length.
    fn decided(&self, best: f32, length: usize) -> bool {
        if self.complete.len() < self.width {
            return false;
        }
        let attainable = match self.early_stopping {
            EarlyStopping::Switch(true) => return true,
            EarlyStopping::Never if self.length_penalty > 0.0 => self.penalised(best, self.max_new),
            EarlyStopping::Switch(false) | EarlyStopping::Never => self.penalised(best, length),
        };
        self.complete[self.worst()].score.is_some_and(|worst| worst >= attainable)
    }
}
