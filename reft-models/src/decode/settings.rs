//! How the next token is chosen, as a configuration says it. The defaults are greedy decoding.

use std::ops::RangeInclusive;

use reft_core::value_reader::switch;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// Beams of one prompt at most: each takes a prompt's room in the KV cache.
const MOST_BEAMS: usize = 1024;

/// Temperatures and penalties with which scores of type f32 stay finite.
const FACTORS: RangeInclusive<f64> = 1e-30..=1e30;

/// Choosing tokens. The names and their meaning are those of Hugging Face's `generate`; every combination is valid:
/// one beam or several, with or without sampling.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Decoding {
    /// Continuations of one prompt that are followed side by side; 1 follows the best token only.
    pub beams: usize,
    /// Draws tokens by chance; none takes the most likely.
    pub sample: Option<Sampling>,
    /// Above 1: tokens that occur in the prompt or were said become less likely; 1 changes nothing.
    pub repetition_penalty: f64,
    /// No sequence of so many tokens is said twice; 0 allows all.
    pub no_repeat_ngram: usize,
    /// Tokens to say before an end token may come.
    pub min_new_tokens: usize,
    /// A beam's score is its log-probability divided by its length to this power.
    pub length_penalty: f64,
    /// When enough complete beams end a search.
    pub early_stopping: EarlyStopping,
    /// Texts that end an answer, which is cut before them.
    pub stop: Vec<String>,
    /// Greedy decoding guesses up to so many tokens at once from what was said before, and checks them in one pass;
    /// 0 for none. Answers stay the same up to rounding.
    pub lookahead: usize,
}

impl Default for Decoding {
    fn default() -> Self {
        Self {
            beams: 1,
            sample: None,
            repetition_penalty: 1.0,
            no_repeat_ngram: 0,
            min_new_tokens: 0,
            length_penalty: 1.0,
            early_stopping: EarlyStopping::Switch(false),
            stop: Vec::new(),
            lookahead: 8,
        }
    }
}

impl Decoding {
    /// Whether the next token is always the most likely one, whatever was said before.
    pub fn is_plain(&self) -> bool {
        let untouched = (self.repetition_penalty - 1.0).abs() < f64::EPSILON;
        self.beams == 1 && self.sample.is_none() && untouched && self.no_repeat_ngram == 0 && self.min_new_tokens == 0
    }

    /// The first setting that is out of range, as its key and what to do.
    ///
    /// # Errors
    /// When there is one.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let Sampling { temperature, top_p, .. } = self.sample.unwrap_or_default();
        let penalty = self.repetition_penalty;
        let checks = [
            ("beams", self.beams >= 1, "0 beams say nothing: at least 1".to_owned()),
            ("beams", self.beams <= MOST_BEAMS, format!("{}: at most {MOST_BEAMS}", self.beams)),
            (
                "repetition_penalty",
                FACTORS.contains(&penalty),
                format!("{penalty}: above 0, from {:e} to {:e}; 1 is none", FACTORS.start(), FACTORS.end()),
            ),
            ("length_penalty", self.length_penalty.is_finite(), format!("{}: a finite number", self.length_penalty)),
            (
                "sample.temperature",
                FACTORS.contains(&temperature),
                format!(
                    "{temperature}: above 0, from {:e} to {:e}; without sampling the most likely token is taken",
                    FACTORS.start(),
                    FACTORS.end()
                ),
            ),
            ("sample.top_p", top_p > 0.0 && top_p <= 1.0, format!("{top_p}: above 0, at most 1")),
            (
                "stop",
                self.stop.iter().all(|text| !text.is_empty()),
                "an empty text ends everything: remove it".to_owned(),
            ),
        ];
        checks.into_iter().find(|(_, fine, _)| !fine).map_or(Ok(()), |(key, _, remedy)| Err((key, remedy)))
    }
}

/// Which tokens chance may choose from, and how evenly.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sampling {
    /// Scores are divided by it: below 1 prefers likely tokens.
    pub temperature: f64,
    /// The most likely tokens that stay; 0 for all.
    pub top_k: usize,
    /// The most likely tokens that stay, until their probabilities add up to this.
    pub top_p: f64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { temperature: 1.0, top_k: 0, top_p: 1.0 }
    }
}

/// When a search with complete beams ends, in Hugging Face's words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EarlyStopping {
    /// `true`: as soon as there are as many complete beams as beams. `false`: when the best open beam, if it ended now,
    /// could not beat the worst complete one.
    Switch(bool),
    /// `never`: when no open beam can, however long it grows.
    Never,
}

impl Serialize for EarlyStopping {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Switch(on) => serializer.serialize_bool(*on),
            Self::Never => serializer.serialize_str("never"),
        }
    }
}

impl<'de> Deserialize<'de> for EarlyStopping {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Value::deserialize(deserializer)?;
        let switch = match &written {
            Value::Bool(on) => Some(Self::Switch(*on)),
            Value::String(word) if word == "never" => Some(Self::Never),
            Value::String(word) => switch(word).map(Self::Switch),
            _ => None,
        };
        switch.ok_or_else(|| D::Error::custom(format!("{written} is not understood: write true, false or never")))
    }
}

impl JsonSchema for EarlyStopping {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "EarlyStopping".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": [true, false, "never"] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_read_as_they_are_written() {
        let read = |text: &str| serde_json::from_str::<Decoding>(text).expect("valid");
        assert_eq!(read("{}"), Decoding::default());
        assert!(read("{}").is_plain() && !read(r#"{"sample": {}}"#).is_plain());
        let beam = read(r#"{"beams": 4, "early_stopping": "never", "sample": {"top_k": 40}}"#);
        assert_eq!((beam.beams, beam.early_stopping), (4, EarlyStopping::Never));
        assert_eq!(beam.sample, Some(Sampling { top_k: 40, ..Sampling::default() }));
        assert_eq!(read(&serde_json::to_string(&beam).expect("plain")), beam);
        let error =
            serde_json::from_str::<Decoding>(r#"{"early_stopping": "always"}"#).expect_err("refused").to_string();
        assert!(error.contains("\"always\" is not understood: write true, false or never"), "{error}");
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        let key = |text: &str| serde_json::from_str::<Decoding>(text).expect("valid").check().expect_err(text).0;
        assert_eq!(key(r#"{"beams": 0}"#), "beams");
        assert_eq!(key(r#"{"sample": {"temperature": 0}}"#), "sample.temperature");
        assert_eq!(key(r#"{"sample": {"top_p": 1.5}}"#), "sample.top_p");
        assert_eq!(key(r#"{"stop": [""]}"#), "stop");
    }
}
