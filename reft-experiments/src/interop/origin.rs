//! Where an adapter comes from: who trained it, on what, under which license. Kept as `origin.json` beside it.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::json;

/// The file's name.
pub const FILE: &str = "origin.json";

/// Where an adapter comes from.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct AdapterOrigin {
    /// The library that wrote it, with its version where the folder says it.
    pub library: String,
    /// The base model as the folder names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_model: Option<String>,
    /// Who trained it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trained_by: Option<String>,
    /// What it was trained on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<String>,
    /// Its license, by the hub's short names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// The repository of the hub and the commit that it was taken from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub: Option<String>,
    /// All fields of the folder's model card, as they stand there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub card: BTreeMap<String, Value>,
}

impl AdapterOrigin {
    /// The same with what a folder's model card says: license, data sets and authors.
    #[must_use]
    pub fn with_card(self, folder: &Path) -> Self {
        let card = card(folder);
        let texts = |key: &str| -> Vec<String> {
            match card.get(key) {
                Some(Value::String(text)) => vec![text.clone()],
                Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
                _ => Vec::new(),
            }
        };
        let first = |keys: &[&str]| keys.iter().map(|key| texts(key)).find(|found| !found.is_empty());
        let joined = |keys: &[&str]| first(keys).map(|found| found.join(", "));
        Self {
            trained_by: self.trained_by.or_else(|| joined(&["author", "authors"])),
            data: if self.data.is_empty() { first(&["datasets"]).unwrap_or_default() } else { self.data },
            license: self.license.or_else(|| joined(&["license"])),
            card,
            ..self
        }
    }

    /// The one beside an adapter's folder; none where there is none.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn beside(adapter: &Path) -> Result<Option<Self>> {
        let path = adapter.parent().unwrap_or(Path::new("")).join(FILE);
        if !path.exists() {
            return Ok(None);
        }
        let origin = reft_core::value_reader::read(&json(&path)?).with_context(|| path.display().to_string())?;
        Ok(Some(origin))
    }

    /// Writes it as a model card for other libraries, whose readers find the fields that [`AdapterOrigin::with_card`] finds.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn write_card(&self, folder: &Path) -> Result<()> {
        let mut front = self.card.clone();
        let texts = [("license", &self.license), ("author", &self.trained_by), ("base_model", &self.base_model)];
        for (key, value) in texts {
            front.extend(value.iter().map(|value| (key.to_owned(), value.clone().into())));
        }
        if !self.data.is_empty() {
            front.insert("datasets".to_owned(), self.data.clone().into());
        }
        let front = serde_saphyr::to_string(&front)?;
        let path = folder.join("README.md");
        let text = format!("---\n{}\n---\n\nMade with {}, written by reft-rs.\n", front.trim_end(), self.library);
        crate::atomic::write(&path, text.as_bytes()).with_context(|| path.display().to_string())
    }

    /// Writes it into a folder.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let path = folder.join(FILE);
        crate::atomic::write(&path, &serde_json::to_vec_pretty(self)?).with_context(|| path.display().to_string())
    }
}

/// The fields between the lines `---` of a model card; none where there is no card, or none that is YAML.
fn card(folder: &Path) -> BTreeMap<String, Value> {
    let Ok(text) = std::fs::read_to_string(folder.join("README.md")) else { return BTreeMap::new() };
    let front = text.strip_prefix("---\n").and_then(|rest| rest.split_once("\n---"));
    front.and_then(|(front, _)| serde_saphyr::from_str(front).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_tells_license_data_and_authors_in_either_form() {
        let folder = tempfile::tempdir().expect("a folder");
        let read = |card: &str| {
            std::fs::write(folder.path().join("README.md"), card).expect("writable");
            AdapterOrigin::default().with_card(folder.path())
        };
        let origin =
            read("---\nlicense: apache-2.0\nauthor: A. N. Other\ndatasets:\n- gsm8k\n- \"a: b\"\n---\n# A model\n");
        let expected = (Some("apache-2.0"), Some("A. N. Other"), vec!["gsm8k".to_owned(), "a: b".to_owned()]);
        let found = (origin.license.as_deref(), origin.trained_by.as_deref(), origin.data.clone());
        assert_eq!(found, expected);
        assert_eq!(read("---\ndatasets: gsm8k\n---\n").data, ["gsm8k"]);
        let written = AdapterOrigin { library: "peft 1".to_owned(), license: Some("mit".to_owned()), ..origin };
        written.write_card(folder.path()).expect("writable");
        let again = AdapterOrigin::default().with_card(folder.path());
        assert_eq!((again.license, again.data, again.trained_by), (written.license, written.data, written.trained_by));
        for none in ["", "# license: mit\n", "---\n[: no YAML\n---\n"] {
            assert_eq!(read(none), AdapterOrigin::default(), "{none}");
        }
    }

    #[test]
    fn an_origin_of_before_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join(FILE), r#"{"library": "peft", "card": {"license": "mit"}}"#)
            .expect("writable");
        let origin = AdapterOrigin::beside(&folder.path().join("adapter")).expect("readable").expect("there");
        assert_eq!((origin.library.as_str(), origin.license), ("peft", None));
        assert_eq!(AdapterOrigin::beside(folder.path()).expect("readable"), None);
    }
}
