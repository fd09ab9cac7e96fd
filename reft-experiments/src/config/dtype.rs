//! `dtype:` as a user writes it.

use std::str::FromStr;

use serde_json::Value;

use super::plan::{DeviceSpec, Dtype};
use crate::machine::fast::AutoDtype;

/// A type, or `auto`. A plan has the type that came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DtypeChoice {
    /// bf16 where its products are fast, else f32.
    #[default]
    Auto,
    /// This one, whatever it costs.
    Fixed(Dtype),
}

/// `auto` in configurations.
pub const AUTO: &str = "auto";

impl FromStr for DtypeChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == AUTO {
            return Ok(Self::Auto);
        }
        let named = [Dtype::F32, Dtype::Bf16, Dtype::F16].into_iter().find(|dtype| dtype.name() == text);
        named.map(Self::Fixed).ok_or_else(|| format!("`{text}` is no type of weights: write auto, f32, bf16 or f16"))
    }
}

impl DtypeChoice {
    /// From a configuration, where leaving it out is `auto`.
    ///
    /// # Errors
    /// When it is no such word.
    pub fn of(setting: Option<&Value>) -> Result<Self, String> {
        match setting {
            None => Ok(Self::Auto),
            Some(Value::String(text)) => text.parse(),
            Some(other) => other.to_string().parse(),
        }
    }

    /// Its name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => AUTO,
            Self::Fixed(dtype) => dtype.name(),
        }
    }

    /// The type of weights on a device of this machine.
    pub fn on(self, device: DeviceSpec) -> Dtype {
        match self {
            Self::Auto => AutoDtype::here(device).dtype,
            Self::Fixed(dtype) => dtype,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn it_is_auto_or_one_of_three_types() {
        let of = |value: Value| DtypeChoice::of(Some(&value));
        assert_eq!(DtypeChoice::of(None), Ok(DtypeChoice::Auto));
        assert_eq!(of(json!("auto")), Ok(DtypeChoice::Auto));
        for dtype in [Dtype::F32, Dtype::Bf16, Dtype::F16] {
            assert_eq!(of(json!(dtype)), Ok(DtypeChoice::Fixed(dtype)));
        }
        for wrong in [json!("bf61"), json!("Auto"), json!("float32"), json!(16), json!(null), json!(["f32"])] {
            let error = of(wrong.clone()).expect_err("refused");
            assert!(error.ends_with("write auto, f32, bf16 or f16"), "{wrong}: {error}");
        }
    }
}
