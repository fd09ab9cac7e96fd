//! Which build of the CPU kernels runs: the widest vectors that the processor has, or those asked for.

#![allow(unsafe_code)] // One foreign function, on a number.

use std::sync::OnceLock;

/// The environment variable that chooses an [`InstructionSet`] by name. Read once.
pub const VARIABLE: &str = "REFT_KERNELS";

/// An instruction set that the CPU kernels are compiled for. Results differ between them in the order of sums.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InstructionSet {
    /// What every processor of the architecture has.
    Generic = 0,
    /// AVX2 and FMA: vectors of 8 floats.
    Avx2 = 1,
    /// AVX-512 F, BW, DQ and VL: vectors of 16 floats.
    Avx512 = 2,
}

/// An instruction set that cannot be had.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InstructionSetError {
    /// Not a name of one.
    #[error("{VARIABLE}={0}: no such instruction set: choose one of {available}, or leave it unset", available = available())]
    Unknown(String),
    /// The processor lacks it.
    #[error("{VARIABLE}={0}: this processor lacks it: choose one of {available}, or leave it unset", available = available())]
    Unavailable(&'static str),
}

unsafe extern "C" {
    fn reft_has_instruction_set(set: i32) -> bool;
}

impl InstructionSet {
    /// All of them, the narrowest first.
    pub const ALL: [Self; 3] = [Self::Generic, Self::Avx2, Self::Avx512];

    /// What [`VARIABLE`] calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }

    /// Whether this processor has it.
    pub fn is_available(self) -> bool {
        unsafe { reft_has_instruction_set(self as i32) }
    }

    /// The one that the kernels of this process use.
    ///
    /// # Errors
    /// When [`VARIABLE`] asks for one that does not exist or that the processor lacks.
    pub fn current() -> Result<Self, InstructionSetError> {
        static CURRENT: OnceLock<Result<InstructionSet, InstructionSetError>> = OnceLock::new();
        let asked = || std::env::var_os(VARIABLE).map(|value| value.to_string_lossy().into_owned());
        CURRENT.get_or_init(|| Self::choose(asked().as_deref())).clone()
    }

    fn choose(asked: Option<&str>) -> Result<Self, InstructionSetError> {
        let Some(name) = asked else {
            let best = Self::ALL.into_iter().rev().find(|set| set.is_available());
            return Ok(best.unwrap_or(Self::Generic));
        };
        let set = Self::ALL.into_iter().find(|set| set.name() == name);
        let set = set.ok_or_else(|| InstructionSetError::Unknown(name.to_owned()))?;
        if set.is_available() { Ok(set) } else { Err(InstructionSetError::Unavailable(set.name())) }
    }
}

/// Names of those that this processor has.
fn available() -> String {
    let sets = InstructionSet::ALL.into_iter().filter(|set| set.is_available());
    sets.map(InstructionSet::name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_taken_or_refused_in_one_line() {
        for set in InstructionSet::ALL {
            let expected = if set.is_available() { Ok(set) } else { Err(InstructionSetError::Unavailable(set.name())) };
            assert_eq!(InstructionSet::choose(Some(set.name())), expected);
        }
        for wrong in ["", "AVX2", "sse9"] {
            let error = InstructionSet::choose(Some(wrong)).expect_err(wrong).to_string();
            assert!(error.starts_with(&format!("REFT_KERNELS={wrong}: ")) && error.contains("generic"), "{error}");
            assert_eq!(error.lines().count(), 1);
        }
    }

    #[test]
    fn the_widest_is_the_default() {
        let chosen = InstructionSet::choose(None).unwrap();
        assert!(chosen.is_available());
        assert!(InstructionSet::ALL.iter().all(|&set| set as i32 <= chosen as i32 || !set.is_available()));
    }
}
