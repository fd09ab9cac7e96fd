//! Reading configurations: YAML files with `extends`, then `--set` overrides, then types.

use std::path::{Path, PathBuf};

use reft_core::value_reader;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::dtype::{AUTO, DtypeChoice};
use super::merge::merge;
use super::places::Places;
use super::plan::{DeviceSpec, RunPlan};
pub use super::ConfigError;
use super::{parity, paths, yaml};

/// Settings with the place of each.
#[derive(Clone, PartialEq, Debug)]
pub struct Written {
    /// The settings; a section always.
    pub tree: Value,
    /// Where they were written.
    pub places: Places,
}

impl Written {
    /// No settings; `place` is named in errors.
    pub fn nothing(place: &str) -> Self {
        Self { tree: Value::Object(Map::new()), places: place.into() }
    }

    /// A setting of the whole, taken out.
    ///
    /// # Errors
    /// When the value does not fit.
    pub fn take<T: DeserializeOwned>(&mut self, key: &str) -> Result<Option<T>, ConfigError> {
        let value = self.tree.as_object_mut().and_then(|map| map.shift_remove(key)).unwrap_or_default();
        typed_at(Value::Object(Map::from_iter([(key.to_owned(), value)])), &self.places).map(|only: One<T>| only.0)
    }

    /// Puts a `--set` override over the settings.
    ///
    /// # Errors
    /// When it has no `=`, or its value cannot be read.
    pub fn set(&mut self, text: &str) -> Result<(), ConfigError> {
        let (key, value) = parse_override(text)?;
        self.places.note(&key, &format!("--set {text}"));
        merge(&mut self.tree, nest(&key, value));
        Ok(())
    }
}

/// The only entry of a section.
struct One<T>(Option<T>);

impl<'de, T: DeserializeOwned> serde::Deserialize<'de> for One<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let map: std::collections::HashMap<String, Option<T>> = serde::Deserialize::deserialize(deserializer)?;
        Ok(Self(map.into_values().next().flatten()))
    }
}

/// The run that a file and overrides describe. Without a file, the defaults.
///
/// # Errors
/// When the file, a key or a value is wrong.
pub fn run_plan(file: Option<&Path>, overrides: &[String]) -> Result<RunPlan, ConfigError> {
    let written = run_tree(file, overrides)?;
    resolve_at(written.tree, &written.places)
}

/// The same as those settings that are written there.
///
/// # Errors
/// When the file or an override cannot be read.
pub fn run_tree(file: Option<&Path>, overrides: &[String]) -> Result<Written, ConfigError> {
    let mut written = match file {
        Some(file) => with_parents(file, &mut Vec::new())?,
        None => Written::nothing("--set"),
    };
    overrides.iter().try_for_each(|text| written.set(text))?;
    Ok(written)
}

/// Every setting with its default, as a configuration has them.
pub fn defaults() -> Value {
    let mut tree = serde_json::to_value(RunPlan::default()).expect("plain data");
    tree["dtype"] = AUTO.into();
    tree
}

/// A run from a tree of settings; what it leaves out has its default, and `dtype: auto` becomes the type that it is on this
/// machine. `place` is named in errors.
///
/// # Errors
/// When a value is wrong.
pub fn resolve(tree: Value, place: &str) -> Result<RunPlan, ConfigError> {
    resolve_at(tree, &place.into())
}

/// The same, with the place of every key.
///
/// # Errors
/// When a value is wrong.
pub fn resolve_at(tree: Value, places: &Places) -> Result<RunPlan, ConfigError> {
    let mut whole = defaults();
    merge(&mut whole, tree);
    fix_dtype(&mut whole, places)?;
    parity::fill(&mut whole);
    let mut plan: RunPlan = typed_at(whole, places)?;
    plan.model = paths::setting(&plan.model).map_err(|reason| ConfigError::value(places, "model", reason))?;
    plan.check().map_err(|(key, reason)| ConfigError::value(places, &key, reason))?;
    Ok(plan)
}

/// What a run's settings say of `dtype`.
///
/// # Errors
/// When it is no type.
pub fn dtype_of(run: &Value, places: &Places) -> Result<DtypeChoice, ConfigError> {
    DtypeChoice::of(run.get("dtype")).map_err(|reason| ConfigError::value(places, "dtype", reason))
}

/// Replaces `dtype: auto`, or a `dtype` that is left out, by the type that it is on this machine.
///
/// # Errors
/// When `dtype` is no type. A device that is none is left to whoever reads the settings.
pub fn fix_dtype(run: &mut Value, places: &Places) -> Result<(), ConfigError> {
    let choice = dtype_of(run, places)?;
    let Some(run) = run.as_object_mut() else { return Ok(()) };
    let device = run.get("device").cloned().unwrap_or_else(|| defaults()["device"].clone());
    if let Ok(device) = serde_json::from_value::<DeviceSpec>(device) {
        run.insert("dtype".to_owned(), choice.on(device).name().into());
    }
    Ok(())
}

/// A typed value from a tree, with the path of whatever does not fit.
///
/// # Errors
/// When a value does not fit.
pub fn typed<T: DeserializeOwned>(tree: Value, place: &str) -> Result<T, ConfigError> {
    typed_at(tree, &place.into())
}

/// The same, with the place of every key.
///
/// # Errors
/// When a value does not fit.
pub fn typed_at<T: DeserializeOwned>(tree: Value, places: &Places) -> Result<T, ConfigError> {
    value_reader::read(&tree).map_err(|error| ConfigError::of_read(error, places))
}

/// A YAML file as a tree.
///
/// # Errors
/// When it cannot be read or parsed.
pub fn yaml(path: &Path) -> Result<Value, ConfigError> {
    written(path).map(|written| written.tree)
}

/// A YAML file as a section of settings, with the line of each. Keys of the whole that begin with `x-` hold parts that aliases
/// repeat elsewhere, and are no settings.
///
/// # Errors
/// When it cannot be read or parsed, or is a list or a single value.
pub fn written(path: &Path) -> Result<Written, ConfigError> {
    let io = |source| ConfigError::Io { path: path.to_owned(), source };
    let bytes = std::fs::read(paths::home(path)).map_err(io)?;
    let text = String::from_utf8(bytes).map_err(|_| ConfigError::Encoding { path: path.to_owned() })?;
    let file = path.display().to_string();
    let document = yaml::parse(&text)
        .map_err(|error| ConfigError::Yaml { place: format!("{file}:{}", error.line), reason: error.reason })?;
    let places = Places::of_file(&file, &document.lines);
    match document.tree {
        Value::Null => Ok(Written { tree: Value::Object(Map::new()), places }),
        Value::Object(mut map) => {
            map.retain(|key, _| !key.starts_with("x-"));
            Ok(Written { tree: Value::Object(map), places })
        }
        Value::Array(_) | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            let reason = "no settings in this file: write `key: value` lines".to_owned();
            Err(ConfigError::Whole { place: file, reason })
        }
    }
}

/// A file merged over the one it extends.
fn with_parents(path: &Path, seen: &mut Vec<PathBuf>) -> Result<Written, ConfigError> {
    let canonical =
        paths::home(path).canonicalize().map_err(|source| ConfigError::Io { path: path.to_owned(), source })?;
    if seen.contains(&canonical) {
        return Err(ConfigError::Cycle { path: path.to_owned() });
    }
    seen.push(canonical);
    let mut own = written(path)?;
    let Some(parent) = own.take::<String>("extends")? else { return Ok(own) };
    let mut base = with_parents(&beside(path, "extends", &parent, &own.places)?, seen)?;
    merge(&mut base.tree, own.tree);
    base.places.overlay(own.places);
    Ok(base)
}

/// A file that another names by a path relative to itself.
///
/// # Errors
/// When a variable of the environment stands in the path.
pub fn beside(file: &Path, key: &str, named: &str, places: &Places) -> Result<PathBuf, ConfigError> {
    let named = paths::setting(named).map_err(|reason| ConfigError::value(places, key, reason))?;
    Ok(file.parent().unwrap_or(Path::new(".")).join(named))
}

/// Key and value of `train.lr=1e-3`. Values are read as YAML; what is none is text.
fn parse_override(text: &str) -> Result<(String, Value), ConfigError> {
    let (key, value) = text.split_once('=').ok_or_else(|| ConfigError::Override(text.to_owned()))?;
    let key = key.trim();
    if key.split('.').any(str::is_empty) {
        return Err(ConfigError::Override(text.to_owned()));
    }
    match yaml::parse(value) {
        Ok(document) => Ok((key.to_owned(), document.tree)),
        Err(error) if value.trim_start().starts_with(['[', '{']) => {
            Err(ConfigError::Yaml { place: format!("--set {text}"), reason: error.reason })
        }
        Err(_) => Ok((key.to_owned(), Value::String(value.to_owned()))),
    }
}

/// A value under a key such as `train.lr`, as a tree.
pub fn nest(path: &str, value: Value) -> Value {
    let inside = |value, key: &str| Value::Object(Map::from_iter([(key.to_owned(), value)]));
    path.trim().rsplit('.').fold(value, inside)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::plan::Dtype;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).expect("writable");
        }
        folder
    }

    fn error(text: &str, overrides: &[&str]) -> String {
        let folder = folder(&[("a.yaml", text)]);
        let overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
        let error = run_plan(Some(&folder.path().join("a.yaml")), &overrides).expect_err("wrong").to_string();
        error.replace(&format!("{}/", folder.path().display()), "")
    }

    #[test]
    fn a_file_extends_another_and_overrides_win() {
        let base = "model: smollm2\ntrain: {lr: 9e-4, epochs: 6}\nadapt:\n  reft: {intervention: loreft, rank: 8, positions: f7+l7}\n";
        let folder = folder(&[("base.yaml", base), ("a.yaml", "extends: base.yaml\ntrain:\n  epochs: 3\n")]);
        let set = ["train.lr=1e-3".to_owned(), "adapt.reft.rank=4".to_owned()];
        let plan = run_plan(Some(&folder.path().join("a.yaml")), &set).expect("valid");
        assert_eq!((plan.train.epochs, plan.train.lr), (3, 1e-3));
        let adapt = serde_json::to_value(plan.adapt).expect("plain data");
        assert_eq!((&adapt["reft"]["rank"], &adapt["reft"]["positions"]), (&4.into(), &"f7+l7".into()));
    }

    #[test]
    fn a_saved_plan_reads_back_as_itself() {
        let set = ["adapt={reft: {intervention: direft, rank: 2, positions: l1, layers: '0;3'}}".to_owned()];
        let plan = run_plan(None, &set).expect("valid");
        let tree = serde_json::to_value(&plan).expect("plain data");
        assert_eq!(resolve(tree, "a test").expect("valid"), plan);
    }

    /// Words of parsers and of this program's types, which no message may have.
    const OURS: [&str; 18] = [
        "enum",
        "struct",
        "variant",
        "untagged",
        "serde",
        "expected",
        "at line",
        "field",
        "tuple",
        "sequence",
        "map,",
        "EOF",
        "deserializ",
        "scalar",
        "anchor",
        "budget",
        "f64",
        "usize",
    ];

    const ADAPT: &str = "adapt: {reft: {intervention: loreft, rank: 1, positions: l1}}\n";

    #[test]
    fn a_type_left_to_the_machine_is_resolved_and_one_by_hand_is_kept() {
        let dtype = |set: &[&str]| {
            let set: Vec<String> = set.iter().map(|&text| text.to_owned()).collect();
            run_plan(None, &set).expect("valid").dtype
        };
        let here = DtypeChoice::Auto.on(RunPlan::default().device);
        assert_eq!([dtype(&[]), dtype(&["dtype=auto"])], [here; 2]);
        assert_eq!([dtype(&["dtype=f16"]), dtype(&["dtype=bf16"])], [Dtype::F16, Dtype::Bf16]);
    }

    #[test]
    fn mistakes_are_named_with_file_line_key_and_remedy() {
        let reft = |change: &str| {
            format!(
                "model: m\nadapt:\n  reft:\n    intervention: loreft\n    rank: 1\n    positions: l1\n    {change}\n"
            )
        };
        let cases: [(String, &str); 44] = [
            (
                "train:\n  epochs: 2\n  lrr: 1\n".into(),
                "a.yaml:3: unknown key `train.lrr` (did you mean `lr`?): there is epochs, lr,",
            ),
            ("train: {lr: fast}\n".into(), "a.yaml:1: train.lr: `fast` is not a number"),
            ("train: {lr: -1}\n".into(), "a.yaml:1: train.lr: -1 is not a learning rate: above 0"),
            ("train:\n  lr:\n".into(), "a.yaml:2: train.lr: has no value: write a number, or leave the key out"),
            ("train:\n  lr: [1e-3]\n".into(), "a.yaml:2: train.lr: a list is not a number"),
            ("train:\n  lr: .inf\n".into(), "a.yaml:2: train.lr: `.inf` is not a number"),
            ("train:\n  lr: 1e400\n".into(), "a.yaml:2: train.lr: 1e400 is too large"),
            ("train:\n  epochs: 1.5\n".into(), "a.yaml:2: train.epochs: 1.5 is not a whole number: write 1 or 2"),
            ("train:\n  epochs: -1\n".into(), "a.yaml:2: train.epochs: -1 is too small: at least 0"),
            ("train:\n  epochs: 0\n".into(), "a.yaml:2: train.epochs: 0 is too few: at least 1"),
            ("train:\n  batch_size: 010\n".into(), "a.yaml:2: train.batch_size: `010` may be read as octal: write 10"),
            (
                "train:\n  batch_size: 1e30\n".into(),
                "a.yaml:2: train.batch_size: 1000000000000000000000000000000 is too large",
            ),
            (
                "train:\n  frozen_cache: maybe\n".into(),
                "a.yaml:2: train.frozen_cache: `maybe` is no switch: write true or false",
            ),
            ("train: 5\n".into(), "a.yaml:1: train: 5 is not a section: write epochs, lr,"),
            ("train: [1]\n".into(), "a.yaml:1: train: a list is not a section"),
            (
                "train.lr: 1e-3\n".into(),
                "a.yaml:1: unknown key `train.lr`: keys have no dots in a file: write `train: {lr: ...}`",
            ),
            ("seed: 7\ndata: {train: arc_e}\n".into(), "a.yaml:2: data.train: `arc_e` is not a list: write [arc_e]"),
            (
                "data:\n  train:\n    - arc_e\n    - obqq\n".into(),
                "a.yaml:4: data.train[1]: task `obqq` is unknown (did you mean `obqa`?)",
            ),
            ("data:\n  eval_split: trian\n".into(), "a.yaml:2: data.eval_split: `trian` is unknown: write dev or test"),
            ("data:\n  eval_split: test\n".into(), "a.yaml:2: data.eval_split.test.chosen_by: is missing"),
            (
                "data:\n  eval_split: {dev: {}, test: {}}\n".into(),
                "a.yaml:2: data.eval_split: `dev` and `test` cannot both be chosen",
            ),
            (
                "data: {template: chta}\n".into(),
                "a.yaml:1: data.template: `chta` is unknown (did you mean `chat`?): write task or chat",
            ),
            ("dtype: float32\n".into(), "a.yaml:1: dtype: `float32` is unknown: write one of "),
            ("device: gpu\n".into(), "a.yaml:1: device: device `gpu` is unknown: write cpu, cuda or cuda:1"),
            ("model:\n".into(), "a.yaml:1: model: has no value: write a text"),
            ("model: 1.5\n".into(), "a.yaml:1: model: 1.5 is a number: put it in quotes"),
            ("model: ${MODEL}\n".into(), "a.yaml:1: model: `${MODEL}`: variables of the environment are not replaced"),
            (
                "adapt: {lora: {rank: 1}}\n".into(),
                "a.yaml:1: adapt: `lora` is unknown: write one of reft, refts, full, bitfit",
            ),
            (
                "adapt: {full: {rank: 1}}\n".into(),
                "a.yaml:1: unknown key `adapt.full.rank`: there are no settings here",
            ),
            ("adapt: {full: {}, bitfit: {}}\n".into(), "a.yaml:1: adapt: `full` and `bitfit` cannot both be chosen"),
            ("adapt:\n  reft:\n    rank: 1\n".into(), "a.yaml:2: adapt.reft.intervention: is missing"),
            ("adapt: {refts: {rank: 1}}\n".into(), "a.yaml:1: adapt.refts: a section is not a list"),
            (
                reft("layers: first"),
                "a.yaml:7: adapt.reft.layers: layers `first` is not understood: write `all`, a list such as [0, 2, -1]",
            ),
            (reft("layers: [0, 0]"), "a.yaml:7: adapt.reft.layers: layer 0 is listed twice"),
            (reft("layers: [0.5]"), "a.yaml:7: adapt.reft.layers[0]: 0.5 is not a whole number"),
            (reft("layers: {from: 1}"), "a.yaml:7: adapt.reft.layers: layers `{...}` is not understood"),
            (reft("dropout: 0.1"), "a.yaml:7: adapt.reft.dropout: 0.1 is not a section: write p, on below it"),
            (
                reft("tying: yes"),
                "a.yaml:7: adapt.reft.tying: `yes` is unknown: write one of tied, untied, per_position",
            ),
            (
                reft("component: blok_output"),
                "a.yaml:7: adapt.reft.component: `blok_output` is unknown (did you mean `block_output`?)",
            ),
            (
                ADAPT.replace("rank: 1", "rank: 2.5"),
                "a.yaml:1: adapt.reft.rank: 2.5 is not a whole number: write 2 or 3",
            ),
            (ADAPT.replace("l1", "f0"), "a.yaml:1: adapt.reft.positions: positions `f0` is not understood"),
            (
                ADAPT.replace("loreft", "lorefr"),
                "a.yaml:1: adapt.reft.intervention: intervention `lorefr` is unknown: choose one of loreft",
            ),
            ("- 1\n".into(), "a.yaml: no settings in this file: write `key: value` lines"),
            ("extends: a.yaml\n".into(), "a.yaml: `extends` comes back to this file"),
        ];
        for (text, expected) in &cases {
            let said = error(text, &[]);
            assert!(said.starts_with(expected), "`{expected}` is not at the start of: {said}");
            let ours = OURS.iter().find(|word| said.contains(*word));
            assert!(ours.is_none() && said.lines().count() == 1, "{ours:?} in: {said}");
        }
    }

    #[test]
    fn mistakes_in_overrides_are_named_with_the_override() {
        let cases = [
            ("train.lrr=1", "--set train.lrr=1: unknown key `train.lrr` (did you mean `lr`?)"),
            ("train.lr=fast", "--set train.lr=fast: train.lr: `fast` is not a number"),
            ("train.lr", "--set train.lr: write key=value, such as train.lr=1e-3"),
            ("train..lr=1", "--set train..lr=1: write key=value"),
            ("data.eval=[arc_e", "--set data.eval=[arc_e: column "),
            ("train={lr: -1}", "--set train={lr: -1}: train.lr: -1 is not a learning rate"),
        ];
        for (set, expected) in cases {
            let said = error("train: {lr: 1}\n", &[set]);
            assert!(said.starts_with(expected), "`{expected}` is not at the start of: {said}");
            assert!(!OURS.iter().any(|word| said.contains(word)), "{said}");
        }
    }

    #[test]
    fn idioms_of_other_files_mean_the_same() {
        let plain = "train: {epochs: 3, batch_size: 4, lr: 1e-3}\neval: {max_new_tokens: 2}\n";
        let plan = |text: &str| {
            let folder = folder(&[("a.yaml", text)]);
            run_plan(Some(&folder.path().join("a.yaml")), &[]).unwrap_or_else(|error| panic!("{text}: {error}"))
        };
        let expected = plan(plain);
        let same = [
            plain.replace("1e-3", "1E-3"),
            plain.replace("1e-3", "\"1e-3\""),
            plain.replace("1e-3", ".001"),
            plain.replace("epochs: 3", "epochs: 3.0"),
            plain.replace("epochs: 3", "epochs: '3'"),
            plain.replace("lr: 1e-3", "lr: 1e-3, frozen_cache: Yes"),
            plain.replace("lr: 1e-3", "lr: 1e-3, frozen_memory_mib: 4_096"),
            plain.replace('\n', "\r\n"),
            format!("\u{feff}{plain}"),
            format!("---\n{plain}...\n"),
            format!("{plain}data:\nadapt:\n"),
            plain.replace("eval: {max_new_tokens: 2}", "eval:\n  max_new_tokens: 2\n  decoding:\n"),
            plain.replace("{epochs: 3, batch_size: 4, lr: 1e-3}", "\n  <<: {epochs: 3, batch_size: 4}\n  lr: 1e-3"),
            "x-common: &common {epochs: 3, batch_size: 4}\ntrain:\n  <<: *common\n  lr: 1e-3\neval: {max_new_tokens: 2}\n".to_owned(),
        ];
        for text in &same {
            assert_eq!(plan(text), expected, "{text}");
        }
        let full = plan(&format!("{plain}adapt: full\n"));
        assert_eq!(full, plan(&format!("{plain}adapt: {{full: {{}}}}\n")));
        let reft =
            |layers: &str| plan(&format!("{plain}{}", ADAPT.replace("l1", &format!("l1, layers: {layers}")))).adapt;
        assert_eq!(reft("\"0;-1\""), reft("[-1, 0]"));
        assert_eq!(reft("-1"), reft("[-1.0]"));
    }

    #[test]
    fn a_mistake_is_looked_for_in_the_file_that_has_it() {
        let child = "extends: base.yaml\ntrain:\n  lr: 1\n";
        let said = |base: &str, child: &str| {
            let folder = folder(&[("base.yaml", base), ("a.yaml", child)]);
            let error = run_plan(Some(&folder.path().join("a.yaml")), &[]).expect_err("wrong").to_string();
            error.replace(&format!("{}/", folder.path().display()), "")
        };
        assert!(said("train:\n  epochs: no\n", child).starts_with("base.yaml:2: train.epochs: `no` is not a number"));
        assert!(
            said("train: {epochs: 1}\n", &child.replace("lr", "rl")).starts_with("a.yaml:3: unknown key `train.rl`")
        );
        assert!(said("a: [\n", child).starts_with("base.yaml:"));
        assert!(said("", "extends: [a]\n").starts_with("a.yaml:1: extends: a list is not a text"));
        assert!(said("", "extends: $DIR/b.yaml\n").starts_with("a.yaml:1: extends: `$DIR/b.yaml`: variables"));
        assert!(said("", "extends: other.yaml\n").starts_with("other.yaml: No such file"));
    }

    #[test]
    fn another_encoding_is_said_to_be_one() {
        let folder = folder(&[]);
        let path = folder.path().join("a.yaml");
        let utf16: Vec<u8> = "train: {}\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        std::fs::write(&path, [&[0xff, 0xfe][..], &utf16].concat()).expect("writable");
        let said = run_plan(Some(&path), &[]).expect_err("not UTF-8").to_string();
        assert!(said.ends_with("a.yaml: not UTF-8: save it as UTF-8"), "{said}");
    }

    #[test]
    fn an_intervention_of_a_child_replaces_that_of_its_base_whatever_they_are() {
        let base = "adapt: {reft: {intervention: {low_rank: {basis: free, source: linear, difference: true}}, rank: 1, positions: l1}}\n";
        for intervention in ["{red: {}}", "loreft", "{low_rank: {basis: orthonormal}}"] {
            let child = format!("extends: base.yaml\nadapt: {{reft: {{intervention: {intervention}}}}}\n");
            let folder = folder(&[("base.yaml", base), ("a.yaml", &child)]);
            let plan = run_plan(Some(&folder.path().join("a.yaml")), &[]).unwrap_or_else(|error| panic!("{error}"));
            let written = super::yaml::parse(intervention).expect("valid").tree;
            let adapt = serde_json::to_value(plan.adapt).expect("plain data");
            let read = &adapt["reft"]["intervention"];
            let kept = written.as_object().is_none_or(|written| written.keys().all(|key| read.get(key).is_some()));
            assert!(kept && read.as_object().is_none_or(|read| read.len() == 1), "{intervention}: {read}");
        }
    }
}
