//! Status of a sweep as text.

use super::folder::{Survey, Sweep};
use super::halving::TrialStage;
use super::space::describe;
use super::view::RunView;
use crate::columns::aligned;
use crate::store::claim::now;
use crate::store::state::AttemptEnd;

/// A trial's state in words.
fn state(view: &RunView, fate: Option<TrialStage>, stopped: bool) -> String {
    if let Some(reason) = &view.failure {
        return format!("failed: {reason}");
    }
    if let Err(seen) = &view.claim {
        let owner = &seen.owner;
        let minutes = now().saturating_sub(owner.since) / 60;
        return format!("running on {} ({}) for {minutes} min", owner.host, owner.pid);
    }
    let again = |(ending, _): &(AttemptEnd, u64)| matches!(ending, AttemptEnd::Lost | AttemptEnd::TimedOut);
    let died = view.state.attempts.last().is_some_and(|attempt| attempt.ended.as_ref().is_none_or(again));
    match fate {
        Some(TrialStage::Pruned(rung)) => format!("pruned at rung {rung}"),
        Some(TrialStage::Wait(rung)) => format!("waiting at rung {rung}"),
        Some(TrialStage::Failed) if stopped => "not begun".to_owned(),
        Some(TrialStage::Complete) | None if view.unjudged() => "complete, to be judged".to_owned(),
        Some(TrialStage::Complete) => "complete".to_owned(),
        None if view.complete => "complete".to_owned(),
        Some(TrialStage::Run(_) | TrialStage::Failed) | None if died => "requeued".to_owned(),
        Some(TrialStage::Run(_) | TrialStage::Failed) | None => "queued".to_owned(),
    }
}

/// A view's last score, or a dash.
fn figure(sweep: &Sweep, view: &RunView) -> String {
    let score = view.standing.scores.last().map(|&score| sweep.spec.score(score)).filter(|score| !score.is_nan());
    score.map_or("-".to_owned(), |score| sweep.spec.shown(score))
}

/// Every trial in a line, and the final runs, with what is left to do.
pub fn table(sweep: &Sweep, survey: &Survey) -> String {
    let best = sweep.best(survey);
    let heads = ["trial", "dev", "seconds", "state", "run", "settings"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    let trials = sweep.manifest.trials.iter().zip(&survey.trials).zip(&survey.fates);
    for (number, ((trial, view), fate)) in trials.enumerate() {
        let mark = if best == Some(number) { "*" } else { "" };
        rows.push(vec![
            format!("{number}{mark}"),
            figure(sweep, view),
            view.state.seconds().to_string(),
            state(view, Some(*fate), survey.stopped),
            trial.run.to_string(),
            describe(&trial.point),
        ]);
    }
    if let (Some(chosen), Some(last)) = (&sweep.manifest.chosen, &sweep.spec.last) {
        for ((run, view), seed) in chosen.runs.iter().zip(&survey.last).zip(&last.seeds) {
            let seconds = view.state.seconds().to_string();
            let (score, state) = (figure(sweep, view), state(view, None, false));
            rows.push(vec!["test".to_owned(), score, seconds, state, run.to_string(), format!("seed={seed}")]);
        }
    }
    let name = sweep.folder().display();
    format!("{} ({name})\n{}{}\n", sweep.spec.title, aligned(&rows), line(sweep, survey))
}

/// The whole in a line.
pub fn line(sweep: &Sweep, survey: &Survey) -> String {
    let count = |is: &dyn Fn(&TrialStage) -> bool| survey.fates.iter().filter(|fate| is(fate)).count();
    let pruned = count(&|fate| matches!(fate, TrialStage::Pruned(_)));
    let complete = count(&|fate| *fate == TrialStage::Complete);
    let failed = survey.trials.iter().filter(|view| view.failure.is_some()).count();
    let all = || survey.trials.iter().chain(&survey.last);
    let running = all().filter(|view| !view.complete && view.claim.is_err()).count();
    let mut parts = vec![format!("{} trials: {complete} complete", survey.trials.len())];
    let counted = [(pruned, "pruned"), (failed, "failed"), (running, "running")];
    parts.extend(counted.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")));
    if let Some(best) = sweep.best(survey) {
        let score = |view: &RunView| view.standing.scores.last().copied();
        let equal =
            survey.trials.iter().enumerate().filter(|(number, view)| {
                *number != best && view.complete && score(view) == score(&survey.trials[best])
            });
        let equal: Vec<String> = equal.map(|(number, _)| number.to_string()).collect();
        let ties = if equal.is_empty() { String::new() } else { format!(" (as good: {})", equal.join(", ")) };
        parts.push(format!("best trial {best} with {}{ties}", figure(sweep, &survey.trials[best])));
    }
    if !survey.last.is_empty() {
        parts.push(format!(
            "{} of {} test runs",
            survey.last.iter().filter(|view| view.complete).count(),
            survey.last.len()
        ));
    }
    if let Some(seconds) = left(sweep, survey, running) {
        parts.push(format!("about {} min left", seconds.div_ceil(60)));
    }
    parts.join(", ")
}

/// Seconds until the end at the present pace, as far as trials are alike; none before any work was done.
fn left(sweep: &Sweep, survey: &Survey, running: usize) -> Option<u64> {
    let halving = sweep.spec.halving;
    let (mut done, mut open, mut seconds) = (0.0, 0.0, 0);
    for (view, fate) in survey.trials.iter().zip(&survey.fates) {
        let reached = view.standing.scores.len().checked_sub(1).map_or(0.0, |rung| halving.part(rung));
        done += reached;
        seconds += view.state.seconds();
        if let TrialStage::Run(rung) = fate {
            open += halving.part(*rung) - reached;
        }
    }
    // Trials that wait count by how many of their rung go on.
    let waiting =
        survey.fates.iter().filter_map(|fate| if let TrialStage::Wait(rung) = fate { Some(*rung) } else { None });
    open += waiting.map(|rung| (halving.part(rung + 1) - halving.part(rung)) / halving.eta as f64).sum::<f64>();
    let finals = sweep.spec.last.as_ref().map_or(0, |last| last.seeds.len());
    open += (finals - survey.last.iter().filter(|view| view.complete).count().min(finals)) as f64;
    (done > 0.0 && open > 0.0).then(|| (seconds as f64 / done * open / running.max(1) as f64) as u64)
}
