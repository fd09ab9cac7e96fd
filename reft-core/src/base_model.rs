//! Which model something was trained on: an adapter, or a classification head, is of no use on another.

use serde::{Deserialize, Serialize};

use crate::site::Dims;

/// The model an adapter was trained on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BaseModel {
    /// As the user named it: an alias, a Hugging Face id or a path.
    pub id: String,
    /// Identity of the weights, whatever container they came in.
    pub fingerprint: String,
    /// Its sizes.
    pub dims: Dims,
}

/// Another model than the one wanted.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "trained on `{}` (weights {}), the loaded model `{}` has weights {}: load the base model it was trained on",
    .expected.id, .expected.fingerprint, .found.id, .found.fingerprint
)]
pub struct WrongBase {
    expected: BaseModel,
    found: BaseModel,
}

impl BaseModel {
    /// Whether the model at hand is this one, whatever it is called.
    ///
    /// # Errors
    /// When its weights or sizes are others.
    pub fn check(&self, found: &Self) -> Result<(), Box<WrongBase>> {
        if self.fingerprint == found.fingerprint && self.dims == (Dims { mlp: self.dims.mlp, ..found.dims }) {
            return Ok(());
        }
        Err(Box::new(WrongBase { expected: self.clone(), found: found.clone() }))
    }
}
