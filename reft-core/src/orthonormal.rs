//! Orthonormal rows: the constraint `R Rᵀ = I` of eq. 1 and 2, for all intervened layers at once.
//!
//! A raw basis `A` `[S, r, d]` becomes `R = L⁻¹ A` with `L Lᵀ = A Aᵀ` (Cholesky-QR), done twice because one pass leaves
//! an error that grows with the square of the condition number. Rows that are orthonormal already are its fixed point
//! (plain QR would flip signs), so after each optimiser step the raw basis is *retracted*, that is set to R, and its
//! condition number stays near 1. It costs a handful of batched kernels for all sites together, where the reference
//! library multiplies `r` Householder reflections of size `d x d` for each layer and call.

use tch::Tensor;

/// The orthonormal rows `R` that span the rows of `a` `[.., r, d]`, `r <= d`, same shape; differentiable, f32 or f64.
///
/// Rows that are not independent, or not finite, give non-finite values, which the trainer's loss check reports.
pub fn orthonormalise(a: &Tensor) -> Tensor {
    once(&once(a))
}

fn once(a: &Tensor) -> Tensor {
    let gram = a.matmul(&a.transpose(-2, -1));
    // The checking variant would raise a C++ exception for a singular matrix; this one lets NaN through.
    let (l, _info) = gram.linalg_cholesky_ex(false, false);
    l.linalg_solve_triangular(a, false, true, false)
}

/// Largest entry of `|R Rᵀ - I|` over all sites, for tests and for logs.
pub fn deviation(r: &Tensor) -> f64 {
    let gram = r.matmul(&r.transpose(-2, -1));
    let identity = Tensor::eye(r.size()[r.dim() - 2], (r.kind(), r.device()));
    (gram - identity).abs().max().double_value(&[])
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn an_ill_conditioned_basis_is_still_orthonormalised() {
        let a = normal(&[1, 2, 64], 5);
        let nearly_parallel = a.narrow(1, 0, 1) + a.narrow(1, 1, 1) * 1e-2;
        let a = Tensor::cat(&[a.narrow(1, 0, 1), nearly_parallel], 1);
        assert!(deviation(&orthonormalise(&a)) < 1e-5);
    }
}
