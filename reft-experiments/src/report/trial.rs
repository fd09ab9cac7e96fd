//! A sweep's trials as rows and marks of the page.

use crate::store::RunId;
use crate::store::record::{Record, Rung, Score, mean_figure};
use crate::sweep::folder::{Survey, Sweep};
use crate::sweep::halving::{Halving, TrialStage};
use crate::sweep::space::SearchPoint;
use crate::sweep::view::RunView;
use crate::train::best::Epoch;

/// How a trial ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TrialEnd {
    /// Trained to its end.
    Complete,
    /// Given up at this rung.
    Pruned(usize),
    /// Cannot be done, with the reason.
    Failed(String),
    /// Not at its end yet.
    Open,
}

impl TrialEnd {
    /// In a word or two, without the reason.
    pub fn word(&self) -> String {
        match self {
            Self::Complete => "complete".to_owned(),
            Self::Pruned(rung) => format!("pruned at rung {rung}"),
            Self::Failed(_) => "failed".to_owned(),
            Self::Open => "open".to_owned(),
        }
    }
}

/// A score after a part of the training.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct RungScore {
    /// The part, from 0 to 1.
    pub part: f64,
    /// In percent, or a loss as it is.
    pub score: f64,
    /// Rows scored; none where the file does not say.
    pub n: Option<usize>,
}

/// A trial.
#[derive(Clone, PartialEq, Debug)]
pub struct ReportTrial {
    /// Its number in the sweep.
    pub number: usize,
    /// Its run.
    pub run: RunId,
    /// Its settings.
    pub point: SearchPoint,
    /// How it ended.
    pub state: TrialEnd,
    /// Its score at each rung that it reached; none where that rung was not scored.
    pub rungs: Vec<Option<RungScore>>,
    /// Its scores in the order of training: those of every epoch where they were kept, of its rungs otherwise.
    pub curve: Vec<RungScore>,
}

impl ReportTrial {
    /// The score at the first rung, which all trials have that were scored at all.
    pub fn first(&self) -> Option<RungScore> {
        self.rungs.first().copied().flatten()
    }
}

/// `1/9 of the training`, `all of the training`.
pub fn part_name(halving: Halving, rung: usize) -> String {
    match halving.eta.pow((halving.rungs.saturating_sub(rung + 1)) as u32) {
        1 => "all of the training".to_owned(),
        whole => format!("1/{whole} of the training"),
    }
}

/// All trials of a sweep.
pub fn trials(sweep: &Sweep, survey: &Survey) -> Vec<ReportTrial> {
    let all = sweep.manifest.trials.iter().zip(&survey.trials).zip(&survey.fates).enumerate();
    let told = |(number, ((trial, view), fate)): (usize, ((&crate::sweep::manifest::Trial, &RunView), &TrialStage))| {
        let state = match (fate, &view.failure) {
            (_, Some(reason)) => TrialEnd::Failed(reason.clone()),
            (TrialStage::Complete, None) if !view.unjudged() => TrialEnd::Complete,
            (TrialStage::Pruned(rung), None) => TrialEnd::Pruned(*rung),
            (TrialStage::Complete | TrialStage::Run(_) | TrialStage::Wait(_) | TrialStage::Failed, None) => {
                TrialEnd::Open
            }
        };
        let rungs = rungs(sweep, view, &trial.run);
        let epochs = epochs(sweep, &trial.point, &trial.run);
        let curve = if epochs.is_empty() { rungs.iter().copied().flatten().collect() } else { epochs };
        ReportTrial { number, run: trial.run.clone(), point: trial.point.clone(), state, rungs, curve }
    };
    all.map(told).collect()
}

fn rows<'s>(scores: impl Iterator<Item = &'s Score>) -> Option<usize> {
    Some(scores.map(|score| score.n()).sum()).filter(|&n| n > 0)
}

/// The scores at rungs, and that of the whole training where it is complete.
fn rungs(sweep: &Sweep, view: &RunView, run: &RunId) -> Vec<Option<RungScore>> {
    let halving = sweep.spec.halving;
    let scored = |rung: usize| {
        let part = halving.part(rung);
        if rung + 1 == halving.rungs && view.complete {
            let record = Record::find(&sweep.paths(run).record()).ok().flatten();
            let n = record.and_then(|record| rows(record.scores.values()));
            let score = view.standing.scores.last().map(|&score| sweep.spec.score(score))?;
            return score.is_finite().then_some(RungScore { part, score, n });
        }
        let same = |known: &&Rung| (known.part - part).abs() < 1e-9;
        let known = view.state.rungs.iter().find(same)?;
        let score = mean_figure(&known.scores);
        score.is_finite().then(|| RungScore { part, score, n: rows(known.scores.values()) })
    };
    (0..halving.rungs).map(scored).collect()
}

/// What every epoch scored on the rows watched while training, where a run keeps that.
fn epochs(sweep: &Sweep, point: &SearchPoint, run: &RunId) -> Vec<RungScore> {
    let place = sweep.folder().display().to_string();
    let text = std::fs::read_to_string(sweep.paths(run).epochs()).unwrap_or_default();
    let Ok(plan) = sweep.spec.plan(point, &place) else { return Vec::new() };
    let whole = plan.train.epochs.max(1) as f64;
    let kept = text.lines().map_while(|line| serde_json::from_str::<Epoch>(line).ok());
    let scored = |epoch: Epoch| {
        let score = 100.0 * epoch.value?;
        Some(RungScore { part: (epoch.epoch + 1) as f64 / whole, score, n: None })
    };
    kept.filter_map(scored).collect()
}
