//! `reft list`: what a configuration can name, from the tables that read it.

use anyhow::Result;
use clap::ValueEnum;
use reft_core::site::Component;
use reft_core::{adaptations, interventions, method, positions};
use reft_models::families::{FamilyKind, families};
use reft_models::weights::FileKind;
use reft_models::{hub, tokenizer, weights};
use schemars::{Schema, SchemaGenerator};

use crate::columns::aligned;
use crate::config::schema;
use crate::studies;
use crate::tasks::{DataKind, TaskEntry, registry};
use crate::train::objectives;

/// Show the methods, objectives, tasks, studies, models, positions and keys that a configuration can name.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to list [default: everything but the keys]
    kind: Option<Listing>,
}

/// What can be listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Listing {
    /// What `adapt:` accepts
    Methods,
    /// What `intervention:` accepts
    Interventions,
    /// What `train.objective:` accepts
    Objectives,
    /// What `data.train` and `data.eval` accept
    Tasks,
    /// What `study:` accepts in the file of a figure, with what `study:` accepts in place of a task
    Studies,
    /// The families of models and the kinds of files that are read, and short names for some models
    Models,
    /// Run files that come with the program
    Presets,
    /// What `positions:` accepts
    Positions,
    /// What `component:` accepts
    Components,
    /// Every key of a run file, with its default
    Keys,
}

impl Args {
    /// Prints the lists.
    ///
    /// # Errors
    /// None.
    pub fn run(self) -> Result<()> {
        let kinds = match self.kind {
            Some(kind) => vec![kind],
            None => Listing::value_variants().iter().copied().filter(|kind| *kind != Listing::Keys).collect(),
        };
        for (index, kind) in kinds.iter().enumerate() {
            if kinds.len() > 1 {
                let value = kind.to_possible_value().expect("no kind is skipped");
                let about = value.get_help().map_or(String::new(), ToString::to_string);
                println!("{}{} ({about}):", if index == 0 { "" } else { "\n" }, value.get_name());
            }
            print!("{}", aligned(&kind.rows()));
        }
        Ok(())
    }
}

impl Listing {
    fn rows(self) -> Vec<Vec<String>> {
        match self {
            Self::Methods => methods(),
            Self::Interventions => kinds_of_phi(),
            Self::Objectives => objectives(),
            Self::Tasks => tasks(),
            Self::Studies => studies(),
            Self::Models => models(),
            Self::Presets => PRESETS.iter().map(|(path, text)| row(&[path, &purpose(text)])).collect(),
            Self::Positions => positions::SPELLINGS.iter().map(|(text, meaning)| row(&[text, meaning])).collect(),
            Self::Components => components(),
            Self::Keys => keys(),
        }
    }
}

fn row(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|&cell| cell.to_owned()).collect()
}

/// What the documentation of a type says first.
fn first_sentence(schema: fn(&mut SchemaGenerator) -> Schema) -> String {
    let mut generator = SchemaGenerator::default();
    let reference = schema(&mut generator);
    let name = reference.get("$ref").and_then(|path| path.as_str()).and_then(|path| path.rsplit('/').next());
    let about = match name {
        Some(name) => generator.definitions().get(name).and_then(|schema| schema["description"].as_str()),
        None => reference.get("description").and_then(|about| about.as_str()),
    };
    sentence(about.unwrap_or_default())
}

fn sentence(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let ends = text.match_indices(". ").find(|(at, _)| text[at + 2..].starts_with(char::is_uppercase));
    let first = ends.map_or(text.as_str(), |(at, _)| &text[..at]);
    // Links of the documentation are the names that they show.
    first.trim_end_matches('.').replace("[`", "`").replace("`]", "`")
}

fn methods() -> Vec<Vec<String>> {
    let of = |entry: &&adaptations::AdaptEntry| {
        row(&[entry.key, entry.title, &first_sentence(entry.schema), &format!("parameters: {}", entry.parameters)])
    };
    adaptations::registry().entries().iter().map(of).collect()
}

fn kinds_of_phi() -> Vec<Vec<String>> {
    let named = method::named().map(|name| {
        let settings = serde_json::to_string(&name.phi).expect("plain data");
        row(&[name.key, name.title, &settings])
    });
    let spelled = interventions::registry().entries().iter().map(|entry| {
        let about = format!("{}; parameters of a site: {}", first_sentence(entry.schema), entry.parameters);
        row(&[&format!("{{{}: ...}}", entry.key), "", &about])
    });
    named.chain(spelled).collect()
}

fn objectives() -> Vec<Vec<String>> {
    let of = |entry: &&objectives::ObjectiveEntry| row(&[entry.key, entry.title, &first_sentence(entry.schema)]);
    objectives::registry().entries().iter().map(of).collect()
}

fn studies() -> Vec<Vec<String>> {
    let of = |entry: &&studies::StudyEntry| {
        let measure = format!("measure: {}", entry.measure.key);
        row(&[entry.key, entry.title, &first_sentence(entry.schema), &measure])
    };
    studies::registry().entries().iter().map(of).collect()
}

/// Key, title, what it is, answer and score, what guessing reaches, splits, where the rows come from.
fn tasks() -> Vec<Vec<String>> {
    let of = |entry: &&TaskEntry| {
        let (task, said) = (entry.task(), entry.task().description());
        let guessing = task.guessing_rate().map_or("-".to_owned(), |rate| format!("guessing {:.1} %", 100.0 * rate));
        let splits = task.splits(DataKind::Real).join("+");
        let embedded = if task.splits(DataKind::Embedded).is_empty() { "" } else { "; embedded rows" };
        row(&[
            task.key(),
            said.title,
            said.about,
            &format!("{}: {}", task.scoring(), said.form),
            &guessing,
            &splits,
            &format!("{}{embedded}", said.origin),
        ])
    };
    registry().entries().iter().map(of).collect()
}

fn models() -> Vec<Vec<String>> {
    let families = families().into_iter().map(|family| {
        let kind = match family.kind {
            FamilyKind::Decoder => "decoder",
            FamilyKind::Encoder => "encoder",
        };
        let gguf = family.gguf.map_or(String::new(), |name| format!(", gguf {name}"));
        row(&[family.key, kind, &format!("{}{gguf}", family.architecture), family.title, family.about])
    });
    let file = |kind: &'static str| move |file: FileKind| row(&[&file.name, kind, "", "", &file.about]);
    let files = weights::formats().into_iter().map(file("weights"));
    let vocabularies = tokenizer::file_kinds().into_iter().map(file("tokenizer"));
    let aliases = hub::ALIASES.iter().map(|alias| {
        let how = if alias.on_request { "fetched by make model MODEL=... only: its terms are its maker's" } else { "" };
        row(&[alias.name, "name", alias.place, "in the user's cache", how])
    });
    families.chain(files).chain(vocabularies).chain(aliases).collect()
}

fn components() -> Vec<Vec<String>> {
    let of = |component: Component| {
        let kind = if component.is_linear() { "linear" } else { "" };
        row(&[component.name(), kind])
    };
    Component::ALL.into_iter().map(of).collect()
}

fn keys() -> Vec<Vec<String>> {
    let of = |doc: schema::KeyDoc| row(&[&doc.key, doc.default.as_deref().unwrap_or("-"), &sentence(&doc.about)]);
    schema::keys().into_iter().map(of).collect()
}

/// Run files of the repository.
const PRESETS: [(&str, &str); 2] = [
    ("configs/runs/embedded-loreft.yaml", include_str!("../../../configs/runs/embedded-loreft.yaml")),
    ("configs/runs/parity.yaml", include_str!("../../../configs/runs/parity.yaml")),
];

/// What a configuration is for: its first sentence.
fn purpose(text: &str) -> String {
    let comment = text.lines().map_while(|line| line.strip_prefix('#')).map(str::trim);
    sentence(&comment.collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_run_file_is_a_preset() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/runs");
        for entry in std::fs::read_dir(folder).expect("the repository's run files") {
            let name = format!("configs/runs/{}", entry.expect("readable").file_name().to_string_lossy());
            assert!(PRESETS.iter().any(|(path, _)| *path == name), "{name} is not in the list");
        }
    }

    #[test]
    fn every_list_says_something_about_every_entry() {
        for kind in Listing::value_variants() {
            let rows = kind.rows();
            assert!(!rows.is_empty(), "{kind:?}");
            for row in rows {
                assert!(row.len() > 1 && !row[0].is_empty(), "{kind:?}: {row:?}");
            }
        }
        for row in methods() {
            assert!(!row[2].is_empty(), "{} has no documentation", row[0]);
        }
    }
}
