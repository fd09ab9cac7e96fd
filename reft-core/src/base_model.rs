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
    /// A sample of the weights, by which the same ones in another precision are recognised. Missing where the weights are
    /// quantised, and in adapters of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sketch: Option<Sketch>,
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

/// How close a model is to the one wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Match {
    /// The same weights, bit for bit.
    Same,
    /// The same weights rounded to, or from, another floating-point type.
    OtherPrecision,
}

impl BaseModel {
    /// Whether the model at hand is this one, whatever it is called.
    ///
    /// # Errors
    /// When its weights or sizes are others.
    pub fn check(&self, found: &Self) -> Result<Match, Box<WrongBase>> {
        if self.dims == (Dims { mlp: self.dims.mlp, ..found.dims }) {
            if self.fingerprint == found.fingerprint {
                return Ok(Match::Same);
            }
            if let (Some(ours), Some(theirs)) = (&self.sketch, &found.sketch)
                && ours.differs_in_precision_only(theirs)
            {
                return Ok(Match::OtherPrecision);
            }
        }
        Err(Box::new(WrongBase { expected: self.clone(), found: found.clone() }))
    }
}

/// Values of the weights at a few fixed places of every tensor, rounded to bf16. A hash cannot tell whether two checkpoints
/// are roundings of the same numbers; these values can, except for the places between them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Sketch {
    /// Types that the weights are stored in, such as `bf16` or `f16+f32`.
    stored_as: String,
    /// The values' bf16 codes, four hexadecimal digits each.
    values: String,
}

/// The distance between two bf16 values, relative to the larger, that one more rounding or truncation can make: one unit in
/// the last place.
const ULP: f32 = 1.0 / 128.0;

/// The smallest step of f16, below which its values are rounded to nothing.
const F16_STEP: f32 = 1.0 / 16_777_216.0;

impl Sketch {
    /// Of these values, in an order that the model's port decides.
    pub fn new(stored_as: String, values: &[f32]) -> Self {
        Self { stored_as, values: values.iter().map(|&value| format!("{:04x}", bf16_code(value))).collect() }
    }

    /// Whether two checkpoints hold the same numbers, stored in different types. Numbers that differ although both are stored
    /// in the same types were trained further, however little.
    fn differs_in_precision_only(&self, other: &Self) -> bool {
        let (Some(ours), Some(theirs)) = (self.decoded(), other.decoded()) else { return false };
        self.stored_as != other.stored_as
            && ours.len() == theirs.len()
            && ours.iter().zip(&theirs).all(|(a, b)| (a - b).abs() <= ULP * a.abs().max(b.abs()) + F16_STEP)
    }

    /// The values; none when the text is damaged.
    fn decoded(&self) -> Option<Vec<f32>> {
        let digits = self.values.as_bytes().chunks(4);
        digits
            .map(|four| {
                let code = u16::from_str_radix(std::str::from_utf8(four).ok()?, 16).ok()?;
                (four.len() == 4).then(|| f32::from_bits(u32::from(code) << 16))
            })
            .collect()
    }
}

/// The upper half of a value, rounded to nearest, ties to even.
fn bf16_code(value: f32) -> u16 {
    let bits = value.to_bits();
    if value.is_nan() {
        return (bits >> 16) as u16 | 1;
    }
    (bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIMS: Dims = Dims {
        layers: 1,
        width: 4,
        heads: 1,
        kv_heads: 1,
        head_width: 4,
        mlp_width: 4,
        vocab: 8,
        mlp: crate::site::Mlp::Gated,
    };

    fn model(stored_as: &str, values: &[f32]) -> BaseModel {
        let sketch = Some(Sketch::new(stored_as.to_owned(), values));
        BaseModel { id: "m".to_owned(), fingerprint: format!("{stored_as} {values:?}"), dims: DIMS, sketch }
    }

    #[test]
    fn a_rounding_of_the_same_values_is_told_from_other_values() {
        let values = [0.123_456_7_f32, -3.005, 1e-6, 0.0, 1.0, 65000.0];
        let base = model("f32", &values);
        assert_eq!(base.check(&base), Ok(Match::Same));
        let truncated = values.map(|value| f32::from_bits(value.to_bits() & 0xffff_0000));
        let rounded = values.map(|value| f32::from_bits(u32::from(bf16_code(value)) << 16));
        for narrow in [truncated, rounded] {
            assert_eq!(base.check(&model("bf16", &narrow)), Ok(Match::OtherPrecision));
            assert_eq!(model("bf16", &narrow).check(&base), Ok(Match::OtherPrecision), "and the other way");
        }
        let half = [0.123_474_12, -3.005_859_4, 1.013_279e-6, 0.0, 1.0, 64992.0];
        assert_eq!(base.check(&model("f16", &half)), Ok(Match::OtherPrecision));
        for place in 0..values.len() {
            let mut moved = truncated;
            moved[place] = moved[place] * 1.03 + 1e-5;
            assert!(base.check(&model("bf16", &moved)).is_err(), "value {place} was trained further");
        }
        assert!(base.check(&model("bf16", &truncated[..5])).is_err(), "another number of tensors");
        let mut nearly = values;
        nearly[4] += 1e-3;
        assert!(base.check(&model("f32", &nearly)).is_err(), "the same type and other values");
        let none = BaseModel { sketch: None, fingerprint: "other".to_owned(), ..base.clone() };
        assert!(base.check(&none).is_err() && none.check(&base).is_err());
        let other_sizes = BaseModel { dims: Dims { layers: 2, ..DIMS }, ..model("bf16", &truncated) };
        assert!(base.check(&other_sizes).is_err());
    }

    #[test]
    fn a_damaged_sketch_matches_nothing() {
        let base = model("f32", &[1.0, 2.0]);
        for values in ["3f8", "3f80400", "3f80zzzz", "3f8\u{e9}0"] {
            let sketch = Some(Sketch { stored_as: "bf16".to_owned(), values: values.to_owned() });
            let damaged = BaseModel { fingerprint: "other".to_owned(), sketch, ..base.clone() };
            assert!(base.check(&damaged).is_err(), "{values}");
        }
    }
}
