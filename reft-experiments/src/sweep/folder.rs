//! A sweep on disk: what is known of its trials, and what is to be done next. Files are the truth; nothing is kept in memory
//! that another driver could not find there.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use reft_core::rng::Seed;
use sha2::{Digest, Sha256};

use super::halving::{Halving, TrialStage};
use super::identity::Identities;
use super::manifest::{Manifest, Trial, Winner};
use super::measure::TrialMetric;
use super::search::FinishedTrial;
use super::spec::SweepSpec;
use super::view::RunView;
use crate::config::plan::{Dtype, RunPlan};
use crate::store::environment::{CODE_HASH, RESULTS_VERSION};
use crate::store::{RunId, RunPaths};

/// A sweep whose trials have names.
pub struct Sweep {
    /// Its declaration.
    pub spec: SweepSpec,
    /// What it decided so far.
    pub manifest: Manifest,
    folder: PathBuf,
    runs: PathBuf,
    identities: Identities,
    /// Runs that have ended for good: their files are not read again. Hundreds of trials on a network file system would
    /// otherwise be read by every worker at every look.
    settled: HashMap<RunId, RunView>,
}

/// All that is known of a sweep at one moment.
#[derive(Clone, PartialEq, Debug)]
pub struct Survey {
    /// The trials.
    pub trials: Vec<RunView>,
    /// Where they stand.
    pub fates: Vec<TrialStage>,
    /// The chosen setting's runs on test rows.
    pub last: Vec<RunView>,
    /// Whether no further trial begins: the hours are spent, or patience is.
    pub stopped: bool,
}

/// A piece of work.
#[derive(Clone, PartialEq, Debug)]
pub struct TrialJob {
    /// What it is, for people.
    pub title: String,
    /// The run's name.
    pub run: RunId,
    /// The rung it reaches; none if it is one of the last runs.
    pub rung: Option<usize>,
    /// The part of its updates after which it is scored.
    pub part: f64,
    /// As it was seen.
    pub view: RunView,
    /// The claim to take.
    pub claim: usize,
    /// What is run.
    pub plan: RunPlan,
}

/// What a worker should do.
#[derive(Clone, PartialEq, Debug)]
pub enum WorkerAction {
    /// Any of these; the first are wanted most.
    Jobs(Vec<TrialJob>),
    /// Others are at work, and what follows depends on them.
    Wait,
    /// There is nothing left to do.
    Done,
}

impl Sweep {
    /// The sweep of a file, with these settings over those that stand there; its folder made if it is new. Workers have
    /// `threads` threads each, unless runs were begun with another number.
    ///
    /// # Errors
    /// When the file is wrong, or data or weights are not to be had.
    pub fn of_file(file: &Path, overrides: &[String], runs: &Path, threads: Option<usize>) -> Result<Self> {
        // One thread for all names that the folder is called by: how many a worker gets is no part of a sweep's name.
        let mut identities = Identities::from_env(1);
        let mut named = NamedSweep::new(file, overrides, runs, &mut identities)?;
        if !named.manifest().exists()
            && let Some(begun) = named.in_another_type(file, overrides, runs, &mut identities)
        {
            let (here, there) = (named.spec.dtype().unwrap_or_default(), begun.spec.dtype().unwrap_or_default());
            eprintln!(
                "{}: begun in {there}, by `dtype: auto` of another machine, and goes on in it; auto is {here} here: --set \
                 run.dtype={here} begins a sweep of its own",
                begun.folder.display()
            );
            named = begun;
        }
        let auto_dtype = SweepSpec::leaves_dtype(file, overrides)?;
        Self::begin(named, runs, threads, identities, auto_dtype)
    }

    /// The sweep whose trials are these runs; its folder, which `stem` is the beginning of, made if it is new.
    ///
    /// # Errors
    /// When there are no runs, or data or weights are not to be had.
    pub fn of_plans(title: &str, stem: &str, plans: &[&RunPlan], runs: &Path, threads: usize) -> Result<Self> {
        let mut identities = Identities::from_env(1);
        let named = NamedSweep::of(SweepSpec::of_plans(title, plans)?, stem, runs, &mut identities)?;
        Self::begin(named, runs, Some(threads), identities, false)
    }

    /// The sweep in its folder, with the number of threads that its runs were begun with.
    fn begin(
        NamedSweep { spec, folder }: NamedSweep,
        runs: &Path,
        threads: Option<usize>,
        mut identities: Identities,
        auto_dtype: bool,
    ) -> Result<Self> {
        let path = folder.join("manifest.json");
        let found = if path.exists() { Some(Manifest::read(&path)?) } else { None };
        let begun = |trial: &Trial| RunPaths::new(runs, &trial.run).folder().exists();
        let frozen = found.as_ref().filter(|manifest| threads.is_none() || manifest.trials.iter().any(begun));
        let wanted = threads.map_or_else(tch::get_num_threads, |threads| threads as i32);
        identities.threads = frozen.map_or(wanted, |manifest| manifest.threads);
        if frozen.is_none() {
            let (sweep, code, threads) = (spec.frozen().clone(), CODE_HASH.to_owned(), identities.threads);
            let (results_version, trials) = (RESULTS_VERSION, name(&spec, &mut identities, &[])?);
            identities.check_last(&spec, trials.first())?;
            Manifest { sweep, code, results_version, threads, auto_dtype, trials, chosen: None }.save(&path)?;
        }
        let manifest = Manifest::read(&path)?;
        Ok(Self { manifest, spec, folder, runs: runs.to_owned(), identities, settled: HashMap::new() })
    }

    /// The sweep in a folder.
    ///
    /// # Errors
    /// When there is none.
    pub fn of_folder(folder: &Path, runs: &Path) -> Result<Self> {
        let manifest = Manifest::read(&folder.join("manifest.json"))?;
        let spec = SweepSpec::from_tree(manifest.sweep.clone(), &folder.display().to_string())?;
        let identities = Identities::from_env(manifest.threads);
        let (folder, runs) = (folder.to_owned(), runs.to_owned());
        Ok(Self { spec, manifest, folder, runs, identities, settled: HashMap::new() })
    }

    /// The sweep of a file, or of a folder, which has its settings already.
    ///
    /// # Errors
    /// As for the two, and when settings are given for a folder.
    pub fn of(path: &Path, overrides: &[String], runs: &Path) -> Result<Self> {
        match (path.is_dir(), overrides.first()) {
            (true, Some(text)) => bail!("--set {text}: the sweep in {} is frozen: leave it out", path.display()),
            (true, None) => Self::of_folder(path, runs),
            (false, _) => Self::of_file(path, overrides, runs, None),
        }
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder of all runs.
    pub fn runs(&self) -> &Path {
        &self.runs
    }

    /// The files of a run.
    pub fn paths(&self, run: &RunId) -> RunPaths {
        RunPaths::new(&self.runs, run)
    }

    /// Reads what is known now.
    ///
    /// # Errors
    /// When files cannot be read.
    pub fn survey(&mut self) -> Result<Survey> {
        self.manifest = Manifest::read(&self.folder.join("manifest.json"))?;
        let trials = self.manifest.trials.iter().map(|trial| (trial.run.clone(), self.spec.halving));
        let chosen = self.manifest.chosen.iter().flat_map(|chosen| &chosen.runs);
        let last = chosen.map(|run| (run.clone(), Halving::NONE));
        let (trials, last): (Vec<_>, Vec<_>) = (trials.collect(), last.collect());
        let mut view = |(run, halving): (RunId, Halving)| self.view(run, halving);
        let trials: Vec<RunView> = trials.into_iter().map(&mut view).collect::<Result<_>>()?;
        let last: Vec<RunView> = last.into_iter().map(view).collect::<Result<_>>()?;
        let stopped = self.spent(&trials) || self.patience_spent(&trials);
        let mut standings: Vec<_> = trials.iter().map(|view| view.standing.clone()).collect();
        if stopped {
            let unbegun = standings.iter_mut().zip(&trials).filter(|(_, view)| !view.begun());
            unbegun.for_each(|(standing, _)| standing.failed = true);
        }
        Ok(Survey { fates: self.spec.halving.fates(&standings), trials, last, stopped })
    }

    /// What is known of a run, from its files unless it has ended for good.
    fn view(&mut self, run: RunId, halving: Halving) -> Result<RunView> {
        if let Some(view) = self.settled.get(&run) {
            return Ok(view.clone());
        }
        let view = RunView::of(&self.paths(&run), &self.spec, halving)?;
        // A judge may change a win rate afterwards, and a failed run may be put back.
        if view.complete && self.spec.metric != TrialMetric::WinRate {
            self.settled.insert(run, view.clone());
        }
        Ok(view)
    }

    fn spent(&self, trials: &[RunView]) -> bool {
        let seconds: u64 = trials.iter().map(|view| view.state.seconds()).sum();
        self.spec.hours.is_some_and(|hours| seconds as f64 >= 3600.0 * hours)
    }

    /// Whether, of the trials that ended without a gap before them, the last `patience` were no better than one before.
    fn patience_spent(&self, trials: &[RunView]) -> bool {
        let Some(patience) = self.spec.patience else { return false };
        let (mut best, mut since) = (f64::NEG_INFINITY, 0);
        for view in trials.iter().take_while(|view| view.complete || view.failure.is_some()) {
            let score = view.standing.scores.last().copied().unwrap_or(f64::NEG_INFINITY);
            since = if score > best { 0 } else { since + 1 };
            best = best.max(score);
            if since >= patience {
                return true;
            }
        }
        false
    }

    /// What to do now. Names further trials and the winner when their time has come.
    ///
    /// # Errors
    /// When files cannot be read or written, or the sweep is of another results version.
    pub fn decide(&mut self) -> Result<WorkerAction> {
        self.manifest.check_version(&self.folder.join("manifest.json"))?;
        loop {
            let survey = self.survey()?;
            if survey.fates.iter().any(|fate| matches!(fate, TrialStage::Run(_) | TrialStage::Wait(_))) {
                return self.trial_jobs(&survey);
            }
            let more = !survey.stopped && self.manifest.chosen.is_none() && self.extend(&survey)?;
            if !more && !self.choose(&survey)? {
                return self.last_jobs(&survey);
            }
        }
    }

    fn trial_jobs(&self, survey: &Survey) -> Result<WorkerAction> {
        let mut jobs = Vec::new();
        let all = survey.trials.iter().zip(&survey.fates).zip(&self.manifest.trials).enumerate();
        for (number, ((view, fate), trial)) in all {
            let (TrialStage::Run(rung), Ok(claim)) = (fate, &view.claim) else { continue };
            let title = format!("trial {number}, rung {rung}");
            let plan = self.spec.plan(&trial.point, &self.folder.display().to_string())?;
            let part = self.spec.halving.part(*rung);
            let (rung, run) = (Some(*rung), trial.run.clone());
            let job = TrialJob { title, run, rung, part, view: view.clone(), claim: *claim, plan };
            jobs.push((std::cmp::Reverse(rung), number, job));
        }
        // Trials that went on come first: they decide most.
        jobs.sort_by_key(|&(rung, number, _)| (rung, number));
        Ok(if jobs.is_empty() {
            WorkerAction::Wait
        } else {
            WorkerAction::Jobs(jobs.into_iter().map(|(_, _, job)| job).collect())
        })
    }

    fn last_jobs(&self, survey: &Survey) -> Result<WorkerAction> {
        let Some(chosen) = &self.manifest.chosen else { return Ok(WorkerAction::Done) };
        let point = &self.manifest.trials[chosen.trial].point;
        let plans = self.spec.last_plans(point, &chosen.chosen_by, &self.folder.display().to_string())?;
        let (mut jobs, mut open) = (Vec::new(), false);
        for ((view, plan), run) in survey.last.iter().zip(plans).zip(&chosen.runs) {
            if view.complete || view.failure.is_some() {
                continue;
            }
            open = true;
            if let Ok(claim) = view.claim {
                let title = format!("test, seed {}", plan.seed);
                jobs.push(TrialJob { title, run: run.clone(), rung: None, part: 1.0, view: view.clone(), claim, plan });
            }
        }
        Ok(match (jobs.is_empty(), open) {
            (false, _) => WorkerAction::Jobs(jobs),
            (true, true) => WorkerAction::Wait,
            (true, false) => WorkerAction::Done,
        })
    }

    /// Names the trials that follow; false when there are none.
    fn extend(&mut self, survey: &Survey) -> Result<bool> {
        let score = |view: &RunView| view.standing.scores.last().copied().filter(|_| view.complete);
        let points = self.manifest.trials.iter().map(|trial| trial.point.clone());
        let tried: Vec<FinishedTrial> =
            points.zip(&survey.trials).map(|(point, view)| FinishedTrial { point, score: score(view) }).collect();
        let new = name(&self.spec, &mut self.identities, &tried)?;
        self.manifest.trials.extend(new.iter().cloned());
        if !new.is_empty() {
            self.save()?;
        }
        Ok(!new.is_empty())
    }

    /// The best of the complete trials, the earlier of equals; none while one of them waits for a judge.
    pub fn best(&self, survey: &Survey) -> Option<usize> {
        if survey.trials.iter().any(RunView::unjudged) {
            return None;
        }
        let complete = survey.fates.iter().enumerate().filter(|(_, fate)| **fate == TrialStage::Complete);
        let score = |number: usize| survey.trials[number].standing.scores.last().copied().unwrap_or(f64::NAN);
        complete.map(|(number, _)| number).reduce(|best, next| if score(next) > score(best) { next } else { best })
    }

    /// Names the winner and its runs on test rows; false when that was done, is not wanted, or cannot be done.
    fn choose(&mut self, survey: &Survey) -> Result<bool> {
        if self.spec.last.is_none() || self.manifest.chosen.is_some() {
            return Ok(false);
        }
        let Some(trial) = self.best(survey) else { return Ok(false) };
        let Trial { point, run } = &self.manifest.trials[trial];
        let score = survey.trials[trial].standing.scores.last().map_or(f64::NAN, |&score| self.spec.score(score));
        let name = self.folder.file_name().unwrap_or_default().to_string_lossy();
        let place = self.folder.display().to_string();
        let plan = self.spec.plan(point, &place)?;
        let chosen_by = format!(
            "sweep {name}, trial {trial} of {} with seed {}: {} {} on dev rows, run {run}{}",
            self.manifest.trials.len(),
            self.spec.seed,
            self.spec.metric.name(&plan),
            self.spec.shown(score),
            self.spec.caveat(&plan)
        );
        let plans = self.spec.last_plans(point, &chosen_by, &place)?;
        let runs = plans.iter().map(|plan| self.identities.of(plan)).collect::<Result<_>>()?;
        self.manifest.chosen = Some(Winner { trial, chosen_by, runs });
        self.save()?;
        Ok(true)
    }

    fn save(&self) -> Result<()> {
        self.manifest.save(&self.folder.join("manifest.json"))
    }
}

/// A sweep's file with its first trials and the folder that it has, or would have.
struct NamedSweep {
    spec: SweepSpec,
    folder: PathBuf,
}

impl NamedSweep {
    fn new(file: &Path, overrides: &[String], runs: &Path, identities: &mut Identities) -> Result<Self> {
        let stem = file.file_stem().unwrap_or_default().to_string_lossy();
        Self::of(SweepSpec::read(file, overrides)?, &stem, runs, identities)
    }

    fn of(spec: SweepSpec, stem: &str, runs: &Path, identities: &mut Identities) -> Result<Self> {
        let trials = name(&spec, identities, &[])?;
        let Some(first) = trials.first() else { bail!("{stem}: the space has no point") };
        let hash = Sha256::new().chain_update(spec.frozen().to_string()).chain_update(first.run.to_string()).finalize();
        let folder = runs.join("sweeps").join(format!("{stem}-{hash:.8x}"));
        Ok(Self { spec, folder })
    }

    fn manifest(&self) -> PathBuf {
        self.folder.join("manifest.json")
    }

    /// The same sweep as another machine began it, if its file leaves the type of the weights to the machine.
    fn in_another_type(
        &self,
        file: &Path,
        overrides: &[String],
        runs: &Path,
        identities: &mut Identities,
    ) -> Option<Self> {
        if !SweepSpec::leaves_dtype(file, overrides).ok()? {
            return None;
        }
        let others = [Dtype::F32, Dtype::Bf16].into_iter().filter(|dtype| self.spec.dtype() != Some(dtype.name()));
        let mut begun = others.filter_map(|dtype| {
            let overrides = [overrides, &[format!("run.dtype={}", dtype.name())]].concat();
            let named = Self::new(file, &overrides, runs, identities).ok()?;
            Manifest::read(&named.manifest()).is_ok_and(|manifest| manifest.auto_dtype).then_some(named)
        });
        begun.next()
    }
}

/// The trials that follow those tried, with their runs' names.
fn name(spec: &SweepSpec, identities: &mut Identities, tried: &[FinishedTrial]) -> Result<Vec<Trial>> {
    let left = spec.trials.saturating_sub(tried.len());
    let points = spec.method.search().propose(&spec.space, Seed(spec.seed), tried, left);
    let named = |point| Ok(Trial { run: identities.of(&spec.plan(&point, "a sweep")?)?, point });
    points.into_iter().map(named).collect()
}
