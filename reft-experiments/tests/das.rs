//! DAS finds a planted variable: on a tiny network, by the command, at the right layer and position and not at wrong ones.

use std::path::Path;
use std::process::{Command, Output};

fn reft(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reft"));
    command.current_dir(folder).args(arguments).env("REFT_CACHE", folder.join("cache")).env("OMP_NUM_THREADS", "1");
    command.output().expect("the program starts")
}

fn ok(folder: &Path, arguments: &[&str]) -> String {
    let output = reft(folder, arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Accuracy by layer and position.
fn accuracy(csv: &str, layer: usize, position: &str) -> f64 {
    let begin = format!("{layer},{position},");
    let row = csv.lines().find_map(|line| line.strip_prefix(&begin));
    let row = row.unwrap_or_else(|| panic!("{begin} is not in {csv}"));
    row.split(',').next().and_then(|cell| cell.parse().ok()).expect("a number")
}

#[test]
fn what_cannot_be_searched_for_is_refused_before_a_network_is_trained() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    std::fs::create_dir(folder.join("mine")).expect("a folder");
    std::fs::write(folder.join("mine/notes.txt"), "kept").expect("written");
    for (flags, expected) in [
        (&["--pairs", "0"][..], "write a number of pairs, 1 or more"),
        (&["--test-pairs", "0"], "write a number of pairs, 1 or more"),
        (&["--epochs", "0"], "--epochs"),
        (&["--rank", "0"], "0: write a whole number from 1"),
        (&["--pairs", "-5"], "write a number of pairs, 1 or more"),
        (&["--basis", "none", "--layers", "1"], "cannot be used with"),
        (&["--rank", "65"], "--rank 65: "),
        (&["--rank", "40", "--variable", "both"], "--rank 40: "),
        (&["--rate", "0"], "write a learning rate above 0"),
        (&["--layers", "7"], "--layers: layer 7 does not exist"),
        (&["--basis", "none"], "--basis"),
        (&["--network", "mine"], "--network mine: other files are there"),
        (&["--network", "mine/notes.txt"], "mine/notes.txt is a file"),
    ] {
        let output = reft(folder, &[&["das", "equality", "--out", "found"], flags].concat());
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains(expected), "`{expected}` is not in: {error}");
        assert_eq!(error.trim_end().lines().count(), 1, "{error}");
        assert!(!folder.join("found").exists(), "{flags:?}");
    }
    assert_eq!(std::fs::read_to_string(folder.join("mine/notes.txt")).expect("still there"), "kept");
}

#[test]
fn the_planted_variable_is_found_where_it_is_and_nowhere_else() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let search = [
        "das",
        "equality",
        "--variable",
        "wx",
        "--layers",
        "1;2",
        "--out",
        "wx",
        "--pairs",
        "512",
        "--test-pairs",
        "384",
    ];
    println!("{}", ok(folder, &search));
    let csv = std::fs::read_to_string(folder.join("wx/iia.csv")).expect("written");
    let right = accuracy(&csv, 1, "X");
    assert!(right >= 0.95, "{right} where the variable is planted");
    // Before the second entity nothing can be known; after the last block only the query's state is read.
    for (layer, position) in [(1, "W"), (2, "W"), (2, "X"), (2, "Z")] {
        let wrong = accuracy(&csv, layer, position);
        assert!((0.4..0.6).contains(&wrong), "{wrong} at layer {layer}, {position}");
    }
    for file in ["wx/iia.svg", "wx/iia.png", "wx/iia.md", "wx/basis/adapter_config.json"] {
        assert!(folder.join(file).exists(), "{file}");
    }

    let given = ["das", "equality", "--network", "wx/network", "--basis", "wx/basis", "--out", "given", "--seed", "7"];
    println!("{}", ok(folder, &given));
    let csv = std::fs::read_to_string(folder.join("given/iia.csv")).expect("written");
    assert!(accuracy(&csv, 1, "X") >= 0.95, "other pairs: {csv}");

    let again = reft(folder, &given);
    let error = String::from_utf8_lossy(&again.stderr);
    assert!(!again.status.success() && error.contains("--out given: iia.csv of another search is there"), "{error}");

    let both = ["das", "equality", "--variable", "both", "--network", "wx/network", "--layers", "1;2", "--out", "both"];
    println!("{}", ok(folder, &both));
    let csv = std::fs::read_to_string(folder.join("both/iia.csv")).expect("written");
    let (right, wrong) = (accuracy(&csv, 1, "X and Z"), accuracy(&csv, 2, "X and Z"));
    assert!(right >= 0.95, "{right}: two sources in disjoint rows of one R");
    assert!((0.4..0.6).contains(&wrong), "{wrong} behind the last block");
    let given = ["das", "equality", "--variable", "both", "--network", "wx/network", "--out", "given", "--overwrite"];
    ok(folder, &[&given[..], &["--basis", "both/basis"]].concat());
    let output = reft(folder, &[&given[..], &["--basis", "wx/basis"]].concat());
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("an R for 1 variables, where 2 are exchanged"), "{error}");

    let output = reft(folder, &["das", "equality", "--network", "wx/network", "--basis", "wx", "--out", "other"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("adapter_config.json"), "{error}");
}
