//! Reading configurations: YAML files with `extends`, then `--set` overrides, then types.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::plan::RunPlan;
use super::{keys, parity};

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: {source}: check the path")]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// Not YAML.
    #[error("{path}: not valid YAML: {reason}")]
    Yaml {
        /// The file.
        path: PathBuf,
        /// The parser's words.
        reason: String,
    },
    /// A file extends itself, directly or not.
    #[error("{path}: `extends` comes back to this file: remove one of the links")]
    Cycle {
        /// The file.
        path: PathBuf,
    },
    /// A key that does not exist.
    #[error("{place}: unknown key `{key}`{suggestion}")]
    Unknown {
        /// File and line, or `--set`.
        place: String,
        /// The key's full path.
        key: String,
        /// The nearest key, and all of them.
        suggestion: String,
    },
    /// An override without `=`.
    #[error("--set {0}: write key=value, such as train.lr=1e-3")]
    Override(String),
    /// A value that does not fit its key.
    #[error("{place}: {key}: {reason}")]
    Value {
        /// The file.
        place: String,
        /// The key's full path.
        key: String,
        /// What is wrong.
        reason: String,
    },
}

/// The run that a file and overrides describe. Without a file, the defaults.
///
/// # Errors
/// When the file, a key or a value is wrong.
pub fn run_plan(file: Option<&Path>, overrides: &[String]) -> Result<RunPlan, ConfigError> {
    let mut tree = Value::Object(Map::new());
    if let Some(file) = file {
        tree = with_parents(file, &mut Vec::new())?;
    }
    for text in overrides {
        merge(&mut tree, parse_override(text, &keys::all())?);
    }
    let place = file.map_or("--set".to_owned(), |file| file.display().to_string());
    resolve(tree, &place)
}

/// A run from a tree of settings; what it leaves out has its default. `place` is named in errors.
///
/// # Errors
/// When a value is wrong.
pub fn resolve(tree: Value, place: &str) -> Result<RunPlan, ConfigError> {
    let mut whole = serde_json::to_value(RunPlan::default()).expect("plain data");
    merge(&mut whole, tree);
    parity::fill(&mut whole);
    let plan: RunPlan = typed(whole, place)?;
    let out_of_range = |(key, reason): (String, String)| ConfigError::Value { place: place.to_owned(), key, reason };
    plan.check().map_err(out_of_range)?;
    Ok(plan)
}

/// A typed value from a tree, with the path of whatever does not fit.
///
/// # Errors
/// When a value does not fit.
pub fn typed<T: DeserializeOwned>(tree: Value, place: &str) -> Result<T, ConfigError> {
    serde_path_to_error::deserialize(tree).map_err(|error| ConfigError::Value {
        place: place.to_owned(),
        key: error.path().to_string(),
        reason: error.into_inner().to_string(),
    })
}

/// A YAML file as a tree.
///
/// # Errors
/// When it cannot be read or parsed.
pub fn yaml(path: &Path) -> Result<Value, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Io { path: path.to_owned(), source })?;
    let parsed: Result<Option<Value>, _> = serde_saphyr::from_str(&text);
    let reason = |error: serde_saphyr::Error| {
        let place =
            error.location().map_or(String::new(), |at| format!("line {}, column {}: ", at.line(), at.column()));
        let first = error.to_string();
        format!("{place}{}", first.lines().next().unwrap_or_default())
    };
    let tree = parsed.map_err(|error| ConfigError::Yaml { path: path.to_owned(), reason: reason(error) })?;
    Ok(tree.unwrap_or_else(|| Value::Object(Map::new())))
}

/// A file merged over the one it extends.
fn with_parents(path: &Path, seen: &mut Vec<PathBuf>) -> Result<Value, ConfigError> {
    let canonical = path.canonicalize().map_err(|source| ConfigError::Io { path: path.to_owned(), source })?;
    if seen.contains(&canonical) {
        return Err(ConfigError::Cycle { path: path.to_owned() });
    }
    seen.push(canonical);
    let mut tree = yaml(path)?;
    let parent = tree.as_object_mut().and_then(|map| map.remove("extends"));
    if let Some((key, suggestion)) = keys::unknown(&tree, &keys::all(), "") {
        return Err(ConfigError::Unknown { place: place_of(path, &key), key, suggestion });
    }
    match parent.as_ref().and_then(Value::as_str) {
        None => Ok(tree),
        Some(parent) => {
            let mut base = with_parents(&path.parent().unwrap_or(Path::new(".")).join(parent), seen)?;
            merge(&mut base, tree);
            Ok(base)
        }
    }
}

/// File and line of a key; the file alone where the key's last part occurs more than once.
pub(crate) fn place_of(path: &Path, key: &str) -> String {
    let name = format!("{}:", key.rsplit('.').next().unwrap_or(key));
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let mut lines = (1..).zip(text.lines()).filter(|(_, line)| line.trim_start().starts_with(&name));
    match (lines.next(), lines.next()) {
        (Some((number, _)), None) => format!("{}:{number}", path.display()),
        _ => path.display().to_string(),
    }
}

/// `train.lr=1e-3` as a tree with keys that are known. Values are read as YAML.
///
/// # Errors
/// When it is no such setting, or its key is not known.
pub fn parse_override(text: &str, known: &Value) -> Result<Value, ConfigError> {
    let (path, value) = text.split_once('=').ok_or_else(|| ConfigError::Override(text.to_owned()))?;
    let value: Value = serde_saphyr::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
    let tree = nest(path, value);
    match keys::unknown(&tree, known, "") {
        Some((key, suggestion)) => Err(ConfigError::Unknown { place: format!("--set {text}"), key, suggestion }),
        None => Ok(tree),
    }
}

/// A value under a key such as `train.lr`, as a tree.
pub fn nest(path: &str, value: Value) -> Value {
    let inside = |value, key: &str| Value::Object(Map::from_iter([(key.to_owned(), value)]));
    path.trim().rsplit('.').fold(value, inside)
}

/// Settings of `over` replace those of `base`, key by key. What names a variant (`adapt`, `eval_split`) is replaced whole
/// when the variant differs.
pub fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            let variant = |map: &Map<String, Value>| (map.len() == 1).then(|| map.keys().next().cloned()).flatten();
            let variants = ["reft", "refts", "full", "bitfit", "test", "low_rank"];
            let is_variant = |name: &Option<String>| name.as_deref().is_some_and(|name| variants.contains(&name));
            if is_variant(&variant(&over)) && variant(base) != variant(&over) {
                *base = over;
                return;
            }
            for (key, value) in over {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn mistakes_are_named_with_file_line_key_and_remedy() {
        let unknown = error("train:\n  epochs: 2\n  lrr: 1\n", &[]);
        assert!(unknown.starts_with("a.yaml:3: unknown key `train.lrr` (did you mean `lr`?)"), "{unknown}");
        let set = error("", &["train.lrr=1"]);
        assert!(set.starts_with("--set train.lrr=1: unknown key `train.lrr` (did you mean `lr`?)"), "{set}");
        let kind = error("train: {lr: fast}\n", &[]);
        assert!(kind.starts_with("a.yaml: train.lr: invalid type: string \"fast\""), "{kind}");
        let range = error("train: {lr: -1}\n", &[]);
        assert_eq!(range, "a.yaml: train.lr: -1 is not a learning rate: above 0");
        let positions = error("adapt: {reft: {intervention: loreft, rank: 1, positions: f0}}\n", &[]);
        assert!(positions.contains("adapt.reft.positions: positions `f0` is not understood"), "{positions}");
        let method = error("adapt: {reft: {intervention: lorefr, rank: 1, positions: f1}}\n", &[]);
        assert!(method.contains("intervention `lorefr` is unknown: choose one of loreft"), "{method}");
        let yaml = error("train: {lr: 1\n", &[]);
        assert!(yaml.starts_with("a.yaml: not valid YAML: line "), "{yaml}");
        let cycle = error("extends: a.yaml\n", &[]);
        assert!(cycle.contains("`extends` comes back to this file"), "{cycle}");
    }
}
