//! The studies beside the tables: what a representation holds, and what one edit can do. A new study is a file in this folder
//! and a line below; a program adds its own with [`register`].
//!
//! A study ([`study::Study`]) is a set of runs and a measure of their edits ([`study::StudyMeasure`]). Its runs are runs of the
//! store like any others: the measure stands in place of a task in their plans.

pub mod book;
pub mod composition;
pub mod distinct;
pub mod edited;
pub mod edits;
pub mod lines;
pub mod memorise;
pub mod overhead;
pub mod pairs;
pub mod questions;
mod spec;
pub mod study;
pub mod style;
pub mod training;

use std::any::TypeId;
use std::sync::LazyLock;

use reft_core::registry::{KeyTaken, Registry, RegistryEntry};
use reft_core::value_reader::{self, ValueError};
use schemars::{Schema, SchemaGenerator};
use serde_json::Value;

use self::lines::Axes;
pub use self::spec::{MeasureSpec, StudySpec};
use self::study::{MeasureSettings, StudySettings};

/// Everything that `study:` in a figure's file accepts, and with it what `study:` in a run file does. A new one is a file in this
/// folder and a line here.
macro_rules! built_in {
    ($run:ident) => {
        $run!(
            $crate::studies::edits::EditsStudy,
            $crate::studies::memorise::Memorise,
            $crate::studies::pairs::PairsStudy,
            $crate::studies::overhead::Overhead,
            $crate::studies::composition::Composition,
            $crate::studies::style::StyleStudy
        )
    };
}
use built_in;

/// One kind of study.
#[derive(Debug)]
pub struct StudyEntry {
    /// The key in figures' files.
    pub key: &'static str,
    /// As lists print it.
    pub title: &'static str,
    /// What the axes of its lines are; none where no lines are drawn.
    pub axes: Option<Axes>,
    /// Settings to show and to test with.
    pub example: StudySpec,
    /// The settings' schema, with their documentation.
    pub schema: fn(&mut SchemaGenerator) -> Schema,
    /// What is measured in its runs.
    pub measure: MeasureEntry,
    read: fn(&Value) -> Result<StudySpec, ValueError>,
}

/// One kind of measure; several studies may have the same.
#[derive(Debug)]
pub struct MeasureEntry {
    /// The key in run files.
    pub key: &'static str,
    /// The settings' schema, with their documentation.
    pub schema: fn(&mut SchemaGenerator) -> Schema,
    read: fn(&Value) -> Result<MeasureSpec, ValueError>,
    of: TypeId,
}

impl RegistryEntry for StudyEntry {
    fn key(&self) -> &'static str {
        self.key
    }
}

impl StudyEntry {
    fn of<S: StudySettings>() -> Self {
        Self {
            key: S::KEY,
            title: S::TITLE,
            axes: S::AXES,
            example: StudySpec::new(S::example()),
            schema: SchemaGenerator::subschema_for::<S>,
            measure: MeasureEntry::of::<S::Measure>(),
            read: |value| value_reader::read::<S>(value).map(StudySpec::new),
        }
    }
}

impl MeasureEntry {
    fn of<M: MeasureSettings>() -> Self {
        Self {
            key: M::KEY,
            schema: SchemaGenerator::subschema_for::<M>,
            read: |value| value_reader::read::<M>(value).map(MeasureSpec::new),
            of: TypeId::of::<M>(),
        }
    }
}

static REGISTRY: LazyLock<Registry<StudyEntry>> = LazyLock::new(|| {
    macro_rules! entries {
        ($($settings:ty),*) => { vec![$(StudyEntry::of::<$settings>()),*] };
    }
    Registry::new(built_in!(entries))
});

/// The table.
pub fn registry() -> &'static Registry<StudyEntry> {
    &REGISTRY
}

/// Every measure of the table once.
pub fn measures() -> Vec<&'static MeasureEntry> {
    let mut found: Vec<&MeasureEntry> = Vec::new();
    for entry in REGISTRY.entries() {
        if !found.iter().any(|known| known.key == entry.measure.key) {
            found.push(&entry.measure);
        }
    }
    found
}

/// Adds a study of the program's own to the table, and its measure.
///
/// # Errors
/// When another study has its key, or another measure that of its measure.
pub fn register<S: StudySettings>() -> Result<(), KeyTaken> {
    let entry = StudyEntry::of::<S>();
    if measures().iter().any(|known| known.key == entry.measure.key && known.of != entry.measure.of) {
        return Err(KeyTaken(entry.measure.key));
    }
    REGISTRY.add(entry)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::study::StudyCell;
    use super::*;
    use crate::config::merge::merge;
    use crate::config::plan::RunKind;
    use crate::config::read::resolve;

    #[test]
    fn every_study_s_example_is_made_of_valid_runs_that_its_own_measure_scores() {
        for entry in registry().entries() {
            let cells = entry.example.study().cells();
            assert!(!cells.is_empty() && !entry.title.is_empty(), "{}", entry.key);
            let titles: BTreeSet<&String> = cells.iter().map(|cell| &cell.title).collect();
            assert_eq!(titles.len(), cells.len(), "{}: two runs of one title", entry.key);
            for StudyCell { title, settings } in &cells {
                let measures = settings["data"]["eval"].as_array().expect("a list");
                assert!(
                    measures.iter().all(|task| task["study"].get(entry.measure.key).is_some()),
                    "{title}: {settings}"
                );
                let mut tree = json!({"model": "smollm2", "seed": 1});
                merge(&mut tree, settings.clone());
                let plan = resolve(tree, title).unwrap_or_else(|error| panic!("{}: {error}", entry.key));
                assert!(matches!(plan.kind(), RunKind::Study), "{}", entry.key);
            }
            let drawn = entry.example.study();
            assert!(entry.axes.is_some() != drawn.edited_prompt().is_some(), "{}: lines or edits", entry.key);
            let none = vec![None; cells.len()];
            assert!(drawn.lines(&none).iter().all(|line| line.points.is_empty()), "{}: of no run", entry.key);
        }
    }

    #[test]
    fn figures_of_different_axes_are_told_apart_by_their_columns() {
        let axes: Vec<Axes> = registry().entries().iter().filter_map(|entry| entry.axes).collect();
        let columns: BTreeSet<[&str; 7]> = axes.iter().map(Axes::columns).collect();
        assert_eq!(columns.len(), axes.len());
    }

    #[test]
    fn a_measure_is_written_as_it_was_read() {
        let written = json!({"text": {"content": "book", "book": "excerpt", "as_run": false}});
        let spec = MeasureSpec::read(&written).expect("valid");
        let text = serde_json::to_string(&spec).expect("plain data");
        assert_eq!(text, r#"{"text":{"content":"book","book":"excerpt","as_run":false}}"#);
        for (wrong, expected) in [
            (json!("text"), "write one of questions, text"),
            (json!({"text": {}, "pairs": {}}), "write one of questions, text"),
            (json!({"texts": {}}), "did you mean `text`?"),
            (json!({"text": {"content": "poem"}}), "text: content: "),
        ] {
            let error = MeasureSpec::read(&wrong).expect_err(expected);
            assert!(error.contains(expected), "`{expected}` is not in: {error}");
        }
    }
}
