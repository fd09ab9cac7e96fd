//! Which methods of a profile a table is made of.

use std::str::FromStr;

use crate::suggest::did_you_mean;

/// A choice of methods.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Methods {
    /// All of them.
    #[default]
    All,
    /// Those that have a row unasked.
    Usual,
    /// These, by their names in the table in any case.
    Named(Vec<String>),
}

impl FromStr for Methods {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
        match names.as_slice() {
            [name] if name.eq_ignore_ascii_case("all") => Ok(Self::All),
            names if names.iter().any(String::is_empty) => {
                Err("an empty name: write all, or names of the table's file such as LoRA,DoRA".to_owned())
            }
            _ => Ok(Self::Named(names)),
        }
    }
}

impl Methods {
    /// Whether a method has a row.
    pub fn has(&self, name: &str, on_request: bool) -> bool {
        match self {
            Self::All => true,
            Self::Usual => !on_request,
            Self::Named(names) => names.iter().any(|given| same(given, name)),
        }
    }

    /// Refuses names that are no method's.
    ///
    /// # Errors
    /// The first such name, the nearest known one and all known ones.
    pub fn check<'a>(&self, known: impl Iterator<Item = &'a str>) -> Result<(), String> {
        let Self::Named(names) = self else { return Ok(()) };
        let mut known: Vec<&str> = known.collect();
        // A method may stand there once for each model.
        let mut seen = std::collections::BTreeSet::new();
        known.retain(|name| seen.insert(*name));
        match names.iter().find(|given| !known.iter().any(|name| same(given, name))) {
            None => Ok(()),
            Some(given) => {
                let near = did_you_mean(given, known.iter().copied());
                Err(format!("`{given}` is unknown{near}: there is {}", known.join(", ")))
            }
        }
    }

    /// As part of a file's name; none where it is what a table has unasked.
    pub fn label(&self) -> Option<String> {
        match self {
            Self::Usual => None,
            Self::All => Some("all methods".to_owned()),
            Self::Named(names) => Some(names.join(" ")),
        }
    }

    /// As it is written.
    pub fn written(&self) -> Option<String> {
        match self {
            Self::Usual => None,
            Self::All => Some("all".to_owned()),
            Self::Named(names) => Some(names.join(",")),
        }
    }
}

fn same(given: &str, name: &str) -> bool {
    given.eq_ignore_ascii_case(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_all_or_some_by_name_in_any_case() {
        let read = |text: &str| text.parse::<Methods>();
        assert_eq!(read("ALL"), Ok(Methods::All));
        let some = read("lora, base model").expect("names");
        assert_eq!(some, Methods::Named(vec!["lora".to_owned(), "base model".to_owned()]));
        assert!(some.has("LoRA", true) && some.has("base model", false) && !some.has("DoRA", false));
        assert!(!Methods::Usual.has("LoRA", true) && Methods::Usual.has("LoReFT", false));
        for empty in ["", "LoRA,,DoRA", "LoRA,"] {
            assert!(read(empty).expect_err(empty).contains("LoRA,DoRA"));
        }
    }

    #[test]
    fn an_unknown_name_is_told_the_nearest_known_one() {
        let known = ["base model", "LoRA", "LoReFT", "LoReFT"];
        let check = |text: &str| text.parse::<Methods>().expect("names").check(known.into_iter());
        assert_eq!(check("loreft,LORA"), Ok(()));
        let said = "`LoReFTT` is unknown (did you mean `LoReFT`?): there is base model, LoRA, LoReFT";
        assert_eq!(check("LoRA,LoReFTT"), Err(said.to_owned()));
    }
}
