//! The rotary settings of a configuration, in either of the two ways of writing them:
//!
//! ```text
//! transformers 4   "rope_theta": 500000.0, "rope_scaling": {"rope_type": "llama3", "factor": 8.0, …} or null
//! transformers 5   "rope_parameters": {"rope_theta": 500000.0, "rope_type": "llama3", "factor": 8.0, …}
//! ```

use serde_json::Value;

use super::scaling::yarn_factor;
use super::{LongRope, Rope, Scaling, Yarn};
use crate::raw_config::{ConfigProblem, ModelConfigError, RawConfig};

/// The rope types that are computed here, for messages.
const SUPPORTED: &str = "default, linear, dynamic, yarn, llama3 and longrope";

/// What decides the frequencies, beside a head's width.
#[derive(Clone, PartialEq, Debug)]
pub struct RopeConfig {
    /// The base.
    pub theta: f64,
    /// The share of a head's coordinates that is rotated.
    pub share: f64,
    /// How frequencies are changed.
    pub scaling: Scaling,
}

/// What a family says where its configuration is silent.
#[derive(Clone, Copy, Debug)]
pub struct RopeDefaults {
    /// The base: that of the model's type in transformers.
    pub theta: f64,
    /// The longest sequence, `max_position_embeddings`.
    pub context: i64,
    /// The share of a head that is rotated, in families where it can be less than all; none in others.
    pub share: Option<f64>,
}

/// What one object says; nothing where it is silent.
#[derive(Clone, PartialEq, Debug, Default)]
struct RopeFields {
    theta: Option<f64>,
    share: Option<f64>,
    scaling: Option<Scaling>,
}

/// What scalings need to know from outside their object.
#[derive(Clone, Copy)]
struct ScalingContext {
    context: f64,
    /// `original_max_position_embeddings` beside the object, which wins over the one inside.
    original: Option<f64>,
    partial: bool,
}

impl RopeConfig {
    /// Reads the settings of a configuration.
    ///
    /// # Errors
    /// When a type is not computed here, a value is wrong, or two places disagree.
    pub fn read(raw: &RawConfig<'_>, defaults: RopeDefaults) -> Result<Self, ModelConfigError> {
        let around = ScalingContext::read(raw, defaults)?;
        let said = |key: &str| match raw.section(key)? {
            Some(section) => RopeFields::read(&section, around),
            None => Ok(RopeFields::default()),
        };
        let (old, new) = (said("rope_scaling")?, said("rope_parameters")?);
        let thetas = [
            ("rope_theta", raw.positive("rope_theta")?),
            ("rope_scaling.rope_theta", old.theta),
            ("rope_parameters.rope_theta", new.theta),
        ];
        let outside = if around.partial { raw.positive("partial_rotary_factor")? } else { None };
        let shares = [
            ("partial_rotary_factor", outside),
            ("rope_scaling.partial_rotary_factor", old.share),
            ("rope_parameters.partial_rotary_factor", new.share),
        ];
        let scalings = [("rope_scaling", old.scaling), ("rope_parameters", new.scaling)];
        Ok(Self {
            theta: agreed(raw, &thetas)?.unwrap_or(defaults.theta),
            share: agreed(raw, &shares)?.or(defaults.share).unwrap_or(1.0),
            scaling: agreed(raw, &scalings)?.unwrap_or(Scaling::Default),
        })
    }

    /// Reads one object of settings, such as those of one kind of layers; what lies around it is that of `raw`.
    ///
    /// # Errors
    /// When its type is not computed here or a value is wrong.
    pub fn of_section(
        raw: &RawConfig<'_>,
        section: &RawConfig<'_>,
        defaults: RopeDefaults,
    ) -> Result<Self, ModelConfigError> {
        let said = RopeFields::read(section, ScalingContext::read(raw, defaults)?)?;
        Ok(Self {
            theta: said.theta.unwrap_or(defaults.theta),
            share: said.share.or(defaults.share).unwrap_or(1.0),
            scaling: said.scaling.unwrap_or(Scaling::Default),
        })
    }

    /// The rotation of heads of this width.
    ///
    /// # Errors
    /// When the rotated coordinates are no pairs, or are not as many as the settings have divisors.
    pub fn build(self, raw: &RawConfig<'_>, head_width: i64) -> Result<Rope, ModelConfigError> {
        let rotary = (head_width as f64 * self.share) as i64;
        let sizes = |reason: String| {
            Err(raw.error(ConfigProblem::Sizes(format!("{reason}: copy the model's configuration again"))))
        };
        if rotary % 2 != 0 {
            return sizes(format!("heads have an odd width of {rotary}, whose halves cannot be rotated"));
        }
        if let Some(divisors) = self.scaling.divisors().filter(|&divisors| divisors as i64 != rotary / 2) {
            let pairs = rotary / 2;
            return sizes(format!(
                "{divisors} rotary divisors, but {pairs} pairs of coordinates are rotated in a head"
            ));
        }
        if rotary == 2 && matches!(self.scaling, Scaling::Dynamic { .. }) {
            return sizes("dynamic rotary scaling needs more than one pair of coordinates in a head".to_owned());
        }
        Ok(Rope::new(rotary, self.theta, self.scaling))
    }
}

impl ScalingContext {
    fn read(raw: &RawConfig<'_>, defaults: RopeDefaults) -> Result<Self, ModelConfigError> {
        Ok(Self {
            context: defaults.context as f64,
            original: raw.positive("original_max_position_embeddings")?,
            partial: defaults.share.is_some(),
        })
    }

    /// Context length of pre-training.
    fn original(self, section: &RawConfig<'_>) -> Result<f64, ModelConfigError> {
        let inside = section.positive("original_max_position_embeddings")?;
        Ok(self.original.or(inside).unwrap_or(self.context))
    }
}

/// The value of all that say one.
fn agreed<T: Clone + PartialEq>(
    raw: &RawConfig<'_>,
    said: &[(&str, Option<T>)],
) -> Result<Option<T>, ModelConfigError> {
    let mut said = said.iter().filter_map(|(key, value)| Some((*key, value.as_ref()?)));
    let Some((first, value)) = said.next() else { return Ok(None) };
    match said.find(|(_, other)| *other != value) {
        Some((second, _)) => {
            Err(raw.error(ConfigProblem::Disagree { first: first.to_owned(), second: second.to_owned() }))
        }
        None => Ok(Some(value.clone())),
    }
}

impl RopeFields {
    fn read(section: &RawConfig<'_>, around: ScalingContext) -> Result<Self, ModelConfigError> {
        if section.is_empty() {
            return Ok(Self::default());
        }
        let theta = section.positive("rope_theta")?;
        let kind = rope_type(section)?;
        // Without a type there may be a base only; anything else is then left over and refused below.
        let scaling = kind.map(|kind| scaling(section, kind, around)).transpose()?;
        let share = section.positive("partial_rotary_factor")?;
        if !around.partial && share.is_some_and(|share| (share - 1.0).abs() > f64::EPSILON) {
            let value = section.value("partial_rotary_factor").unwrap_or(&Value::Null);
            return Err(section.unsupported("partial_rotary_factor", value, "only 1"));
        }
        section.finish(&[])?;
        Ok(Self { theta, share, scaling })
    }
}

/// Older configurations say `type` where newer ones say `rope_type`.
fn rope_type<'a>(section: &RawConfig<'a>) -> Result<Option<&'a str>, ModelConfigError> {
    let named = [("rope_type", section.text("rope_type")?), ("type", section.text("type")?)];
    let named = named.map(|(key, kind)| (section.named(key), kind));
    agreed(section, &named.each_ref().map(|(key, kind)| (key.as_str(), *kind)))
}

fn scaling(section: &RawConfig<'_>, kind: &str, around: ScalingContext) -> Result<Scaling, ModelConfigError> {
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
        "dynamic" => {
            section.positive("original_max_position_embeddings")?;
            Ok(Scaling::Dynamic { factor: needed("factor")?, original: around.context })
        }
        "yarn" => yarn(section, around),
        "llama3" => llama3(section, around),
        // The older name is that of the first files of Phi 3.
        "longrope" | "su" => longrope(section, around),
        "divided" => Ok(Scaling::Divided(divisors(section, "divisors")?)),
        // The same words in both styles.
        other => Err(section.error(ConfigProblem::Unsupported {
            key: "rope type".to_owned(),
            value: other.to_owned(),
            supported: SUPPORTED.to_owned(),
        })),
    }
}

fn llama3(section: &RawConfig<'_>, around: ScalingContext) -> Result<Scaling, ModelConfigError> {
    let needed = |key: &str| section.needed(key, section.positive(key)?);
    let (low_freq_factor, high_freq_factor) = (needed("low_freq_factor")?, needed("high_freq_factor")?);
    if low_freq_factor >= high_freq_factor {
        let found = Value::from(high_freq_factor);
        return Err(section.wrong("high_freq_factor", &found, "a number above low_freq_factor"));
    }
    Ok(Scaling::Llama3 {
        factor: needed("factor")?,
        low_freq_factor,
        high_freq_factor,
        original_max_position_embeddings: around.original(section)?,
    })
}

fn yarn(section: &RawConfig<'_>, around: ScalingContext) -> Result<Scaling, ModelConfigError> {
    let original = around.original(section)?;
    let factor = section.positive("factor")?.unwrap_or(around.context / original);
    let (own, both) = (section.positive("mscale")?, section.positive("mscale_all_dim")?);
    let derived = match (own, both) {
        (Some(own), Some(both)) => yarn_factor(factor, own) / yarn_factor(factor, both),
        (Some(_) | None, Some(_) | None) => yarn_factor(factor, 1.0),
    };
    Ok(Scaling::Yarn(Yarn {
        factor,
        original,
        beta_fast: section.positive("beta_fast")?.unwrap_or(32.0),
        beta_slow: section.positive("beta_slow")?.unwrap_or(1.0),
        truncate: section.switch("truncate")?.unwrap_or(true),
        attention_factor: section.positive("attention_factor")?.unwrap_or(derived),
    }))
}

fn longrope(section: &RawConfig<'_>, around: ScalingContext) -> Result<Scaling, ModelConfigError> {
    let original = around.original(section)?;
    let factor = section.positive("factor")?.unwrap_or(around.context / original);
    let derived = if factor <= 1.0 { 1.0 } else { (1.0 + factor.ln() / original.ln()).sqrt() };
    let (short, long) = (divisors(section, "short_factor")?, divisors(section, "long_factor")?);
    if short.len() != long.len() {
        let keys = [section.named("short_factor"), section.named("long_factor")];
        return Err(section.error(ConfigProblem::Sizes(format!(
            "`{}` has {} numbers and `{}` {}: copy the model's configuration again",
            keys[0],
            short.len(),
            keys[1],
            long.len()
        ))));
    }
    let attention_factor = section.positive("attention_factor")?.unwrap_or(derived);
    Ok(Scaling::LongRope(LongRope { short, long, original, attention_factor }))
}

/// A list of numbers above 0.
fn divisors(section: &RawConfig<'_>, key: &str) -> Result<Vec<f64>, ModelConfigError> {
    let value = section.needed(key, section.value(key))?;
    let number = |value: &Value| value.as_f64().filter(|number| number.is_finite() && *number > 0.0);
    let numbers: Option<Vec<f64>> = value.as_array().and_then(|list| list.iter().map(number).collect());
    numbers.ok_or_else(|| section.wrong(key, value, "a list of numbers above 0"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;

    const DEFAULTS: RopeDefaults = RopeDefaults { theta: 10_000.0, context: 256, share: None };

    fn read(config: &Value) -> Result<RopeConfig, String> {
        let raw = RawConfig::new(Path::new("config.json"), config).expect("an object");
        RopeConfig::read(&raw, DEFAULTS).map_err(|error| error.to_string())
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
            assert_eq!(read(&config), Ok(RopeConfig { theta, share: 1.0, scaling }), "{config}");
        }
    }

    #[test]
    fn what_is_not_computed_or_not_consistent_is_refused_by_name() {
        for kind in ["mrope", "proportional"] {
            let flat = json!({"rope_scaling": {"type": kind, "factor": 4.0, "beta_fast": 32}});
            let nested = json!({"rope_parameters": {"rope_type": kind, "rope_theta": 1e4, "factor": 4.0}});
            let expected = Err(format!("config.json: rope type `{kind}` is not supported: there is {SUPPORTED}"));
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
