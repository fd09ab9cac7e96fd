//! Randomness by name: every draw comes from a stream derived from the run's seed, so that adding one never moves another.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A run's seed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seed(pub u64);

/// libtorch has one generator per process. A caller that draws from it holds this lock, so that tests on other threads cannot interleave.
static GLOBAL: Mutex<()> = Mutex::new(());

/// Seeds libtorch's generator with this very number, for numbers that other programs draw from it too. Hold the guard while
/// drawing.
pub fn libtorch_seeded(number: i64) -> MutexGuard<'static, ()> {
    let guard = GLOBAL.lock().unwrap_or_else(PoisonError::into_inner);
    tch::manual_seed(number);
    guard
}

impl Seed {
    /// The stream called `name`, number `index`: the same on every platform.
    pub fn stream(self, name: &str, index: u64) -> ChaCha8Rng {
        ChaCha8Rng::from_seed(self.digest(name, index))
    }

    /// Seeds libtorch's generator for the draws of `name`, number `index` (dropout masks).
    /// Hold the guard while drawing. Seeding anew at every step makes a resumed run exact without saving a generator.
    pub fn seed_libtorch(self, name: &str, index: u64) -> MutexGuard<'static, ()> {
        let guard = GLOBAL.lock().unwrap_or_else(PoisonError::into_inner);
        let digest = self.digest(name, index);
        let bytes: [u8; 8] = digest[..8].try_into().expect("a digest of 32 bytes");
        tch::manual_seed(i64::from_le_bytes(bytes) & i64::MAX);
        guard
    }

    /// Another seed, of `name`, number `index`.
    #[must_use]
    pub fn derived(self, name: &str, index: u64) -> Self {
        let digest = self.digest(name, index);
        Self(u64::from_le_bytes(digest[..8].try_into().expect("a digest of 32 bytes")))
    }

    fn digest(self, name: &str, index: u64) -> [u8; 32] {
        Sha256::new()
            .chain_update(self.0.to_le_bytes())
            .chain_update(index.to_le_bytes())
            .chain_update(name.as_bytes())
            .finalize()
            .into()
    }
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    #[test]
    fn streams_depend_on_seed_name_and_index_only() {
        let draw = |seed, name, index| Seed(seed).stream(name, index).random::<u64>();
        assert_eq!(draw(1, "init", 0), draw(1, "init", 0));
        let others = [draw(2, "init", 0), draw(1, "shuffle", 0), draw(1, "init", 1)];
        assert!(others.iter().all(|&other| other != draw(1, "init", 0)));
    }
}
