//! `reft eval`.

use std::path::PathBuf;

use anyhow::Result;
use reft_core::adaptation::Mode;

use crate::alpaca_eval::outputs;
use crate::config::read::run_plan;
use crate::data::source::Sources;
use crate::evaluate::{self, Evaluator};

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
    /// Folder for the predictions
    #[arg(long)]
    out: Option<PathBuf>,
}

impl Args {
    /// Scores every task of the configuration.
    ///
    /// # Errors
    /// When the configuration, the model or the adapter is wrong, or data is missing.
    pub fn run(mut self) -> Result<()> {
        let plan = run_plan(self.config.as_deref(), &self.overrides)?;
        if self.model.adapter.is_none() {
            self.model.base.model.get_or_insert(plan.model);
        }
        let (loaded, adaptation) = self.model.open()?;
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
        for id in plan.data.eval {
            let mut rows = id.task().rows(plan.data.source, &plan.data.eval_split.scored(), &sources)?;
            rows.truncate(if plan.data.eval_rows == 0 { rows.len() } else { plan.data.eval_rows });
            let predictions = evaluator.answer(id.task(), &rows)?;
            if let Some(out) = &self.out {
                evaluate::save(&predictions, &out.join(format!("predictions-{}.jsonl", id.key())))?;
                if id.task().judged() {
                    let outputs = evaluate::outputs(&predictions, id.key(), "reft");
                    outputs::write(&out.join(format!("outputs-{}.json", id.key())), &outputs)?;
                }
            }
            if id.task().judged() {
                println!("{}: {} answers, to be judged with `reft judge`", id.key(), predictions.len());
            } else {
                super::print_score(id.key(), evaluate::score(&predictions));
            }
        }
        Ok(())
    }
}
