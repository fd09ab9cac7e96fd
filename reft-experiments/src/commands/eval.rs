//! `reft eval`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use serde_json::Value;

use super::conditions::{Conditions, scored_rows};
use super::place::check_folder;
use crate::config::plan::{DataPlan, EvalPlan, EvalSplit, RunPlan};
use crate::data::overlap::Overlap;
use crate::data::row::limited;
use crate::data::source::DataSources;
use crate::machine::fast;
use crate::run::saved::SavedFiles;
use crate::run::saved_task::SavedTask;
use crate::run::{self, PredictionFile};
use crate::store::record::{Record, Score};
use crate::store::test_reads;
use crate::tasks::TaskId;

/// Arguments of `reft eval`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Configuration whose `data` and `eval` sections are used [default: every default; needed with an adapter, or --set data.eval]
    config: Option<PathBuf>,
    /// Override a setting: --set data.eval=[boolq,piqa]
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    #[command(flatten)]
    model: super::ModelArgs,
    /// A trained classification head [default: head.safetensors beside the adapter's folder]
    #[arg(long)]
    head: Option<PathBuf>,
    /// Folder for the predictions and scores
    #[arg(long)]
    out: Option<PathBuf>,
    /// Replace another evaluation that is in the folder of --out
    #[arg(long, requires = "out")]
    overwrite: bool,
    /// Folder of all runs, where reading test rows is noted
    #[arg(long, default_value = "runs")]
    runs: PathBuf,
}

impl Args {
    /// Scores every task of the configuration.
    ///
    /// # Errors
    /// When the configuration, the model or the adapter is wrong, or data is missing.
    pub fn run(mut self) -> Result<()> {
        self.names_rows()?;
        let plan = self.model.base.plan(self.config.as_deref(), &self.overrides)?;
        ensure!(!plan.data.eval.is_empty(), "data.eval: nothing is to be scored: name at least one task");
        self.fits(&plan)?;
        self.out.as_ref().map_or(Ok(()), |out| check_folder("--out", out))?;
        if matches!(plan.data.eval_split, EvalSplit::Test(_)) {
            check_folder("--runs", &self.runs)?;
        }
        let tokenizer = self.model.base.tokenizer;
        let files = SavedFiles { adapter: self.model.adapter.clone(), head: self.head.clone(), tokenizer };
        let saved = run::open(&plan, &files, self.model.base.model.as_deref())?;
        fast::say(plan.dtype, plan.device);
        self.warn_of_rows(&plan)?;
        self.say_changed()?;
        let trained = self.model.adapter.as_deref().or(self.head.as_deref());
        let at = (plan.dtype, plan.device);
        let conditions = Conditions::here(&saved.base().id, trained, (scored_rows(&plan), plan.seed), at);
        self.check_free(&plan, &conditions)?;
        self.note_test_reads(&plan)?;
        let (mut scores, mut said) = (BTreeMap::new(), false);
        saved.score(&plan, &DataSources::from_env(), &mut |scored| {
            let key = scored.task.key();
            if !std::mem::replace(&mut said, true) {
                println!("{conditions}");
            }
            if let Some(cut) = &scored.too_long {
                eprintln!("{cut}");
            }
            if let Some(out) = &self.out {
                let file = |name: String| out.join(name);
                let (predictions, outputs) =
                    (file(format!("predictions-{key}.jsonl")), file(format!("outputs-{key}.json")));
                scored.save(&PredictionFile { predictions, outputs }, "reft")?;
            }
            match scored.score {
                Some(score) => {
                    super::print_score(key, score);
                    scores.insert(key, score);
                }
                None => println!("{key}: {} answers, to be judged with `reft judge`", scored.predictions.len()),
            }
            Ok(())
        })?;
        keep_scores(self.out.as_deref(), &ScoresFile { conditions, data: &plan.data, eval: &plan.eval, scores })
    }

    /// An adapter is not scored on the default's rows, which have nothing to do with what it was trained for.
    fn names_rows(&self) -> Result<()> {
        let named = |set: &String| ["data=", "data.eval="].iter().any(|key| set.starts_with(key));
        let Some(adapter) = self.model.adapter.as_ref().filter(|_| self.config.is_none()) else { return Ok(()) };
        ensure!(
            self.overrides.iter().any(named),
            "{}: which rows? Give the configuration of the adapter's run (its config.yaml), or --set data.eval=[..]; rows of \
             a file are answered and scored by `reft predict`",
            adapter.display()
        );
        Ok(())
    }

    /// An encoder's adapter is not asked in words.
    fn fits(&self, plan: &RunPlan) -> Result<()> {
        let Some(adapter) = self.model.adapter.as_ref().filter(|_| !plan.kind().has_head()) else { return Ok(()) };
        let labels = SavedTask::find(adapter)?.and_then(|task| task.labels);
        let (shown, tasks) = (adapter.display(), plan.data.eval.iter().map(|id| id.key()).collect::<Vec<_>>());
        ensure!(
            labels.is_none(),
            "{shown}: an encoder with labels was trained, and {} has none: rows of a file are answered and scored by `reft predict \
             --adapter {shown} FILE`",
            tasks.join(", ")
        );
        Ok(())
    }

    /// Says what a score on these rows does not tell: how many of them the adapter was trained on, or the configuration trains on where the
    /// adapter's folder does not say, and in how many two choices are the same.
    fn warn_of_rows(&self, plan: &RunPlan) -> Result<()> {
        let sources = DataSources::from_env();
        let kept = self.model.adapter.as_deref().map(SavedTask::find).transpose()?.flatten();
        let trained = kept.map_or(Vec::new(), |kept| kept.trained_rows(&sources));
        let split = plan.data.eval_split.scored();
        let overlap = |id: &TaskId| {
            let mut rows = id.task().rows(plan.data.source, &split, &sources).ok()?;
            rows.truncate(limited(rows.len(), plan.data.eval_rows));
            Overlap::new(&rows, &trained).describe(id.key(), split.name())
        };
        plan.data.eval.iter().filter_map(overlap).for_each(|said| eprintln!("{said}"));
        let adapt = plan.adapt.clone().filter(|_| trained.is_empty());
        // Rows to score that are missing are an error later; without those of training there is nothing to compare.
        let said = run::warnings(&RunPlan { adapt, ..plan.clone() }, &sources).unwrap_or_default();
        for said in said {
            eprintln!("{said}");
        }
        Ok(())
    }

    /// Says that the files have changed since the run whose configuration this is, where they have: what was trained on then may be
    /// scored now.
    fn say_changed(&self) -> Result<()> {
        let Some(config) = &self.config else { return Ok(()) };
        let Some(record) = Record::find(&config.with_file_name("record.json"))? else { return Ok(()) };
        // Data that is not here any more is no error of what is scored.
        let now = run::data_fingerprint(&record.plan, &DataSources::from_env());
        if now.is_ok_and(|now| now != record.environment.data_fingerprint) {
            eprintln!(
                "{}: the data have changed since this run: rows that it was trained on may be among those that are scored",
                config.display()
            );
        }
        Ok(())
    }

    /// Refuses a folder with the scores of something else.
    fn check_free(&self, plan: &RunPlan, conditions: &Conditions) -> Result<()> {
        let Some(out) = self.out.as_ref().filter(|_| !self.overwrite) else { return Ok(()) };
        let Ok(there) = std::fs::read(out.join(SCORES)) else { return Ok(()) };
        let ours =
            ScoresFile { conditions: conditions.clone(), data: &plan.data, eval: &plan.eval, scores: BTreeMap::new() };
        let mut ours = serde_json::to_value(ours).expect("plain data");
        let ours = ours.as_object_mut().expect("an object");
        ours.remove("scores");
        let of_task = |key: &String| plan.data.eval.iter().any(|id| id.task().key() == key);
        let same = |there: &Value| {
            there["adapter"].as_str() == conditions.adapter.as_deref()
                && ours.iter().all(|(key, value)| there[key] == *value)
                && there["scores"].as_object().is_some_and(|scores| scores.keys().all(of_task))
        };
        ensure!(
            serde_json::from_slice(&there).is_ok_and(|there: Value| same(&there)),
            "--out {}: the scores of another evaluation are there ({SCORES}): name another folder, or give --overwrite to replace them",
            out.display()
        );
        Ok(())
    }

    /// Notes that test rows are about to be read, if they are.
    fn note_test_reads(&self, plan: &RunPlan) -> Result<()> {
        let EvalSplit::Test(selection) = &plan.data.eval_split else { return Ok(()) };
        let what = self.model.adapter.as_ref().or(self.head.as_ref()).map(|path| path.display().to_string());
        let name = format!("reft eval {}", what.as_deref().unwrap_or(&plan.model));
        let tasks: Vec<&str> = plan.data.eval.iter().map(|id| id.key()).collect();
        std::fs::create_dir_all(&self.runs).with_context(|| format!("{}: cannot be made", self.runs.display()))?;
        Ok(test_reads::note_as(&self.runs, &name, &tasks, selection)?)
    }
}

/// The file of scores in the folder of `--out`.
const SCORES: &str = "scores.json";

/// Its content.
#[derive(Serialize)]
struct ScoresFile<'a> {
    #[serde(flatten)]
    conditions: Conditions,
    /// Which rows were scored.
    data: &'a DataPlan,
    /// How they were answered.
    eval: &'a EvalPlan,
    /// As a run's record has them.
    scores: BTreeMap<&'a str, Score>,
}

/// Writes the scores beside the predictions.
fn keep_scores(out: Option<&Path>, scores: &ScoresFile<'_>) -> Result<()> {
    let Some(path) = out.map(|out| out.join(SCORES)) else { return Ok(()) };
    let json = serde_json::to_vec_pretty(scores).expect("plain data");
    crate::atomic::write(&path, &json).with_context(|| format!("{}: cannot be written", path.display()))
}
