//! `train.parity`: in which points a run does what the authors' library did where that differs from the paper's text.
//!
//! | point | pyreft under its trainers | otherwise |
//! |---|---|---|
//! | `decay` | no parameter of an intervention decays | its free matrices decay ([`reft_core::decay`]) |
//! | `head_gradients` | the head's clipped gradient stays after an update, and the next is added to it | zeroed |
//! | `truncation` | each end edits `floor(n/2)` tokens of a short prompt at most | the last gets `ceil(n/2)` (section 4.1) |
//! | `dropout` | falls on the edited state: a dropped coordinate is 0 | falls on the edit: it keeps its value |
//! | `labels` | regression labels are rounded to bfloat16 in the loss | as they are |
//!
//! `truncation` and `dropout` are settings of `adapt` too, which take this value where they are left out. All points
//! concern interventions alone: full finetuning and `BitFit` were run by Hugging Face's own trainer, which has none of them.

use reft_core::AdaptSpec;
use reft_core::adaptations::reft::DropoutOn;
use reft_core::positions::Truncation;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A point in which pyreft differs from the paper's text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ParityPoint {
    /// What decays.
    Decay,
    /// What becomes of the head's gradients after an update.
    HeadGradients,
    /// The rule for short prompts.
    Truncation,
    /// What dropout falls on.
    Dropout,
    /// The type of regression labels.
    Labels,
}

impl ParityPoint {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Decay, "decay"),
        (Self::HeadGradients, "head_gradients"),
        (Self::Truncation, "truncation"),
        (Self::Dropout, "dropout"),
        (Self::Labels, "labels"),
    ];
}

const NONE: &str = "none";
const PYREFT: &str = "pyreft";

/// The points in which a run follows pyreft: `none`, `pyreft` (all) or a list of points.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(into = "ParityInPlan", try_from = "ParityInput")]
pub struct Parity([bool; ParityPoint::ALL.len()]);

impl Parity {
    /// All points.
    pub const PYREFT: Self = Self([true; ParityPoint::ALL.len()]);

    /// Whether a run follows pyreft in this point.
    pub fn has(self, point: ParityPoint) -> bool {
        self.0[point as usize]
    }

    /// Whether there is any such point.
    pub fn any(self) -> bool {
        self != Self::default()
    }

    fn names(self) -> Vec<&'static str> {
        ParityPoint::ALL.iter().filter(|(point, _)| self.has(*point)).map(|(_, name)| *name).collect()
    }

    /// The points in words.
    pub fn describe(self) -> String {
        match ParityInPlan::from(self) {
            ParityInPlan::Name(name) => name.to_owned(),
            ParityInPlan::Points(points) => points.join(", "),
        }
    }
}

/// As a plan holds it.
#[derive(Serialize)]
#[serde(untagged)]
enum ParityInPlan {
    Name(&'static str),
    Points(Vec<&'static str>),
}

impl From<Parity> for ParityInPlan {
    fn from(parity: Parity) -> Self {
        match parity {
            Parity::PYREFT => Self::Name(PYREFT),
            none if !none.any() => Self::Name(NONE),
            some => Self::Points(some.names()),
        }
    }
}

/// As a configuration spells it.
#[derive(Deserialize)]
#[serde(untagged)]
enum ParityInput {
    Name(String),
    Points(Vec<String>),
    Other(IgnoredAny),
}

impl TryFrom<ParityInput> for Parity {
    type Error = String;

    fn try_from(given: ParityInput) -> Result<Self, String> {
        let known = || ParityPoint::ALL.map(|(_, name)| name).join(", ");
        let wrong = |what: &str| format!("{what}: write {NONE}, {PYREFT}, or a list of {}", known());
        let names = match given {
            ParityInput::Name(name) if name == NONE => return Ok(Self::default()),
            ParityInput::Name(name) if name == PYREFT => return Ok(Self::PYREFT),
            ParityInput::Name(name) => return Err(wrong(&format!("`{name}` is unknown"))),
            ParityInput::Other(IgnoredAny) => return Err(wrong("this is neither a name nor a list of names")),
            ParityInput::Points(names) => names,
        };
        let mut parity = Self::default();
        for name in names {
            let found = ParityPoint::ALL.iter().find(|(_, known)| *known == name);
            let (point, _) = found.ok_or_else(|| wrong(&format!("`{name}` is unknown")))?;
            parity.0[*point as usize] = true;
        }
        Ok(parity)
    }
}

impl JsonSchema for Parity {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Parity".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let points = ParityPoint::ALL.map(|(_, name)| name);
        json_schema!({"anyOf": [{"enum": [NONE, PYREFT]}, {"type": "array", "items": {"enum": points}}]})
    }
}

/// Gives settings of `adapt` that a configuration leaves out the value that its `train.parity` asks for.
pub(super) fn fill(plan: &mut Value) {
    // What is no parity is refused when the whole plan is read.
    let Ok(parity) = Parity::deserialize(&plan["train"]["parity"]) else { return };
    let specs = plan.get_mut("adapt").map(interventions).unwrap_or_default();
    for spec in specs.into_iter().filter_map(Value::as_object_mut) {
        if parity.has(ParityPoint::Truncation) {
            spec.entry("truncation").or_insert(json!(Truncation::Library));
        }
        if parity.has(ParityPoint::Dropout)
            && let Some(dropout) = spec.entry("dropout").or_insert(json!({"p": 0.0})).as_object_mut()
        {
            dropout.entry("on").or_insert(json!(DropoutOn::State));
        }
    }
}

/// The interventions of an adaptation as it is written.
fn interventions(adapt: &mut Value) -> Vec<&mut Value> {
    let Some(adapt) = adapt.as_object_mut() else { return Vec::new() };
    let mut found = Vec::new();
    for (key, value) in adapt {
        match (key.as_str(), value) {
            ("reft", spec) => found.push(spec),
            ("refts", Value::Array(specs)) => found.extend(specs.iter_mut()),
            ("joint" | "staged", Value::Array(members)) => {
                let adapts = members.iter_mut().filter_map(|member| member.get_mut("adapt"));
                found.extend(adapts.flat_map(interventions));
            }
            _ => {}
        }
    }
    found
}

/// What of `adapt` contradicts `train.parity`, as the key and what to do about it.
pub(super) fn check(parity: Parity, adapt: Option<&AdaptSpec>) -> Result<(), (String, String)> {
    let Some(adapt) = adapt else { return Ok(()) };
    let (key, specs) = (adapt.key(), adapt.interventions());
    let contradicts = |inner: &str, here: &str, there: &str| {
        let remedy = format!("`{here}` contradicts train.parity: write `{there}`, or leave one of the two out");
        Err((format!("adapt.{key}.{inner}"), remedy))
    };
    for spec in specs {
        if parity.has(ParityPoint::Truncation) && spec.truncation != Truncation::Library {
            return contradicts("truncation", "paper", "library");
        }
        if parity.has(ParityPoint::Dropout) && spec.dropout.p > 0.0 && spec.dropout.on != DropoutOn::State {
            return contradicts("dropout.on", "edit", "state");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use reft_core::adaptations::reft::ReftSpec;

    use super::*;
    use crate::config::plan::RunPlan;
    use crate::config::read::resolve;

    #[allow(clippy::needless_pass_by_value)] // the cases are made where they are read
    fn plan(parity: Value, reft: Value) -> Result<RunPlan, String> {
        let mut spec = json!({"intervention": "loreft", "rank": 1, "positions": "f3"});
        crate::config::merge::merge(&mut spec, reft);
        resolve(json!({"train": {"parity": parity}, "adapt": {"reft": spec}}), "a test")
            .map_err(|error| error.to_string())
    }

    fn reft(plan: &RunPlan) -> (Truncation, DropoutOn) {
        let spec = plan.adapt.as_ref().and_then(AdaptSpec::get::<ReftSpec>).expect("one set");
        (spec.truncation, spec.dropout.on)
    }

    #[test]
    fn what_is_left_out_follows_parity_and_the_resolved_plan_reads_back_as_itself() {
        let dropout = json!({"dropout": {"p": 0.1}});
        for (parity, expected) in [
            (json!("none"), (Truncation::Paper, DropoutOn::Edit)),
            (json!(["decay", "labels"]), (Truncation::Paper, DropoutOn::Edit)),
            (json!(["truncation"]), (Truncation::Library, DropoutOn::Edit)),
            (json!(["dropout"]), (Truncation::Paper, DropoutOn::State)),
            (json!("pyreft"), (Truncation::Library, DropoutOn::State)),
        ] {
            for written in [dropout.clone(), json!({})] {
                let plan = plan(parity.clone(), written).expect("valid");
                assert_eq!(reft(&plan), expected, "{parity}");
                let tree = serde_json::to_value(&plan).expect("plain data");
                assert_eq!(tree["train"]["parity"], parity);
                assert_eq!(resolve(tree, "a test").expect("valid"), plan);
            }
        }
        let all: Vec<&str> = ParityPoint::ALL.iter().map(|(_, name)| *name).collect();
        assert_eq!(plan(json!(all), json!({})).expect("valid").train.parity, Parity::PYREFT);
    }

    #[test]
    fn a_plan_of_before_parity_has_none() {
        let mut tree = serde_json::to_value(RunPlan::default()).expect("plain data");
        tree["train"].as_object_mut().expect("settings").remove("parity");
        assert_eq!(serde_json::from_value::<RunPlan>(tree).expect("an old plan"), RunPlan::default());
    }

    #[test]
    fn contradictions_and_unknown_points_are_refused_with_the_remedy() {
        let truncation = plan(json!("pyreft"), json!({"truncation": "paper"})).expect_err("a contradiction");
        assert_eq!(
            truncation,
            "a test: adapt.reft.truncation: `paper` contradicts train.parity: write `library`, or leave one of the two out"
        );
        let on = plan(json!("pyreft"), json!({"dropout": {"p": 0.1, "on": "edit"}})).expect_err("a contradiction");
        assert!(on.contains("adapt.reft.dropout.on: `edit` contradicts train.parity"), "{on}");
        for wrong in [json!("peft"), json!(["decays"]), json!(7), json!({"decay": true}), json!([1])] {
            let said = plan(wrong.clone(), json!({})).expect_err("wrong");
            let remedy = "write none, pyreft, or a list of decay, head_gradients, truncation, dropout, labels";
            assert!(said.starts_with("a test: train.parity: ") && said.contains(remedy), "{wrong}: {said}");
        }
    }
}
