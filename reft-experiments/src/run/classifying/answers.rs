//! What an encoder takes rows for, and what that comes to.

use anyhow::Result;
use reft_core::adaptation::{Adaptation, Mode};

use crate::config::plan::RunPlan;
use crate::data::labelled::{self, EncodedRows, Target};
use crate::data::row::Row;
use crate::data::too_long::{LengthAction, RowUse, TooLong};
use crate::run::context;
use crate::run::experiment::TaskScore;
use crate::run::prediction::Prediction;
use crate::run::session::LoadedEncoder;
use crate::store::record::Score;
use crate::tasks::TaskId;
use crate::tasks::labelled::{LabelledTask, Labels};
use crate::train::classification::Classification;

/// Rows as tokens, and those whose texts were cut.
///
/// # Errors
/// When a text cannot be encoded, or a row is longer than the encoder's context.
pub fn encode(
    rows: &[Row],
    purpose: RowUse,
    task: &dyn LabelledTask,
    loaded: &LoadedEncoder,
    plan: &RunPlan,
) -> Result<(EncodedRows, Option<TooLong>)> {
    let max_length = plan.data.max_length;
    let encoded = labelled::encode(rows, task.key(), |row| task.target(row), &loaded.tokenizer, max_length)?;
    let context = loaded.encoder.config().longest();
    for row in &encoded.rows {
        context::check_row(&row.name, row.ids.len(), context)?;
    }
    let (key, of) = (task.key().to_owned(), encoded.rows.len());
    let cut = TooLong {
        task: key,
        purpose,
        fate: LengthAction::PairCut,
        rows: encoded.cut,
        of,
        max_length,
        end: String::new(),
    };
    Ok((encoded, cut.some()))
}

/// Rows to be given their labels.
pub struct ClassificationBatch<'a> {
    /// The rows.
    pub rows: &'a [Row],
    /// Their task.
    pub task: &'a dyn LabelledTask,
    /// The encoder.
    pub loaded: &'a LoadedEncoder,
    /// How rows are cut.
    pub plan: &'a RunPlan,
}

impl ClassificationBatch<'_> {
    /// Gives the rows their labels and scores them.
    ///
    /// # Errors
    /// When a text cannot be encoded or is too long, interventions overlap, or the model's scores are not finite.
    pub fn answer(&self, objective: &Classification<'_>, adaptation: &dyn Adaptation) -> Result<TaskScore> {
        let Self { rows, task, loaded, plan } = *self;
        let (encoded, too_long) = encode(rows, RowUse::Scoring, task, loaded, plan)?;
        let answers = objective.answers(adaptation.begin(Mode::Eval).as_ref(), &encoded.rows)?;
        let (labels, id) = (task.labels(), task.key().parse::<TaskId>()?);
        let predictions = rows.iter().zip(&answers.pairs).map(|(row, pair)| prediction(labels, row, *pair)).collect();
        let score = Some(Score::measured(task.metric(), task.second(), &answers, encoded.cut));
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
