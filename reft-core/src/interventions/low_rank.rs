//! Low-rank edits: LoReFT, DiReFT and the ablations of table 17 as one function with three switches.
//!
//! `Φ(h) = h + Bᵀ (source(h) − [difference] B h)`
//!
//! | name | basis `B` | source | difference | formula |
//! |---|---|---|---|---|
//! | LoReFT | orthonormal | `W h + b` | yes | `h + Rᵀ(Wh + b − Rh)` (eq. 2) |
//! | DiReFT | free | `W h + b` | no | `h + W₂ᵀ(W₁h + b)` (eq. 3) |
//! | OrthoDiReFT | orthonormal | `W h + b` | no | `h + Rᵀ(Wh + b)` |
//! | NoReFT | free | `W h + b` | yes | `h + W₂ᵀ(W₁h + b − W₂h)` |
//! | ConsReFT | orthonormal | `b` | yes | `h + Rᵀ(b − Rh)` |
//! | LobiReFT | orthonormal | `b` | no | `h + Rᵀb` |
//!
//! Shapes: `B`, `W` `[r, d]`, `b` `[r]`. A LoReFT of rank `r` has `2 r d + r` numbers per site.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::decay::ParameterRole;
use crate::intervention::{Constraint, Init, Intervention, NamedPhi, ParameterSpec, PhiParams, PhiSettings};

/// The rows that span the edited subspace.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// `R` with `R Rᵀ = I`.
    Orthonormal,
    /// `W₂`, unconstrained.
    Free,
}

/// What the projection is moved towards.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EditSource {
    /// `W h + b`.
    Affine,
    /// `W h`, without a bias.
    Linear,
    /// `b`, the same for every state.
    Constant,
}

/// Applied to the projected source.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SourceActivation {
    /// None, as in the paper.
    #[default]
    Identity,
    /// `max(x, 0)`.
    Relu,
    /// Exact GELU.
    Gelu,
    /// `x σ(x)`.
    Silu,
    /// Hyperbolic tangent.
    Tanh,
}

impl SourceActivation {
    fn apply(self, x: Tensor) -> Tensor {
        match self {
            Self::Identity => x,
            Self::Relu => x.relu(),
            Self::Gelu => x.gelu("none"),
            Self::Silu => x.silu(),
            Self::Tanh => x.tanh(),
        }
    }
}

/// What an edit is before it has learned anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EditStart {
    /// A random one, as in the paper and its library: the model is not itself at first.
    #[default]
    Random,
    /// None: training begins at the base model. `W` begins as `B` where `B h` is taken off, at 0 where it is not; `b` at 0. A
    /// constant source cannot follow `B h` and begins at 0.
    Identity,
}

impl EditStart {
    // serde's `skip_serializing_if` passes a reference.
    #[expect(clippy::trivially_copy_pass_by_ref)]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Edits in a learned low-rank subspace: LoReFT, DiReFT and table 17.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LowRank {
    /// Orthogonal or free.
    pub basis: Basis,
    /// Projection and bias, projection only, or bias only.
    pub source: EditSource,
    /// Whether `B h` is taken off, so that the edit replaces the state's coordinates in the subspace.
    pub difference: bool,
    /// Optional nonlinearity on the source.
    #[serde(default)]
    pub activation: SourceActivation,
    /// What the edit is at first.
    #[serde(default, skip_serializing_if = "EditStart::is_default")]
    pub start: EditStart,
}

const fn cell(basis: Basis, source: EditSource, difference: bool) -> LowRank {
    LowRank { basis, source, difference, activation: SourceActivation::Identity, start: EditStart::Random }
}

/// Eq. 2.
pub const LOREFT: LowRank = cell(Basis::Orthonormal, EditSource::Affine, true);
/// Eq. 3.
pub const DIREFT: LowRank = cell(Basis::Free, EditSource::Affine, false);
/// Table 17: LoReFT without the difference term.
pub const ORTHO_DIREFT: LowRank = cell(Basis::Orthonormal, EditSource::Affine, false);
/// Table 17: LoReFT without orthogonality.
pub const NOREFT: LowRank = cell(Basis::Free, EditSource::Affine, true);
/// Table 17 and figures 3 to 10: LoReFT without the projection.
pub const CONSREFT: LowRank = cell(Basis::Orthonormal, EditSource::Constant, true);
/// Table 17: a learned bias in a learned subspace.
pub const LOBIREFT: LowRank = cell(Basis::Orthonormal, EditSource::Constant, false);

impl LowRank {
    /// Index of the source's bias among the declared tensors.
    fn bias_index(self) -> Option<usize> {
        match self.source {
            EditSource::Affine => Some(2),
            EditSource::Linear => None,
            EditSource::Constant => Some(1),
        }
    }
}

impl Intervention for LowRank {
    fn declare(&self, d: i64, rank: i64) -> Vec<ParameterSpec> {
        let free = |name, shape: &[i64], init| ParameterSpec {
            name,
            shape: shape.to_vec(),
            init,
            constraint: Constraint::Free,
            role: if shape.len() == 1 { ParameterRole::Bias } else { ParameterRole::InterventionMatrix },
        };
        let basis = match self.basis {
            Basis::Free => free("basis", &[rank, d], Init::Linear { fan: d }),
            Basis::Orthonormal => ParameterSpec {
                name: "basis",
                shape: vec![rank, d],
                init: Init::Orthonormal,
                constraint: Constraint::Orthonormal,
                role: ParameterRole::InterventionMatrix,
            },
        };
        let [weight, bias, constant] = match (self.start, self.difference) {
            (EditStart::Random, _) => [Init::Linear { fan: d }, Init::Linear { fan: d }, Init::Unit],
            (EditStart::Identity, true) => [Init::Previous, Init::Constant(0.0), Init::Constant(0.0)],
            (EditStart::Identity, false) => [Init::Constant(0.0); 3],
        };
        let weight = free("weight", &[rank, d], weight);
        match self.source {
            EditSource::Affine => vec![basis, weight, free("bias", &[rank], bias)],
            EditSource::Linear => vec![basis, weight],
            EditSource::Constant => vec![basis, free("bias", &[rank], constant)],
        }
    }

    fn is_divisible(&self) -> bool {
        true
    }

    fn phi(&self, p: PhiParams<'_>, h: &Tensor) -> Tensor {
        let basis = &p[0];
        let bias = self.bias_index().map(|index| &p[index]);
        let source = match (self.source, bias) {
            (EditSource::Constant, Some(bias)) => bias.shallow_clone(),
            (_, bias) => h.linear(&p[1], bias),
        };
        let source = self.activation.apply(source);
        let target = if self.difference { source - h.matmul(&basis.tr()) } else { source };
        match self.source {
            // A constant target without the difference term is one row for all states.
            EditSource::Constant if !self.difference => h + target.unsqueeze(0).matmul(basis),
            EditSource::Affine | EditSource::Linear | EditSource::Constant => h + target.matmul(basis),
        }
    }
}

impl PhiSettings for LowRank {
    const KEY: &'static str = "low_rank";
    const PARAMETERS: &'static str = "r d for the basis, r d for the source's projection, r for its bias";
    const STARTS_AS_IDENTITY: bool = false;

    fn example() -> Self {
        LOREFT
    }

    fn names() -> Vec<NamedPhi<Self>> {
        [
            ("loreft", "LoReFT", "LoreftIntervention", LOREFT),
            ("direft", "DiReFT", "NodireftIntervention", DIREFT),
            ("ortho_direft", "OrthoDiReFT", "DireftIntervention", ORTHO_DIREFT),
            ("noreft", "NoReFT", "NoreftIntervention", NOREFT),
            ("consreft", "ConsReFT", "ConsreftIntervention", CONSREFT),
            ("lobireft", "LobiReFT", "LobireftIntervention", LOBIREFT),
        ]
        .map(|(key, title, library, settings)| NamedPhi { key, title, library, settings })
        .into()
    }
}
