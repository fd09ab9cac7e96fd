//! What a table is made of: profiles, each with models, methods and seeds, as a YAML file says.

use std::collections::BTreeMap;
use std::path::Path;

use reft_core::site::Dims;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::config::ConfigError;
use crate::config::dtype::DtypeChoice;
use crate::config::merge::merge;
use crate::config::places::Places;
use crate::config::plan::RunPlan;
use crate::config::read::{Written, beside, dtype_of, resolve_at, typed_at, written};
use crate::suggest::did_you_mean;
use crate::tables::stats::Statistic;
use crate::tasks::{DataKind, TaskId};

/// `configs/tables/table1.yaml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableSpec {
    /// Caption.
    pub title: String,
    /// File of printed figures, relative to the repository.
    pub printed: String,
    /// What it says about runs that differ in their seed.
    #[serde(default)]
    pub statistic: Statistic,
    /// Another table's file, beside this one, whose profiles these are: the same runs, told otherwise.
    profiles_of: Option<String>,
    /// Columns, in their order, of those that a profile has; all of a profile's if left out.
    columns: Option<Vec<TaskId>>,
    /// By name.
    #[serde(default)]
    pub profiles: BTreeMap<String, Profile>,
    #[serde(skip)]
    places: Places,
}

/// One size of the table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// What it is for, in one line.
    pub purpose: String,
    /// The table's columns. Every run scores these, but a GLUE task has runs of its own.
    pub tasks: Vec<TaskId>,
    /// One run for each; the base model is run once.
    pub seeds: Vec<u64>,
    /// Rows of each task whose answers are shown side by side in a file beside the table.
    #[serde(default)]
    pub samples: usize,
    /// Settings of every run, as in a run's configuration.
    #[serde(default)]
    pub run: Map<String, Value>,
    /// The rows' models.
    pub models: Vec<ModelSpec>,
    /// The rows' methods, for every model.
    pub methods: Vec<MethodSpec>,
    /// Its full key in the file.
    #[serde(skip)]
    key: String,
    #[serde(skip)]
    places: Places,
    /// Settings of every run over all of these, given beside the file.
    #[serde(skip)]
    over: Map<String, Value>,
}

/// What a table's profile says itself about each of its runs.
const OWN: [&[&str]; 4] = [&["model"], &["seed"], &["data", "train"], &["data", "eval"]];

/// A model of a profile.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// As the table prints it.
    pub name: String,
    /// As a run names it.
    pub model: String,
    /// Its name in the printed table, if model and data are the same there.
    pub printed_as: Option<String>,
    /// Sizes for `--dry-run`, which loads nothing.
    pub dims: Option<Dims>,
    /// Numbers in the model, likewise.
    pub parameters: Option<i64>,
}

/// A method of a profile.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MethodSpec {
    /// As the table prints it.
    pub name: String,
    /// The only model, by its name in the table, that it is for; none for every model.
    model: Option<String>,
    /// Settings of its runs over the profile's.
    #[serde(default)]
    pub run: Map<String, Value>,
    /// Settings over these where a GLUE task is trained, by the task.
    #[serde(default)]
    tasks: BTreeMap<TaskId, Map<String, Value>>,
}

/// A row of the table with its runs.
#[derive(Clone, Debug)]
pub struct RowPlan {
    /// The model.
    pub model: ModelSpec,
    /// The method.
    pub method: String,
    /// One run a seed.
    pub runs: Vec<RunPlan>,
    /// What the file says of each run's type of weights.
    pub dtypes: Vec<DtypeChoice>,
}

impl TableSpec {
    /// Reads a table's file.
    ///
    /// # Errors
    /// When it is missing or not valid.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let read = |path: &Path| {
            let written = written(path)?;
            let mut spec = typed_at::<Self>(&written.tree, &written.places)?;
            for (name, profile) in &mut spec.profiles {
                (profile.key, profile.places) = (format!("profiles.{name}"), written.places.clone());
            }
            Ok::<_, ConfigError>(Self { places: written.places, ..spec })
        };
        let mut spec = read(path)?;
        if let Some(other) = &spec.profiles_of {
            spec.profiles = read(&beside(path, "profiles_of", other, &spec.places)?)?.profiles;
        }
        if let Some(columns) = &spec.columns {
            for profile in spec.profiles.values_mut() {
                profile.tasks = columns.iter().copied().filter(|task| profile.tasks.contains(task)).collect();
            }
        }
        Ok(spec)
    }

    /// A profile by its name.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn profile(&self, name: &str) -> Result<&Profile, ConfigError> {
        self.profiles.get(name).ok_or_else(|| {
            let known = self.profiles.keys().map(String::as_str);
            let (near, known) = (did_you_mean(name, known.clone()), known.collect::<Vec<_>>().join(", "));
            ConfigError::value(&self.places, "profiles", format!("`{name}` is unknown{near}: there is {known}"))
        })
    }
}

impl Profile {
    /// The same with these settings, such as `train.parity=pyreft`, over those of every run.
    ///
    /// # Errors
    /// When one is no setting, or one that tells the table's runs apart.
    pub fn with(&self, settings: &[String]) -> Result<Self, ConfigError> {
        let mut over = Written { tree: Value::Object(self.over.clone()), places: self.places.clone() };
        for text in settings {
            over.set(text)?;
            if let Some(own) =
                OWN.iter().find(|path| path.iter().try_fold(&over.tree, |tree, key| tree.get(key)).is_some())
            {
                let reason = "the table's file says it for each run: change it there".to_owned();
                return Err(ConfigError::value(&over.places, &own.join("."), reason));
            }
        }
        let Written { tree, places } = over;
        let over = tree.as_object().cloned().unwrap_or_default();
        Ok(Self { places, over, ..self.clone() })
    }

    /// Every row with its runs, models outermost.
    ///
    /// # Errors
    /// When a row's settings are wrong.
    pub fn rows(&self) -> Result<Vec<RowPlan>, ConfigError> {
        let wrong =
            |key: &str, reason: String| Err(ConfigError::value(&self.places, &format!("{}.{key}", self.key), reason));
        if self.seeds.is_empty() {
            return wrong("seeds", "a table needs at least one seed".to_owned());
        }
        if let Some(twice) = self.seeds.iter().enumerate().find(|(at, seed)| self.seeds[..*at].contains(seed)) {
            return wrong("seeds", format!("{} is there twice: the same run counts once", twice.1));
        }
        let mut rows = Vec::new();
        for model in &self.models {
            let fits =
                |(_, method): &(usize, &MethodSpec)| method.model.as_ref().is_none_or(|name| *name == model.name);
            for (number, method) in self.methods.iter().enumerate().filter(fits) {
                let plans = self.seeds.iter().flat_map(|&seed| self.plans(model, number, seed));
                let (mut runs, mut dtypes): (Vec<_>, Vec<_>) =
                    plans.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
                if model.printed_as.is_some() && runs.iter().any(|run| run.data.source != DataKind::Real) {
                    let reason = "the paper's figures are for real data: set data.source: real, or leave this out";
                    return wrong("models.printed_as", reason.to_owned());
                }
                if runs.iter().all(|run| !run.trains()) {
                    runs.truncate(1);
                    dtypes.truncate(1);
                }
                rows.push(RowPlan { model: model.clone(), method: method.name.clone(), runs, dtypes });
            }
        }
        Ok(rows)
    }

    /// The runs of one seed with a method by its number: one for each labelled task, one for all other tasks.
    fn plans(&self, model: &ModelSpec, method: usize, seed: u64) -> Vec<Result<(RunPlan, DtypeChoice), ConfigError>> {
        let (apart, together): (Vec<TaskId>, Vec<TaskId>) =
            self.tasks.iter().partition(|task| task.task().labelled().is_some());
        let groups = apart.iter().map(std::slice::from_ref).chain((!together.is_empty()).then_some(&together[..]));
        groups.map(|tasks| self.plan(model, method, seed, tasks)).collect()
    }

    fn plan(
        &self,
        model: &ModelSpec,
        number: usize,
        seed: u64,
        tasks: &[TaskId],
    ) -> Result<(RunPlan, DtypeChoice), ConfigError> {
        let method = &self.methods[number];
        let keys: Vec<&str> = tasks.iter().map(|task| task.key()).collect();
        let mut tree = json!({"data": {"train": keys}});
        merge(&mut tree, Value::Object(self.run.clone()));
        merge(&mut tree, Value::Object(method.run.clone()));
        for task in tasks {
            merge(&mut tree, Value::Object(method.tasks.get(task).cloned().unwrap_or_default()));
        }
        merge(&mut tree, Value::Object(self.over.clone()));
        merge(&mut tree, json!({"model": model.model, "seed": seed, "data": {"eval": keys}}));
        // The sections that settings come from; those that win come last.
        let mut sections = vec![format!("{}.run.", self.key), format!("{}.methods[{number}].run.", self.key)];
        sections.extend(keys.iter().map(|task| format!("{}.methods[{number}].tasks.{task}.", self.key)));
        // Settings beside the file are noted under their own keys.
        sections.push(String::new());
        let written = |key: &str| {
            let full: Vec<String> = sections.iter().map(|section| format!("{section}{key}")).collect();
            let known =
                |(section, full): (&String, &String)| self.places.known(full).len().saturating_sub(section.len());
            let best = sections.iter().zip(&full).max_by_key(|&pair| known(pair));
            best.map_or_else(|| key.to_owned(), |(_, full)| full.clone())
        };
        let located = |error: ConfigError| error.renamed(&self.places, written);
        let dtype = dtype_of(&tree, &self.places).map_err(located)?;
        Ok((resolve_at(tree, &self.places).map_err(located)?, dtype))
    }
}

#[cfg(test)]
mod tests {
    use reft_core::AdaptSpec;
    use reft_core::adaptations::reft::{DropoutOn, ReftSpec};
    use reft_core::positions::Truncation;

    use super::*;
    use crate::config::parity::Parity;
    use crate::tables::paper::{self, PrintedRow};

    const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

    /// Every table of the repository, by the name of its file.
    fn specs() -> BTreeMap<String, TableSpec> {
        let files = std::fs::read_dir(format!("{REPOSITORY}/configs/tables")).expect("in the repository");
        let paths = files.map(|file| file.expect("readable").path());
        let name = |path: &Path| path.file_stem().expect("a name").to_string_lossy().into_owned();
        paths.map(|path| (name(&path), TableSpec::read(&path).unwrap_or_else(|error| panic!("{error}")))).collect()
    }

    fn spec() -> TableSpec {
        specs().remove("table1").expect("table 1")
    }

    fn rows(spec: &TableSpec, profile: &str) -> Vec<RowPlan> {
        let profile = spec.profile(profile).expect("a profile");
        profile.rows().unwrap_or_else(|error| panic!("{}: {error}", spec.title))
    }

    #[test]
    fn every_profile_of_every_table_resolves_with_columns_that_are_printed() {
        for (name, spec) in specs() {
            let printed = paper::read(&Path::new(REPOSITORY).join(&spec.printed)).expect("printed figures");
            for (size, profile) in &spec.profiles {
                assert!(!rows(&spec, size).is_empty(), "{name}, {size}");
                let has = |task: &TaskId| printed.iter().any(|row| row.scores.contains_key(task.column()));
                let missing = profile.tasks.iter().find(|task| size == "paper" && !has(task));
                assert_eq!(missing, None, "{name}, {size}: a column that is not printed");
            }
        }
    }

    #[test]
    fn the_profiles_of_table_1_have_their_rows_and_runs() {
        let spec = spec();
        let rows = |name: &str| rows(&spec, name);
        assert_eq!(rows("quick").len(), 3);
        assert_eq!(rows("small").iter().map(|row| row.runs.len()).collect::<Vec<_>>(), [1, 3, 3]);
        assert_eq!(rows("paper").len(), 8);
        assert!(rows("paper").iter().all(|row| row.runs.len() == 3 && row.model.printed_as.is_some()));
    }

    #[test]
    fn seeds_twice_or_none_and_printed_figures_beside_other_data_are_refused() {
        let refused = |change: &dyn Fn(&mut Profile)| {
            let mut profile = spec().profiles.remove("paper").expect("a profile");
            change(&mut profile);
            profile.rows().expect_err("refused").to_string()
        };
        assert!(refused(&|profile| profile.seeds.clear()).contains("seeds"));
        assert!(refused(&|profile| profile.seeds.push(42)).contains("42 is there twice"));
        let embedded = refused(&|profile| {
            profile.run.insert("data".to_owned(), json!({"source": "embedded"}));
        });
        assert!(embedded.contains("printed_as"), "{embedded}");
    }

    #[test]
    fn mistakes_are_named_with_the_line_of_the_section_that_has_them() {
        let table = "title: T
printed: none.csv
profiles:
  quick:
    purpose: a test
    tasks: [arc_e]
    seeds: [1]
    run: {model: m}
    models: [{name: M, model: m}]
    methods:
      - name: A
      - name: B
        run:
          adapt: {reft: {intervention: loreft, rank: 1, positions: l1}}
        tasks: {arc_e: {train: {lr: 1}}}
";
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("t.yaml");
        let read = |text: &str| {
            std::fs::write(&path, text).expect("writable");
            let rows = TableSpec::read(&path).and_then(|spec| spec.profile("quick")?.rows());
            rows.map_err(|error| error.to_string().replace(&format!("{}/", folder.path().display()), ""))
        };
        assert_eq!(read(table).map(|rows| rows.len()), Ok(2));
        let cases = [
            ("title", "tilte", "t.yaml:1: unknown key `tilte` (did you mean `title`?)"),
            ("seeds: [1]", "seeds: one", "t.yaml:7: profiles.quick.seeds: `one` is not a list: write [one]"),
            ("seeds: [1]", "seeds: [1, 1]", "t.yaml:7: profiles.quick.seeds: 1 is there twice"),
            (
                "{model: m}",
                "{train: {lrr: 1}}",
                "t.yaml:8: unknown key `profiles.quick.run.train.lrr` (did you mean `lr`?)",
            ),
            (
                "rank: 1",
                "rank: 1.5",
                "t.yaml:14: profiles.quick.methods[1].run.adapt.reft.rank: 1.5 is not a whole number",
            ),
            ("{lr: 1}", "{lr: x}", "t.yaml:15: profiles.quick.methods[1].tasks.arc_e.train.lr: `x` is not a number"),
            ("{name: M, model: m}", "{name: M}", "t.yaml:9: profiles.quick.models[0].model: is missing"),
            ("quick:", "small:", "t.yaml:3: profiles: `quick` is unknown: there is small"),
        ];
        for (from, to, expected) in cases {
            let error = read(&table.replacen(from, to, 1)).expect_err(to);
            assert!(error.starts_with(expected), "`{expected}` is not at the start of: {error}");
        }
    }

    #[test]
    fn settings_beside_the_file_reach_every_run_but_not_what_the_table_says_itself() {
        let spec = specs().remove("table4").expect("table 4");
        let profile = spec.profile("paper").expect("a profile");
        let plain = profile.rows().expect("valid");
        let pyreft = profile.with(&["train.parity=pyreft".to_owned()]).expect("a setting").rows().expect("valid");
        let runs = |rows: &[RowPlan]| rows.iter().flat_map(|row| row.runs.clone()).collect::<Vec<_>>();
        assert_eq!(runs(&plain).len(), runs(&pyreft).len());
        for (plain, pyreft) in runs(&plain).iter().zip(runs(&pyreft)) {
            assert_eq!((plain.train.parity, pyreft.train.parity), (Parity::default(), Parity::PYREFT));
            let reft = pyreft.adapt.as_ref().and_then(AdaptSpec::get::<ReftSpec>).expect("interventions");
            assert_eq!((reft.truncation, reft.dropout.on), (Truncation::Library, DropoutOn::State));
            assert_eq!((plain.seed, plain.train.lr, plain.train.weight_decay), {
                (pyreft.seed, pyreft.train.lr, pyreft.train.weight_decay)
            });
        }
        for own in ["seed=1", "model=x", "data.eval=[cola]", "data.train=[cola]"] {
            let said = profile.with(&[own.to_owned()]).expect_err("the table's own").to_string();
            assert!(said.contains("the table's file says it for each run"), "{said}");
        }
    }

    #[test]
    fn the_paper_profile_has_the_paper_s_parameter_counts() {
        let rows = rows(&spec(), "paper");
        let row = rows.iter().find(|row| row.model.name == "LLaMA-7B" && row.method == "LoReFT").expect("a row");
        let adapt = row.runs[0].adapt.as_ref().expect("an adaptation");
        let dims = row.model.dims.expect("sizes");
        assert_eq!(adapt.trainable(&dims).expect("it fits"), 2_097_408);
        assert_eq!(row.model.parameters, Some(6_738_415_616));
    }

    #[test]
    fn every_row_of_the_paper_profiles_trains_the_printed_part_of_its_model() {
        for (name, spec) in specs() {
            let printed = paper::read(&Path::new(REPOSITORY).join(&spec.printed)).expect("printed figures");
            for row in rows(&spec, "paper") {
                let same = |printed: &&PrintedRow| {
                    row.model.printed_as.as_ref() == Some(&printed.model) && printed.method == row.method
                };
                let printed =
                    printed.iter().find(same).unwrap_or_else(|| panic!("{name}: {} is not printed", row.method));
                let adapt = row.runs[0].adapt.as_ref().expect("an adaptation");
                let trained = adapt.trainable(&row.model.dims.expect("sizes")).expect("it fits");
                let percent = 100.0 * trained as f64 / row.model.parameters.expect("a count") as f64;
                let expected = printed.params_percent.expect("printed");
                assert_eq!(
                    format!("{percent:.3}"),
                    format!("{expected:.3}"),
                    "{name}: {} {}",
                    row.model.name,
                    row.method
                );
            }
        }
    }
}
