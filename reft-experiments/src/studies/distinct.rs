//! Values that a study goes through, with runs of their own for each.

use std::fmt::Display;
use std::ops::Deref;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A list of settings: at least one, none twice.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Vec<T>", bound(deserialize = "T: Deserialize<'de> + PartialEq + Display"))]
pub struct Distinct<T>(Vec<T>);

impl<T: PartialEq + Display> TryFrom<Vec<T>> for Distinct<T> {
    type Error = String;

    fn try_from(values: Vec<T>) -> Result<Self, String> {
        let twice = values.iter().enumerate().find(|(index, value)| values[..*index].contains(value));
        match twice {
            Some((_, value)) => Err(format!("{value} stands there twice: leave one out")),
            None if values.is_empty() => Err("the list is empty: name at least one".to_owned()),
            None => Ok(Self(values)),
        }
    }
}

impl<T: PartialEq + Display, const N: usize> From<[T; N]> for Distinct<T> {
    /// Of an example's settings.
    ///
    /// # Panics
    /// When there is none, or one stands there twice.
    fn from(values: [T; N]) -> Self {
        Self::try_from(Vec::from(values)).expect("at least one, none twice")
    }
}

impl<T> Deref for Distinct<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}
