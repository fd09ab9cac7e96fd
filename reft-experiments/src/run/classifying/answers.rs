//! Predictions of an encoder, and their scores.

use anyhow::Result;
use reft_core::adaptation::{Adaptation, Mode};

use crate::data::labelled::{self, EncodedRows, Target};
use crate::data::labels::Labels;
use crate::data::row::Row;
use crate::data::too_long::{LengthAction, RowUse, TooLong};
use crate::run::context;
use crate::run::experiment::TaskScore;
use crate::run::prediction::Prediction;
use crate::run::session::LoadedEncoder;
use crate::store::record::Score;
use crate::tasks::TaskId;
use crate::tasks::labelled::LabelledTask;
use crate::train::classification::Classification;

/// How rows become tokens.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    /// Their task's key, for messages.
    pub task: &'a str,
    /// What they are.
    pub labels: Labels,
    /// The encoder.
    pub loaded: &'a LoadedEncoder,
    /// Tokens of a row at most.
    pub max_length: usize,
}

impl Reader<'_> {
    /// Rows as tokens, and those whose texts were cut.
    ///
    /// # Errors
    /// When a text cannot be encoded, or a row is longer than the encoder's context.
    pub fn encode(&self, rows: &[Row], purpose: RowUse) -> Result<(EncodedRows, Option<TooLong>)> {
        let labels = self.labels;
        self.encode_as(rows, purpose, |row| labels.of(row))
    }

    /// The same for rows whose labels may be unknown.
    ///
    /// # Errors
    /// The same.
    pub fn encode_as(
        &self,
        rows: &[Row],
        purpose: RowUse,
        target: impl Fn(&Row) -> Target + Sync,
    ) -> Result<(EncodedRows, Option<TooLong>)> {
        let Self { loaded, max_length, .. } = *self;
        let key = self.task;
        let encoded = labelled::encode(rows, key, target, &loaded.tokenizer, max_length)?;
        let context = loaded.encoder.config().longest();
        for row in &encoded.rows {
            context::check_row(&row.name, row.ids.len(), context)?;
        }
        let (task, of) = (key.to_owned(), encoded.rows.len());
        let cut = TooLong {
            task,
            purpose,
            fate: LengthAction::PairCut,
            rows: encoded.cut.len(),
            of,
            max_length,
            named: Vec::new(),
            end: String::new(),
        };
        let cut = cut.naming(encoded.cut.iter().cloned()).some();
        Ok((encoded, cut))
    }

    /// Gives the rows of a task their labels and scores them.
    ///
    /// # Errors
    /// When a text cannot be encoded or is too long, interventions overlap, or the model's scores are not finite.
    pub fn answer(
        &self,
        id: TaskId,
        rows: &[Row],
        objective: &Classification<'_>,
        adaptation: &dyn Adaptation,
    ) -> Result<TaskScore> {
        let (encoded, too_long) = self.encode(rows, RowUse::Scoring)?;
        let answers = objective.answers(adaptation.begin(Mode::Eval).as_ref(), &encoded.rows)?;
        let labels = self.labels;
        let predictions = rows.iter().zip(&answers.pairs).map(|(row, pair)| prediction(labels, row, *pair)).collect();
        let task = id.task();
        let second = task.labelled().and_then(LabelledTask::second);
        if let Some(said) = Score::undefined(task.metric(), &answers) {
            eprintln!("{}: {said}", self.task);
        }
        let score = Some(Score::measured(task.metric(), second, &answers, encoded.cut.len()));
        Ok(TaskScore { task: id, predictions, too_long, score })
    }
}

/// What a row was taken for. Of scores none is right or wrong.
fn prediction(labels: Labels, row: &Row, (right, taken): (Target, Target)) -> Prediction {
    let (instruction, input, expected) = (row.instruction.clone(), row.input.clone(), row.answer.clone());
    let said = labels.name(taken);
    let correct = labels.are_classes().then(|| right == taken);
    Prediction { instruction, input, answer: said.clone(), said, expected, correct, cut: false, likelihood: None }
}
