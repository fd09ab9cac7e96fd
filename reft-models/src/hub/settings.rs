//! What the environment says about caches and the network: the variables of Hugging Face's own library, in its order.

use std::path::{Path, PathBuf};

/// Where models may come from.
pub(super) struct HubSettings {
    /// What this project keeps on a machine.
    pub own: PathBuf,
    /// The cache of the hub's files that other programs use too.
    pub hub: PathBuf,
    home: PathBuf,
    pub endpoint: Option<String>,
    pub token: Option<String>,
    pub offline: bool,
}

/// The folder for what this project keeps on a machine: `REFT_CACHE`, else the user's cache.
pub fn cache_dir() -> PathBuf {
    HubSettings::from_environment().own
}

impl HubSettings {
    pub fn from_environment() -> Self {
        Self::read(|name| std::env::var(name).ok())
    }

    /// From these variables. An empty one says nothing.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let said = |name: &str| variable(name).filter(|value| !value.is_empty());
        let home = PathBuf::from(said("HOME").unwrap_or_default());
        let folder = |name: &str| said(name).map(|folder| below_home(&folder, &home));
        let caches = folder("XDG_CACHE_HOME").unwrap_or_else(|| home.join(".cache"));
        let hugging_face = folder("HF_HOME").unwrap_or_else(|| caches.join("huggingface"));
        let hub = folder("HF_HUB_CACHE").or_else(|| folder("HUGGINGFACE_HUB_CACHE"));
        let token_file = folder("HF_TOKEN_PATH").unwrap_or_else(|| hugging_face.join("token"));
        let stored = || std::fs::read_to_string(token_file).ok();
        let token = said("HF_TOKEN").or_else(|| said("HUGGING_FACE_HUB_TOKEN")).or_else(stored);
        Self {
            own: folder("REFT_CACHE").unwrap_or_else(|| caches.join("reft")),
            hub: hub.unwrap_or_else(|| hugging_face.join("hub")),
            endpoint: said("HF_ENDPOINT").map(|url| url.trim_end_matches('/').to_owned()),
            token: token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty()),
            offline: said("HF_HUB_OFFLINE")
                .or_else(|| said("TRANSFORMERS_OFFLINE"))
                .is_some_and(|value| is_true(&value)),
            home,
        }
    }

    /// A path in which `~` stands for the user's folder.
    pub fn expand(&self, path: &str) -> PathBuf {
        below_home(path, &self.home)
    }
}

fn below_home(path: &str, home: &Path) -> PathBuf {
    match path.strip_prefix('~') {
        Some("") => home.to_owned(),
        Some(rest) if rest.starts_with('/') => home.join(rest.trim_start_matches('/')),
        Some(_) | None => PathBuf::from(path),
    }
}

/// Whether a switch of the Hugging Face libraries, such as `HF_HUB_OFFLINE`, is on; everything else is off.
pub fn is_true(value: &str) -> bool {
    ["1", "ON", "YES", "TRUE"].contains(&value.to_uppercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> HubSettings {
        let value =
            |name: &str| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned());
        HubSettings::read(value)
    }

    #[test]
    fn the_cache_is_found_in_hugging_faces_order() {
        let all = [
            ("HF_HUB_CACHE", "/first", "/first"),
            ("HUGGINGFACE_HUB_CACHE", "~/second", "/home/me/second"),
            ("HF_HOME", "/third", "/third/hub"),
            ("XDG_CACHE_HOME", "/fourth", "/fourth/huggingface/hub"),
            ("HOME", "/home/me", "/home/me/.cache/huggingface/hub"),
        ];
        for from in 0..all.len() {
            let mut variables: Vec<(&str, &str)> = all[from..].iter().map(|&(name, value, _)| (name, value)).collect();
            variables.extend(all[..from].iter().map(|&(name, ..)| (name, "")));
            assert_eq!(settings(&variables).hub, Path::new(all[from].2), "{variables:?}");
        }
        assert_eq!(settings(&[("HOME", "/home/me"), ("REFT_CACHE", "~/reft")]).own, Path::new("/home/me/reft"));
    }

    #[test]
    fn offline_is_said_in_four_words() {
        for (value, expected) in [
            ("1", true),
            ("on", true),
            ("Yes", true),
            ("TRUE", true),
            ("true", true),
            ("", false),
            ("0", false),
            ("False", false),
            ("no", false),
            ("off", false),
            ("2", false),
        ] {
            assert_eq!(settings(&[("HF_HUB_OFFLINE", value)]).offline, expected, "{value}");
        }
        assert!(settings(&[("HF_HUB_OFFLINE", ""), ("TRANSFORMERS_OFFLINE", "1")]).offline);
        assert!(!settings(&[("HF_HUB_OFFLINE", "0"), ("TRANSFORMERS_OFFLINE", "1")]).offline);
    }

    #[test]
    fn the_users_folder_may_be_written_short() {
        let settings = settings(&[("HOME", "/home/me")]);
        for (path, expected) in
            [("~", "/home/me"), ("~/models/x", "/home/me/models/x"), ("~x/y", "~x/y"), ("a/~", "a/~")]
        {
            assert_eq!(settings.expand(path), Path::new(expected), "{path}");
        }
    }
}
