//! The list of runs with links to what they left.

use maud::{Markup, html};

use super::Section;
use super::data::{Data, number};
use super::draw::number::{count, day, percent};
use super::gather::Run;
use super::link::Links;
use crate::store::record::mean_percent;

/// Runs on the page at most; all are in the CSV.
const SHOWN: usize = 200;

/// The section that lists runs, the one recorded last first.
pub fn section(runs: &[Run], links: &Links) -> Section {
    let body = html! {
        @if runs.is_empty() {
            p { "No complete run." }
        } @else {
            p {
                @if runs.len() > SHOWN {
                    "The " (SHOWN) " recorded last of " (runs.len()) " complete runs. "
                } @else {
                    (count(runs.len(), "complete run")) ", the one recorded last first. "
                }
                "All of them, with every task's score: " a href="runs.csv" { "runs.csv" } "."
            }
            div class="scroll" { table class="runs" {
                thead { tr {
                    th { "run" } th { "method" } th { "model" } th { "rows" } th { "scores in % (rows)" }
                    th class="n" { "seed" }
                    th { "type, device" } th class="n" { "seconds" } th class="files" { "files" }
                } }
                tbody { @for run in runs.iter().take(SHOWN) { (line(run, links)) } }
            } }
        }
    };
    let files = if runs.is_empty() { Vec::new() } else { vec![("runs.csv".to_owned(), data(runs, links).csv())] };
    Section { id: "runs".to_owned(), title: "Runs".to_owned(), body, figures: Vec::new(), files }
}

fn line(run: &Run, links: &Links) -> Markup {
    let entry = &run.entry;
    html! {
        tr id=(format!("run-{}", entry.id)) {
            td { code { (entry.id) } }
            td { (run.method) }
            td { (run.setting("model")) }
            td { (run.setting("data.source")) ", " (entry.split) }
            td class="scores" {
                @if entry.scores.is_empty() { "to be judged" }
                @for (task, score) in &entry.scores {
                    span { (task) " " (percent(Some(score.percent()))) " (" (score.n()) ")" } " "
                }
                @if entry.scores.len() > 1 { span { "mean " (percent(Some(mean_percent(&entry.scores)))) } }
            }
            td class="n" { (run.setting("seed")) }
            td { (run.setting("dtype")) ", " (run.setting("device")) }
            td class="n" { (format!("{:.0}", entry.seconds)) }
            td class="files" { @for (name, to) in files(run, links) { a href=(to) { (name) } " " } }
        }
    }
}

/// What a run left that people read: names and addresses.
fn files(run: &Run, links: &Links) -> Vec<(String, String)> {
    let mut files = vec![("record".to_owned(), run.paths.record()), ("config".to_owned(), run.paths.config())];
    let tasks = run.entry.plan["data"]["eval"].as_array().map(Vec::as_slice).unwrap_or_default();
    for task in tasks.iter().filter_map(|task| task.as_str()) {
        let name = if tasks.len() == 1 { "predictions".to_owned() } else { task.to_owned() };
        files.push((name, run.paths.predictions(task)));
        files.push((format!("outputs {task}"), run.paths.outputs(task)));
    }
    files.into_iter().filter_map(|(name, path)| Some((name, links.to(&path)?))).collect()
}

/// A row for each run and task.
fn data(runs: &[Run], links: &Links) -> Data {
    let mut data = Data::new(&[
        "run", "method", "model", "source", "split", "task", "score", "n", "seed", "lr", "dtype", "device", "threads",
        "seconds", "commit", "recorded", "record",
    ]);
    for run in runs {
        let entry = &run.entry;
        let threads = run.environment.as_ref().map(|environment| environment.threads.to_string()).unwrap_or_default();
        let mut push = |task: &str, score: Option<f64>, n: Option<usize>| {
            data.push(vec![
                entry.id.to_string(),
                run.method.clone(),
                run.setting("model"),
                run.setting("data.source"),
                entry.split.to_owned(),
                task.to_owned(),
                number(score),
                n.map(|n| n.to_string()).unwrap_or_default(),
                run.setting("seed"),
                run.setting("train.lr"),
                run.setting("dtype"),
                run.setting("device"),
                threads.clone(),
                number(Some(entry.seconds)),
                run.commit().to_owned(),
                day(run.written).unwrap_or_default(),
                links.to(&run.paths.record()).unwrap_or_default(),
            ]);
        };
        if entry.scores.is_empty() {
            push("", None, None);
        }
        entry.scores.iter().for_each(|(task, score)| push(task, Some(score.percent()), Some(score.n())));
    }
    data
}
