use super::*;

const SWEEP: &str = "
title: A test
run:
  adapt: {reft: {intervention: loreft, rank: 2, positions: f1+l1}}
space:
  train.lr: {choices: [1e-3, 2e-3]}
  adapt.reft.rank: {choices: [1, 2, 4]}
method: grid
final: {seeds: [1, 2]}
";

fn read(text: &str) -> Result<SweepSpec, String> {
    read_over(text, &[])
}

fn read_over(text: &str, overrides: &[&str]) -> Result<SweepSpec, String> {
    let overrides = &overrides.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("s.yaml"), text).expect("writable");
    let base = "adapt: {reft: {intervention: direft, rank: 2, positions: l1}}\ntrain: {epochs: 7}\n";
    std::fs::write(folder.path().join("base.yaml"), base).expect("writable");
    let said = |error: ConfigError| error.to_string().replace(&format!("{}/", folder.path().display()), "");
    SweepSpec::read(&folder.path().join("s.yaml"), overrides).map_err(said)
}

#[test]
fn trials_and_final_runs_differ_in_split_and_seed_only() {
    let spec = read(SWEEP).expect("valid");
    let point = spec.space.at(4).expect("a point");
    let trial = spec.plan(&point, "a test").expect("valid");
    assert_eq!((trial.train.lr, trial.seed, &trial.data.eval_split), (2e-3, 42, &EvalSplit::Dev));
    let last = spec.last_plans(&point, "trial 4", "a test").expect("valid");
    assert_eq!(last.iter().map(|plan| plan.seed).collect::<Vec<_>>(), [1, 2]);
    let mut same = last[0].clone();
    assert_eq!(same.data.eval_split, EvalSplit::Test(Selection { chosen_by: "trial 4".to_owned() }));
    (same.seed, same.data.eval_split) = (42, EvalSplit::Dev);
    assert_eq!(same, trial);
}

#[test]
fn a_frozen_sweep_reads_back_as_itself_without_its_base() {
    let spec = read(&SWEEP.replace("run:", "base: base.yaml\nrun:")).expect("valid");
    let plan = spec.plan(&SearchPoint::new(), "a test").expect("valid");
    assert_eq!(plan.train.epochs, 7, "from the base");
    let adapt = serde_json::to_value(&plan.adapt).expect("plain data");
    assert_eq!(adapt["reft"]["positions"], "f1+l1", "over the base");
    assert_eq!(SweepSpec::from_tree(spec.frozen().clone(), "a test").expect("valid"), spec);
}

#[test]
fn settings_given_beside_the_file_win_over_it_and_are_frozen_with_it() {
    let text = SWEEP.replace("run:", "base: base.yaml\nrun:");
    let spec = read_over(&text, &["run.train.epochs=3", "trials=9", "run.adapt.reft.positions=l2"]).expect("valid");
    let plan = spec.plan(&SearchPoint::new(), "a test").expect("valid");
    assert_eq!((plan.train.epochs, spec.trials), (3, 9));
    let adapt = serde_json::to_value(&plan.adapt).expect("plain data");
    assert_eq!((&adapt["reft"]["positions"], &adapt["reft"]["intervention"]), (&"l2".into(), &"loreft".into()));
    assert_eq!(SweepSpec::from_tree(spec.frozen().clone(), "a test").expect("valid"), spec);
    let refused = |setting: &str| read_over(&text, &[setting]).expect_err(setting);
    let cases = [
        ("run.train.epoch=3", "--set run.train.epoch=3: unknown key `run.train.epoch` (did you mean `epochs`?)"),
        ("train.epochs=3", "--set train.epochs=3: unknown key `train`"),
        ("space.train.lr={choices: [1]}", "space: what is varied stands in the file"),
        ("run.data.eval_split={test: {chosen_by: me}}", "a sweep chooses by dev rows only"),
        ("trials=0", "--set trials=0: trials: at least 1"),
    ];
    for (setting, expected) in cases {
        let error = refused(setting);
        assert!(error.contains(expected), "`{expected}` is not in: {error}");
    }
}

#[test]
fn what_would_read_test_rows_or_choose_a_seed_is_refused() {
    let test = "eval_split: {test: {chosen_by: me}}";
    let error = read(&SWEEP.replace("run:\n", &format!("run:\n  data: {{{test}}}\n"))).expect_err("refused");
    assert!(error.contains("data.eval_split: a sweep chooses by dev rows only"), "{error}");
    for key in ["data.eval_split", "data.eval", "data.eval_rows", "data.source"] {
        let error = read(&SWEEP.replace("train.lr", key)).expect_err("refused");
        assert!(error.starts_with(&format!("s.yaml:6: space.{key}: what is scored must be the same")), "{error}");
    }
    let error = read(&SWEEP.replace("train.lr", "seed")).expect_err("refused");
    assert!(error.contains("space.seed: a seed is no setting to choose"), "{error}");
}

#[test]
fn mistakes_are_named_with_place_key_and_remedy() {
    let change = |from: &str, to: &str| read(&SWEEP.replace(from, to)).expect_err(to);
    let cases = [
        (change("method", "methd"), "s.yaml:8: unknown key `methd` (did you mean `method`?)"),
        (change("train.lr", "train.lrr"), "s.yaml:6: unknown key `space.train.lrr` (did you mean `lr`?)"),
        (change("[1e-3, 2e-3]", "[1e-3, fast]"), "s.yaml:6: space.train.lr: `fast` is not a number"),
        (change("[1e-3, 2e-3]", "[1e-3, -1]"), "s.yaml:6: space.train.lr: -1 is not a learning rate"),
        (change("{choices: [1, 2, 4]}", "{range: [1, 4]}"), "s.yaml:8: method: a range has no grid"),
        (change("method: grid", "method: random"), "s.yaml: trials: say how many"),
        (change("method: grid", "method: grid\ntrials: 5"), "s.yaml:9: trials: the grid has 6 points"),
        (change("method: grid", "method: grid\nhalving: {eta: 1, rungs: 2}"), "s.yaml:9: halving: eta at least 2"),
        (
            change("method: grid", "method: {tpe: {}}\ntrials: 9\nhalving: {eta: 2, rungs: 2}"),
            "s.yaml:10: halving: its trials must all be known",
        ),
        (
            change("method: grid", "method: gird"),
            "s.yaml:8: method: `gird` is unknown (did you mean `grid`?): write one of listed, grid, random, tpe",
        ),
        (change("method: grid", "method: grid\nmetric: win_rate"), "s.yaml:9: metric: win rate is not how"),
        (change("seeds: [1, 2]", "seeds: []"), "s.yaml:9: final.seeds: name at least one"),
        (change("  adapt: {reft", "  base: {reft"), "s.yaml:4: unknown key `run.base`"),
        (change("seeds: [1, 2]", "seeds: 42"), "s.yaml:9: final.seeds: 42 is not a list: write [42]"),
        (
            change("{seeds: [1, 2]}", "{seeds: [1], run: {train: {lr: x}}}"),
            "s.yaml:9: final.run.train.lr: `x` is not a number",
        ),
        (
            change("{choices: [1, 2, 4]}", "[1, 2, 4]"),
            "s.yaml:7: space.adapt.reft.rank: a list is not a section: write choices,",
        ),
        (
            change("{choices: [1, 2, 4]}", "{choices: [1, 2.5]}"),
            "s.yaml:7: space.adapt.reft.rank: 2.5 is not a whole number",
        ),
        (
            change("{choices: [1, 2, 4]}", "{chioces: [1]}"),
            "s.yaml:7: unknown key `space.adapt.reft.rank.chioces` (did you mean `choices`?)",
        ),
        (change("title: A test", "title: {a: b}"), "s.yaml:2: title: a section is not a text"),
        (change("title: A test\n", ""), "s.yaml: title: is missing"),
    ];
    for (error, expected) in cases {
        assert!(error.contains(expected), "`{expected}` is not in: {error}");
    }
}
