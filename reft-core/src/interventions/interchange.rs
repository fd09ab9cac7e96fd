//! Distributed interchange intervention (eq. 1): the part of a state that lies in a subspace, taken from another run.
//!
//! `DII(b, s, R) = b + Rᵀ(R s − R b)`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::decay::ParameterRole;
use crate::hooks::Hooks;
use crate::intervention::{Constraint, Init, Intervention, NamedPhi, ParameterSpec, PhiParams, PhiSettings};
use crate::site::Site;

/// `b + Rᵀ(R s − R b)`: `base` and `source` `[M, d]`, `basis` `[r, d]` with orthonormal rows; `[M, d]`.
pub fn interchange(base: &Tensor, source: &Tensor, basis: &Tensor) -> Tensor {
    base + (source - base).matmul(&basis.tr()).matmul(basis)
}

/// A subspace of the state taken from another run: DII and, where R is learned, DAS (eq. 1).
///
/// `Φ(b, s) = b + Rᵀ(R s − R b)` with the rows of `R` `[r, d]` as its only parameters: a learned `R` is DAS.
///
/// Base and source run in one pass, and [`Layout::links`](crate::layout::Layout::links) says which tokens take states from
/// which: `positions: given`. Several sources go into disjoint subspaces of one `R` as several sets of `refts` with the same
/// settings and disjoint `subspace`s.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dii {}

impl Intervention for Dii {
    fn declare(&self, d: i64, rank: i64) -> Vec<ParameterSpec> {
        vec![ParameterSpec {
            name: "basis",
            shape: vec![rank, d],
            init: Init::Orthonormal,
            constraint: Constraint::Orthonormal,
            role: ParameterRole::InterventionMatrix,
        }]
    }

    fn is_divisible(&self) -> bool {
        true
    }

    fn takes_source(&self) -> bool {
        true
    }

    /// Without a source there is nothing to take.
    fn phi(&self, _: PhiParams<'_>, h: &Tensor) -> Tensor {
        h.shallow_clone()
    }

    fn phi_from(&self, p: PhiParams<'_>, h: &Tensor, source: &Tensor) -> Tensor {
        interchange(h, source, &p[0])
    }
}

impl PhiSettings for Dii {
    const KEY: &'static str = "dii";
    const PARAMETERS: &'static str = "r d";
    const STARTS_AS_IDENTITY: bool = false;

    fn example() -> Self {
        Self {}
    }

    fn names() -> Vec<NamedPhi<Self>> {
        vec![NamedPhi { key: "dii", title: "DII", library: "LowRankRotatedSpaceIntervention", settings: Self {} }]
    }
}

/// An interchange run: at one site, some rows of this pass take their subspace from states collected in a source run.
#[derive(Debug)]
pub struct Interchange {
    /// Where.
    pub site: Site,
    /// Rows of this pass to change, `[M]`, i64.
    pub rows: Tensor,
    /// States of the source run, `[M, d]`, one for each row.
    pub source: Tensor,
    /// Orthonormal rows of the subspace, `[r, d]`, f32. For DAS it requires a gradient.
    pub basis: Tensor,
}

impl Hooks for Interchange {
    fn visit(&self, at: Site, _: &Tensor, y: Tensor) -> Tensor {
        if at != self.site {
            return y;
        }
        let kind = y.kind();
        let base = y.index_select(0, &self.rows).to_kind(self.basis.kind());
        let mixed = interchange(&base, &self.source.to_kind(self.basis.kind()), &self.basis);
        y.index_copy(0, &self.rows, &mixed.to_kind(kind))
    }

    fn wants(&self, at: Site) -> bool {
        at == self.site
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orthonormal::orthonormalise;
    use crate::site::{Component, LayerId};
    use crate::testing::{Tol, assert_close, normal};

    #[test]
    fn the_subspace_comes_from_the_source_and_the_rest_from_the_base() {
        let (base, source) = (normal(&[5, 8], 1), normal(&[5, 8], 2));
        let r = orthonormalise(&normal(&[3, 8], 3));
        let mixed = interchange(&base, &source, &r);
        assert_close("R b'", &mixed.matmul(&r.tr()), &source.matmul(&r.tr()), Tol::F32);
        let rest = |h: &Tensor| h - h.matmul(&r.tr()).matmul(&r);
        assert_close("orthogonal complement", &rest(&mixed), &rest(&base), Tol::F32);
    }

    #[test]
    fn a_whole_space_interchange_at_some_rows_copies_the_source() {
        let (y, source) = (normal(&[4, 8], 1), normal(&[2, 8], 2));
        let site = Site { layer: LayerId(0), component: Component::BlockOutput };
        let rows = Tensor::from_slice(&[1i64, 3]);
        let basis = orthonormalise(&normal(&[8, 8], 3));
        let run = Interchange { site, rows: rows.shallow_clone(), source: source.shallow_clone(), basis };
        let out = run.visit(site, &y, y.shallow_clone());
        assert_close("changed", &out.index_select(0, &rows), &source, Tol::F32.times(10.0));
        let others = Tensor::from_slice(&[0i64, 2]);
        assert_close("kept", &out.index_select(0, &others), &y.index_select(0, &others), Tol::Exact);
    }
}
