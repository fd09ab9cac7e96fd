//! How much memory a run will take, said before it starts, and refused where it cannot fit.

use reft_models::nn::WeightCopies;
use tch::Device;

use crate::config::plan::{DeviceSpec, Dtype, RunPlan};
use crate::machine::memory::{AvailableMemory, MemoryLimit};
use crate::machine::{self, Env, env, root};

/// libtorch's own libraries, threads and buffers, measured with a tiny model.
pub const FIXED: usize = 400 << 20;

/// The passes that a model is loaded for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ModelPasses {
    /// It answers.
    Forward,
    /// Gradients pass through its weights as well.
    ForwardAndBackward,
}

impl ModelPasses {
    /// What a plan's run does: no gradients pass through packed weights of an encoder.
    pub fn of(plan: &RunPlan) -> Self {
        if plan.adapt.is_some() && !plan.kind().has_head() { Self::ForwardAndBackward } else { Self::Forward }
    }

    /// The least that a model takes whose weights have so many bytes, known before any is read.
    pub fn least(self, held: &HeldWeights) -> usize {
        match self {
            Self::Forward => held.once,
            Self::ForwardAndBackward => FIXED.saturating_add(held.trained()),
        }
    }
}

/// Says how often frozen weights are held that gradients pass through (1 or 2), where both could be.
pub const COPIES: &str = "REFT_WEIGHT_COPIES";

/// Frozen weights in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeldWeights {
    /// Bytes of one copy.
    pub once: usize,
    /// How often they are held at most: the second copy is made when a gradient first needs it.
    pub copies: WeightCopies,
    /// The passes that this was decided for.
    pub passes: ModelPasses,
}

impl HeldWeights {
    /// Weights of so many bytes in these passes: in training twice where that is faster, unless it takes more than three quarters
    /// of what is available. A model that answers has the fastest arrangement, which costs no second copy.
    ///
    /// # Errors
    /// When the environment says something else than how often.
    pub fn new(
        once: usize,
        passes: ModelPasses,
        (dtype, device): (Dtype, DeviceSpec),
        env: Env<'_>,
        available: Option<AvailableMemory>,
    ) -> Result<Self, WrongCopies> {
        let held = |copies| Ok(Self { once, copies, passes });
        let most = || WeightCopies::most(dtype.kind(), device.0);
        if passes == ModelPasses::Forward || most() == WeightCopies::One {
            return held(most());
        }
        match env(COPIES).as_deref() {
            Some("1") => held(WeightCopies::One),
            Some("2") => held(WeightCopies::Two),
            Some(found) => Err(WrongCopies { found: found.to_owned() }),
            None => {
                let twice = passes.least(&Self { once, copies: WeightCopies::Two, passes });
                let roomy = available.is_none_or(|available| twice <= available.bytes / 4 * 3);
                held(if roomy { WeightCopies::Two } else { WeightCopies::One })
            }
        }
    }

    /// Whether a run with these passes takes the weights as they are. Those of a model that was loaded to answer may be held more often
    /// in training than `available`, what is left beside them, allows.
    ///
    /// # Errors
    /// When the environment says something else than how often.
    pub fn suit(
        &self,
        passes: ModelPasses,
        on: (Dtype, DeviceSpec),
        env: Env<'_>,
        available: Option<AvailableMemory>,
    ) -> Result<bool, WrongCopies> {
        if passes == self.passes || passes == ModelPasses::Forward {
            return Ok(true);
        }
        let anew = Self::new(self.once, passes, on, env, available.map(|available| available.plus(self.once)))?;
        Ok(anew.copies == self.copies)
    }

    /// Bytes once gradients pass through them.
    pub fn trained(&self) -> usize {
        self.once.saturating_mul(self.copies.count())
    }
}

/// The environment does not say how often weights are held.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{COPIES}: `{found}` is neither 1 nor 2, how often frozen weights are held in training")]
pub struct WrongCopies {
    found: String,
}

/// Bytes that a run needs, by what for.
pub trait MemoryEstimate {
    /// All of it, what does not happen at the same time counted once.
    fn total(&self) -> usize;

    /// In words.
    fn describe(&self) -> String;

    /// The settings that make it less.
    fn remedy(&self) -> &'static str;

    /// Refuses a run that cannot fit into `available` bytes.
    ///
    /// # Errors
    /// When it cannot.
    fn check(&self, available: Option<AvailableMemory>) -> Result<(), TooLarge> {
        match available {
            Some(AvailableMemory { bytes, limit }) if self.total() > bytes => Err(TooLarge {
                needed: self.total() >> 20,
                available: bytes >> 20,
                limit,
                estimate: self.describe(),
                remedy: self.remedy(),
            }),
            Some(_) | None => Ok(()),
        }
    }
}

/// A run that does not fit.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "this run needs about {needed} MiB of memory and {available} MiB are available, by {limit} ({estimate}): {remedy}, or take a \
     smaller model"
)]
pub struct TooLarge {
    needed: usize,
    available: usize,
    limit: MemoryLimit,
    estimate: String,
    remedy: &'static str,
}

/// Says what memory a run will take, and refuses one that cannot fit. `resident` bytes of it are there already: the weights.
///
/// # Errors
/// When it cannot fit.
pub fn settle(estimate: &dyn MemoryEstimate, device: Device, resident: usize) -> Result<(), TooLarge> {
    estimate.check(available(device).map(|available| available.plus(resident)))?;
    eprintln!("memory: about {} MiB ({})", estimate.total() >> 20, estimate.describe());
    Ok(())
}

/// Memory that this process can still take, where the machine, a control group or Slurm says so; nothing is known of other
/// devices.
pub fn available(device: Device) -> Option<AvailableMemory> {
    if device == Device::Cpu { machine::memory::available(root(), &env) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::testing;

    const GIB: usize = 1 << 30;

    /// How often weights of 4 GiB in this type are held in training, with so much memory and this environment.
    fn copies(dtype: Dtype, memory: usize, variables: &[(&str, &str)]) -> Result<WeightCopies, WrongCopies> {
        let available = Some(AvailableMemory { bytes: memory, limit: MemoryLimit::Machine });
        let on = (dtype, DeviceSpec(Device::Cpu));
        let held = HeldWeights::new(4 * GIB, ModelPasses::ForwardAndBackward, on, &testing::env(variables), available);
        held.map(|held| held.copies)
    }

    #[test]
    fn weights_are_held_twice_where_that_is_faster_and_there_is_room() {
        // In f32 one arrangement serves both passes.
        assert_eq!(copies(Dtype::F32, 64 * GIB, &[(COPIES, "2")]), Ok(WeightCopies::One));
        let most = WeightCopies::most(Dtype::Bf16.kind(), Device::Cpu);
        assert_eq!(copies(Dtype::Bf16, 64 * GIB, &[]), Ok(most));
        assert_eq!(copies(Dtype::Bf16, 10 * GIB, &[]), Ok(WeightCopies::One));
        if most == WeightCopies::Two {
            assert_eq!(copies(Dtype::Bf16, 10 * GIB, &[(COPIES, "2")]), Ok(WeightCopies::Two));
            assert_eq!(copies(Dtype::Bf16, 64 * GIB, &[(COPIES, "1")]), Ok(WeightCopies::One));
            let error = copies(Dtype::Bf16, GIB, &[(COPIES, "half")]).expect_err("no number of copies").to_string();
            assert_eq!(
                error,
                "REFT_WEIGHT_COPIES: `half` is neither 1 nor 2, how often frozen weights are held in training"
            );
        }
    }

    #[test]
    fn a_model_that_only_answers_has_the_fastest_arrangement_and_is_held_once() {
        let on = (Dtype::Bf16, DeviceSpec(Device::Cpu));
        let short = Some(AvailableMemory { bytes: GIB, limit: MemoryLimit::Machine });
        let held = HeldWeights::new(GIB, ModelPasses::Forward, on, &testing::env(&[]), short).expect("a number");
        assert_eq!(held.copies, WeightCopies::most(Dtype::Bf16.kind(), Device::Cpu));
        assert_eq!(ModelPasses::Forward.least(&held), GIB);
    }

    #[test]
    fn a_model_that_was_loaded_to_answer_is_loaded_anew_for_training_where_memory_is_short() {
        let on = (Dtype::Bf16, DeviceSpec(Device::Cpu));
        let left = |bytes| Some(AvailableMemory { bytes, limit: MemoryLimit::Machine });
        let (none, one) = (testing::env(&[]), testing::env(&[(COPIES, "1")]));
        let answers = HeldWeights::new(GIB, ModelPasses::Forward, on, &none, left(8 * GIB)).expect("a number");
        let suits = |held: &HeldWeights, passes, env, bytes| held.suit(passes, on, env, left(bytes)).expect("a number");
        assert!(suits(&answers, ModelPasses::Forward, &none, 0), "answers again");
        let twice = answers.copies == WeightCopies::Two;
        assert!(suits(&answers, ModelPasses::ForwardAndBackward, &none, 8 * GIB));
        assert_eq!(suits(&answers, ModelPasses::ForwardAndBackward, &none, GIB), !twice);
        assert_eq!(suits(&answers, ModelPasses::ForwardAndBackward, &one, 8 * GIB), !twice);
        let trained = HeldWeights { passes: ModelPasses::ForwardAndBackward, ..answers };
        assert!(suits(&trained, ModelPasses::ForwardAndBackward, &none, 0), "decided once");
    }
}
