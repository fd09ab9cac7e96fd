//! `reft figure` on a tiny model: what is computed is kept, drawn, and written; wrong files are refused.

mod support;

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

fn stored(dir: &Dir, study: &str) -> usize {
    std::fs::read_dir(dir.path().join("runs/studies").join(study)).map_or(0, Iterator::count)
}

#[test]
fn a_figure_is_drawn_from_results_that_are_kept_and_beside_what_is_printed() {
    let dir = Dir::new();
    dir.write("printed.csv", "panel,layer,value\n16,0,1.00\n16,31,0.02\n");
    dir.write("figure0.yaml", SPEC);
    let said = ok(&dir, &["figure", "figure0.yaml"]);
    assert!(said.contains("24 tokens, layer -1:"), "{said}");
    let read =
        |ending: &str| std::fs::read(dir.path().join(format!("results/quick/figure0.{ending}"))).expect("written");
    let csv = String::from_utf8(read("csv")).expect("text");
    let ours = csv.lines().filter(|line| line.starts_with("ours,")).count();
    assert_eq!(ours, 4, "{csv}");
    assert!(csv.contains("paper,16,paper,31,0.02"), "{csv}");
    let svg = String::from_utf8(read("svg")).expect("text");
    assert!(!svg.contains("paper"), "printed values are not drawn as if they were ours");
    assert!(read("png").starts_with(b"\x89PNG"));
    assert_eq!(stored(&dir, "memorise"), 4);
    // An interrupted study: what is missing is computed, what is there is not.
    let kept = dir.path().join("runs/studies/memorise");
    let first = std::fs::read_dir(&kept).expect("there").next().expect("one").expect("readable").path();
    let others = || {
        let files = std::fs::read_dir(&kept).expect("there").map(|file| file.expect("readable").path());
        let mut times: Vec<_> = files
            .filter(|path| *path != first)
            .map(|path| path.metadata().expect("there").modified().expect("a time"))
            .collect();
        times.sort();
        times
    };
    let before = others();
    std::fs::remove_file(&first).expect("writable");
    assert_eq!(ok(&dir, &["figure", "figure0.yaml"]), said);
    assert_eq!((stored(&dir, "memorise"), others()), (4, before));
    assert_eq!(String::from_utf8(read("csv")).expect("text"), csv);
}

#[test]
fn pairs_and_overhead_have_a_line_for_each_setting() {
    let dir = Dir::new();
    let pairs = "pairs: {counts: [2, 3], layers: [1], training: {epochs: 2, batch_size: 2, lr: 1e-2}}";
    let overhead =
        "overhead: {prompt_tokens: [8], new_tokens: 2, repetitions: 2, ranks: [1], layers: [2], positions: [1, 2]}";
    for (name, study, lines) in [("pairs", pairs, 2), ("overhead", overhead, 12)] {
        let begin = SPEC.split("      memorise").next().expect("a beginning").replace("printed: printed.csv\n", "");
        dir.write(&format!("{name}.yaml"), &format!("{begin}      {study}\n"));
        ok(&dir, &["figure", &format!("{name}.yaml")]);
        let csv = std::fs::read_to_string(dir.path().join(format!("results/quick/{name}.csv"))).expect("written");
        assert_eq!(csv.lines().count(), 1 + lines, "{csv}");
    }
}

#[test]
fn a_figure_that_cannot_be_made_says_why() {
    let dir = Dir::new();
    dir.write("printed.csv", "panel,layer,value\n16,0,1.00\n");
    for (from, to, expected) in [
        ("content: book", "content: poem", "poem"),
        ("lengths: [16, 24]", "lengths: [99999]", "99999 tokens are not there"),
        ("layers: [0, -1]", "layers: [9]", "layer 9 does not exist"),
        ("printed.csv", "missing.csv", "missing.csv"),
        ("seed: 1", "seeds: 1", "seeds"),
        ("content: book", "content: book, book: whole", "alice_in_wonderland.txt"),
    ] {
        dir.write("figure0.yaml", &SPEC.replace(from, to));
        let output = dir.run(&["figure", "figure0.yaml"]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains(expected), "`{expected}` is not in: {error}");
        assert!(!dir.path().join("results/quick/figure0.csv").exists(), "nothing half-written");
    }
    dir.write("figure0.yaml", SPEC);
    let output = dir.run(&["figure", "figure0.yaml", "--profile", "large"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("there is no profile `large`: choose one of quick"), "{error}");
}
