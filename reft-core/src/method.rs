//! The names of methods: the paper's, and the reference library's as aliases.

use serde::{Deserialize, Serialize};

use crate::intervention::Phi;
use crate::interventions::low_rank::{CONSREFT, DIREFT, LOBIREFT, LOREFT, LowRank, NOREFT, ORTHO_DIREFT};
use crate::interventions::red::Red;

/// `intervention:` in a configuration: a name of the paper, or a `Φ` spelled out.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(into = "MethodText", try_from = "MethodText")]
pub enum Method {
    /// One of [`NAMED`].
    Named(&'static Name),
    /// A combination without a name, such as `{low_rank: {basis: free, source: constant, difference: true}}`.
    Spelled(Phi),
}

/// A method with a name.
#[derive(PartialEq, Debug)]
pub struct Name {
    /// The key in YAML.
    pub key: &'static str,
    /// As the paper's tables print it.
    pub title: &'static str,
    /// The reference library's class for the same mathematics; the title where it has none. Its `DireftIntervention` is
    /// *not* the paper's DiReFT.
    pub library: &'static str,
    /// What it computes.
    pub phi: Phi,
}

const fn name(key: &'static str, title: &'static str, library: &'static str, phi: LowRank) -> Name {
    Name { key, title, library, phi: Phi::LowRank(phi) }
}

/// Every named method.
pub static NAMED: [Name; 7] = [
    name("loreft", "LoReFT", "LoreftIntervention", LOREFT),
    name("direft", "DiReFT", "NodireftIntervention", DIREFT),
    name("ortho_direft", "OrthoDiReFT", "DireftIntervention", ORTHO_DIREFT),
    name("noreft", "NoReFT", "NoreftIntervention", NOREFT),
    name("consreft", "ConsReFT", "ConsreftIntervention", CONSREFT),
    name("lobireft", "LobiReFT", "LobireftIntervention", LOBIREFT),
    Name { key: "red", title: "RED", library: "RED", phi: Phi::Red(Red {}) },
];

/// A name that no method has.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "intervention `{given}` is unknown: choose one of {known}, or spell out low_rank: {{basis, source, difference}}"
)]
pub struct MethodError {
    given: String,
    known: String,
}

impl Method {
    /// A method by key, title or library class.
    ///
    /// # Errors
    /// When no method has that name.
    pub fn named(text: &str) -> Result<Self, MethodError> {
        let matches = |name: &&Name| name.key == text || name.title == text || name.library == text;
        NAMED.iter().find(matches).map(Self::Named).ok_or_else(|| MethodError {
            given: text.to_owned(),
            known: NAMED.iter().map(|name| name.key).collect::<Vec<_>>().join(", "),
        })
    }

    /// What it computes.
    pub fn phi(&self) -> &Phi {
        match self {
            Self::Named(name) => &name.phi,
            Self::Spelled(phi) => phi,
        }
    }

    /// A title for tables.
    pub fn title(&self) -> &'static str {
        match self {
            Self::Named(name) => name.title,
            Self::Spelled(_) => "custom",
        }
    }
}

/// The two spellings.
#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum MethodText {
    Name(String),
    Phi(Phi),
}

impl From<Method> for MethodText {
    fn from(method: Method) -> Self {
        match method {
            Method::Named(name) => Self::Name(name.key.to_owned()),
            Method::Spelled(phi) => Self::Phi(phi),
        }
    }
}

impl TryFrom<MethodText> for Method {
    type Error = MethodError;

    fn try_from(text: MethodText) -> Result<Self, MethodError> {
        match text {
            MethodText::Name(name) => Self::named(&name),
            MethodText::Phi(phi) => Ok(Self::Spelled(phi)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paper_names_and_library_names_mean_the_same() {
        for entry in &NAMED {
            assert_eq!(Method::named(entry.key), Method::named(entry.library));
            let yaml = serde_json::to_string(&Method::Named(entry)).expect("a string");
            assert_eq!(serde_json::from_str::<Method>(&yaml).expect("the same string"), Method::Named(entry));
        }
        assert!(Method::named("lorefr").is_err());
    }

    #[test]
    fn an_unnamed_combination_can_be_spelled_out() {
        let text = r#"{"low_rank": {"basis": "free", "source": "constant", "difference": true}}"#;
        let method: Method = serde_json::from_str(text).expect("a spelled-out method");
        assert_eq!(method.title(), "custom");
    }
}
