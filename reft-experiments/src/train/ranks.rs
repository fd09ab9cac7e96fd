//! Data-parallel training: which rows of a batch are this process's own, and what ranks tell each other.
//!
//! Every rank knows the whole batch, computes the gradient of its share, and the flat gradients are summed (all-reduce). Each
//! share's mean loss is weighted by its part of what the batch is scored on, so that the sum is the gradient of one process.

use reft_models::distributed::{GroupError, ProcessGroup};
use tch::{Device, Kind, Tensor};

/// Ranks that do not train one run together.
#[derive(Debug, thiserror::Error)]
pub enum RanksError {
    /// Another process has ended.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// This process was started for other work than rank 0.
    #[error(
        "rank {rank} would do run {own}, and rank 0 run {led}: give all processes the same configuration, data, model, version \
         of this program and number of threads"
    )]
    OtherRun {
        /// This process.
        rank: usize,
        /// Its run.
        own: String,
        /// Rank 0's run.
        led: String,
    },
}

/// What rank 0 says before training.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Word {
    /// The run is trained now.
    Train,
    /// It was done before.
    Done,
}

impl Word {
    /// Says it of a run, named by 16 hexadecimal digits, to all other ranks.
    ///
    /// # Errors
    /// When a rank has ended.
    pub fn tell(self, group: &ProcessGroup, run: &str) -> Result<(), GroupError> {
        let word = match self {
            Self::Train => 0,
            Self::Done => 1,
        };
        group.broadcast(&mut Tensor::from_slice(&[word, number(run)]))
    }

    /// Hears it, of the run that this rank would do.
    ///
    /// # Errors
    /// When a rank has ended, or rank 0 does another run.
    pub fn hear(group: &ProcessGroup, run: &str) -> Result<Self, RanksError> {
        let mut heard = Tensor::zeros([2], (Kind::Int64, Device::Cpu));
        group.broadcast(&mut heard)?;
        let led = heard.int64_value(&[1]);
        if led != number(run) {
            let (rank, own) = (group.rank(), run.to_owned());
            return Err(RanksError::OtherRun { rank, own, led: format!("{led:016x}") });
        }
        Ok(if heard.int64_value(&[0]) == 0 { Self::Train } else { Self::Done })
    }
}

/// A run's name as a number of the same bits.
fn number(run: &str) -> i64 {
    u64::from_str_radix(run, 16).expect("a run is named by 16 hexadecimal digits").cast_signed()
}

/// The rows of a batch that are this rank's, in their order: the longest first, each to the rank with the fewest tokens so far.
pub fn share(lengths: &[usize], rank: usize, size: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&row| std::cmp::Reverse(lengths[row]));
    let mut tokens = vec![0; size];
    let mut own = Vec::new();
    for row in order {
        let least = (0..size).min_by_key(|&rank| tokens[rank]).unwrap_or(0);
        tokens[least] += lengths[row];
        if least == rank {
            own.push(row);
        }
    }
    own.sort_unstable();
    own
}

/// The batch's mean loss and gradients, given a share's: both are weighted by `part`, the share's part of what the batch is
/// scored on, and summed over all ranks in one all-reduce.
///
/// # Errors
/// When a rank has ended.
pub fn reduce(
    group: &ProcessGroup,
    loss: f64,
    gradients: &[Tensor],
    part: f64,
) -> Result<(f64, Vec<Tensor>), GroupError> {
    let loss = Tensor::from_slice(&[loss]).to_device(gradients[0].device()).to_kind(Kind::Float);
    let flat: Vec<Tensor> = gradients.iter().map(|gradient| gradient.reshape([-1])).collect();
    let flat: Vec<&Tensor> = std::iter::once(&loss).chain(&flat).collect();
    let mut all = tch::no_grad(|| Tensor::cat(&flat, 0) * part);
    group.sum(&mut all)?;
    let sizes: Vec<i64> = flat.iter().map(|values| values.size1().unwrap_or(0)).collect();
    let parts = all.split_with_sizes(sizes.as_slice(), 0);
    let shaped = parts[1..].iter().zip(gradients).map(|(part, like)| part.reshape(like.size())).collect();
    Ok((parts[0].double_value(&[0]), shaped))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_disjoint_complete_and_even() {
        let lengths = [90, 10, 40, 50, 30, 70, 20, 60];
        let shares: Vec<Vec<usize>> = (0..2).map(|rank| share(&lengths, rank, 2)).collect();
        let mut all = shares.concat();
        all.sort_unstable();
        assert_eq!(all, (0..lengths.len()).collect::<Vec<_>>());
        let tokens = |share: &[usize]| share.iter().map(|&row| lengths[row]).sum::<usize>();
        assert!(tokens(&shares[0]).abs_diff(tokens(&shares[1])) <= 10);
        assert_eq!(share(&[5], 1, 2), [] as [usize; 0]);
    }
}
