//! Weight decay of AdamW: which parameters it falls on. The only place that decides.
//!
//! | parameter | [`Decay::All`] | [`Decay::Matrices`] | [`Decay::Pyreft`] |
//! |---|---|---|---|
//! | free matrix of an intervention (`W`, `W₁`, `W₂`) | yes | yes | no |
//! | matrix of a head or of the model itself, embeddings included | yes | yes | yes |
//! | bias, whatever it belongs to; the constant source `b` of `h + Rᵀ(b − Rh)` | yes | no | no |
//! | gain: the weight of a norm, RED's scale | yes | no | no |
//! | orthonormal basis `R`: its length is fixed | no | no | no |
//!
//! `Matrices` is the rule of Hugging Face's trainer as it was meant: matrices decay, biases and norms do not. pyreft hands
//! its models to that trainer, but the trainer finds interventions under one name and looks them up under another, so that
//! none of their parameters ever decayed, whatever `weight_decay` said: `Pyreft` is what ran.

pub use crate::intervention::ParameterRole;
use crate::intervention::{Constraint, ParameterSpec};

/// The parameters that weight decay applies to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Decay {
    /// Everything free, as `torch.optim.AdamW` on all parameters in one group.
    All,
    /// Matrices: the rule of Hugging Face's trainer as it was meant.
    #[default]
    Matrices,
    /// Matrices that belong to no intervention: what ran under pyreft's trainers.
    Pyreft,
}

impl Decay {
    /// Whether weight decay applies to a parameter.
    pub fn applies(self, declared: &ParameterSpec) -> bool {
        if declared.constraint == Constraint::Orthonormal {
            return false;
        }
        match (self, declared.role) {
            (Self::All, _) | (_, ParameterRole::Matrix) | (Self::Matrices, ParameterRole::InterventionMatrix) => true,
            (Self::Pyreft, ParameterRole::InterventionMatrix) | (_, ParameterRole::Bias | ParameterRole::Gain) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::named;

    #[test]
    fn biases_gains_and_orthonormal_bases_never_decay_and_under_pyreft_nothing_of_an_intervention() {
        for entry in named() {
            for declared in entry.phi.as_intervention().declare(6, 2) {
                let what = format!("{} {}", entry.key, declared.name);
                let orthonormal = declared.constraint == Constraint::Orthonormal;
                assert_eq!(Decay::All.applies(&declared), !orthonormal, "{what}");
                let matrix = declared.shape.len() == 2;
                assert_eq!(Decay::Matrices.applies(&declared), matrix && !orthonormal, "{what}");
                assert!(!Decay::Pyreft.applies(&declared), "{what}");
            }
        }
    }
}
