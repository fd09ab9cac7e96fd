//! Sets of interventions that use rows of one subspace (composition, appendix G.1): they have one set of parameters.

use super::part::ReftPart;
use super::spec::ReftSpec;
use crate::adapt_config::SpecError;
use crate::params::Stack;
use crate::site::Dims;

impl ReftPart {
    /// Whether both use rows of one subspace: they differ in nothing but which rows, and how strongly.
    fn shares_with(&self, other: &Self) -> bool {
        let bare = |spec: &ReftSpec| ReftSpec { subspace: None, strength: 1.0, ..spec.clone() };
        self.spec.subspace.is_some() && other.spec.subspace.is_some() && bare(&self.spec) == bare(&other.spec)
    }
}

/// Of each part the first that uses the same subspace: itself, where none before does. Its parameters are theirs.
///
/// # Errors
/// When two parts of one subspace have a row in common.
pub(super) fn owners(parts: &[ReftPart]) -> Result<Vec<usize>, SpecError> {
    let owner = |(index, part): (usize, &ReftPart)| {
        let shared = || (0..index).filter(|&other| part.shares_with(&parts[other]));
        for other in shared() {
            let (mine, theirs) = (part.spec.subspace, parts[other].spec.subspace);
            if let (Some(subspace), Some(theirs)) = (mine, theirs)
                && subspace.overlaps(theirs)
            {
                let reason =
                    format!("shares rows with subspace {theirs} of the same interventions; make them disjoint");
                return Err(SpecError::Subspace { subspace, reason });
            }
        }
        let first = shared().next();
        Ok(first.unwrap_or(index))
    };
    parts.iter().enumerate().map(owner).collect()
}

/// Number of trainable parameters of several sets, those of a shared subspace once.
///
/// # Errors
/// When a specification does not fit the model, two overlap in a shared subspace, or there is none.
pub(super) fn trainable(specs: &[ReftSpec], dims: &Dims) -> Result<i64, SpecError> {
    if specs.is_empty() {
        return Err(SpecError::Empty);
    }
    let parts = specs.iter().map(|spec| ReftPart::new(spec, dims)).collect::<Result<Vec<_>, _>>()?;
    let owners = owners(&parts)?;
    let stacks = parts.iter().zip(owners).enumerate().filter(|(index, (_, owner))| index == owner);
    let numbers = |stack: Stack| stack.sites * stack.declared.shape.iter().product::<i64>();
    Ok(stacks.flat_map(|(_, (part, _))| part.stacks()).map(numbers).sum())
}
