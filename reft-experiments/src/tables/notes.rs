//! What the figures of a table depend on, said below it.

use std::collections::{BTreeMap, BTreeSet};

use super::spec::{RowPlan, TableProfile};
use super::table::unit;
use crate::config::plan::{AnsweredBy, EvalSplit, RunPlan};
use crate::data::too_long::{LengthAction, RowUse};
use crate::score::grade::Unit;
use crate::score::metric::Metric;
use crate::score::stats::Statistic;
use crate::store::record::Record;
use crate::tasks::TaskId;

/// What the figures depend on; `command` is how the table was made.
pub fn notes(profile: &TableProfile, statistic: Statistic, records: &[&Record], command: &str) -> Vec<String> {
    let Some(&record) = records.last() else { return Vec::new() };
    let plan = &record.plan;
    let scores = records.iter().flat_map(|record| &record.scores);
    let counts: BTreeMap<&String, usize> = scores.map(|(task, score)| (task, score.n())).collect();
    let counts: Vec<String> = counts.iter().map(|(task, n)| format!("{task} {n}")).collect();
    // Splits of this program's tasks are what the paper's protocol says.
    let split = match (plan.data.rows().as_str(), &plan.data.eval_split) {
        ("own", EvalSplit::Dev) => " dev",
        ("own", EvalSplit::Test(_)) => " test",
        _ => "",
    };
    let seeds = profile.seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    let mut notes = vec![
        format!("{}; {}, {} over n seeds ({seeds})", profile.purpose, measured(profile), statistic.describe()),
        format!("{}{split} rows scored: {}", plan.data.rows(), counts.join(", ")),
        machine(records, record),
        origin(records),
        format!("made by `{command}`"),
    ];
    if records.iter().any(|record| record.plan.eval.by == AnsweredBy::Likelihood) {
        let how = "by likelihood: the likeliest of the completions that the row's answer format allows is taken as the answer (acc), \
                   after the same prompt as in the other rows; nothing is generated";
        notes.insert(1, how.to_owned());
    }
    // Before how the table was made, beside the rows that were scored.
    if let Some(rows) = too_long(records) {
        notes.insert(notes.len() - 3, format!("longer than data.max_length: {rows}"));
    }
    notes
}

/// That methods were not trained equally long, where they were not: such rows do not say which method is better.
pub fn training_differs(rows: &[RowPlan]) -> Option<String> {
    let mut groups: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for row in rows {
        let mut lengths: Vec<String> = row.runs.iter().filter(|run| run.trains()).map(length).collect();
        lengths.sort();
        lengths.dedup();
        let length = match lengths.as_slice() {
            [] => continue,
            [one] => one.clone(),
            _ => "lengths that depend on the task".to_owned(),
        };
        let methods = groups.entry(length).or_default();
        if !methods.contains(&row.method.as_str()) {
            methods.push(&row.method);
        }
    }
    let said: Vec<String> =
        groups.iter().map(|(length, methods)| format!("{} on {length}", methods.join(", "))).collect();
    let warning = "rows of different lengths of training do not say which method is better";
    (said.len() > 1).then(|| format!("trained: {}; {warning}", said.join("; ")))
}

fn length(run: &RunPlan) -> String {
    let rows = if run.data.train_rows == 0 { "all".to_owned() } else { run.data.train_rows.to_string() };
    let epochs = run.train.epochs;
    let plural = if epochs == 1 { "" } else { "s" };
    format!("{rows} rows a task, {epochs} epoch{plural}, batches of {}", run.train.batch_size)
}

/// What runs of any kind depend on, line by line.
pub fn about_runs(records: &[&Record]) -> Vec<String> {
    let Some(&record) = records.last() else { return Vec::new() };
    let seeds: BTreeSet<u64> = records.iter().map(|record| record.plan.seed).collect();
    let seeds = seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    let runs = if records.len() == 1 { "1 run".to_owned() } else { format!("{} runs", records.len()) };
    vec![format!("{runs}, seed {seeds}"), machine(records, record), origin(records)]
}

/// Types, device, processors, threads and time.
fn machine(records: &[&Record], record: &Record) -> String {
    let seconds: f64 = records.iter().map(|record| record.cost.train_seconds + record.cost.eval_seconds).sum();
    format!(
        "base weights {}, interventions f32, device {}{}, {} threads; runs took {seconds:.0} s together",
        types(records),
        String::from(record.plan.device),
        processors(records),
        record.environment.threads
    )
}

/// Code, data and weights.
fn origin(records: &[&Record]) -> String {
    format!(
        "code {}, data {}, weights {}",
        codes(records),
        one_or_many(records.iter().map(|record| record.environment.data_fingerprint.as_str())),
        one_or_many(records.iter().map(|record| record.environment.weights_fingerprint.as_str()))
    )
}

/// What became of rows that were too long, by task and use; none where there were none.
fn too_long(records: &[&Record]) -> Option<String> {
    let mut all: BTreeMap<(&str, &'static str), (usize, usize, usize)> = BTreeMap::new();
    for rows in records.iter().flat_map(|record| &record.too_long) {
        let what = match (rows.purpose, rows.fate) {
            (RowUse::Training, LengthAction::LeftOut) => "training rows left out",
            (RowUse::Training, LengthAction::Cut | LengthAction::PairCut | LengthAction::BeginningCut) => {
                "training rows cut"
            }
            (RowUse::Scoring, _) => "prompts cut when scoring",
        };
        let entry = all.entry((&rows.task, what)).or_insert((0, 0, 0));
        *entry = (entry.0.max(rows.rows), entry.1.max(rows.of), entry.2 + 1);
    }
    let of_one = |((task, what), (rows, of, runs)): (&(&str, &str), &(usize, usize, usize))| {
        format!("{task} {rows} of {of} {what} ({runs} of {} runs)", records.len())
    };
    let listed: Vec<String> = all.iter().map(of_one).collect();
    (!listed.is_empty()).then(|| listed.join("; "))
}

/// What the figures of a profile are.
fn measured(profile: &TableProfile) -> String {
    let other = |task: &TaskId| {
        if let Some(set) = task.task().own() {
            return Some((task.key(), set.scoring.to_string(), unit(*task) == Unit::Percent));
        }
        let metric = task.task().metric();
        (metric != Metric::Accuracy).then(|| (task.key(), metric.to_string(), true))
    };
    let others: Vec<(&str, String, bool)> = profile.tasks.iter().filter_map(other).collect();
    let alike = others.windows(2).all(|two| two[0].1 == two[1].1);
    match others.first() {
        Some((_, metric, percent)) if alike && others.len() == profile.tasks.len() => {
            format!("{metric}{}", if *percent { " in %" } else { ", less is better" })
        }
        _ => {
            let accuracy = if others.len() < profile.tasks.len() { "accuracy" } else { "scores" };
            let less = |percent: &bool| if *percent { "" } else { ", less is better" };
            let listed = others.iter().map(|(key, metric, percent)| format!(" ({key}: {metric}{})", less(percent)));
            format!("{accuracy} in %{}", listed.collect::<String>())
        }
    }
}

/// The types of the base weights; each with how many runs have it where there are several.
fn types(records: &[&Record]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for record in records {
        *counts.entry(record.plan.dtype.name()).or_default() += 1;
    }
    match counts.len() {
        1 => counts.into_keys().collect(),
        _ => counts.iter().map(|(dtype, n)| format!("{dtype} in {n} runs")).collect::<Vec<_>>().join(" and "),
    }
}

/// The processors of the runs that noted theirs.
fn processors(records: &[&Record]) -> String {
    let noted = records.iter().map(|record| record.environment.processor.as_str()).filter(|name| !name.is_empty());
    let names: Vec<&str> = noted.collect::<BTreeSet<_>>().into_iter().collect();
    if names.is_empty() { String::new() } else { format!(" ({})", names.join(" and ")) }
}

/// The code of the runs, each with a commit that it was in; said to differ where it does.
fn codes(records: &[&Record]) -> String {
    let environments = || records.iter().map(|record| &record.environment);
    let codes: BTreeMap<&str, &str> =
        environments().map(|environment| (environment.code_hash.as_str(), environment.git_revision.as_str())).collect();
    let versions: BTreeSet<u32> = environments().map(|environment| environment.results_version).collect();
    let named = codes.iter().map(|(code, git)| format!("{code} (git {git})")).collect::<Vec<_>>().join(" and ");
    let differ = match (codes.len(), versions.len()) {
        (_, 2..) => " (rows come from different results versions: they may differ for that reason alone)",
        (2.., _) => " (rows come from different code of one results version)",
        _ => "",
    };
    let versions = versions.iter().map(u32::to_string).collect::<Vec<_>>().join(" and ");
    format!("{named}{differ}, results version {versions}")
}

/// A fingerprint that all runs share, or how many they have.
fn one_or_many<'r>(fingerprints: impl Iterator<Item = &'r str>) -> String {
    let different: BTreeSet<&str> = fingerprints.collect();
    match different.len() {
        1 => different.into_iter().collect(),
        many => format!("in {many} parts (see the runs' records)"),
    }
}
