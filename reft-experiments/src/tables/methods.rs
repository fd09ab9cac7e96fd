//! Which methods of a profile a table is made of.

use std::collections::BTreeSet;
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
            names if names.iter().any(|name| name.eq_ignore_ascii_case("all")) => {
                Err("all is every method: leave out the other names".to_owned())
            }
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

    /// The same with the methods' own names; a name with a comma in it was taken apart and is put together again.
    ///
    /// # Errors
    /// The first name that is no method's, the nearest known one and all known ones.
    pub fn among<'a>(&self, known: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let Self::Named(parts) = self else { return Ok(self.clone()) };
        let mut known: Vec<&str> = known.collect();
        // A method may stand there once for each model.
        let mut seen = BTreeSet::new();
        known.retain(|name| seen.insert(*name));
        let (mut rest, mut names) = (parts.as_slice(), Vec::new());
        while let Some(given) = rest.first() {
            let of_length = |length: usize| {
                let whole = rest[..length].join(", ");
                known.iter().find(|name| same(&whole, name)).map(|name| (*name, length))
            };
            let Some((name, length)) = (1..=rest.len()).rev().find_map(of_length) else {
                let near = did_you_mean(given, known.iter().copied());
                return Err(format!("`{given}` is unknown{near}: there is {}", known.join("; ")));
            };
            names.push(name.to_owned());
            rest = &rest[length..];
        }
        Ok(Self::Named(names))
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
        let known = ["base model", "base model, by likelihood", "LoRA", "LoReFT", "LoReFT"];
        let among = |text: &str| text.parse::<Methods>().expect("names").among(known.into_iter());
        let named = |names: &[&str]| Ok(Methods::Named(names.iter().map(|name| (*name).to_owned()).collect()));
        assert_eq!(among("loreft,LORA"), named(&["LoReFT", "LoRA"]));
        assert_eq!(among("base model,by likelihood, lora"), named(&["base model, by likelihood", "LoRA"]));
        assert_eq!(among("base model,lora"), named(&["base model", "LoRA"]));
        let said = "`LoReFTT` is unknown (did you mean `LoReFT`?): there is base model; base model, by likelihood; LoRA; LoReFT";
        assert_eq!(among("LoRA,LoReFTT"), Err(said.to_owned()));
    }
}
