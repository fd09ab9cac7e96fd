//! Whether the parts of a sweep's declaration go together.

use super::SweepSpec;
use crate::config::plan::RunPlan;
use crate::sweep::halving::Halving;
use crate::sweep::measure::TrialMetric;
use crate::sweep::search::SearchMethod;

/// What does not go together, as the key and what to do about it. `base` is the run that settings are varied of.
///
/// # Errors
/// The first such thing.
pub(super) fn check(spec: &SweepSpec, base: &RunPlan) -> Result<(), (&'static str, String)> {
    let checks = amounts(spec).into_iter().chain(methods(spec, base));
    match checks.into_iter().find(|(_, fine, _)| !fine) {
        Some((key, _, reason)) => Err((key, reason)),
        None => Ok(()),
    }
}

/// A key, whether it is fine, and what to do if not.
type Check = (&'static str, bool, String);

fn amounts(spec: &SweepSpec) -> Vec<Check> {
    let Halving { eta, rungs } = spec.halving;
    let named = spec.last.as_ref().is_none_or(|last| !last.seeds.is_empty());
    let seeds = spec.last.as_ref().map_or(&[][..], |last| &last.seeds);
    let distinct = seeds.iter().enumerate().all(|(at, seed)| !seeds[..at].contains(seed));
    let (grid, listed, size) = (spec.method == SearchMethod::Grid, spec.method.is_listed(), spec.space.size());
    let points = format!("the grid has {} points: allow them, or use random", size.unwrap_or(0));
    let text = str::to_owned;
    vec![
        ("space", listed || !spec.space.0.is_empty(), text("name at least one setting to vary")),
        ("space", !listed || spec.space.0.is_empty(), text("the points are listed: leave it empty")),
        ("final", !listed || spec.last.is_none(), text("nothing is chosen of points that are listed: leave it out")),
        ("halving", rungs >= 1 && (eta >= 2 || rungs == 1), text("eta at least 2, rungs at least 1")),
        ("patience", spec.patience != Some(0), text("at least 1")),
        ("trials", spec.trials >= 1, text("at least 1")),
        ("trials", grid || listed || spec.trials < usize::MAX, text("say how many, unless method is grid or listed")),
        ("method", !grid || size.is_some(), text("a range has no grid: list choices, or use random or tpe")),
        ("trials", !grid || size.is_none_or(|size| size <= spec.trials), points),
        ("hours", spec.hours.is_none_or(|hours| hours > 0.0), text("above 0")),
        ("final.seeds", named, text("name at least one")),
        ("final.seeds", distinct, text("one is there twice: the same run counts once")),
    ]
}

fn methods(spec: &SweepSpec, base: &RunPlan) -> Vec<Check> {
    let judged = spec.metric == TrialMetric::WinRate;
    let (halved, known) = (spec.halving.rungs > 1, !matches!(spec.method, SearchMethod::Tpe(_)));
    let metric = spec.metric.fits(base);
    // Nothing is chosen of points that are listed.
    let unit =
        spec.metric.unit(base).map(|_| ()).or_else(|reason| if spec.method.is_listed() { Ok(()) } else { Err(reason) });
    let text = str::to_owned;
    vec![
        ("halving", !halved || !judged, text("a win rate is known after the last rung only: leave it out")),
        ("halving", !halved || known, text("its trials must all be known before: method grid or random")),
        ("patience", spec.patience.is_none() || !halved, text("with halving the trials are counted: leave it out")),
        ("method", !judged || known, text("a judge comes after all trials: method grid or random")),
        ("metric", metric.is_ok(), metric.err().unwrap_or_default()),
        ("run.data.eval", unit.is_ok(), unit.err().unwrap_or_default()),
    ]
}
