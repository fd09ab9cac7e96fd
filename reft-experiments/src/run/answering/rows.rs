//! The rows of a causal model's run: read, limited, identified, and made into training examples.

use anyhow::{Context, Result, bail};

use super::Answering;
use crate::config::plan::RunPlan;
use crate::data::data_file::DataFile;
use crate::data::encode::{Example, Text, encode};
use crate::data::left_out::LeftOut;
use crate::data::overlap::Overlap;
use crate::data::own::conversation;
use crate::data::row::{Row, limited};
use crate::data::source::Sources;
use crate::data::split::fingerprint;
use crate::data::too_long::{Fate, TooLong, Use};
use crate::run::context;
use crate::run::experiment::{Experiment, RunRows};
use crate::run::session::{Loaded, Session};
use crate::tasks::TaskId;
use crate::train::causal::labels;
use crate::train::trainer::TrainError;

/// The rows of a run.
pub struct AnsweringRows {
    pub(super) plan: RunPlan,
    train: Vec<(TaskId, Row)>,
    /// Rows to score, by task.
    pub(super) eval: Vec<(TaskId, Vec<Row>)>,
    files: Vec<DataFile>,
}

impl AnsweringRows {
    /// Reads and limits the rows of a plan.
    ///
    /// # Errors
    /// When data is missing or damaged, or a task has no rows.
    pub fn read(plan: &RunPlan, sources: &Sources) -> Result<Self> {
        let data = &plan.data;
        let sources = &sources.afresh();
        let mut train = Vec::new();
        for &id in data.train.iter().filter(|_| plan.adapt.is_some()) {
            let mut rows = id.task().rows(data.source, &data.eval_split.training(), sources)?;
            if rows.is_empty() {
                bail!("task {}: no rows to train on are left once the dev rows are held out: give more rows", id.key());
            }
            rows.truncate(limited(rows.len(), data.train_rows));
            train.extend(rows.into_iter().map(|row| (id, row)));
        }
        let eval = data.eval.iter().map(|&id| Ok((id, scored(plan, id, sources)?))).collect::<Result<_>>()?;
        Ok(Self { plan: plan.clone(), train, eval, files: sources.files() })
    }

    /// Training rows as tokens; rows whose answer lies beyond the maximum length are left out. These are counted, and those
    /// whose answer loses its end.
    pub(super) fn examples(&self, loaded: &Loaded) -> Result<(Vec<Example>, Vec<TooLong>)> {
        let plan = &self.plan;
        let (tokenizer, template) = (&loaded.tokenizer, plan.data.template);
        let ends = |(index, (id, row)): (usize, &(TaskId, Row))| -> Result<Vec<Example>> {
            let trained = id.task().own().map(|set| set.trained).unwrap_or_default();
            let name = format!("{} row {index}", id.key());
            conversation::examples(&row.conversation, trained, tokenizer, plan.data.max_length, &name)
                .with_context(|| name)
        };
        let in_turns = |(_, (_, row)): &(usize, &(TaskId, Row))| !row.conversation.is_empty();
        let conversations = self.train.iter().enumerate().filter(in_turns).map(ends).collect::<Result<Vec<_>>>()?;
        let text = |(index, (id, row)): (usize, &(TaskId, Row))| -> Result<Text> {
            let prompt = template.prompt(id.task(), row, tokenizer)?;
            Ok(Text { prompt, completion: id.task().completion(row), name: format!("{} row {index}", id.key()) })
        };
        let texts = self.train.iter().enumerate().filter(|row| !in_turns(row)).map(text).collect::<Result<Vec<_>>>()?;
        let tokenise = |text: &str| tokenizer.encode(text, template.specials());
        let mut examples = encode(&texts, &tokenizer.eos_text(), plan.data.max_length, tokenise)?;
        examples.extend(conversations.into_iter().flatten());
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

impl RunRows for AnsweringRows {
    fn fingerprint(&self) -> String {
        fingerprint(self.train.iter().map(|(_, row)| row).chain(self.eval.iter().flat_map(|(_, rows)| rows)))
    }

    fn overlaps(&self) -> Vec<String> {
        let split = self.plan.data.eval_split.scored();
        let trained = || self.train.iter().map(|(_, row)| row);
        let of = |(id, rows): &(TaskId, Vec<Row>)| Overlap::new(rows, trained()).describe(id.key(), split.name());
        self.eval.iter().filter_map(of).collect()
    }

    fn files(&self) -> &[DataFile] {
        &self.files
    }

    fn left_out(&self) -> &[LeftOut] {
        &[]
    }

    fn load(self: Box<Self>, session: &mut Session) -> Result<Box<dyn Experiment>> {
        let loaded = session.load(&self.plan)?;
        Ok(Box::new(Answering { rows: *self, loaded }))
    }
}

/// The rows of a task that a plan scores.
///
/// # Errors
/// When data is missing or damaged, or there are none.
pub fn scored(plan: &RunPlan, id: TaskId, sources: &Sources) -> Result<Vec<Row>> {
    let mut rows = id.task().rows(plan.data.source, &plan.data.eval_split.scored(), sources)?;
    if rows.is_empty() {
        bail!(
            "task {}: no rows to score: a tenth of the training file are its dev rows; give more rows, or choose another \
             data.eval_split",
            id.key()
        );
    }
    rows.truncate(limited(rows.len(), plan.data.eval_rows));
    Ok(rows)
}
