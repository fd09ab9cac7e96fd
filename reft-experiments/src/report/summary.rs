//! The first section: what there is, made by what, when.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::draw::number::{count, day};
use super::gather::ReportRun;
use super::{ReportSources, Section};

/// How many different values are listed before the rest is counted.
const NAMED: usize = 8;

/// The section about all runs, and about those that could not be read.
pub fn section(runs: &[ReportRun], complaints: &[String], sources: &ReportSources) -> Section {
    let body = html! {
        @if runs.is_empty() {
            p { "No complete run in " code { (sources.runs.display()) } "." }
        } @else {
            p class="lead" { (count(runs.len(), "complete run")) (dates(runs)) ". " (hours(runs)) }
            dl { @for (name, value) in facts(runs) { div { dt { (name) } dd { (value) } } } }
        }
        (left_out(complaints))
    };
    Section { id: "summary".to_owned(), title: "Summary".to_owned(), body, figures: Vec::new(), files: Vec::new() }
}

/// The runs that are not on the page, with reasons.
fn left_out(complaints: &[String]) -> Markup {
    html! {
        @if !complaints.is_empty() {
            p { "Left out, because not readable: " }
            ul { @for complaint in complaints.iter().take(NAMED) { li { (complaint) } } }
            @if complaints.len() > NAMED { p { "… and " (complaints.len() - NAMED) " more." } }
        }
    }
}

fn dates(runs: &[ReportRun]) -> String {
    let days = |run: Option<&ReportRun>| run.and_then(|run| day(run.written));
    match (days(runs.last()), days(runs.first())) {
        (Some(first), Some(last)) if first == last => format!(", recorded on {first}"),
        (Some(first), Some(last)) => format!(", recorded from {first} to {last}"),
        (None, _) | (_, None) => String::new(),
    }
}

fn hours(runs: &[ReportRun]) -> String {
    let minutes = runs.iter().map(|run| run.entry.seconds).sum::<f64>() / 60.0;
    if minutes < 90.0 {
        format!("They took {minutes:.0} minutes of training and scoring together.")
    } else {
        format!("They took {:.1} hours of training and scoring together.", minutes / 60.0)
    }
}

/// What runs have in common and what not, each with how many runs have it.
fn facts(runs: &[ReportRun]) -> Vec<(&'static str, String)> {
    let several = |of: &dyn Fn(&ReportRun) -> Vec<String>| {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        runs.iter().flat_map(of).for_each(|value| *counts.entry(value).or_default() += 1);
        let mut counts: Vec<(String, usize)> = counts.into_iter().collect();
        counts.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        let named = counts.iter().take(NAMED).map(|(value, n)| format!("{value} ({n})"));
        let mut text = named.collect::<Vec<_>>().join(", ");
        if counts.len() > NAMED {
            text = format!("{text} and {} more", counts.len() - NAMED);
        }
        text
    };
    let one = |of: &dyn Fn(&ReportRun) -> String| several(&|run| vec![of(run)]);
    let threads = |run: &ReportRun| {
        let device = run.setting("device");
        let Some(environment) = &run.environment else { return format!("{device}, ? threads") };
        let processor = &environment.processor;
        let on = if processor.is_empty() { String::new() } else { format!(" ({processor})") };
        format!("{device}{on}, {} threads", environment.threads)
    };
    vec![
        ("Models", one(&|run| run.setting("model"))),
        ("Methods", one(&|run| run.method.clone())),
        (
            "Tasks scored",
            several(&|run| {
                run.entry.plan["data"]["eval"]
                    .as_array()
                    .map_or(Vec::new(), |tasks| tasks.iter().map(super::draw::number::setting).collect())
            }),
        ),
        ("Data", one(&|run| format!("{}, {} rows", run.rows(), run.entry.split))),
        ("Seeds", one(&|run| run.setting("seed"))),
        ("Base weights", one(&|run| run.setting("dtype"))),
        ("Devices", one(&threads)),
        ("Commits", one(&|run| run.commit().to_owned())),
    ]
}
