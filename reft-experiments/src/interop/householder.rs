//! torch's orthogonal parametrisation, by which pyreft and adapters store `R`.

use tch::Tensor;

/// `R` `[r, D]` from what torch stores: `original` `[D, r]` and `base` `[D, D]`.
///
/// `R = (base Q)ᵀ` with `Q` the product of the Householder reflectors below the diagonal of `original`, whose column `j` is
/// multiplied by the truncated diagonal entry `j`.
pub fn basis(original: &Tensor, base: &Tensor) -> Tensor {
    let reflectors = original.tril(-1);
    let tau = (reflectors.square().sum_dim_intlist(0i64, false, reflectors.kind()) + 1.0).reciprocal() * 2.0;
    let signs = original.diagonal(0, 0, 1).trunc();
    let q = Tensor::linalg_householder_product(&reflectors, &tau) * signs;
    base.matmul(&q).tr().contiguous()
}
