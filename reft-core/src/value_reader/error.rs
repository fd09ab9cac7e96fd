//! What is wrong with a value, and where it stands.

use std::fmt;

use serde::de::{Error, Expected, Unexpected};

use crate::suggest::did_you_mean;

/// A value that does not fit its key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ValueError {
    /// Keys and places in lists from the innermost outwards.
    steps: Vec<PathStep>,
    /// What is wrong and what to write.
    pub reason: String,
    /// Whether the key itself is one that does not exist.
    pub unknown_key: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum PathStep {
    Key(String),
    Item(usize),
}

impl ValueError {
    pub(super) fn new(reason: String) -> Self {
        Self { steps: Vec::new(), reason, unknown_key: false }
    }

    pub(super) fn under(mut self, key: &str) -> Self {
        self.steps.push(PathStep::Key(key.to_owned()));
        self
    }

    pub(super) fn at(mut self, item: usize) -> Self {
        self.steps.push(PathStep::Item(item));
        self
    }

    /// The full key, such as `adapt.refts[1].rank`; empty for the whole tree.
    pub fn key(&self) -> String {
        self.steps.iter().rev().fold(String::new(), |key, step| match step {
            PathStep::Key(name) if key.is_empty() => name.clone(),
            PathStep::Key(name) => format!("{key}.{name}"),
            PathStep::Item(item) => format!("{key}[{item}]"),
        })
    }
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.key(), self.unknown_key) {
            (key, _) if key.is_empty() => f.write_str(&self.reason),
            (key, true) => write!(f, "unknown key `{key}`{}", self.reason),
            (key, false) => write!(f, "{key}: {}", self.reason),
        }
    }
}

impl std::error::Error for ValueError {}

/// Called by types; what they expect is in Rust's words and is left out.
impl Error for ValueError {
    fn custom<T: fmt::Display>(reason: T) -> Self {
        Self::new(reason.to_string())
    }

    fn invalid_type(given: Unexpected<'_>, _: &dyn Expected) -> Self {
        Self::new(format!("{} does not fit here: see the key's description", shown(given)))
    }

    fn invalid_value(given: Unexpected<'_>, _: &dyn Expected) -> Self {
        match given {
            Unexpected::Unsigned(0) | Unexpected::Signed(0) => Self::new("0 is too small: at least 1".to_owned()),
            given => Self::new(format!("{} is not possible here", shown(given))),
        }
    }

    fn invalid_length(length: usize, _: &dyn Expected) -> Self {
        Self::new(format!("a list of {length} has the wrong length"))
    }

    fn unknown_variant(given: &str, known: &'static [&'static str]) -> Self {
        let near = did_you_mean(given, known.iter().copied());
        Self::new(format!("`{given}` is unknown{near}: write {}", one_of(known)))
    }

    fn unknown_field(given: &str, known: &'static [&'static str]) -> Self {
        let near = did_you_mean(given, known.iter().copied());
        let reason = match given.split_once('.') {
            Some((section, rest)) if known.contains(&section) => {
                format!(": keys have no dots in a file: write `{section}: {{{rest}: ...}}`")
            }
            _ if known.is_empty() => ": there are no settings here, remove it".to_owned(),
            _ => format!("{near}: there is {}", known.join(", ")),
        };
        Self { unknown_key: true, ..Self::new(reason) }.under(given)
    }

    fn missing_field(key: &'static str) -> Self {
        Self::new("is missing: write a value for it".to_owned()).under(key)
    }
}

/// Alternatives in words: `a`, `a or b`, `one of a, b, c`.
pub(super) fn one_of(known: &[&str]) -> String {
    match known {
        [] => "nothing".to_owned(),
        [one] => (*one).to_owned(),
        [one, other] => format!("{one} or {other}"),
        more => format!("one of {}", more.join(", ")),
    }
}

fn shown(given: Unexpected<'_>) -> String {
    match given {
        Unexpected::Bool(value) => value.to_string(),
        Unexpected::Unsigned(value) => value.to_string(),
        Unexpected::Signed(value) => value.to_string(),
        Unexpected::Float(value) => value.to_string(),
        Unexpected::Str(text) => format!("`{text}`"),
        Unexpected::Unit | Unexpected::Option => "an empty value".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a section".to_owned(),
        _ => "this value".to_owned(),
    }
}
