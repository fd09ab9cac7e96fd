//! `reft train`.

use std::path::PathBuf;

use anyhow::{Error, Result, bail, ensure};
use reft_core::adapt_config::SpecError;
use reft_models::hub;

use super::place::check_folder;
use super::processes::Processes;
use super::train_data::{self, DataArgs, OutArgs};
use crate::config::plan::RunPlan;
use crate::config::read::run_plan;
use crate::data::own::cells::Format;
use crate::run;
use crate::run::session::Session;
use crate::run::{Claiming, Resume, Runner};
use crate::tasks::TaskId;
use crate::tasks::template::PromptTemplate;

/// Arguments of `reft train`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Configuration of the run; none with --data
    config: Option<PathBuf>,
    #[command(flatten)]
    from_data: DataArgs,
    /// Override a setting: --set train.lr=1e-3
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    #[command(flatten)]
    out: OutArgs,
    /// Go on from the checkpoint of an interrupted run
    #[arg(long)]
    resume: bool,
    /// Processes on this machine that share every update, each with its part of the cores, or a GPU of its own. Under torchrun
    /// or srun leave it out
    #[arg(long, value_name = "N")]
    nproc: Option<usize>,
    /// Folder of all runs
    #[arg(long, default_value = "runs")]
    runs: PathBuf,
}

impl Args {
    /// Trains and scores one run.
    ///
    /// # Errors
    /// When the configuration is wrong, something is missing, or training does not stay finite.
    pub fn run(self) -> Result<()> {
        let mut session = Session::from_env();
        self.check_config()?;
        self.out.check_place()?;
        check_folder("--runs", &self.runs)?;
        let plan = if self.from_data.is_given() {
            let written = self.from_data.written(&self.overrides, &session)?;
            let shown = serde_saphyr::to_string(&written.tree)?;
            let plan = train_data::plan(written)?;
            if self.from_data.only_shows() {
                self.check_shown(&plan, &mut session)?;
                print!("{shown}");
                return Ok(());
            }
            plan
        } else {
            run_plan(self.config.as_deref(), &self.overrides)?
        };
        if !plan.trains() {
            bail!("{}: adapt: nothing to train: name interventions, or use `reft eval`", self.place());
        }
        if plan.data.chat_template.is_some() && !uses_chat_template(&plan) {
            eprintln!(
                "data.chat_template: no rows are conversations: the template is only kept, for `reft generate --chat`"
            );
        }
        let title = match &self.config {
            Some(config) => config.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            None => self.from_data.title(),
        };
        let resume = if self.resume { Resume::Asked } else { Resume::Never };
        let runner = Runner { root: &self.runs, resume, claiming: Claiming::ByRunner, title, turn: None };
        let mut processes = Processes::meet(self.nproc)?;
        session.group.clone_from(&processes.group);
        if !processes.lead() {
            return runner.assist(&plan, &mut session).map_err(|error| self.located(error));
        }
        let free = self.out.check_free(|| run::run_name(&plan, &mut session));
        let done = free.and_then(|()| runner.execute(&plan, &mut session));
        let (record, paths) = done.map_err(|error| processes.why(self.located(error)))?;
        // Before anything is printed: whoever reads it may end early.
        let adapter = self.out.keep(&plan, &paths)?;
        super::print_record(&record);
        println!("run {}", paths.folder().display());
        if self.from_data.is_given() {
            self.from_data.show(&plan, &paths, &mut session)?;
        }
        if adapter.exists() {
            train_data::hint(&plan, &adapter, paths.folder(), &session.sources);
        }
        Ok(())
    }

    /// Looks at a plan that is only shown: at its rows, and at its model where that is at hand.
    fn check_shown(&self, plan: &RunPlan, session: &mut Session) -> Result<()> {
        match hub::find(&plan.model) {
            Ok(_) => run::check(plan, session).map_err(|error| self.located(error)),
            Err(error) => {
                run::data_fingerprint(plan, &session.sources)?;
                eprintln!("{error}; whether the settings fit it is seen when training begins");
                Ok(())
            }
        }
    }

    /// Refuses no configuration, and rows where a configuration is expected.
    fn check_config(&self) -> Result<()> {
        let Some(config) = &self.config else {
            ensure!(
                self.from_data.is_given(),
                "what is to be trained? Give a configuration (reft train run.yaml), or a file of examples (reft train --data FILE)"
            );
            return Ok(());
        };
        let shown = config.display();
        let holds_rows = match Format::of(config) {
            None => config.is_dir(),
            Some(Format::Json) => std::fs::read_to_string(config).is_ok_and(|text| json_rows(&text)),
            Some(Format::Csv | Format::Tsv | Format::Parquet) => true,
        };
        ensure!(!holds_rows, "{shown}: these are rows, no configuration: reft train --data {shown}");
        self.from_data.check_beside(config)
    }

    /// Processes that this one starts, itself counted.
    pub fn processes(&self) -> usize {
        self.nproc.unwrap_or(1)
    }

    /// What the settings come from.
    fn place(&self) -> String {
        self.config.as_ref().map_or("the command line".to_owned(), |config| config.display().to_string())
    }

    /// An adaptation that does not fit the model is a mistake in the configuration, which only the model brings to light.
    fn located(&self, error: Error) -> Error {
        if error.is::<SpecError>() { error.context(format!("{}: adapt", self.place())) } else { error }
    }
}

/// Whether the model's chat template makes prompts: of every row, or of those that are conversations.
fn uses_chat_template(plan: &RunPlan) -> bool {
    let of_conversations = |id: &TaskId| id.task().own().is_some_and(|set| set.spec.messages.is_some());
    let data = &plan.data;
    data.template == PromptTemplate::Chat || data.train.iter().chain(&data.eval).any(of_conversations)
}

/// Whether a text is a JSON array, or several lines of JSON objects. One object may be a configuration.
fn json_rows(text: &str) -> bool {
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let is_object = |line: &str| serde_json::from_str::<serde_json::Map<_, serde_json::Value>>(line).is_ok();
    text.starts_with('[') || [lines.next(), lines.next()].into_iter().all(|line| line.is_some_and(is_object))
}
