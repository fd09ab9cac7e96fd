//! What a study's edits learn from, as tokens.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use anyhow::{Context, Result};
use reft_core::lender::Lender;
use reft_core::rng::Seed;
use sha2::{Digest, Sha256};

use super::StudyExperiment;
use crate::config::plan::RunPlan;
use crate::data::data_file::DataFile;
use crate::data::encode::Example;
use crate::data::left_out::LeftOut;
use crate::data::source::DataSources;
use crate::run::context;
use crate::run::experiment::{Experiment, RunRows};
use crate::run::session::{LoadedDecoder, Session};
use crate::studies::MeasureSpec;
use crate::studies::edited::StudyContext;
use crate::studies::questions::THINGS;
use crate::tasks::TaskId;

/// The texts that a study is made of.
pub struct StudyRows {
    plan: RunPlan,
    /// What each measure is made of beside its settings.
    materials: BTreeMap<TaskId, String>,
    files: Vec<DataFile>,
}

/// The measure behind a task of a study.
pub(super) fn measure(task: TaskId) -> Result<&'static MeasureSpec> {
    task.task().study().context("no study")
}

impl StudyRows {
    /// Reads the texts of a plan.
    ///
    /// # Errors
    /// When a file is not there.
    pub fn read(plan: &RunPlan, sources: &DataSources) -> Result<Self> {
        let sources = &sources.afresh();
        let mut materials = BTreeMap::new();
        for &task in plan.data.train.iter().chain(&plan.data.eval) {
            if let Entry::Vacant(vacant) = materials.entry(task) {
                vacant.insert(measure(task)?.measure().material(sources)?);
            }
        }
        Ok(Self { plan: plan.clone(), materials, files: sources.files() })
    }

    /// What a measure of this plan knows of its run.
    pub(super) fn context<'a>(
        &'a self,
        task: TaskId,
        loaded: &'a LoadedDecoder,
        lender: &'a dyn Lender,
    ) -> StudyContext<'a> {
        let RunPlan { data, eval, seed, .. } = &self.plan;
        StudyContext {
            model: loaded.decoder.as_ref(),
            tokenizer: &loaded.tokenizer,
            lender,
            material: self.materials.get(&task).map_or("", String::as_str),
            seed: Seed(*seed),
            max_length: data.max_length,
            train_rows: data.train_rows,
            eval_rows: data.eval_rows,
            max_new_tokens: eval.max_new_tokens,
            batch_size: eval.batch_size,
        }
    }

    /// What each trained task is learned from; none of what is not trained.
    pub(super) fn examples(&self, loaded: &LoadedDecoder) -> Result<Vec<Vec<Example>>> {
        let lender = loaded.lender();
        let of = |&task: &TaskId| measure(task)?.measure().examples(&self.context(task, loaded, &lender));
        let parts = self.plan.data.train.iter().map(of).collect::<Result<Vec<_>>>()?;
        for example in parts.iter().flatten() {
            context::check_row(&example.name, example.ids.len(), loaded.decoder.context())?;
        }
        Ok(parts)
    }
}

impl RunRows for StudyRows {
    /// Of all texts, each once. The things of the questions enter that of every study, as they have since the first.
    fn fingerprint(&self) -> String {
        let mut texts: Vec<&String> = self.materials.values().filter(|text| !text.is_empty()).collect();
        texts.sort_unstable();
        texts.dedup();
        let mut hash = texts.into_iter().fold(Sha256::new(), Sha256::chain_update);
        for text in THINGS.iter().flat_map(|(thing, kind)| [thing, kind]) {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        format!("{:.32x}", hash.finalize())
    }

    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    fn files(&self) -> &[DataFile] {
        &self.files
    }

    fn left_out(&self) -> &[LeftOut] {
        &[]
    }

    fn load(self: Box<Self>, session: &mut Session) -> Result<Box<dyn Experiment>> {
        let loaded = session.load(&self.plan)?;
        Ok(Box::new(StudyExperiment { rows: *self, loaded }))
    }
}
