//! Where each setting was written: file and line, or the override that gave it.

use std::collections::BTreeMap;

/// The places of settings, by their full keys.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SettingLocations {
    whole: String,
    keys: BTreeMap<String, String>,
}

impl From<&str> for SettingLocations {
    fn from(whole: &str) -> Self {
        Self { whole: whole.to_owned(), keys: BTreeMap::new() }
    }
}

impl SettingLocations {
    /// Every key of a file, by its line.
    pub fn of_file(file: &str, lines: &BTreeMap<String, usize>) -> Self {
        let place = |(key, line): (&String, &usize)| (key.clone(), format!("{file}:{line}"));
        let keys = lines.iter().filter(|(key, _)| !key.is_empty()).map(place).collect();
        Self { whole: file.to_owned(), keys }
    }

    /// The place of a key: its own, or that of the section that it is missing in.
    pub fn of(&self, key: &str) -> String {
        self.keys.get(self.known(key)).unwrap_or(&self.whole).clone()
    }

    /// The longest part of a key whose place is known; empty if none is.
    pub fn known<'k>(&self, key: &'k str) -> &'k str {
        let mut part = key;
        while !self.keys.contains_key(part) {
            let Some(end) = part.rfind(['.', '[']) else { return "" };
            part = &part[..end];
        }
        part
    }

    /// Takes over the places of settings that win over these.
    pub fn overlay(&mut self, over: Self) {
        self.whole = over.whole;
        self.keys.extend(over.keys);
    }

    /// Notes that a setting, with all below it, was given here.
    pub fn note(&mut self, key: &str, place: &str) {
        let below =
            |other: &str| other.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
        self.keys.retain(|other, _| !below(other));
        self.keys.insert(key.to_owned(), place.to_owned());
        // Sections that only this override speaks of.
        for (end, _) in key.match_indices('.') {
            self.keys.entry(key[..end].to_owned()).or_insert_with(|| place.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_at_its_line_or_that_of_its_section_and_overrides_win() {
        let lines =
            [("", 1), ("train", 2), ("train.lr", 3), ("data.eval[0]", 5)].map(|(key, line)| (key.to_owned(), line));
        let mut places = SettingLocations::of_file("a.yaml", &lines.into());
        let keys = ["train.lr", "train.epochs", "data.eval[0].x", "model"];
        assert_eq!(keys.map(|key| places.of(key)), ["a.yaml:3", "a.yaml:2", "a.yaml:5", "a.yaml"]);
        places.note("train", "--set train={}");
        places.note("eval.decoding.beams", "--set eval.decoding.beams=2");
        assert_eq!(places.of("eval.decodin"), "--set eval.decoding.beams=2");
        assert_eq!(places.of("train.lr"), "--set train={}");
        let child = [("train.lr".to_owned(), 7)];
        places.overlay(SettingLocations::of_file("b.yaml", &child.into()));
        assert_eq!(["train.lr", "train", "seed"].map(|key| places.of(key)), ["b.yaml:7", "--set train={}", "b.yaml"]);
    }
}
