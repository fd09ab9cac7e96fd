//! The report: complete, nothing from elsewhere, every chart as its CSV says, and what is missing is said.

#![cfg(feature = "program")]

mod browser;
mod charts;
mod figure_files;
mod result_files;
mod support;
#[expect(dead_code, reason = "what a sweep came to is compared by its own tests")]
mod sweeps;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use resvg::tiny_skia::Pixmap;
use serde_json::{Value, json};
use support::Dir;
use sweeps::{SWEEP, dir, endings, folder, read, said, states};

/// A title that would end the page if it were not escaped.
const TITLE: &str = "</title><script>alert(1)</script> & \"Tiny\"";

/// A folder with a sweep whose scores differ, failed trials, tables, and its report in `out`. Made once for all tests that run
/// at the same time, and removed after the last of them.
fn made() -> Arc<Dir> {
    static MADE: Mutex<Weak<Dir>> = Mutex::new(Weak::new());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    made.upgrade().unwrap_or_else(|| {
        let dir = Arc::new(make());
        *made = Arc::downgrade(&dir);
        dir
    })
}

fn make() -> Dir {
    let dir = dir();
    let sweep = SWEEP.replace("title: Tiny", &format!("title: {}", json!(TITLE)));
    let sweep = sweep.replace("{choices: [1e-3, 5e-3, 2e-2]}", "{range: [1e-3, 2e-2], log: true}");
    let layers = "  adapt.reft.layers: {choices: [[0], [7]]}\nmethod: random\ntrials: 12";
    dir.write("tiny.yaml", &sweep.replace("method: grid", layers));
    said(&dir, &["sweep", "run", "tiny.yaml"]);
    give_scores(&dir.path().join("runs"));
    result_files::write(&dir);
    said(&dir, &["report", "--out", "out"]);
    dir
}

/// The tiny model answers nothing rightly: the scores are put there, the best for trials that went on.
fn give_scores(runs: &Path) {
    let manifest = read(&folder(runs).join("manifest.json"));
    for (number, trial) in manifest["trials"].as_array().expect("trials").iter().enumerate() {
        let run = runs.join(trial["run"].as_str().expect("a name"));
        let (state, record) = (run.join("state.json"), run.join("record.json"));
        let correct = if record.exists() { 4 } else { number % 3 };
        let mut told = read(&state);
        for rung in told["rungs"].as_array_mut().expect("rungs") {
            rung["scores"]["arc_e"]["correct"] = json!(correct);
        }
        std::fs::write(&state, told.to_string()).expect("writable");
        if record.exists() {
            let mut told = read(&record);
            told["scores"]["arc_e"]["correct"] = json!(3);
            std::fs::write(&record, told.to_string()).expect("writable");
            std::fs::write(run.join("epochs.jsonl"), "{\"epoch\":0,\"value\":0.25}\n{\"epoch\":1,\"value\":0.75}\n")
                .expect("writable");
        }
    }
}

/// A page with all that is looked for: text on text, text outside its chart, something too wide, something fetched.
const BAD: &str = r#"<!doctype html><head></head><body><figure><svg width="100" height="40"><text y="20">over</text>
<text y="20" x="5">each</text><text y="20" x="95">far</text></svg></figure><div style="width:500px">wide</div>
<img src="data.png"></body>"#;

fn page(dir: &Dir, out: &str) -> String {
    std::fs::read_to_string(dir.path().join(out).join("index.html")).expect("a page")
}

/// Every file below a folder, by its path there.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("readable").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() {
            all.extend(files(&path).into_iter().map(|(below, bytes)| (format!("{name}/{below}"), bytes)));
        } else {
            all.insert(name, std::fs::read(&path).expect("readable"));
        }
    }
    all
}

/// Every address in a page.
fn addresses(html: &str) -> Vec<&str> {
    html.split("href=\"").skip(1).map(|rest| rest.split_once('"').expect("an end").0).collect()
}

#[test]
fn the_page_asks_for_nothing_and_every_link_leads_somewhere() {
    let made = made();
    let html = page(&made, "out");
    let without = html.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
    for outside in
        ["http:", "https:", "<script", "<link", "<img", "<iframe", "@import", "url(", "src=", "onload", "javascript:"]
    {
        assert!(!without.contains(outside), "the page has {outside}");
    }
    assert!(
        html.contains("&lt;/title&gt;&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;Tiny&quot;"),
        "the sweep's title"
    );
    let ids: BTreeSet<&str> =
        html.split(" id=\"").skip(1).map(|rest| rest.split_once('"').expect("an end").0).collect();
    let out = made.path().join("out");
    let mut kinds = BTreeSet::new();
    for address in addresses(&html) {
        if let Some(anchor) = address.strip_prefix('#') {
            assert!(ids.contains(anchor), "#{anchor} is nowhere");
        } else {
            assert!(out.join(address).exists(), "{address} leads nowhere");
            kinds.insert(address.rsplit('/').next().expect("a name").to_owned());
        }
    }
    for file in ["record.json", "config.yaml", "predictions-arc_e.jsonl", "runs.csv", "table2.csv", "training-1.png"] {
        assert!(kinds.contains(file), "no link to {file} among {kinds:?}");
    }
    for needed in [
        "<title>Report on ReFT runs</title>",
        "content=\"default-src 'none'; style-src 'unsafe-inline'\"",
        "name=\"viewport\"",
        "@media print",
        "prefers-color-scheme:dark",
    ] {
        assert!(html.contains(needed), "the page lacks {needed}");
    }
}

#[test]
fn every_chart_says_what_its_csv_says_at_both_widths_and_beside_the_page() {
    let made = made();
    let all = files(&made.path().join("out"));
    let drawn = charts::of_page(&page(&made, "out"));
    let names: BTreeSet<&str> = drawn.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(drawn.len(), 2 * names.len(), "a wide and a narrow one each");
    let drawn_here = ["quick-figure1", "quick-figure10", "quick-figure2", "quick-das-iia"];
    for ending in [
        "-parallel",
        "-importance",
        "-dev",
        "paper-table2",
        "quick-table1",
        "quick-table2",
        "quick-table2-nll",
        "training-1",
    ]
    .into_iter()
    .chain(drawn_here)
    {
        assert!(names.iter().any(|name| name.ends_with(ending)), "no {ending} among {names:?}");
    }
    for (name, svg) in &drawn {
        let rows = charts::csv(&all[&format!("{name}.csv")]);
        let seen = charts::check(name, svg, &rows);
        let beside = charts::check(name, std::str::from_utf8(&all[&format!("{name}.svg")]).expect("text"), &rows);
        assert_eq!(seen, beside, "{name} and its file differ");
        complete(name, &rows, &seen);
    }
    for name in names {
        let picture = Pixmap::decode_png(&all[&format!("{name}.png")]).expect("a picture");
        let dark = picture.pixels().iter().filter(|pixel| pixel.red() < 200).count();
        assert!(picture.width() == 2 * (720 + 24) && dark > 1000, "{name}.png: {} wide, {dark} dark", picture.width());
    }
}

/// Every figure of a CSV that charts show is somewhere in its chart.
fn complete(name: &str, rows: &charts::Csv, seen: &BTreeSet<(usize, String)>) {
    let figures = ["score", "share", "chance", "right", "rung_0", "rung_1", "loss", "norm", "lr", "watched"];
    // Printed values of a figure are in its CSV only, and what guessing reaches decides a colour.
    let ours = |row: &BTreeMap<String, String>| row.get("source").is_none_or(|source| source == "ours");
    let drawn = |row: &BTreeMap<String, String>| ours(row) && !row.contains_key("accuracy");
    for (index, row) in rows.iter().enumerate().filter(|(_, row)| drawn(row)) {
        for figure in figures.iter().filter(|figure| row.get(**figure).is_some_and(|cell| !cell.is_empty())) {
            let zero = *figure == "norm" && row["norm"] == "0";
            assert!(
                zero || seen.contains(&(index, (*figure).to_owned())),
                "{name}, row {index}: {figure} is not drawn"
            );
        }
    }
}

#[test]
fn a_chart_that_says_otherwise_than_its_csv_is_noticed() {
    let made = made();
    let all = files(&made.path().join("out"));
    for (name, svg) in charts::of_page(&page(&made, "out")) {
        let mut rows = charts::csv(&all[&format!("{name}.csv")]);
        let seen = charts::check(&name, &svg, &rows);
        let number = |(row, column): &&(usize, String)| rows[*row][column].parse::<f64>().is_ok();
        let (row, column) = seen.iter().rfind(number).expect("a number that is drawn").clone();
        let other = rows[row][&column].parse::<f64>().expect("a number") * 1.1 + 0.1;
        rows[row].insert(column.clone(), other.to_string());
        let outcome = std::panic::catch_unwind(|| charts::check(&name, &svg, &rows));
        assert!(outcome.is_err(), "{name}: the check did not see that {column} of row {row} is {other}");
    }
}

#[test]
fn what_the_page_says_of_a_sweep_is_what_its_files_say() {
    let made = made();
    let (html, runs) = (page(&made, "out"), made.path().join("runs"));
    let ended = states(&runs);
    let trials = read(&folder(&runs).join("manifest.json"))["trials"].as_array().expect("trials").len();
    let best = said(&made, &["sweep", "best", "tiny.yaml"]);
    let winner = best.split_once("trial ").and_then(|(_, rest)| rest.split_once(':')).expect("a trial").0;
    assert!(html.contains(&format!("<h3>Winner: trial {winner}</h3>")), "{best}");
    assert!(html.contains("accuracy <strong>75.0 %</strong> on 4 dev rows (n = 1, seed 42)"), "the winner's score");
    let line = said(&made, &["sweep", "status", "tiny.yaml"]);
    let line = line.lines().find(|line| line.contains(" trials: ")).expect("a line");
    assert!(html.contains(line) && line.contains("failed"), "{line}");
    assert!(html.contains("layer 7 does not exist: the model has layers 0 to 3"), "a reason");
    let all = files(&made.path().join("out"));
    let (_, bytes) = all.iter().find(|(name, _)| name.ends_with("-parallel.csv")).expect("a chart");
    let rows = charts::csv(bytes);
    assert_eq!(rows.len(), trials);
    for row in &rows {
        let told = &ended[&row["run"]]["rungs"][0]["scores"]["arc_e"];
        let score = told["correct"].as_f64().map(|correct| 100.0 * correct / told["n"].as_f64().expect("rows"));
        assert_eq!(row["rung_0"].parse().ok(), score, "{row:?}");
        assert_eq!(row["state"] == "failed", row["adapt.reft.layers"] == "[7]", "{row:?}");
        let last = endings(&ended[&row["run"]]).pop();
        assert_eq!(row["state"] == "complete", last.as_deref() == Some("complete"), "{row:?}");
    }
}

#[test]
fn tables_stand_beside_the_paper_where_it_prints_them() {
    let made = made();
    let html = page(&made, "out");
    assert!(html.contains("Rows of the paper stand among ours") && html.contains("ReFT paper, as printed"));
    assert!(html.contains("40.5 ± 0.5") && html.contains("seeds (1, 2 &amp; 3)") && html.contains("<code>reft</code>"));
    assert!(html.contains("The paper prints nothing for tiny on these data") && html.contains("LLaMA-13B"));
    let rows = charts::csv(&files(&made.path().join("out"))["paper-table2.csv"]);
    let printed = rows.iter().find(|row| row["task"] == "svamp" && row["origin"] != "ours").expect("a printed row");
    assert_eq!((printed["score"].as_str(), printed["method"].as_str(), printed["n"].as_str()), ("46.8", "LoReFT", ""));
    assert!(!rows.iter().any(|row| row["method"] == "DiReFT" && row["task"] == "svamp"), "there is no figure");
    // The printed averages are over eight tasks, of which the table has one.
    let reference = html.split("on these data").nth(1).expect("a table").split("Read from").next().expect("its end");
    assert!(
        reference.contains("LLaMA-7B") && reference.contains(">69.3<") && !reference.contains("80.2"),
        "{reference}"
    );
}

#[test]
fn a_loss_has_a_chart_of_its_own_with_its_own_axis_and_digits() {
    let made = made();
    let html = page(&made, "out");
    assert!(html.contains(">2.090<") && html.contains(">1.988<") && html.contains("nll, less is better"));
    let drawn = charts::of_page(&html);
    for (name, task, unit) in [("quick-table2-nll", "faq (nll)", "nll"), ("quick-table2", "quiz", "%")] {
        let rows = charts::csv(&files(&made.path().join("out"))[&format!("{name}.csv")]);
        assert!(rows.len() == 2 && rows.iter().all(|row| row["task"] == task), "{name}: {rows:?}");
        let svgs: Vec<&String> = drawn.iter().filter(|(other, _)| other == name).map(|(_, svg)| svg).collect();
        assert!(svgs.len() == 2 && svgs.iter().all(|svg| svg.contains(&format!(">{unit}</text>"))), "{name}: {svgs:?}");
    }
}

#[test]
fn figures_are_listed_with_their_notes_in_the_order_of_their_numbers() {
    let made = made();
    let html = page(&made, "out");
    let section =
        html.split("<section id=\"figures\"").nth(1).expect("a section").split("</section>").next().expect("an end");
    let at = |what: &str| section.find(what).unwrap_or_else(|| panic!("{what} is not in the section"));
    let titles =
        ["figure1", "figure2", "figure10", "das/iia"].map(|name| at(&format!("<h3>quick/{name}, a title</h3>")));
    assert!(titles.is_sorted(), "{titles:?}");
    assert!(section.contains("<li>made by <code>reft</code></li>") && section.contains("97°"));
    assert!(!section.contains("LLaMA-7B"), "printed values are not drawn");
}

#[test]
fn the_same_runs_give_the_same_files_and_stay_as_they_are() {
    let made = made();
    let runs = made.path().join("runs");
    let before = files(&runs);
    said(&made, &["report", "--out", "again"]);
    let (first, second) = (files(&made.path().join("out")), files(&made.path().join("again")));
    assert_eq!(first.keys().collect::<Vec<_>>(), second.keys().collect::<Vec<_>>());
    for (name, bytes) in &first {
        assert!(*bytes == second[name], "{name} differs");
    }
    assert!(files(&runs) == before, "the report changed what it reports");
}

#[test]
fn what_is_missing_or_damaged_is_said() {
    let dir = Dir::new();
    let complaint = |arguments: &[&str]| {
        let output = dir.run(arguments);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.trim_end().lines().count() == 1, "{arguments:?}: {text}");
        text
    };
    assert!(
        complaint(&["report"]).contains("nothing to report: no run or sweep in runs, no table or figure in results")
    );
    result_files::write(&dir);
    std::fs::write(dir.path().join("results/quick/table9.csv"), "a,b\n1,2\n").expect("writable");
    assert!(complaint(&["report", "--sweep", "none.yaml"]).contains("none.yaml: no such sweep"));
    std::fs::create_dir_all(dir.path().join("runs/0123")).expect("writable");
    std::fs::create_dir_all(dir.path().join("runs/sweeps/old-1")).expect("writable");
    dir.write("runs/0123/record.json", "{");
    dir.write("runs/sweeps/old-1/manifest.json", "{}");
    dir.write("runs/test-reads.jsonl", "{}\n");
    std::fs::create_dir(dir.path().join("site")).expect("writable");
    dir.write("site/index.html", "mine");
    let output = dir.run(&["report", "--out", "site"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("site/index.html: a page that is no report of runs"), "{said}");
    assert_eq!(page(&dir, "site"), "mine");
    let output = dir.run(&["report"]);
    let (html, said) = (page(&dir, "report"), String::from_utf8_lossy(&output.stderr).into_owned());
    assert!(output.status.success(), "{said}");
    let missing = ["No complete run", "No run left a trace of its training"];
    for sentence in ["not a run's record", "damaged: delete it", "table9.csv: not a table"].into_iter().chain(missing) {
        assert!(html.contains(sentence), "the page does not say: {sentence}");
    }
    assert_eq!(said.lines().count(), 3, "a record, a sweep and a table: {said}");
}

#[test]
fn ten_times_too_many_runs_are_all_in_the_csv_and_the_page_says_so() {
    let made = made();
    let dir = Dir::new();
    let manifest = read(&folder(&made.path().join("runs")).join("manifest.json"));
    let run = manifest["chosen"]["runs"][0].as_str().expect("a run");
    let mut record = read(&made.path().join("runs").join(run).join("record.json"));
    for number in 0..2000 {
        let id = format!("{number:016x}");
        record["id"] = Value::from(id.clone());
        let folder = dir.path().join("runs").join(&id);
        std::fs::create_dir_all(&folder).expect("writable");
        std::fs::write(folder.join("record.json"), record.to_string()).expect("writable");
    }
    said(&dir, &["report"]);
    let html = page(&dir, "report");
    assert_eq!(html.matches("<tr id=\"run-").count(), 200);
    assert!(html.contains("The 200 recorded last of 2000 complete runs"), "no word of the others");
    assert!(html.len() < 300_000, "{} bytes", html.len());
    assert_eq!(charts::csv(&files(&dir.path().join("report"))["runs.csv"]).len(), 2000);
}

#[test]
fn nothing_overflows_or_overlaps_in_a_browser_and_nothing_is_fetched() {
    let made = made();
    let Some(browser) = browser::find() else {
        eprintln!("SKIPPED: no Chromium in PATH (set CHROMIUM to its path): layout was not looked at");
        return;
    };
    let bad = browser.look(BAD, 390);
    assert_eq!((&bad["overlaps"], &bad["outside"]), (&json!(["over / each"]), &json!(["far"])), "{bad}");
    let noticed = bad["scroll"].as_i64() > Some(390) && bad["requests"].as_array().is_some_and(|all| all.len() == 1);
    assert!(noticed && bad["wide"][0].as_str().is_some_and(|wide| wide.starts_with("<div")), "{bad}");
    for width in [390, 768, 1280] {
        let seen = browser.look(&page(&made, "out"), width);
        assert_eq!(
            (seen["width"].as_i64(), &seen["scroll"]),
            (Some(width), &seen["width"]),
            "overflow: {}",
            seen["wide"]
        );
        assert_eq!(seen["requests"], json!([]), "at {width} pixels");
        assert_eq!(seen["overlaps"], json!([]), "at {width} pixels");
        assert_eq!(seen["outside"], json!([]), "at {width} pixels");
        let figures = seen["figures"].as_u64().expect("a number");
        assert!(figures >= 6 && seen["shown"] == seen["figures"], "one width of each chart: {seen}");
        assert!(seen["texts"].as_u64().is_some_and(|texts| texts > 60), "{seen}");
    }
}
