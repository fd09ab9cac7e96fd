use reft_core::AdaptSpec;
use reft_core::adaptations::reft::{DropoutOn, ReftSpec};
use reft_core::positions::Truncation;

use super::*;
use crate::config::parity::Parity;
use crate::tables::methods::Methods;
use crate::tables::paper::PrintedRow;

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
        let printed = spec.printed(|path| Path::new(REPOSITORY).join(path)).expect("printed figures");
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
    let rows = |name: &str, methods: &Methods| {
        let profile = spec.profile(name).and_then(|profile| profile.choosing(methods)?.rows());
        profile.unwrap_or_else(|error| panic!("{error}"))
    };
    assert_eq!(rows("quick", &Methods::Usual).len(), 4);
    assert_eq!(rows("small", &Methods::Usual).iter().map(|row| row.runs.len()).collect::<Vec<_>>(), [1, 1, 3, 3]);
    // Four models, each by likelihood, DiReFT and LoReFT.
    assert_eq!(rows("paper", &Methods::Usual).len(), 12);
    let names = |rows: Vec<RowPlan>| rows.into_iter().map(|row| row.method).collect::<Vec<_>>();
    let all = [
        "base model",
        "base model, by likelihood",
        "DiReFT",
        "LoReFT",
        "PrefT",
        "Adapter-S",
        "Adapter-P",
        "LoRA",
        "DoRA",
    ];
    assert_eq!(names(rows("quick", &Methods::All)), all);
    let two = Methods::Named(vec!["dora".to_owned(), "LoReFT".to_owned()]);
    assert_eq!(names(rows("quick", &two)), ["LoReFT", "DoRA"]);
    let mut paper = rows("paper", &Methods::All);
    paper.retain(|row| row.runs[0].adapt.is_some());
    assert!(paper.iter().all(|row| row.runs.len() == 3 && row.model.printed_as.is_some()));
    let printed = spec.printed(|path| Path::new(REPOSITORY).join(path)).expect("printed figures");
    assert_eq!(paper.len(), printed.iter().filter(|row| row.method != "-").count(), "a run for every printed row");
}

#[test]
fn a_method_that_is_not_there_is_told_with_line_and_nearest_name() {
    let profile = spec().profiles.remove("quick").expect("a profile");
    let said = profile.choosing(&Methods::Named(vec!["LoRAA".to_owned()])).expect_err("unknown").to_string();
    assert!(said.contains("table1.yaml:") && said.contains("profiles.quick.methods"), "{said}");
    assert!(said.contains("`LoRAA` is unknown (did you mean `LoRA`?): there is base model; "), "{said}");
}

#[test]
fn every_method_of_every_profile_plans_by_itself_and_fits_its_model() {
    for (name, spec) in specs() {
        for (size, profile) in &spec.profiles {
            let whole = profile.rows().unwrap_or_else(|error| panic!("{name}, {size}: {error}"));
            let mut alone = 0;
            let names: std::collections::BTreeSet<&str> = whole.iter().map(|row| row.method.as_str()).collect();
            for method in names {
                let chosen = profile.choosing(&Methods::Named(vec![method.to_owned()])).expect("a method");
                let rows = chosen.rows().expect("it resolved among the others");
                assert!(rows.iter().all(|row| row.method.eq_ignore_ascii_case(method)), "{name}, {size}: {method}");
                alone += rows.len();
            }
            assert_eq!(alone, whole.len(), "{name}, {size}: two methods have names that differ in case only");
            for row in whole {
                let adapts = row.runs.iter().filter_map(|run| run.adapt.as_ref());
                for (adapt, dims) in adapts.filter(|adapt| !adapt.own_weights()).zip(row.model.dims.iter().cycle()) {
                    let fits = adapt.trainable(dims);
                    assert!(fits.is_ok_and(|trained| trained > 0), "{name}, {size}: {}", row.method);
                }
            }
        }
    }
}

#[test]
fn seeds_twice_or_none_and_printed_figures_beside_other_data_are_refused() {
    let refused = |change: &dyn Fn(&mut TableProfile)| {
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
        ("rank: 1", "rank: 1.5", "t.yaml:14: profiles.quick.methods[1].run.adapt.reft.rank: 1.5 is not a whole number"),
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
    let mut edited = 0;
    for (plain, pyreft) in runs(&plain).iter().zip(runs(&pyreft)) {
        assert_eq!((plain.train.parity, pyreft.train.parity), (Parity::default(), Parity::PYREFT));
        if let Some(reft) = pyreft.adapt.as_ref().and_then(AdaptSpec::get::<ReftSpec>) {
            assert_eq!((reft.truncation, reft.dropout.on), (Truncation::Library, DropoutOn::State));
            edited += 1;
        }
        assert_eq!((plain.seed, plain.train.lr, plain.train.weight_decay), {
            (pyreft.seed, pyreft.train.lr, pyreft.train.weight_decay)
        });
    }
    assert!(edited > 0, "no run edits states");
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
    let of = |spec: &TableSpec| spec.printed(|path| Path::new(REPOSITORY).join(path)).expect("printed figures");
    let everywhere: Vec<PrintedRow> = specs().values().flat_map(of).collect();
    for (name, spec) in specs().into_iter().filter(|(_, spec)| spec.profiles.contains_key("paper")) {
        let printed = of(&spec);
        for row in rows(&spec, "paper") {
            // What the base model knows by likelihood is printed nowhere.
            if row.runs[0].adapt.is_none() {
                continue;
            }
            let same = |printed: &&PrintedRow| {
                row.model.printed_as.as_ref() == Some(&printed.model) && row.printed.contains(&printed.method)
            };
            // What table 4 trains on request is printed in table 13 or in table 16.
            let Some(printed) = printed.iter().find(same) else {
                assert!(everywhere.iter().any(|row| same(&row)), "{name}: {} is printed nowhere", row.method);
                continue;
            };
            let adapt = row.runs[0].adapt.as_ref().expect("an adaptation");
            let expected = printed.params_percent.expect("printed");
            if adapt.own_weights() {
                // Full finetuning trains all; the biases are counted on the model itself (`golden_baselines.rs`).
                assert!(expected > 99.9 || row.method == "BitFit", "{name}: {}", row.method);
                continue;
            }
            let trained = adapt.trainable(&row.model.dims.expect("sizes")).expect("it fits") as f64;
            let base = row.model.parameters.expect("a count") as f64;
            // Other papers count otherwise: of base and adapter together, or millions rounded to a tenth of slightly another base.
            let percents = if printed.origin == "ReFT paper" {
                vec![100.0 * trained / base]
            } else {
                // RED's paper keeps one digit: 0.3 and 0.02 million.
                let millions =
                    if trained < 5e4 { (trained / 1e4).round() / 100.0 } else { (trained / 1e5).round() / 10.0 };
                let bases = if base > 3e8 { [355.0, base / 1e6] } else { [125.7, base / 1e6] };
                let rounded = bases.map(|base| 100.0 * millions / base);
                let exact = bases.map(|base| trained / 1e4 / base);
                [[100.0 * trained / base, 100.0 * trained / (base + trained)], rounded, exact].concat()
            };
            let near = percents.iter().any(|percent| (percent - expected).abs() < 6e-4);
            assert!(near, "{name}: {} {}: {percents:?}, printed {expected}", row.model.name, row.method);
        }
    }
}
