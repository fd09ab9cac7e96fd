//! The rows of a language model's run: read, limited, identified, and made into training examples.

use anyhow::{Result, bail};

use super::to_score;
use crate::config::plan::RunPlan;
use crate::context;
use crate::data::data_file::DataFile;
use crate::data::encode::{Example, Text, encode};
use crate::data::overlap::Overlap;
use crate::data::row::Row;
use crate::data::source::Sources;
use crate::data::split::fingerprint;
use crate::data::too_long::{Fate, TooLong, Use};
use crate::session::Loaded;
use crate::tasks::TaskId;
use crate::train::causal::labels;
use crate::train::trainer::TrainError;

/// The rows of a run.
pub(super) struct Data {
    train: Vec<(TaskId, Row)>,
    /// Rows to score, by task.
    pub(super) eval: Vec<(TaskId, Vec<Row>)>,
    /// The files that were read.
    pub(super) files: Vec<DataFile>,
}

impl Data {
    /// Reads and limits the rows of a plan.
    pub(super) fn read(plan: &RunPlan, sources: &Sources) -> Result<Self> {
        let data = &plan.data;
        let some = |mut rows: Vec<Row>, limit: usize| {
            rows.truncate(if limit == 0 { rows.len() } else { limit });
            rows
        };
        let sources = &sources.afresh();
        let mut train = Vec::new();
        for &id in data.train.iter().filter(|_| plan.adapt.is_some()) {
            let rows = id.task().rows(data.source, &data.eval_split.training(), sources)?;
            if rows.is_empty() {
                bail!("task {}: no rows to train on are left once the dev rows are held out: give more rows", id.key());
            }
            train.extend(some(rows, data.train_rows).into_iter().map(|row| (id, row)));
        }
        let scored = |&id: &TaskId| {
            let rows = id.task().rows(data.source, &data.eval_split.scored(), sources)?;
            to_score(id, &rows)?;
            Ok((id, some(rows, data.eval_rows)))
        };
        let eval = data.eval.iter().map(scored).collect::<Result<_>>()?;
        Ok(Self { train, eval, files: sources.files() })
    }

    /// Identity of all of them.
    pub(super) fn fingerprint(&self) -> String {
        fingerprint(self.train.iter().map(|(_, row)| row).chain(self.eval.iter().flat_map(|(_, rows)| rows)))
    }

    /// Which rows to be scored are also trained on, in words.
    pub(super) fn overlaps(&self, split: &str) -> Vec<String> {
        let trained = || self.train.iter().map(|(_, row)| row);
        let of = |(id, rows): &(TaskId, Vec<Row>)| Overlap::new(rows, trained()).describe(id.key(), split);
        self.eval.iter().filter_map(of).collect()
    }

    /// Training rows as tokens; rows whose answer lies beyond the maximum length are left out. These are counted, and those
    /// whose answer loses its end.
    pub(super) fn examples(&self, plan: &RunPlan, loaded: &Loaded) -> Result<(Vec<Example>, Vec<TooLong>)> {
        let (tokenizer, template) = (&loaded.tokenizer, plan.data.template);
        let text = |(index, (id, row)): (usize, &(TaskId, Row))| -> Result<Text> {
            let prompt = template.prompt(id.task(), row, tokenizer)?;
            Ok(Text { prompt, completion: id.task().completion(row), name: format!("{} row {index}", id.key()) })
        };
        let texts = self.train.iter().enumerate().map(text).collect::<Result<Vec<_>>>()?;
        let tokenise = |text: &str| tokenizer.encode(text, template.specials());
        let mut examples = encode(&texts, &tokenizer.eos_text(), plan.data.max_length, tokenise)?;
        let of = examples.len();
        examples.retain(|example| labels(example) > 0);
        let tasks: Vec<&str> = plan.data.train.iter().map(|id| id.key()).collect();
        let (max_length, purpose) = (plan.data.max_length, Use::Training);
        let too_long = |fate, rows| {
            TooLong { task: tasks.join("+"), purpose, fate, rows, of, max_length, end: String::new() }.some()
        };
        let cut = examples.iter().filter(|example| example.lost > 0).count();
        let too_long: Vec<TooLong> =
            [too_long(Fate::LeftOut, of - examples.len()), too_long(Fate::Cut, cut)].into_iter().flatten().collect();
        for rows in &too_long {
            eprintln!("{rows}");
        }
        for example in &examples {
            context::check_row(&example.name, example.ids.len(), loaded.decoder.context())?;
        }
        if examples.is_empty() {
            return Err(TrainError::NoLabels { max_length: plan.data.max_length }.into());
        }
        Ok((examples, too_long))
    }
}
