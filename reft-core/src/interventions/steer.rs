//! Steering vectors (appendix B): a direction that was read from activations and is then added, or taken away.
//!
//! | operator | `Φ(h)` | used by |
//! |---|---|---|
//! | linear | `h + a` | activation addition (eq. 10-12), contrastive addition, `RepE` |
//! | piecewise | `h + sign(a·h) a` | `RepE` |
//! | projection | `h − (a·h)/|a|² a` | `RepE` |
//!
//! A strength `c` scales the edit `Φ(h) − h`, so that it stands outside of the sign, as in the paper
//! ([`ReftSpec::strength`](crate::adaptations::reft::ReftSpec::strength)). Shapes: `a` `[d]`, whatever the rank says. A vector
//! for each of the first `k` tokens of a prompt, as activation addition was first published, is `positions: fK` with
//! `tying: per_position`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::decay::ParameterRole;
use crate::intervention::{Constraint, Init, Intervention, NamedPhi, ParameterSpec, PhiParams, PhiSettings};

/// How the vector meets a state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Operator {
    /// `h + a`.
    #[default]
    Linear,
    /// `h + sign(a·h) a`.
    Piecewise,
    /// `h − (a·h)/|a|² a`.
    Projection,
}

/// A vector read from pairs of texts: activation addition, contrastive addition, `RepE` (appendix B).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Steer {
    /// Linear unless something else is said.
    #[serde(default)]
    pub operator: Operator,
}

impl Intervention for Steer {
    fn declare(&self, d: i64, _: i64) -> Vec<ParameterSpec> {
        let (name, init, constraint) = ("vector", Init::Linear { fan: d }, Constraint::Free);
        vec![ParameterSpec { name, shape: vec![d], init, constraint, role: ParameterRole::Bias }]
    }

    fn phi(&self, p: PhiParams<'_>, h: &Tensor) -> Tensor {
        let vector = &p[0];
        let along = |h: &Tensor| h.matmul(vector).unsqueeze(-1);
        match self.operator {
            Operator::Linear => h + vector,
            Operator::Piecewise => h + along(h).sign() * vector,
            Operator::Projection => h - along(h) / vector.square().sum(Kind::Float) * vector,
        }
    }
}

impl PhiSettings for Steer {
    const KEY: &'static str = "steer";
    const PARAMETERS: &'static str = "d, read and not trained";
    const STARTS_AS_IDENTITY: bool = false;

    fn example() -> Self {
        Self { operator: Operator::Linear }
    }

    fn names() -> Vec<NamedPhi<Self>> {
        [
            ("steer", "steering vector", Operator::Linear),
            ("steer_piecewise", "steering vector, piecewise", Operator::Piecewise),
            ("steer_projection", "steering vector, projection", Operator::Projection),
        ]
        .map(|(key, title, operator)| NamedPhi { key, title, library: title, settings: Self { operator } })
        .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Tol, assert_close, normal};

    #[test]
    fn each_operator_moves_a_state_along_the_vector_only() {
        let (h, a) = (normal(&[6, 5], 1), normal(&[5], 2));
        let dots = |h: &Tensor| h.matmul(&a);
        let phi = |operator| Steer { operator }.phi(&[a.shallow_clone()], &h);
        let square = a.dot(&a);
        assert_close("linear", &dots(&phi(Operator::Linear)), &(dots(&h) + &square), Tol::F32);
        let grown = phi(Operator::Piecewise);
        assert_close("piecewise", &dots(&grown).abs(), &(dots(&h).abs() + &square), Tol::F32);
        let gone = phi(Operator::Projection);
        assert_close("projection", &dots(&gone), &h.zeros_like().matmul(&a), Tol::F32);
        for edited in [phi(Operator::Linear), grown, gone] {
            let moved = edited - &h;
            let along = moved.matmul(&a).unsqueeze(-1) / &square * &a;
            assert_close("the direction", &moved, &along, Tol::F32);
        }
    }
}
