//! The rotary settings of a configuration, in either of the two ways of writing them:
//!
//! ```text
//! transformers 4   "rope_theta": 500000.0, "rope_scaling": {"rope_type": "llama3", "factor": 8.0, …} or null
//! transformers 5   "rope_parameters": {"rope_theta": 500000.0, "rope_type": "llama3", "factor": 8.0, …}
//! ```

use serde_json::Value;

use super::Scaling;
use crate::raw_config::{ConfigError, Problem, RawConfig};

/// The rope types that are computed here, for messages.
const SUPPORTED: &str = "default, linear and llama3";

/// What decides the frequencies, beside a head's width.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct RopeConfig {
    /// The base.
    pub theta: f64,
    /// How frequencies are changed.
    pub scaling: Scaling,
}

/// What one object says; nothing where it is silent.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
struct Said {
    theta: Option<f64>,
    scaling: Option<Scaling>,
}

impl RopeConfig {
    /// Reads the settings of a configuration. `default_theta` is the base where the file says none: that of the model's
    /// type in transformers.
    ///
    /// # Errors
    /// When a type is not computed here, a value is wrong, or two places disagree.
    pub fn read(raw: &RawConfig<'_>, default_theta: f64) -> Result<Self, ConfigError> {
        let scaling = raw.section("rope_scaling")?.map(|section| Said::read(&section)).transpose()?.unwrap_or_default();
        let parameters =
            raw.section("rope_parameters")?.map(|section| Said::read(&section)).transpose()?.unwrap_or_default();
        let root = raw.positive("rope_theta")?;
        let thetas = [
            ("rope_theta", root),
            ("rope_scaling.rope_theta", scaling.theta),
            ("rope_parameters.rope_theta", parameters.theta),
        ];
        let scalings = [("rope_scaling", scaling.scaling), ("rope_parameters", parameters.scaling)];
        Ok(Self {
            theta: agreed(raw, &thetas)?.unwrap_or(default_theta),
            scaling: agreed(raw, &scalings)?.unwrap_or(Scaling::Default),
        })
    }
}

/// The value of all that say one.
fn agreed<T: Copy + PartialEq>(raw: &RawConfig<'_>, said: &[(&str, Option<T>)]) -> Result<Option<T>, ConfigError> {
    let mut said = said.iter().filter_map(|&(key, value)| Some((key, value?)));
    let Some((first, value)) = said.next() else { return Ok(None) };
    match said.find(|(_, other)| *other != value) {
        Some((second, _)) => Err(raw.error(Problem::Disagree { first: first.to_owned(), second: second.to_owned() })),
        None => Ok(Some(value)),
    }
}

impl Said {
    fn read(section: &RawConfig<'_>) -> Result<Self, ConfigError> {
        if section.is_empty() {
            return Ok(Self::default());
        }
        let theta = section.positive("rope_theta")?;
        let kind = rope_type(section)?;
        // Without a type there may be a base only; anything else is then left over and refused below.
        let scaling = kind.map(|kind| scaling(section, kind)).transpose()?;
        if section.positive("partial_rotary_factor")?.is_some_and(|share| (share - 1.0).abs() > f64::EPSILON) {
            let value = section.value("partial_rotary_factor").unwrap_or(&Value::Null);
            return Err(section.unsupported("partial_rotary_factor", value, "only 1"));
        }
        section.finish(&[])?;
        Ok(Self { theta, scaling })
    }
}

/// Older configurations say `type` where newer ones say `rope_type`.
fn rope_type<'a>(section: &RawConfig<'a>) -> Result<Option<&'a str>, ConfigError> {
    let named = [("rope_type", section.text("rope_type")?), ("type", section.text("type")?)];
    let named = named.map(|(key, kind)| (section.named(key), kind));
    agreed(section, &named.each_ref().map(|(key, kind)| (key.as_str(), *kind)))
}

fn scaling(section: &RawConfig<'_>, kind: &str) -> Result<Scaling, ConfigError> {
    let needed = |key: &str| section.needed(key, section.positive(key)?);
    match kind {
        "default" => {
            // Some writers say the length of pre-training whatever the type.
            section.positive("original_max_position_embeddings")?;
            Ok(Scaling::Default)
        }
        "linear" => {
            section.positive("original_max_position_embeddings")?;
            Ok(Scaling::Linear { factor: needed("factor")? })
        }
        "llama3" => {
            let (low_freq_factor, high_freq_factor) = (needed("low_freq_factor")?, needed("high_freq_factor")?);
            if low_freq_factor >= high_freq_factor {
                let found = Value::from(high_freq_factor);
                return Err(section.wrong("high_freq_factor", &found, "a number above low_freq_factor"));
            }
            Ok(Scaling::Llama3 {
                factor: needed("factor")?,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings: needed("original_max_position_embeddings")?,
            })
        }
        // The same words in both styles.
        other => Err(section.error(Problem::Unsupported {
            key: "rope type".to_owned(),
            value: other.to_owned(),
            supported: SUPPORTED.to_owned(),
        })),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;

    fn read(config: &Value) -> Result<RopeConfig, String> {
        let raw = RawConfig::new(Path::new("config.json"), config).expect("an object");
        RopeConfig::read(&raw, 10_000.0).map_err(|error| error.to_string())
    }

    const LLAMA3: Scaling = Scaling::Llama3 {
        factor: 4.0,
        low_freq_factor: 1.0,
        high_freq_factor: 3.0,
        original_max_position_embeddings: 48.0,
    };

    #[test]
    fn both_styles_say_the_same() {
        let llama3 = |kind: &str| {
            let mut scaling = json!({"factor": 4, "low_freq_factor": 1.0, "high_freq_factor": 3.0,
                "original_max_position_embeddings": 48});
            scaling[kind] = json!("llama3");
            scaling
        };
        let with_theta = |mut scaling: Value, theta: f64| {
            scaling["rope_theta"] = json!(theta);
            scaling
        };
        let linear = |factor| Scaling::Linear { factor };
        let cases = [
            (json!({}), 1e4, Scaling::Default),
            (json!({"rope_theta": null, "rope_scaling": null, "rope_parameters": null}), 1e4, Scaling::Default),
            (json!({"rope_theta": 500, "rope_scaling": {}}), 500.0, Scaling::Default),
            (json!({"rope_theta": 500, "rope_scaling": {"type": null, "rope_type": null}}), 500.0, Scaling::Default),
            (json!({"rope_parameters": {"rope_theta": 700}}), 700.0, Scaling::Default),
            (json!({"rope_parameters": {"rope_theta": 7e2, "rope_type": "default"}}), 700.0, Scaling::Default),
            (json!({"rope_theta": 3e3, "rope_scaling": {"type": "linear", "factor": 2}}), 3e3, linear(2.0)),
            (json!({"rope_parameters": {"rope_theta": 3e3, "rope_type": "linear", "factor": 2}}), 3e3, linear(2.0)),
            (json!({"rope_theta": 9e3, "rope_scaling": llama3("rope_type")}), 9e3, LLAMA3),
            (json!({"rope_theta": 9e3, "rope_scaling": llama3("type")}), 9e3, LLAMA3),
            (json!({"rope_parameters": with_theta(llama3("rope_type"), 9e3)}), 9e3, LLAMA3),
            // Both at once, as long as they agree, and halves of either.
            (json!({"rope_theta": 9e3, "rope_parameters": llama3("rope_type")}), 9e3, LLAMA3),
            (
                json!({"rope_theta": 9e3, "rope_scaling": llama3("type"),
                    "rope_parameters": with_theta(llama3("rope_type"), 9e3)}),
                9e3,
                LLAMA3,
            ),
            (json!({"rope_scaling": {"type": "default", "rope_type": "default"}}), 1e4, Scaling::Default),
        ];
        for (config, theta, scaling) in cases {
            assert_eq!(read(&config), Ok(RopeConfig { theta, scaling }), "{config}");
        }
    }

    #[test]
    fn what_is_not_computed_or_not_consistent_is_refused_by_name() {
        for kind in ["yarn", "dynamic", "longrope", "su", "mrope"] {
            let flat = json!({"rope_scaling": {"type": kind, "factor": 4.0, "beta_fast": 32}});
            let nested = json!({"rope_parameters": {"rope_type": kind, "rope_theta": 1e4, "factor": 4.0}});
            let expected =
                Err(format!("config.json: rope type `{kind}` is not supported: there is default, linear and llama3"));
            assert_eq!(read(&flat), expected);
            assert_eq!(read(&nested), expected, "the same words in both styles");
        }
        let cases = [
            (
                json!({"rope_theta": 1e4, "rope_parameters": {"rope_theta": 2e4}}),
                "`rope_theta` and `rope_parameters.rope_theta` disagree",
            ),
            (
                json!({"rope_scaling": {"type": "linear", "factor": 2.0}, "rope_parameters": {"rope_type": "default"}}),
                "`rope_scaling` and `rope_parameters` disagree",
            ),
            (
                json!({"rope_scaling": {"type": "linear", "rope_type": "default"}}),
                "`rope_scaling.rope_type` and `rope_scaling.type` disagree",
            ),
            (json!({"rope_scaling": {"type": "linear"}}), "`rope_scaling.factor` is missing"),
            (json!({"rope_scaling": {"factor": 2.0}}), "`rope_scaling.factor` (2.0) is not understood"),
            (json!({"rope_scaling": {"type": "linear", "factor": 0}}), "`rope_scaling.factor` is 0"),
            (json!({"rope_scaling": {"type": "linear", "factor": "2"}}), "`rope_scaling.factor` is 2"),
            (json!({"rope_scaling": "linear"}), "`rope_scaling` is linear"),
            (json!({"rope_parameters": [1]}), "`rope_parameters` is [1]"),
            (json!({"rope_parameters": {"rope_type": 3}}), "`rope_parameters.rope_type` is 3"),
            (json!({"rope_theta": true}), "`rope_theta` is true"),
            (json!({"rope_theta": -1.0}), "`rope_theta` is -1.0"),
            (json!({"rope_parameters": {"rope_theta": 0}}), "`rope_parameters.rope_theta` is 0"),
            (
                json!({"rope_parameters": {"rope_theta": 1e4, "mscale": 0.7}}),
                "`rope_parameters.mscale` (0.7) is not understood",
            ),
            (
                json!({"rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 0.5}}),
                "rope_parameters.partial_rotary_factor `0.5` is not supported",
            ),
            (
                json!({"rope_parameters": {"full_attention": {"rope_theta": 1e4}}}),
                "`rope_parameters.full_attention` ({\"rope_theta\":10000.0}) is not understood",
            ),
        ];
        for (config, expected) in cases {
            let said = read(&config).expect_err("it is wrong");
            assert!(said.contains(expected), "{config}: {said}");
            assert_eq!(said.lines().count(), 1, "{said}");
        }
    }
}
