//! A sweep's section: what came of it, and its three charts.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use maud::{Markup, html};

use super::Section;
use super::draw::number::{count, setting};
use super::figure::Figure;
use super::importance::{self, ImportanceShare, shares};
use super::link::Links;
use super::trial::{ReportTrial, TrialEnd, part_name, trials};
use super::{dev, parallel};
use crate::config::plan::RunPlan;
use crate::score::grade::Unit;
use crate::score::stats::estimate;
use crate::store::record::Record;
use crate::sweep::folder::{Survey, Sweep};
use crate::sweep::show;
use crate::sweep::space::SearchPoint;

/// A sweep that was read.
struct SweepData<'a> {
    sweep: Sweep,
    survey: Survey,
    trials: Vec<ReportTrial>,
    best: Option<usize>,
    links: &'a Links,
    /// What trials are scored by.
    metric: String,
    /// The folder's name, in letters that files may have.
    name: String,
}

/// The section where there is no sweep.
pub fn none(runs: &Path) -> Section {
    let folder = runs.join("sweeps");
    let body = html! {
        p { "No sweep in " code { (folder.display()) } ": begin one with " code { "reft sweep run FILE" } "." }
    };
    Section { id: "sweeps".to_owned(), title: "Sweeps".to_owned(), body, figures: Vec::new(), files: Vec::new() }
}

/// The section about a sweep. One that cannot be read is a sentence, and a complaint.
pub fn section(path: &Path, runs: &Path, links: &Links, complaints: &mut Vec<String>) -> Section {
    match told(path, runs, links) {
        Ok(told) => told.section(),
        Err(error) => {
            let reason = format!("{error:#}");
            let name = plain(&path.file_stem().unwrap_or_default().to_string_lossy());
            let body = html! { p { "This sweep could not be read: " (reason) } };
            complaints.push(reason.clone());
            Section {
                id: format!("sweep-{name}"),
                title: format!("Sweep {name}"),
                body,
                figures: Vec::new(),
                files: Vec::new(),
            }
        }
    }
}

fn told<'a>(path: &Path, runs: &Path, links: &'a Links) -> Result<SweepData<'a>> {
    let mut sweep = Sweep::of(path, &[], runs)?;
    let survey = sweep.survey()?;
    let (trials, best) = (trials(&sweep, &survey), sweep.best(&survey));
    let name = plain(&sweep.folder().file_name().unwrap_or_default().to_string_lossy());
    let base = sweep.spec.plan(&SearchPoint::new(), &name)?;
    let metric = sweep.spec.metric.name(&base);
    Ok(SweepData { sweep, survey, trials, best, links, metric, name })
}

/// A name for files and anchors.
fn plain(name: &str) -> String {
    name.chars().map(|letter| if letter.is_ascii_alphanumeric() || letter == '-' { letter } else { '-' }).collect()
}

impl SweepData<'_> {
    fn section(&self) -> Section {
        let shares = self.shares();
        let charts = [
            ("Settings and scores", self.parallel()),
            ("Which settings matter", self.importance(&shares)),
            ("Scores while training", self.dev()),
        ];
        let charts: Vec<(&str, Figure)> =
            charts.into_iter().filter_map(|(heading, figure)| Some((heading, figure?))).collect();
        let body = html! {
            p class="lead" { (show::line(&self.sweep, &self.survey)) "." }
            (self.conditions())
            (self.winner())
            (self.failures())
            @if charts.is_empty() { p { "No trial has a score yet, so there is nothing to draw." } }
            @for (heading, figure) in &charts { h3 { (heading) } (figure.html()) }
            (self.means(&shares))
        };
        let figures = charts.into_iter().map(|(_, figure)| figure).collect();
        let title = format!("Sweep: {}", self.sweep.spec.title);
        Section { id: format!("sweep-{}", self.name), title, body, figures, files: Vec::new() }
    }

    fn plan(&self) -> Option<RunPlan> {
        let point = self.trials.first().map_or_else(SearchPoint::new, |trial| trial.point.clone());
        self.sweep.spec.plan(&point, &self.name).ok()
    }

    /// What holds for every trial.
    fn conditions(&self) -> Markup {
        let spec = &self.sweep.spec;
        let parts: Vec<String> = (0..spec.halving.rungs).map(|rung| part_name(spec.halving, rung)).collect();
        let all = self.plan().map_or(String::new(), |plan| {
            let tasks = plan.data.eval.iter().map(|task| task.key()).collect::<Vec<_>>().join(", ");
            format!(
                "{}, base weights {}, device {}, seed {}; {} dev rows of {tasks}. ",
                plan.model,
                plan.dtype.name(),
                String::from(plan.device),
                spec.seed,
                plan.data.rows()
            )
        });
        html! {
            p {
                (all) "Trials are scored after " (parts.join(", "))
                @if spec.halving.rungs > 1 { "; from each rung one of " (spec.halving.eta) " goes on" } "."
            }
        }
    }

    fn winner(&self) -> Markup {
        let Some(trial) = self.best.and_then(|best| self.trials.get(best)) else {
            return html! { p { "No winner yet: no trial has a final score, or a judge was not asked." } };
        };
        let last = trial.rungs.last().copied().flatten();
        let rows = last.and_then(|scored| scored.n).map_or("an unknown number of".to_owned(), |n| n.to_string());
        let record = self.links.to(&self.sweep.paths(&trial.run).record());
        html! {
            div class="winner" {
                h3 { "Winner: trial " (trial.number) }
                p {
                    (self.metric) " "
                    strong { (self.figure(last.map(|scored| scored.score))) } " on " (rows)
                    " dev rows (n = 1, seed " (self.sweep.spec.seed) "), run "
                    @match record { Some(to) => a href=(to) { (trial.run) }, None => (trial.run) }
                    ". A score that is the best of several is too high on average; the test rows say more."
                }
                p { @for (key, value) in &trial.point { code { (key) "=" (setting(value)) } " " } }
                p { (self.test()) }
            }
        }
    }

    /// The winner's runs on test rows in a sentence.
    fn test(&self) -> String {
        let Some(chosen) = &self.sweep.manifest.chosen else {
            return "It was not run on test rows.".to_owned();
        };
        let scores = self.survey.last.iter().filter_map(|view| view.standing.scores.last());
        let scores: Vec<f64> =
            scores.map(|&score| self.sweep.spec.score(score)).filter(|score| score.is_finite()).collect();
        let seeds = self.sweep.spec.last.as_ref().map_or(&[][..], |last| &last.seeds);
        let seeds = seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
        let rows = chosen.runs.iter().find_map(|run| Record::find(&self.sweep.paths(run).record()).ok().flatten());
        let rows = rows.map_or(0, |record| record.scores.values().map(|score| score.n()).sum());
        match estimate(&scores) {
            None => format!("None of its {} on test rows is complete.", count(chosen.runs.len(), "run")),
            Some(found) => {
                let unit = self.sweep.spec.unit;
                let sd =
                    found.sd.map_or(String::new(), |sd| format!(" ± {} (sample standard deviation)", unit.digits(sd)));
                format!(
                    "On {rows} test rows: {}{sd}, n = {} of {} (seeds {seeds}).",
                    self.figure(Some(found.mean)),
                    found.n,
                    count(chosen.runs.len(), "run")
                )
            }
        }
    }

    fn failures(&self) -> Markup {
        let mut reasons: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for trial in &self.trials {
            if let TrialEnd::Failed(reason) = &trial.state {
                reasons.entry(reason).or_default().push(trial.number.to_string());
            }
        }
        html! {
            @if !reasons.is_empty() {
                h3 { "Failed trials" }
                ul { @for (reason, numbers) in &reasons { li { (numbers.join(", ")) ": " (reason) } } }
            }
        }
    }

    /// A score with its sign of percent, if it is one; a dash where it is not known.
    fn figure(&self, figure: Option<f64>) -> String {
        let figure = figure.filter(|figure| figure.is_finite()).map(|figure| self.sweep.spec.unit.digits(figure));
        format!("{}{}", figure.unwrap_or("–".to_owned()), self.in_unit(" %"))
    }

    /// What says that scores are percents; nothing where they are losses, which the metric's name says.
    fn in_unit(&self, percent: &'static str) -> &'static str {
        match self.sweep.spec.unit {
            Unit::Percent | Unit::AddedTime => percent,
            Unit::Loss(_) => "",
        }
    }

    fn scored(&self) -> Vec<(&SearchPoint, f64)> {
        self.trials.iter().filter_map(|trial| Some((&trial.point, trial.first()?.score))).collect()
    }

    fn shares(&self) -> Vec<ImportanceShare> {
        shares(&self.sweep.spec.space.0, &self.scored())
    }

    /// Rows scored at the first rung, as text.
    fn rows(&self) -> String {
        let mut rows: Vec<usize> = self.trials.iter().filter_map(|trial| trial.first()?.n).collect();
        rows.sort_unstable();
        match (rows.first(), rows.last()) {
            (Some(first), Some(last)) if first == last => format!("{first} dev rows"),
            (Some(first), Some(last)) => format!("{first} to {last} dev rows"),
            (None, _) | (_, None) => "an unknown number of dev rows".to_owned(),
        }
    }

    fn parallel(&self) -> Option<Figure> {
        let halving = self.sweep.spec.halving;
        let metric = &self.metric;
        let rungs: Vec<String> = (0..halving.rungs)
            .map(|rung| format!("{metric}{} after {}", self.in_unit(" in %"), part_name(halving, rung)))
            .collect();
        let unscored = self.trials.iter().filter(|trial| trial.first().is_none()).count();
        let caption = html! {
            "Each line is a trial, through its settings to its scores on " (self.rows()) ", seed "
            (self.sweep.spec.seed) ". Colour: the score after " (part_name(halving, 0))
            ", in fifths; darker is higher (lighter on a dark ground). "
            "Lines that end above the last axis were pruned; they are faint. Orange: the winner. "
            "Within a value, trials lie side by side by score."
            @if unscored > 0 { " " (count(unscored, "trial")) " without a score: in the CSV only." }
        };
        let name = format!("{}-parallel", self.name);
        parallel::figure(&name, &self.sweep.spec.space.0, &rungs, &self.trials, self.best, caption)
    }

    fn importance(&self, shares: &[ImportanceShare]) -> Option<Figure> {
        let n = self.scored().len();
        let part = part_name(self.sweep.spec.halving, 0);
        let caption = html! {
            "Part of the variance of the scores after " (part) " that each setting explains by itself (correlation "
            "ratio of the means of its values), n = " (n) " trials, one seed. The upright line is what a setting "
            "without effect would explain by chance on average: a bar that is not far beyond it says nothing. "
            "Effects of settings together are in none of the bars."
        };
        (!shares.is_empty()).then(|| importance::figure(&format!("{}-importance", self.name), shares, n, caption))
    }

    fn dev(&self) -> Option<Figure> {
        let caption = html! {
            "Scores while training, on " (self.rows()) ", seed " (self.sweep.spec.seed) ", one line a trial. "
            "The schedule of the learning rate is that of the whole training in all of them."
        };
        let title = format!("{} on dev rows{}", self.metric, self.in_unit(", %"));
        dev::figure(&format!("{}-dev", self.name), &title, self.sweep.spec.unit, &self.trials, self.best, caption)
    }

    /// The mean score at every value of every setting.
    fn means(&self, shares: &[ImportanceShare]) -> Markup {
        let n = self.scored().len();
        html! {
            @if shares.is_empty() && n > 0 {
                p {
                    "Nothing is said about which settings matter: fewer than four trials have a score, or all scores "
                    "are equal (n = " (n) ")."
                }
            }
            @if !shares.is_empty() {
                h3 { "Means by setting" }
                div class="scroll" { table {
                    thead { tr {
                        th { "setting" } th { "value" } th class="n" { "trials" } th class="n" { "mean" (self.in_unit(", %")) }
                    } }
                    tbody class="means" { @for share in shares { @for (row, group) in share.groups.iter().enumerate() {
                        tr class=(if row == 0 { "first" } else { "" }) {
                            td { @if row == 0 { (share.setting) } } td { (group.value) }
                            td class="n" { (group.n) } td class="n" { (self.sweep.spec.unit.digits(group.mean)) }
                        }
                    } } }
                } }
                p class="note" {
                    "Means of the scores after " (part_name(self.sweep.spec.halving, 0)) ", over the " (n)
                    " trials scored there."
                }
            }
        }
    }
}
