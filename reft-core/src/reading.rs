//! Reading vectors: a direction in activations, from pairs of texts that differ in what the direction is to mean (appendix B).
//!
//! | reading | vector |
//! |---|---|
//! | difference | mean over the pairs of positive − negative: activation addition with one pair (eq. 10), contrastive addition with several |
//! | `pca` | first principal component of the differences, their mean taken off |
//! | `pca_swapped` | the same after half of the pairs changed their order, which leaves almost no mean to take off (`RepE`) |
//! | `pca_uncentred` | first right singular vector of the differences as they are |
//!
//! Components have length 1 and the sign that makes the positives' mean projection the larger one. All arithmetic is in f64.

use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::rng::Seed;

/// How a vector is computed from pairs of states.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadingMethod {
    /// The mean difference.
    #[default]
    Difference,
    /// Principal component, differences centred.
    Pca,
    /// Principal component after half of the pairs changed their order.
    PcaSwapped,
    /// Principal component, differences not centred.
    PcaUncentred,
}

/// Pairs that give no direction.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReadingError {
    /// No pair at all.
    #[error("no pairs: give at least one")]
    None,
    /// A single pair has no variation around its mean.
    #[error("one pair has no principal component once its mean is taken off: give more pairs, or use difference")]
    OnePair,
    /// Both sides are the same, or vary in no direction.
    #[error("the states of the positive and the negative texts do not differ in any direction: give other pairs")]
    NoDirection,
    /// A state that is NaN or infinite.
    #[error("a state is not finite: the model computes NaN, or its type is too narrow")]
    NotFinite,
}

impl ReadingMethod {
    /// Every reading, with its name.
    pub const ALL: [(&'static str, Self); 4] = [
        ("difference", Self::Difference),
        ("pca", Self::Pca),
        ("pca_swapped", Self::PcaSwapped),
        ("pca_uncentred", Self::PcaUncentred),
    ];

    /// The vector `[d]`, f32, of pairs of states `[n, d]`; `swaps` says which pairs change their order, where they do.
    ///
    /// # Errors
    /// When the pairs give no direction.
    pub fn vector(self, positive: &Tensor, negative: &Tensor, swaps: &[bool]) -> Result<Tensor, ReadingError> {
        let differences = (positive - negative).to_kind(Kind::Double);
        let pairs = differences.size()[0];
        if pairs == 0 {
            return Err(ReadingError::None);
        }
        if differences.isfinite().all().int64_value(&[]) == 0 {
            return Err(ReadingError::NotFinite);
        }
        let mean = differences.mean_dim([0i64].as_slice(), false, Kind::Double);
        let centred = |rows: Tensor| &rows - rows.mean_dim([0i64].as_slice(), true, Kind::Double);
        let rows = match self {
            Self::Difference => {
                let length = mean.norm().double_value(&[]);
                return if length > 0.0 { Ok(mean.to_kind(Kind::Float)) } else { Err(ReadingError::NoDirection) };
            }
            Self::Pca | Self::PcaSwapped if pairs == 1 => return Err(ReadingError::OnePair),
            Self::Pca => centred(differences),
            Self::PcaSwapped => {
                let signs: Vec<f64> = swaps.iter().map(|&swap| if swap { -1.0 } else { 1.0 }).collect();
                centred(differences * Tensor::from_slice(&signs).to_device(positive.device()).unsqueeze(1))
            }
            Self::PcaUncentred => differences,
        };
        let component = first_component(&rows)?;
        let sign = if component.dot(&mean).double_value(&[]) < 0.0 { -1.0 } else { 1.0 };
        Ok((component * sign).to_kind(Kind::Float))
    }
}

/// The right singular vector of the largest singular value of `[n, d]`.
fn first_component(rows: &Tensor) -> Result<Tensor, ReadingError> {
    let (_, values, right) = rows.svd(true, true);
    if values.double_value(&[0]) > 0.0 { Ok(right.select(1, 0)) } else { Err(ReadingError::NoDirection) }
}

/// Which of `pairs` pairs change their order: half of them, drawn.
pub fn swaps(pairs: usize, seed: Seed) -> Vec<bool> {
    let mut swaps: Vec<bool> = (0..pairs).map(|pair| pair < pairs / 2).collect();
    swaps.shuffle(&mut seed.stream("swaps", 0));
    swaps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::normal;

    #[test]
    fn the_direction_in_which_pairs_differ_is_found() {
        let direction = normal(&[12], 1);
        let amount = normal(&[40, 1], 2) * 0.2 + 3.0;
        let negative = normal(&[40, 12], 3);
        let positive = &negative + &amount * &direction + normal(&[40, 12], 4) * 0.05;
        let swaps = swaps(40, Seed(1));
        assert_eq!(swaps.iter().filter(|&&swap| swap).count(), 20);
        for (name, reading) in ReadingMethod::ALL {
            let vector = reading.vector(&positive, &negative, &swaps).expect(name);
            let cosine = vector.dot(&direction) / (vector.norm() * direction.norm());
            assert!(cosine.double_value(&[]) > 0.99, "{name}: {}", cosine.double_value(&[]));
            let reversed = reading.vector(&negative, &positive, &swaps).expect(name);
            assert!((&vector + reversed).norm().double_value(&[]) < 1e-4 * vector.norm().double_value(&[]), "{name}");
        }
    }

    #[test]
    fn pairs_without_a_direction_are_refused() {
        let states = normal(&[4, 6], 1);
        for (name, reading) in ReadingMethod::ALL {
            let found = |a: &Tensor, b: &Tensor| reading.vector(a, b, &vec![false; a.size()[0] as usize]);
            assert_eq!(found(&states, &states).err(), Some(ReadingError::NoDirection), "{name}");
            let nothing = states.narrow(0, 0, 0);
            assert_eq!(found(&nothing, &nothing).err(), Some(ReadingError::None), "{name}");
            let broken = &states * f64::NAN;
            assert_eq!(found(&broken, &states).err(), Some(ReadingError::NotFinite), "{name}");
        }
        let one = |reading: ReadingMethod| reading.vector(&normal(&[1, 6], 1), &normal(&[1, 6], 2), &[false]).err();
        assert_eq!(one(ReadingMethod::Pca), Some(ReadingError::OnePair));
        assert_eq!(one(ReadingMethod::PcaUncentred), None);
    }
}
