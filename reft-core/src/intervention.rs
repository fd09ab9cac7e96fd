//! What an intervention is: a function `Φ` on hidden states with parameters of its own (Def. 3.1, eq. 7).

use std::fmt::Debug;

use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::decay::Role;
use crate::interventions::low_rank::LowRank;
use crate::interventions::red::Red;

/// How a parameter begins.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Init {
    /// Random orthonormal rows.
    Orthonormal,
    /// Uniform in ±1/√fan, as the reference's linear layers begin.
    Linear {
        /// Width of the layer's input.
        fan: i64,
    },
    /// Uniform in [0, 1), as the reference's constant sources begin.
    Unit,
    /// Normal around 0, as the classification heads of the reference begin.
    Normal {
        /// Standard deviation.
        sd: f32,
    },
    /// The same everywhere.
    Constant(f32),
}

/// What a parameter must satisfy after every optimiser step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Constraint {
    /// Nothing.
    Free,
    /// Orthonormal rows.
    Orthonormal,
}

/// One tensor of an intervention at one site.
#[derive(Clone, PartialEq, Debug)]
pub struct Declared {
    /// Its name in adapter files, such as `basis`.
    pub name: &'static str,
    /// Its shape.
    pub shape: Vec<i64>,
    /// How it begins.
    pub init: Init,
    /// What holds for it.
    pub constraint: Constraint,
    /// What it is to weight decay.
    pub role: Role,
}

/// The tensors of one site, in the order of [`Intervention::declare`], constraints met.
pub type PhiParams<'a> = &'a [Tensor];

/// `Φ`: new hidden states from old ones.
pub trait Intervention: Debug {
    /// The tensors one site needs, for states of width `d` and a subspace of this rank.
    fn declare(&self, d: i64, rank: i64) -> Vec<Declared>;

    /// `Φ(h)` for the selected rows. `h` is `[M, d]` in f32, and so is the result.
    fn phi(&self, p: PhiParams<'_>, h: &Tensor) -> Tensor;
}

macro_rules! registry {
    ($(#[$doc:meta])* pub enum $name:ident { $($(#[$about:meta])* $key:ident($spec:ty) = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
        pub enum $name { $($(#[$about])* #[serde(rename = $text)] $key($spec),)* }

        impl $name {
            /// The mathematics behind this choice.
            pub fn as_intervention(&self) -> &dyn Intervention {
                match self { $(Self::$key(spec) => spec,)* }
            }
        }
    };
}

registry! {
    /// Every kind of `Φ` there is. A new one is a file in `interventions/` and a line here.
    pub enum Phi {
        /// Edits in a learned low-rank subspace: LoReFT, DiReFT and table 17.
        LowRank(LowRank) = "low_rank",
        /// A learned scale and bias of every coordinate: RED (eq. 8-9).
        Red(Red) = "red",
    }
}
