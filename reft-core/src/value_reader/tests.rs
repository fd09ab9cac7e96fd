use std::num::NonZeroUsize;

use serde::Deserialize;
use serde_json::json;

use super::*;
use crate::adaptations::AdaptSpec;
use crate::adaptations::reft::DropoutOn;
use crate::interventions::Phi;

#[derive(Debug, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TestSettings {
    rows: u32,
    rate: f64,
    shuffle: bool,
    name: String,
    seeds: Vec<u64>,
    pair: Option<[i64; 2]>,
    workers: Option<NonZeroUsize>,
    on: DropoutOn,
    inner: Option<Box<TestSettings>>,
}

#[allow(clippy::needless_pass_by_value)] // the cases are made where they are read
fn settings(tree: Value) -> Result<TestSettings, String> {
    read(&tree).map_err(|error| error.to_string())
}

#[test]
fn what_cannot_be_misunderstood_is_read() {
    let rows = [json!(8), json!(8.0), json!("8"), json!("8.0"), json!("+8"), json!("0.8e1"), json!("8e0")];
    for written in rows {
        assert_eq!(settings(json!({ "rows": written })).map(|s| s.rows), Ok(8), "{written}");
    }
    assert_eq!(settings(json!({"rows": "1_000"})).map(|s| s.rows), Ok(1000));
    let rates = [json!(1e-3), json!("1e-3"), json!("1E-3"), json!(".001"), json!("0.001_0")];
    for written in rates {
        assert_eq!(settings(json!({ "rate": written })).map(|s| s.rate), Ok(1e-3), "{written}");
    }
    for (written, expected) in
        [(json!("yes"), true), (json!("Off"), false), (json!("True"), true), (json!(false), false)]
    {
        assert_eq!(settings(json!({ "shuffle": written })).map(|s| s.shuffle), Ok(expected), "{written}");
    }
    assert_eq!(settings(json!({"name": 48})).map(|s| s.name), Ok("48".to_owned()));
    assert_eq!(settings(json!({"inner": {"inner": null}})).map(|s| s.inner), Ok(Some(Box::default())));
    assert_eq!(settings(Value::Null), Ok(TestSettings::default()), "an empty section");
    assert_eq!(settings(json!({"on": {"edit": null}})).map(|s| s.on), Ok(DropoutOn::Edit));
}

#[test]
fn what_does_not_fit_is_named_with_its_key_and_what_to_write() {
    let cases = [
        (json!({"rows": 2.5}), "rows: 2.5 is not a whole number: write 2 or 3"),
        (json!({"rows": "many"}), "rows: `many` is not a number"),
        (json!({"rows": -1}), "rows: -1 is too small: at least 0"),
        (json!({"rows": 1e10}), "rows: 10000000000 is too large: at most 4294967295"),
        (json!({"rows": 1e30}), "rows: 1000000000000000000000000000000 is too large"),
        (json!({"rows": "010"}), "rows: `010` may be read as octal: write 10, without a leading zero"),
        (json!({"rows": "1__0"}), "rows: `1__0` is not a number"),
        (json!({"rows": true}), "rows: true is not a number"),
        (json!({"rows": null}), "rows: has no value: write a number, or leave the key out"),
        (json!({"rows": [1]}), "rows: a list is not a number"),
        (json!({"rate": ".nan"}), "rate: `.nan` is not a number"),
        (json!({"rate": "inf"}), "rate: `inf` is not a number"),
        (json!({"rate": "1e999"}), "rate: 1e999 is too large"),
        (json!({"rate": ""}), "rate: `` is not a number"),
        (json!({"shuffle": 1}), "shuffle: 1 is no switch: write true or false"),
        (json!({"shuffle": "perhaps"}), "shuffle: `perhaps` is no switch: write true or false"),
        (json!({"name": 1.5}), "name: 1.5 is a number: put it in quotes, \"...\""),
        (json!({"name": {}}), "name: a section is not a text: write one value"),
        (json!({"seeds": 42}), "seeds: 42 is not a list: write [42]"),
        (json!({"seeds": "1, 2"}), "seeds: `1, 2` is not a list: write [1, 2]"),
        (json!({"seeds": [1, "x"]}), "seeds[1]: `x` is not a number"),
        (json!({"pair": [1, 2, 3]}), "pair: a list of 3: write 2 values"),
        (json!({"workers": 0}), "workers: 0 is too small: at least 1"),
        (json!({"on": "stat"}), "on: `stat` is unknown (did you mean `state`?): write state or edit"),
        (json!({"on": {"state": 1}}), "on: `state` has no settings: write the word alone"),
        (json!({"on": {"state": null, "edit": null}}), "on: `state` and `edit` cannot both be chosen"),
        (json!({"on": null}), "on: has no value: write state or edit"),
        (
            json!({"inner": {"inner": {"rwos": 1}}}),
            "unknown key `inner.inner.rwos` (did you mean `rows`?): there is rows,",
        ),
        (json!({"inner": 5}), "inner: 5 is not a section: write rows, rate, shuffle"),
        (json!({"inner.rows": 1}), "unknown key `inner.rows`: keys have no dots in a file: write `inner: {rows: ...}`"),
        (json!([]), "a list is not a section"),
    ];
    for (tree, expected) in cases {
        let error = settings(tree.clone()).expect_err(expected);
        assert!(error.starts_with(expected), "{tree}: `{expected}` is not at the start of: {error}");
    }
}

#[test]
fn json_is_refused_with_line_and_column() {
    let error = |text| read_json::<TestSettings>(text).expect_err(text).to_string();
    assert_eq!(error("{\"rows\": 1,\n \"rate\" 2}"), "line 2, column 9: not valid JSON");
    assert_eq!(error("{\"rows\": 1"), "line 1, column 10: the text ends too early");
}

#[test]
fn alternatives_come_from_the_types() {
    assert_eq!(variants_of::<DropoutOn>(), ["state", "edit"]);
    assert!(variants_of::<Phi>().contains(&"red") && variants_of::<AdaptSpec>().contains(&"bitfit"));
    assert!(variants_of::<TestSettings>().is_empty() && variants_of::<u64>().is_empty());
}
