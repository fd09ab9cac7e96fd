//! `reft figure` on a tiny model: its runs are runs of the store, drawn and written; wrong files are refused.

#![cfg(feature = "program")]

mod support;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::Value;
use support::Dir;

const SPEC: &str = "
title: \"Figure 0: a test\"
printed: printed.csv
profiles:
  quick:
    purpose: \"a test\"
    model: model
    dtype: f32
    seed: 1
    study:
      memorise: {content: book, lengths: [16, 24], layers: [0, -1], training: {epochs: 30, lr: 3e-2}}
";

fn ok(dir: &Dir, arguments: &[&str]) -> String {
    let output = dir.run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn refused(dir: &Dir, arguments: &[&str]) -> String {
    let output = dir.run(arguments);
    assert!(!output.status.success(), "{arguments:?} succeeds: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).expect("text")
}

/// The file with another study.
fn with(study: &str) -> String {
    let begin = SPEC.split("      memorise").next().expect("a beginning").replace("printed: printed.csv\n", "");
    format!("{begin}      {study}\n")
}

/// The records of a folder of runs, each with the time it was written at.
fn records(dir: &Dir, runs: &str) -> BTreeMap<PathBuf, SystemTime> {
    let folders = std::fs::read_dir(dir.path().join(runs)).expect("runs");
    let paths = folders.map(|folder| folder.expect("readable").path().join("record.json"));
    paths.filter_map(|path| Some((path.clone(), path.metadata().ok()?.modified().expect("a time")))).collect()
}

fn read(dir: &Dir, name: &str) -> String {
    std::fs::read_to_string(dir.path().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).expect("a file")).expect("JSON")
}

#[test]
fn a_figure_is_drawn_from_records_of_the_store_beside_what_is_printed() {
    let dir = Dir::new();
    dir.write("printed.csv", "panel,layer,value\n16,0,1.00\n16,31,0.02\n");
    dir.write("figure0.yaml", SPEC);
    let said = ok(&dir, &["figure", "figure0.yaml"]);
    assert!(said.contains("book 24 tokens, layer -1: book "), "{said}");
    let csv = read(&dir, "results/quick/figure0.csv");
    let ours: Vec<&str> = csv.lines().filter(|line| line.starts_with("ours,")).collect();
    assert_eq!(ours.len(), 4, "{csv}");
    assert!(csv.contains("paper,16,paper,31,0.02,,"), "{csv}");
    assert!(ours[1].starts_with("ours,16,ours,3,"), "layer -1 of four is layer 3: {csv}");
    let svg = read(&dir, "results/quick/figure0.svg");
    assert!(!svg.contains("paper"), "printed values are not drawn as if they were ours");
    let png = std::fs::read(dir.path().join("results/quick/figure0.png")).expect("written");
    assert!(png.starts_with(b"\x89PNG"));
    let about = read(&dir, "results/quick/figure0.md");
    assert!(
        about.starts_with("**Figure 0: a test (a test, profile quick)**\n") && about.contains("4 runs, seed 1"),
        "{about}"
    );

    // Every point names its run, whose record has what it depends on, and lists have it like any other.
    let before = records(&dir, "runs");
    assert_eq!(before.len(), 4);
    for (line, tokens) in ours.iter().zip([16, 16, 24, 24]) {
        let (rest, run) = line.rsplit_once(',').expect("a run");
        let record = json(&dir.path().join("runs").join(run).join("record.json"));
        let n = record["scores"]["book"]["n"].as_u64().expect("tokens of the text");
        assert!(n < tokens && rest.ends_with(&format!(",{n}")), "{line}: {n}");
        let share = record["scores"]["book"]["correct"].as_f64().expect("a number") / n as f64;
        assert!(rest.contains(&format!(",{share},")), "{line}: {share}");
        let (plan, environment) = (&record["plan"], &record["environment"]);
        assert_eq!((&plan["dtype"], &plan["device"], &plan["seed"]), (&"f32".into(), &"cpu".into(), &1.into()));
        assert!(environment["threads"] == 1 && environment["processor"].is_string(), "{environment}");
        let kept = dir.path().join("runs").join(run);
        assert!(kept.join("adapter").exists() && kept.join("predictions-book.jsonl").exists());
    }
    let listed = ok(&dir, &["results", "--csv", "-", "--show", "adapt.reft.layers,data.max_length"]);
    assert_eq!(listed.lines().filter(|line| line.contains(",book,")).count(), 4, "{listed}");

    // What is missing is done, what is there is not.
    let (gone, _) = before.first_key_value().expect("a record");
    std::fs::remove_file(gone).expect("writable");
    assert_eq!(ok(&dir, &["figure", "figure0.yaml"]), said);
    let after = records(&dir, "runs");
    assert!(after.len() == 4 && after.iter().all(|(path, time)| path == gone || before[path] == *time));
    assert_eq!(read(&dir, "results/quick/figure0.csv"), csv);
}

#[test]
fn workers_slurm_and_the_store_alone_give_the_same_figure() {
    let dir = Dir::new();
    dir.write("printed.csv", "panel,layer,value\n");
    dir.write("figure0.yaml", SPEC);
    ok(&dir, &["figure", "figure0.yaml"]);
    let csv = read(&dir, "results/quick/figure0.csv");
    ok(&dir, &["figure", "figure0.yaml", "--runs", "others", "--results", "beside", "--workers", "2"]);
    assert_eq!(read(&dir, "beside/quick/figure0.csv"), csv);
    let others = records(&dir, "others");
    let again = others.keys().filter(|path| path.with_file_name("claim-0001.json").exists()).count();
    assert_eq!((others.len(), again), (4, 0), "each was done once");

    // A cluster whose tasks are done at once.
    dir.write("cluster.yaml", "partition: cpu\nthrottle: 2\n");
    std::fs::create_dir(dir.path().join("bin")).expect("writable");
    let sbatch = dir
        .write("bin/sbatch", "#!/bin/sh\necho 'x' >> count\nfor last; do :; done\ncp \"$last\" script.sh\necho 41\n");
    std::fs::set_permissions(sbatch, std::fs::Permissions::from_mode(0o755)).expect("writable");
    let path = format!("{}:{}", dir.path().join("bin").display(), std::env::var("PATH").expect("a path"));
    let submit = ["figure", "figure0.yaml", "--runs", "cluster", "--submit", "cluster.yaml"];
    let output = dir.reft(&submit).env("PATH", path).output().expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("job 41: rung-0, 4 tasks"), "{output:?}");
    let stored = ["figure", "figure0.yaml", "--runs", "cluster", "--results", "far", "--stored"];
    assert!(refused(&dir, &stored).contains("none of the 4 runs"), "nothing is done yet");
    let task = "export HOME=/nowhere; trap - USR1; sh ./script.sh";
    for _ in 0..3 {
        let done =
            std::process::Command::new("bash").arg("-c").arg(task).current_dir(dir.path()).output().expect("a shell");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
    ok(&dir, &stored);
    let (far, about) = (read(&dir, "far/quick/figure0.csv"), read(&dir, "far/quick/figure0.md"));
    assert!(far.lines().count() == csv.lines().count() - 1 && about.contains("3 of 4 are there; missing"), "{about}");
    assert!(far.lines().all(|line| csv.contains(line)), "{far}");
}

#[test]
fn pairs_questions_and_times_have_a_line_for_each_setting() {
    let dir = Dir::new();
    let training = "training: {epochs: 2, batch_size: 4, lr: 1e-2}";
    let studies = [
        ("pairs", format!("pairs: {{counts: [2, 3], layers: [1], {training}}}"), 2, "pairs"),
        (
            "overhead",
            "overhead: {prompt_tokens: [8], new_tokens: 2, repetitions: 2, layer: 1, ranks: [1], layers: [2], positions: [1, 2], \
             prompts: [4], answers: [1]}"
                .to_owned(),
            18,
            "overhead",
        ),
        ("style", format!("style: {{layer: 1, rank: 2, {training}, strengths: [0, 1]}}"), 2, "excuse-1"),
        (
            "composition",
            format!("composition: {{parts: [capitals, well], layers: [1], rows: 2, {training}, strengths: [0, 1]}}"),
            12,
            "capitals-1-0",
        ),
    ];
    for (name, study, lines, task) in studies {
        dir.write(&format!("{name}.yaml"), &with(&study));
        ok(&dir, &["figure", &format!("{name}.yaml")]);
        let csv = read(&dir, &format!("results/quick/{name}.csv"));
        assert_eq!(csv.lines().count(), 1 + lines, "{csv}");
        let listed = ok(&dir, &["results", "--csv", "-"]);
        assert!(listed.contains(&format!(",{task},")), "{task} is not in {listed}");
    }
    let composed = read(&dir, "results/quick/composition.csv");
    assert!(composed.contains("ours,both,in capitals,1,") && composed.contains(",40,"), "{composed}");
    assert!(refused(&dir, &["figure", "overhead.yaml", "--workers", "2"]).contains("which workers would disturb"));
}

#[test]
fn edits_of_a_prompt_are_measured_and_another_adapter_s_too() {
    let dir = Dir::new();
    let study = "edits: {prompt: \"a b\", layers: [0, 2], positions: f1+l1, rank: 2, training: {epochs: 2, batch_size: 8, lr: 1e-2}}";
    dir.write("figure2.yaml", &with(study));
    ok(&dir, &["figure", "figure2.yaml"]);
    let csv = read(&dir, "results/quick/figure2.csv");
    let lines: Vec<Vec<&str>> = csv.lines().skip(1).map(|line| line.split(',').collect()).collect();
    // A token a byte: the first and the last are edited at both layers, the one between is not.
    let of = |token: &str| lines.iter().filter(|line| line[0].starts_with(token)).collect::<Vec<_>>();
    assert_eq!((of("0").len(), of("1").len(), of("2").len()), (2, 1, 2), "{csv}");
    assert_eq!(of("1")[0][1..], ["", "", "", "", ""], "{csv}");
    for line in of("0").into_iter().chain(of("2")) {
        let number = |at: usize| line[at].parse::<f64>().unwrap_or_else(|_| panic!("{line:?}"));
        assert!((number(2) / number(3) - number(4)).abs() < 1e-9 && number(2) > 0.0, "{line:?}");
        assert!((0.0..=180.0).contains(&number(5)), "{line:?}");
    }
    let run = records(&dir, "runs").into_keys().next().expect("a run");
    let adapter = run.with_file_name("adapter");
    ok(&dir, &["figure", "figure2.yaml", "--adapter", &adapter.display().to_string(), "--results", "given"]);
    let id = run.parent().and_then(Path::file_name).expect("a run's folder").to_string_lossy();
    assert_eq!(read(&dir, &format!("given/quick/figure2-{id}-adapter.csv")), csv);
    let about = read(&dir, &format!("given/quick/figure2-{id}-adapter.md"));
    assert!(
        about.starts_with("**Figure 0: a test (by ") && !about.contains("(a test,"),
        "nothing of the study: {about}"
    );
    dir.write("printed.csv", "panel,layer,value\n");
    dir.write("figure0.yaml", SPEC);
    assert!(refused(&dir, &["figure", "figure0.yaml", "--adapter", "x"]).contains("--adapter: this figure is not one"));
}

/// LoRA acts on linear maps before any norm of theirs: another visit than that of interventions.
#[test]
fn edits_of_a_lora_are_measured_where_it_acts() {
    let dir = Dir::new();
    dir.write(
        "run.yaml",
        "model: model\ndtype: f32\nadapt: {lora: {rank: 2, alpha: 4, components: [q], layers: [0, 2]}}\n\
         data: {train: [arc_e], eval: [arc_e], train_rows: 8, eval_rows: 4}\n\
         train: {epochs: 2, batch_size: 4, lr: 5e-2}\neval: {max_new_tokens: 4}\n",
    );
    let said = ok(&dir, &["train", "run.yaml"]);
    let run = said.lines().find_map(|line| line.strip_prefix("run ")).expect("the run's folder");
    let study =
        "edits: {prompt: \"a b\", layers: [0], positions: f1, rank: 2, training: {epochs: 1, batch_size: 8, lr: 1e-2}}";
    dir.write("figure2.yaml", &with(study));
    ok(&dir, &["figure", "figure2.yaml", "--adapter", &format!("{run}/adapter")]);
    let id = Path::new(run).file_name().expect("its name").to_string_lossy();
    let csv = read(&dir, &format!("results/quick/figure2-{id}-adapter.csv"));
    let sizes: Vec<f64> = csv.lines().skip(1).filter_map(|line| line.split(',').nth(2)?.parse().ok()).collect();
    assert_eq!(sizes.len(), 6, "three tokens at two layers: {csv}");
    assert!(sizes.iter().all(|&size| size > 0.0), "{csv}");
}

#[test]
fn parameters_and_scores_come_from_the_tables_runs_and_printed_rows_are_not_drawn() {
    let dir = Dir::new();
    let table = "
title: \"Table 0: words\"
printed: printed.csv
profiles:
  quick:
    purpose: a test
    tasks: [arc_e]
    seeds: [1]
    run: {dtype: f32, data: {source: embedded, train_rows: 8, eval_rows: 3}, eval: {max_new_tokens: 2}}
    models: [{name: Tiny, model: model}]
    methods: [{name: base model}, {name: LoReFT, run: {adapt: {reft: {intervention: loreft, rank: 2, positions: f1}}}}]
";
    dir.write("table0.yaml", table);
    dir.write("printed.csv", "model,method,params_percent,arc_e,avg,origin\nLarge,LoRA,0.83,70,71.5,another paper\n");
    dir.write(
        "figure1.yaml",
        "title: Figure 1\nprofiles:\n  quick:\n    purpose: a test\n    tables: {files: [table0.yaml], profile: quick}\n",
    );
    ok(&dir, &["table", "table0.yaml"]);
    let before = records(&dir, "runs");
    ok(&dir, &["figure", "figure1.yaml", "--stored"]);
    let (csv, svg) = (read(&dir, "results/quick/figure1.csv"), read(&dir, "results/quick/figure1.svg"));
    let ours: Vec<&str> = csv.lines().filter(|line| line.starts_with("ours,")).collect();
    assert!(ours.len() == 1 && ours[0].starts_with("ours,\"words, Tiny\",LoReFT,"), "{csv}");
    assert!(csv.contains("another paper,\"words, Large\",LoRA,0.83,71.5,,"), "{csv}");
    assert!(svg.contains("LoReFT") && !svg.contains("LoRA") && svg.contains("&quot;log&quot;"), "{svg}");
    ok(&dir, &["figure", "figure1.yaml"]);
    assert_eq!(records(&dir, "runs"), before, "nothing is done again");
    assert!(refused(&dir, &["figure", "figure1.yaml", "--device", "cpu"]).contains("--device: the tables' files say"));
}

#[test]
fn every_figure_s_file_is_valid_in_every_profile() {
    let dir = Dir::new();
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for folder in ["paper", "configs"] {
        std::os::unix::fs::symlink(repository.join(folder), dir.path().join(folder)).expect("a link");
    }
    let mut seen = Vec::new();
    for folder in ["configs/figures", "configs/studies"] {
        for file in std::fs::read_dir(repository.join(folder)).expect("a folder") {
            let file = file.expect("readable");
            let spec = format!("{folder}/{}", file.file_name().to_string_lossy());
            let text = std::fs::read_to_string(file.path()).expect("readable");
            let profiles = text.lines().filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':'));
            for profile in profiles.filter(|name| name.chars().all(|letter| letter.is_alphanumeric() || letter == '_'))
            {
                let said = ok(&dir, &["figure", &spec, "--profile", profile, "--dry-run"]);
                let fine = said.contains("runs, every setting checked") || said.contains("It is drawn as figure");
                assert!(fine, "{spec} {profile}: {said}");
                seen.push((spec.clone(), profile.to_owned(), said));
            }
        }
    }
    assert!(seen.len() > 35, "{} profiles", seen.len());
    let of = |spec: &str, profile: &str| {
        let found = seen.iter().find(|(file, name, _)| file.ends_with(spec) && name == profile);
        found.unwrap_or_else(|| panic!("no {profile} of {spec}")).2.clone()
    };
    assert!(of("figure3.yaml", "paper").contains("56 runs"), "8 lengths, 7 layers");
    assert!(of("figure9.yaml", "as_run").contains("200 epochs, batch 16, lr 0.002"));
    assert!(
        of("figure4.yaml", "quick").contains("It is drawn as figure3") && of("figure4.yaml", "paper").contains("13b")
    );
}

#[test]
fn a_figure_that_cannot_be_made_says_why() {
    let dir = Dir::new();
    dir.write("printed.csv", "panel,layer,value\n16,0,1.00\n");
    for (from, to, expected) in [
        ("content: book", "content: poem", "poem"),
        ("lengths: [16, 24]", "lengths: [0]", "profiles.quick.study.memorise.lengths"),
        ("lengths: [16, 24]", "lengths: [16, 16]", "16 stands there twice: leave one out"),
        ("layers: [0, -1]", "layers: []", "memorise.layers: the list is empty: name at least one"),
        (
            "layers: [0, -1]",
            "layers: [3, -1]",
            "study.memorise.layers: layers 3 and -1 are the same in a model of 4 layers",
        ),
        (
            "lengths: [16, 24]",
            "lengths: [99999]",
            "99999 tokens (data.max_length, `lengths` of a figure) are not there",
        ),
        ("layers: [0, -1]", "layers: [0, 9]", "figure0.yaml: study.memorise.layers: layer 9 does not exist"),
        ("printed.csv", "missing.csv", "figure0.yaml: printed: missing.csv: cannot be read; name a CSV"),
        ("seed: 1", "seeds: 1", "seeds"),
        ("    seed: 1\n", "", "a study needs a model and a seed"),
        ("lr: 3e-2", "lr: 0", "profiles.quick.study.memorise.training.lr: 0 is not a learning rate: above 0"),
        ("purpose: \"a test\"", "purpose: \"a test\"\n    same_as: figure1", "write study with model and seed"),
        ("content: book", "content: book, book: whole", "alice_in_wonderland.txt"),
    ] {
        dir.write("figure0.yaml", &SPEC.replace(from, to));
        let error = refused(&dir, &["figure", "figure0.yaml"]);
        let last = error.trim_end().lines().last().expect("a line");
        assert!(last.starts_with("error: ") && last.contains(expected), "`{expected}` is not in: {error}");
        assert!(!dir.path().join("results/quick/figure0.csv").exists(), "nothing half-written");
        assert!(!dir.path().join("runs").exists(), "`{expected}` is seen before anything is trained");
    }
}

#[test]
fn a_study_that_cannot_be_made_says_why_in_its_dry_run_too() {
    let dir = Dir::new();
    for (study, expected) in [
        (
            "overhead: {prompt_tokens: [8, 12], new_tokens: 2, repetitions: 1, layer: 0, ranks: [], layers: [], positions: [9]}",
            "study.overhead.positions: 9 tokens are edited, and the shortest of prompt_tokens has 8",
        ),
        (
            "overhead: {prompt_tokens: [8], new_tokens: 2, repetitions: 1, layer: 0, ranks: [], layers: [], positions: [], prompts: [90000]}",
            "prompt tokens 90000: a prompt of 90000 tokens, where the text has",
        ),
        (
            "composition: {parts: [well, well], layers: [1], rows: 2, strengths: [1], training: {epochs: 1, lr: 1e-2}}",
            "study.composition.parts: both learn well: name two styles",
        ),
        (
            "edits: {prompt: a, layers: [1], positions: gen, rank: 1, training: {epochs: 1, lr: 1e-2}}",
            "study.edits.positions: gen edits no token of a prompt",
        ),
        (
            "edits: {prompt: \"\", layers: [1], positions: l1, rank: 1, training: {epochs: 1, lr: 1e-2}}",
            "study.edits.prompt: an empty prompt has no edits",
        ),
        ("memorise: {content: book, lengths: [99999], layers: [1], training: {epochs: 1, lr: 1e-2}}", "99999 tokens"),
        (
            "memorise: {content: book, lengths: [20], layers: [1], training: {epochs: 0, lr: 1e-2}}",
            "memorise.training.epochs",
        ),
        ("pairs: {counts: [0], layers: [1], training: {epochs: 1, lr: 1e-2}}", "study.pairs.counts"),
        ("pairs: {counts: [100000000], layers: [1], training: {epochs: 1, lr: 1e-2}}", "at most 1000000"),
        ("style: {layer: 1, rank: 1, strengths: [], training: {epochs: 1, lr: 1e-2}}", "study.style.strengths"),
        ("style: {layer: 9, rank: 1, strengths: [1], training: {epochs: 1, lr: 1e-2}}", "layer 9 does not exist"),
        (
            "edits: {prompt: a, layers: [], positions: l1, rank: 1, training: {epochs: 1, lr: 1e-2}}",
            "study.edits.layers",
        ),
    ] {
        dir.write("figure0.yaml", &with(study));
        for dry in [&[][..], &["--dry-run"]] {
            let error = refused(&dir, &[&["figure", "figure0.yaml"], dry].concat());
            let last = error.trim_end().lines().last().expect("a line");
            assert!(
                last.starts_with("error: figure0.yaml") && last.contains(expected),
                "`{expected}` is not in: {error}"
            );
        }
    }
}

#[test]
fn a_figure_s_file_names_what_there_is() {
    let dir = Dir::new();
    dir.write("printed.csv", "panel,layer,value\n16,0,1.00\n");
    for (text, expected) in [
        ("profiles: {}\n", "profiles is empty: write one, such as quick"),
        (
            "profiles:\n  quick:\n    purpose: p\n    same_as: figure99\n",
            "same_as: figure99: figure99.yaml is no other figure",
        ),
        (
            "profiles:\n  quick:\n    purpose: p\n    same_as: figure0\n",
            "same_as: figure0: figure0.yaml is no other figure",
        ),
        (
            "profiles:\n  quick:\n    purpose: p\n    tables: {files: [], profile: quick}\n",
            "tables.files: the list is empty",
        ),
    ] {
        dir.write("figure0.yaml", &format!("title: t\n{text}"));
        let error = refused(&dir, &["figure", "figure0.yaml", "--dry-run"]);
        assert!(error.contains(expected), "`{expected}` is not in: {error}");
    }
    dir.write("figure0.yaml", SPEC);
    let error = refused(&dir, &["figure", "figure0.yaml", "--stored", "--results", "drawn"]);
    assert!(error.contains("--runs runs: there is no such folder") && !dir.path().join("drawn").exists(), "{error}");
    let error = refused(&dir, &["figure", "figure0.yaml", "--profile", "large"]);
    assert!(error.contains("there is no profile `large`: choose one of quick"), "{error}");
}
