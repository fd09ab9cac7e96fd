//! Which examples go into which update: shuffled by the run's seed, rows of similar length together.

use std::ops::Range;

use rand::seq::SliceRandom;
use reft_core::rng::Seed;

/// Batches whose rows are sorted by length together, before the batches are shuffled.
const BUCKET: usize = 16;

/// The batches of one epoch, as indices into the examples. Every example occurs once.
pub fn of_epoch(lengths: &[usize], batch: usize, seed: Seed, epoch: u64) -> Vec<Vec<usize>> {
    let mut rng = seed.stream("shuffle", epoch);
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.shuffle(&mut rng);
    for bucket in order.chunks_mut(batch * BUCKET) {
        bucket.sort_by_key(|&index| lengths[index]);
    }
    let mut batches: Vec<Vec<usize>> = order.chunks(batch).map(<[usize]>::to_vec).collect();
    batches.shuffle(&mut rng);
    batches
}

/// Splits a batch, in order, into runs of at most `limit` tokens each; a longer example stands alone.
pub fn micro(lengths: &[usize], limit: usize) -> Vec<Range<usize>> {
    let mut parts: Vec<Range<usize>> = Vec::new();
    let mut tokens = 0;
    for (index, &length) in lengths.iter().enumerate() {
        tokens += length;
        match parts.last_mut() {
            Some(part) if tokens <= limit => part.end = index + 1,
            _ => {
                tokens = length;
                parts.push(index..index + 1);
            }
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths() -> Vec<usize> {
        (0..1000).map(|i| 10 + (i * 37) % 90).collect()
    }

    #[test]
    fn an_epoch_holds_every_example_once_and_epochs_differ() {
        let lengths = lengths();
        let epoch = |seed, index| of_epoch(&lengths, 16, Seed(seed), index);
        let mut all: Vec<usize> = epoch(1, 0).concat();
        all.sort_unstable();
        assert_eq!(all, (0..1000).collect::<Vec<_>>());
        assert_eq!(epoch(1, 0), epoch(1, 0));
        assert_ne!(epoch(1, 0), epoch(1, 1));
        assert_ne!(epoch(1, 0), epoch(2, 0));
    }

    #[test]
    fn rows_of_a_batch_are_of_similar_length() {
        let lengths = lengths();
        let spread = |batch: &Vec<usize>| {
            let of = |index: &usize| lengths[*index];
            batch.iter().map(of).max().unwrap_or(0) - batch.iter().map(of).min().unwrap_or(0)
        };
        let batches = of_epoch(&lengths, 16, Seed(3), 0);
        let mean = batches.iter().map(spread).sum::<usize>() / batches.len();
        assert!(mean < 12, "mean spread {mean} of 90");
    }

    #[test]
    fn micro_batches_respect_the_limit() {
        assert_eq!(micro(&[40, 50, 30, 200, 10], 100), [0..2, 2..3, 3..4, 4..5]);
    }
}
