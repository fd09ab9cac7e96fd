//! `reft eval`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use reft_core::adaptation::Mode;

use crate::alpaca_eval::outputs;
use crate::config::plan::{EvalSplit, RunPlan};
use crate::data::source::Sources;
use crate::evaluate::{self, Answered, Evaluator};
use crate::machine::fast;
use crate::prediction;
use crate::run::to_score;
use crate::saved_classifier::{Classifier, Files};
use crate::store::record::Score;
use crate::store::test_reads;
use crate::tasks::Task;
use crate::tasks::glue::Glue;

/// Arguments of `reft eval`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Configuration whose `data` and `eval` sections are used [default: every default]
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
        let plan = self.model.base.plan(self.config.as_deref(), &self.overrides)?;
        if let Some(glue) = plan.glue() {
            return self.classifier(&plan, glue);
        }
        if self.head.is_some() {
            bail!(
                "--head: {} is no task that is classified: leave it out, or name a GLUE task",
                plan.data.eval[0].key()
            );
        }
        if self.model.adapter.is_none() {
            self.model.base.model.get_or_insert(plan.model.clone());
        }
        let (loaded, adaptation) = self.model.open()?;
        fast::say(plan.dtype, plan.device);
        let step = adaptation.as_ref().map(|adaptation| adaptation.begin(Mode::Eval));
        let evaluator = Evaluator {
            loaded: &loaded,
            adaptation: step.as_deref(),
            plan: &plan.eval,
            max_length: plan.data.max_length,
            template: plan.data.template,
            seed: plan.seed,
        };
        let sources = Sources::from_env();
        self.note_test_reads(&plan)?;
        let mut scores = BTreeMap::new();
        for id in plan.data.eval {
            let mut rows = id.task().rows(plan.data.source, &plan.data.eval_split.scored(), &sources)?;
            to_score(id, &rows)?;
            rows.truncate(if plan.data.eval_rows == 0 { rows.len() } else { plan.data.eval_rows });
            let Answered { predictions, too_long } = evaluator.answer(id.task(), &rows)?;
            if let Some(cut) = &too_long {
                eprintln!("{cut}");
            }
            if let Some(out) = &self.out {
                prediction::save(&predictions, &out.join(format!("predictions-{}.jsonl", id.key())))?;
                if id.task().judged() {
                    let outputs = evaluate::outputs(&predictions, id.key(), "reft");
                    outputs::write(&out.join(format!("outputs-{}.json", id.key())), &outputs)?;
                }
            }
            if id.task().judged() {
                println!("{}: {} answers, to be judged with `reft judge`", id.key(), predictions.len());
            } else {
                let score = evaluate::score(&predictions);
                super::print_score(id.key(), score);
                scores.insert(id.key(), score);
            }
        }
        keep_scores(self.out.as_deref(), &scores)
    }

    /// Scores a trained encoder on its task.
    fn classifier(self, plan: &RunPlan, glue: &'static Glue) -> Result<()> {
        let files = Files::new(self.model.adapter.clone(), self.head.clone())?;
        let options = (plan.dtype, plan.device);
        let classifier = Classifier::open(&files, self.model.base.model.as_deref(), options, glue)?;
        fast::say(plan.dtype, plan.device);
        self.note_test_reads(plan)?;
        let out = self.out.as_ref().map(|out| out.join(format!("predictions-{}.jsonl", glue.key())));
        let score = classifier.score(plan, &Sources::from_env(), out.as_deref())?;
        super::print_score(glue.key(), score);
        keep_scores(self.out.as_deref(), &BTreeMap::from([(glue.key(), score)]))
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

/// Writes the scores, as a run's record has them, beside the predictions.
fn keep_scores(out: Option<&Path>, scores: &BTreeMap<&str, Score>) -> Result<()> {
    let Some(path) = out.map(|out| out.join("scores.json")) else { return Ok(()) };
    let json = serde_json::to_vec_pretty(scores).expect("plain data");
    crate::atomic::write(&path, &json).with_context(|| format!("{}: cannot be written", path.display()))
}
