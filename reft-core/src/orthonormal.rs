//! Orthonormal rows: the constraint `R Rᵀ = I` of eq. 1 and 2, for all intervened layers at once.
//!
//! A raw basis `A` `[S, r, d]` becomes `R = L⁻¹ A` with `L Lᵀ = A Aᵀ` (Cholesky-QR), done twice because one pass leaves
//! an error that grows with the square of the condition number. Rows that are orthonormal already are its fixed point
//! (plain QR would flip signs), so after each optimiser step the raw basis is *retracted*, that is set to R, and its
//! condition number stays near 1. It costs a handful of batched kernels for all sites together, where the reference
//! library multiplies `r` Householder reflections of size `d x d` for each layer and call.

use tch::Tensor;

/// After the first pass a row has length 1 up to rounding. One that depends on the rows before it has none of its own:
/// rounding noise of size `eps |a|` is left of it, over an `L_ii` of at least `sqrt(eps) |a|`, a squared length of `eps`.
const SHORTEST: f64 = 0.01;

/// The orthonormal rows `R` that span the rows of `a` `[.., r, d]`, `r <= d`, same shape; differentiable, f32 or f64.
///
/// Each basis `[r, d]` becomes orthonormal to working precision, or NaN throughout, which the trainer's loss check
/// reports: rows that are dependent (in that precision) or not finite have no such `R`.
pub fn orthonormalise(a: &Tensor) -> Tensor {
    let first = Factor::of(a);
    let nearly = first.solve(a);
    let second = Factor::of(&nearly);
    let independent = first.exists().logical_and(&second.exists()).logical_and(&second.has_no_short_row());
    let lower = second.lower.masked_fill(&independent.logical_not().unsqueeze(-1).unsqueeze(-1), f64::NAN);
    Factor { lower, ..second }.solve(&nearly)
}

/// `A Aᵀ = L Lᵀ`.
struct Factor {
    gram: Tensor,
    lower: Tensor,
    /// 0, or the order of the leading minor that is not positive definite, `[..]`.
    info: Tensor,
}

impl Factor {
    fn of(a: &Tensor) -> Self {
        let gram = a.matmul(&a.transpose(-2, -1));
        // The checking variant would raise a C++ exception for a singular matrix.
        let (lower, info) = gram.linalg_cholesky_ex(false, false);
        Self { gram, lower, info }
    }

    /// Whether the factorisation succeeded, `[..]`. Where it did not, `lower` is partial and may be finite.
    fn exists(&self) -> Tensor {
        self.info.eq(0)
    }

    /// Whether all rows of `A` are longer than rounding noise, `[..]`; not so for NaN.
    fn has_no_short_row(&self) -> Tensor {
        self.gram.detach().diagonal(0, -2, -1).amin([-1], false).gt(SHORTEST)
    }

    /// `L⁻¹ A`.
    fn solve(&self, a: &Tensor) -> Tensor {
        self.lower.linalg_solve_triangular(a, false, true, false)
    }
}

/// Largest entry of `|R Rᵀ - I|` over all sites, for tests and for logs.
pub fn deviation(r: &Tensor) -> f64 {
    let gram = r.matmul(&r.transpose(-2, -1));
    let identity = Tensor::eye(r.size()[r.dim() - 2], (r.kind(), r.device()));
    (gram - identity).abs().max().double_value(&[])
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;
    use crate::testing::{Tol, assert_close, normal};

    #[test]
    fn rows_become_orthonormal_and_span_the_same_space() {
        for (sites, rank, width) in [(1, 1, 4), (3, 4, 16), (30, 8, 576)] {
            let a = normal(&[sites, rank, width], 7);
            let r = orthonormalise(&a);
            assert!(deviation(&r) < 1e-5, "{sites} sites, rank {rank}: {}", deviation(&r));
            let projected = a.matmul(&r.transpose(-2, -1)).matmul(&r);
            assert_close("projection of A on the rows of R", &projected, &a, Tol::F32.times(10.0));
        }
    }

    #[test]
    fn orthonormal_rows_are_a_fixed_point() {
        let r = orthonormalise(&normal(&[4, 8, 64], 3));
        assert_close("R again", &orthonormalise(&r), &r, Tol::Absolute(1e-6));
    }

    /// Whether each matrix of `[S, r, d]` is finite.
    fn are_finite(r: &Tensor) -> Vec<bool> {
        r.unbind(0).iter().map(|r| r.isfinite().all().int64_value(&[]) == 1).collect()
    }

    /// The same basis in the middle of two sound ones, which must not notice.
    fn among_sound_ones(rows: &[Tensor]) -> Tensor {
        let sound = normal(&[rows.len() as i64, 24], 8);
        Tensor::stack(&[&sound, &Tensor::stack(rows, 0), &sound], 0)
    }

    #[test]
    fn dependent_or_damaged_rows_give_nan_and_nothing_else() {
        let row = |seed| normal(&[24], seed);
        let cases = [
            ("a row twice", vec![row(1), row(1)]),
            ("a multiple", vec![row(1), row(2), row(1) * -3.0]),
            ("a sum", vec![row(1), row(2), row(1) + row(2)]),
            ("a combination of many", vec![row(1), row(2), row(3), row(4), row(1) * 0.3 - row(2) + row(3) * 7.0]),
            ("a row of zeros", vec![row(1), row(2) * 0.0]),
            ("all zeros", vec![row(1) * 0.0]),
            ("nearly parallel beyond f32", vec![row(1), row(1) + row(2) * 1e-6]),
            ("tiny and dependent", vec![row(1) * 1e-12, row(1) * 1e-12]),
            ("infinite", vec![row(1), row(2) * f64::INFINITY]),
            ("NaN", vec![row(1), row(2) * f64::NAN]),
        ];
        for (what, rows) in cases {
            let a = among_sound_ones(&rows).set_requires_grad(true);
            let r = orthonormalise(&a);
            assert_eq!(are_finite(&r), [true, false, true], "{what}");
            let all_nan = r.detach().get(1).isnan().all().int64_value(&[]) == 1;
            assert!(all_nan, "{what}: NaN throughout");
            assert!(deviation(&r.detach().get(2)) < 1e-5, "{what}: the neighbour");
            (&r * normal(&r.size(), 9)).sum(Kind::Float).backward();
            assert_eq!(are_finite(&a.grad()), [true, false, true], "{what}: the gradient");
        }
    }

    #[test]
    fn what_is_not_nan_is_orthonormal_however_near_to_dependent() {
        for exponent in 0..9 {
            let rows = [normal(&[24], 1), normal(&[24], 1) + normal(&[24], 2) * 10f64.powi(-exponent)];
            let r = orthonormalise(&Tensor::stack(&rows, 0).unsqueeze(0));
            assert!(!are_finite(&r)[0] || deviation(&r) < 1e-5, "1e-{exponent}: {}", deviation(&r));
            assert!(are_finite(&r)[0] || exponent > 2, "1e-{exponent} is not dependent in f32");
        }
    }

    #[test]
    fn an_ill_conditioned_basis_is_still_orthonormalised() {
        let a = normal(&[1, 2, 64], 5);
        let nearly_parallel = a.narrow(1, 0, 1) + a.narrow(1, 1, 1) * 1e-2;
        let a = Tensor::cat(&[a.narrow(1, 0, 1), nearly_parallel], 1);
        assert!(deviation(&orthonormalise(&a)) < 1e-5);
    }
}
