//! A sweep's type of weights: what `auto` is on the machine that begins it is written into its frozen declaration, so that
//! every worker that goes on with it, on any machine, uses the same.

use serde_json::{Map, Value, json};

use crate::config::ConfigError;
use crate::config::dtype::{AUTO, DtypeChoice};
use crate::config::places::SettingLocations;
use crate::config::read::{dtype_of, fix_dtype};

/// Replaces `auto` in a declaration by what it is on this machine: in `run`, and in `final.run` where it stands there.
///
/// # Errors
/// When a type is none, or cannot be fixed for all trials: `auto` is a value to be varied, or the device is varied.
pub fn freeze(sweep: &mut Value, places: &SettingLocations) -> Result<(), ConfigError> {
    let wrong = |key: &str, reason: &str| Err(ConfigError::value(places, key, reason.to_owned()));
    let below =
        |section: &'static str| move |error: ConfigError| error.renamed(places, |key| format!("{section}.{key}"));
    let Some(sweep) = sweep.as_object_mut() else { return Ok(()) };
    let space = sweep.get("space").and_then(Value::as_object).cloned().unwrap_or_default();
    let varied = space.get("dtype").map(Value::to_string);
    if varied.as_ref().is_some_and(|values| values.contains(&format!("\"{AUTO}\""))) {
        return wrong("space.dtype", "auto is one of the others, depending on the machine: name f32, bf16 or f16");
    }
    let run = sweep.entry("run").or_insert_with(|| Value::Object(Map::new()));
    if varied.is_none()
        && space.contains_key("device")
        && dtype_of(run, places).map_err(below("run"))? == DtypeChoice::Auto
    {
        return wrong("run.dtype", "auto depends on the device, which is varied: name f32, bf16 or f16");
    }
    fix_dtype(run, places).map_err(below("run"))?;
    let device = run.get("device").cloned();
    let last = sweep.get_mut("final").and_then(|last| last.get_mut("run")).filter(|run| run.get("dtype").is_some());
    if let Some(last) = last {
        let own = last.get("device").cloned().or(device);
        let mut there = json!({"dtype": last["dtype"].clone()});
        if let Some(device) = own {
            there["device"] = device;
        }
        fix_dtype(&mut there, places).map_err(below("final.run"))?;
        last["dtype"] = there["dtype"].clone();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::plan::RunPlan;

    fn frozen(mut sweep: Value) -> Result<Value, String> {
        freeze(&mut sweep, &"s.yaml".into()).map_err(|error| error.to_string())?;
        Ok(sweep)
    }

    #[test]
    fn auto_is_frozen_and_a_type_by_hand_is_kept() {
        let here = DtypeChoice::Auto.on(RunPlan::default().device).name();
        for run in [json!({}), json!({"dtype": "auto"}), json!({"dtype": "auto", "device": "cpu"})] {
            let sweep = frozen(json!({"run": run, "final": {"run": {"dtype": "auto"}}})).expect("valid");
            assert_eq!((&sweep["run"]["dtype"], &sweep["final"]["run"]["dtype"]), (&json!(here), &json!(here)));
        }
        assert_eq!(frozen(json!({})).expect("valid")["run"]["dtype"], here);
        let fixed = frozen(json!({"run": {"dtype": "f16"}, "final": {"run": {"seed": 1}}})).expect("valid");
        assert_eq!(fixed["run"]["dtype"], "f16");
        assert_eq!(fixed["final"]["run"], json!({"seed": 1}));
    }

    #[test]
    fn what_differs_between_trials_cannot_be_left_to_the_machine() {
        let error = frozen(json!({"space": {"dtype": {"choices": ["auto", "f32"]}}})).expect_err("refused");
        assert!(error.starts_with("s.yaml: space.dtype: auto is one of the others"), "{error}");
        let devices = json!({"device": {"choices": ["cpu", "cuda"]}});
        let error = frozen(json!({"space": devices.clone()})).expect_err("refused");
        assert!(error.starts_with("s.yaml: run.dtype: auto depends on the device"), "{error}");
        assert!(frozen(json!({"space": devices, "run": {"dtype": "f32"}})).is_ok());
        let error = frozen(json!({"run": {"dtype": "f8"}})).expect_err("refused");
        assert_eq!(error, "s.yaml: run.dtype: `f8` is no type of weights: write auto, f32, bf16 or f16");
    }
}
