//! The list of runs with links to what they left.

use maud::{Markup, html};

use super::Section;
use super::data::{Data, number};
use super::draw::number::{count, day, percent, setting};
use super::gather::ReportRun;
use super::link::Links;
use crate::score::grade::Unit;
use crate::store::record::{Score, mean_figure};

/// Runs on the page at most; all are in the CSV.
const SHOWN: usize = 200;

/// The section that lists runs, the one recorded last first.
pub fn section(runs: &[ReportRun], links: &Links) -> Section {
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
                "A run's name leads to its record, a task's to what was answered. All of them: "
                a href="runs.csv" { "runs.csv" } "."
            }
            div class="scroll far" { table class="runs" {
                thead { tr {
                    th { "run" } th class="files" {} th { "method" } th { "model" } th { "scores in % (rows)" } th { "rows" }
                    th class="n" { "seed" } th { "type, device" } th class="n" { "seconds" }
                } }
                tbody { @for run in runs.iter().take(SHOWN) { (line(run, links)) } }
            } }
        }
    };
    let files = if runs.is_empty() { Vec::new() } else { vec![("runs.csv".to_owned(), data(runs, links).csv())] };
    Section { id: "runs".to_owned(), title: "Runs".to_owned(), body, figures: Vec::new(), files }
}

fn line(run: &ReportRun, links: &Links) -> Markup {
    let entry = &run.entry;
    html! {
        tr id=(format!("run-{}", entry.id)) {
            td { code { (linked(links.to(&run.paths.record()), &entry.id.to_string())) } }
            td class="files" { (linked(links.to(&run.paths.config()), "config")) }
            td { (run.method) }
            td { (run.setting("model")) }
            td class="scores" {
                @for task in tasks(run) { span { (answers(run, links, &task)) } " " }
                @if entry.scores.len() > 1 && entry.scores.values().all(|score| score.unit() == Unit::Percent) {
                    span { "mean " (percent(Some(mean_figure(&entry.scores)))) }
                }
            }
            td { (run.rows()) ", " (entry.split) }
            td class="n" { (run.setting("seed")) }
            td { (run.setting("dtype")) ", " (run.setting("device")) }
            td class="n" { (format!("{:.0}", entry.seconds)) }
        }
    }
}

/// A name as a link, where there is something to link to.
fn linked(to: Option<String>, name: &str) -> Markup {
    html! { @match to { Some(to) => a href=(to) { (name) }, None => (name) } }
}

/// Tasks that were scored, or answered and not judged yet.
fn tasks(run: &ReportRun) -> Vec<String> {
    let asked = run.entry.plan["data"]["eval"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut tasks: Vec<String> = asked.iter().map(setting).collect();
    tasks.extend(run.entry.scores.keys().filter(|task| !asked.iter().any(|asked| *asked == **task)).cloned());
    tasks
}

/// A task with its score, as a link to what was answered.
fn answers(run: &ReportRun, links: &Links, task: &str) -> Markup {
    let outputs = links.to(&run.paths.outputs(task));
    html! {
        (linked(links.to(&run.paths.predictions(task)), task)) " "
        @match run.entry.scores.get(task) {
            Some(score) => { (shown(*score)) " (" (score.n()) ")" }
            None => "to be judged"
        }
        @if outputs.is_some() { " " (linked(outputs, "outputs")) }
    }
}

/// A score in percent, or with its unit where that is another.
fn shown(score: Score) -> String {
    match score.unit() {
        Unit::Percent => percent(Some(score.figure())),
        unit @ (Unit::Loss(_) | Unit::AddedTime) => unit.with(score.figure()),
    }
}

/// A row for each run and task.
fn data(runs: &[ReportRun], links: &Links) -> Data {
    let mut data = Data::new(&[
        "run",
        "method",
        "model",
        "source",
        "split",
        "task",
        "score",
        "unit",
        "n",
        "seed",
        "lr",
        "dtype",
        "device",
        "processor",
        "threads",
        "seconds",
        "commit",
        "recorded",
        "record",
    ]);
    for run in runs {
        let entry = &run.entry;
        let threads = run.environment.as_ref().map(|environment| environment.threads.to_string()).unwrap_or_default();
        let processor = run.environment.as_ref().map(|environment| environment.processor.clone()).unwrap_or_default();
        let mut push = |task: &str, score: Option<Score>| {
            data.push(vec![
                entry.id.to_string(),
                run.method.clone(),
                run.setting("model"),
                run.rows(),
                entry.split.to_owned(),
                task.to_owned(),
                number(score.map(Score::figure)),
                score.map(|score| score.unit().to_string()).unwrap_or_default(),
                score.map(|score| score.n().to_string()).unwrap_or_default(),
                run.setting("seed"),
                run.setting("train.lr"),
                run.setting("dtype"),
                run.setting("device"),
                processor.clone(),
                threads.clone(),
                number(Some(entry.seconds)),
                run.commit().to_owned(),
                day(run.written).unwrap_or_default(),
                links.to(&run.paths.record()).unwrap_or_default(),
            ]);
        };
        if entry.scores.is_empty() {
            push("", None);
        }
        entry.scores.iter().for_each(|(task, &score)| push(task, Some(score)));
    }
    data
}
