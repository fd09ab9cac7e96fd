//! RED (Wu et al., arXiv 2402.15179) as an intervention (appendix B, eq. 8-9): every coordinate scaled and shifted.
//!
//! `Φ(h) = s ⊙ h + b`
//!
//! Shapes: `s`, `b` `[d]`; `2 d` numbers per site, whatever the rank says. It begins as the identity. In the paper it acts
//! at all positions of every layer, generated tokens included: `positions: all`, `component: mlp_output`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::decay::ParameterRole;
use crate::intervention::{Constraint, Init, Intervention, NamedPhi, ParameterSpec, PhiParams, PhiSettings};

/// A learned scale and bias of every coordinate: RED (eq. 8-9). Nothing to choose.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Red {}

impl Intervention for Red {
    fn declare(&self, d: i64, _: i64) -> Vec<ParameterSpec> {
        let all = |name, value, role| ParameterSpec {
            name,
            shape: vec![d],
            init: Init::Constant(value),
            constraint: Constraint::Free,
            role,
        };
        vec![all("scale", 1.0, ParameterRole::Gain), all("bias", 0.0, ParameterRole::Bias)]
    }

    fn phi(&self, p: PhiParams<'_>, h: &Tensor) -> Tensor {
        h * &p[0] + &p[1]
    }
}

impl PhiSettings for Red {
    const KEY: &'static str = "red";
    const PARAMETERS: &'static str = "2 d";
    const STARTS_AS_IDENTITY: bool = true;

    fn example() -> Self {
        Self {}
    }

    fn names() -> Vec<NamedPhi<Self>> {
        vec![NamedPhi { key: "red", title: "RED", library: "RED", settings: Self {} }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Tol, assert_close, normal};

    #[test]
    fn coordinates_are_scaled_and_shifted_each_by_its_own() {
        let (h, s, b) = (normal(&[3, 5], 1), normal(&[5], 2), normal(&[5], 3));
        let edited = Red {}.phi(&[s.shallow_clone(), b.shallow_clone()], &h);
        for (row, column) in [(0, 0), (2, 4), (1, 3)] {
            let expected = s.double_value(&[column]) * h.double_value(&[row, column]) + b.double_value(&[column]);
            assert!((edited.double_value(&[row, column]) - expected).abs() < 1e-6);
        }
        let identity = [Tensor::ones_like(&s), Tensor::zeros_like(&b)];
        assert_close("identity", &Red {}.phi(&identity, &h), &h, Tol::Exact);
    }
}
