//! What a run by `reft train --data` taught, on dev rows.

use std::path::Path;

use anyhow::Result;
use reft_core::adaptation::Mode;
use reft_core::adapter_file::SavedAdapter;

use super::DataArgs;
use crate::commands::print_score;
use crate::config::plan::RunPlan;
use crate::data::own::rows::RowParts;
use crate::data::own::set::OwnSet;
use crate::data::row::{Row, limited};
use crate::data::source::DataSources;
use crate::run::answering::answer;
use crate::run::answering::evaluation::Evaluator;
use crate::run::prediction;
use crate::run::session::Session;
use crate::score::scoring::ScoringKind;
use crate::store::RunPaths;
use crate::tasks::{Task, TaskId};

/// Dev rows that the base model is scored on at most.
const BASE_ROWS: usize = 200;

/// Dev rows that are shown.
const SHOWN: usize = 3;

impl DataArgs {
    /// Says what was learned.
    ///
    /// # Errors
    /// When the adapter cannot be read, or answering fails.
    pub fn show(&self, plan: &RunPlan, paths: &RunPaths, session: &mut Session) -> Result<()> {
        let Some(&id) = plan.data.eval.first() else {
            println!("no dev rows were held out: nothing was scored");
            return Ok(());
        };
        if plan.kind().has_head() { labels(id, paths) } else { texts(plan, id, paths, session) }
    }
}

/// Scored rows below which it is said that they are few.
const TELLING: usize = 10;

/// Says of a score of few rows that it is one.
fn warn_of_few(rows: usize) {
    if rows < TELLING {
        let rows_of = if rows == 1 { "row" } else { "rows" };
        println!("a score of {rows} {rows_of} tells little: hold out more (--split dev=20)");
    }
}

/// Says how what was trained is used.
pub fn hint(plan: &RunPlan, adapter: &Path, run: &Path, sources: &DataSources) {
    let shown = adapter.display();
    let of = |is: fn(&OwnSet) -> bool| plan.data.eval.iter().any(|id| id.task().own().is_some_and(is));
    let command = if plan.kind().has_head() || of(|set| set.scoring.kind() == ScoringKind::Choices) {
        format!("reft predict --adapter {shown} FILE")
    } else if of(|set| matches!(set.parts, RowParts::Conversation(_))) {
        format!("reft generate --adapter {shown} --chat")
    } else {
        format!("reft generate --adapter {shown} \"…\"")
    };
    println!("\nadapter {shown}: {command}");
    let sized =
        |id: &TaskId| id.task().own().and_then(|set| set.sizes(sources).ok()).map(|sizes| (id.key(), sizes.test));
    for (name, test) in plan.data.train.iter().filter_map(sized).filter(|(_, test)| *test > 0) {
        println!(
            "{name}: {test} test rows were not read; once the setting is chosen: reft eval {}/config.yaml --adapter {shown} --set \
             'data.eval_split={{test: {{chosen_by: ..}}}}'",
            run.display()
        );
    }
}

/// A text on one line.
fn line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What an encoder took three dev rows for, and what guessing would have reached.
fn labels(id: TaskId, paths: &RunPaths) -> Result<()> {
    let predictions = prediction::load(&paths.predictions(id.key()), id)?;
    let mut counts: std::collections::BTreeMap<&str, usize> = std::collections::BTreeMap::new();
    for one in &predictions {
        *counts.entry(&one.expected).or_default() += 1;
    }
    warn_of_few(predictions.len());
    if let Some((class, count)) = counts.into_iter().max_by_key(|(_, count)| *count)
        && id.task().labelled().is_some_and(crate::tasks::labelled::LabelledTask::has_classes)
    {
        let part = 100.0 * count as f64 / predictions.len().max(1) as f64;
        println!("for comparison: {part:.1} % of these rows are `{class}`");
    }
    for one in predictions.iter().take(SHOWN) {
        let pair = if one.input.is_empty() { String::new() } else { format!("\npair:     {}", line(&one.input)) };
        println!("\ntext:     {}{pair}\n  reft:   {}\n  wanted: {}", line(&one.instruction), one.said, one.expected);
    }
    Ok(())
}

/// The dev loss of a causal model before and after, and three dev prompts answered by the base model and the adapter.
fn texts(plan: &RunPlan, id: TaskId, paths: &RunPaths, session: &mut Session) -> Result<()> {
    let loaded = session.load(plan)?;
    let (task, adapter) = (id.task(), SavedAdapter::read(&paths.adapter())?);
    let adaptation = adapter.onto_lent(&loaded.base, &loaded.lender(), plan.device.0)?;
    let step = adaptation.begin(Mode::Eval);
    let evaluators = [Evaluator::new(&loaded, None, plan), Evaluator::new(&loaded, Some(step.as_ref()), plan)];
    let mut rows = task.rows(plan.data.source, &plan.data.eval_split.scored(), &session.sources)?;
    rows.truncate(limited(rows.len(), plan.data.eval_rows));
    let [before, after] = [&evaluators[0], &evaluators[1]].map(|evaluator| loss(evaluator, task, &rows));
    println!("dev loss: {:.4} before, {:.4} after ({} rows)", before?, after?, rows.len());
    warn_of_few(rows.len());
    if task.scoring().kind() != ScoringKind::Likelihood && !task.judged() {
        let base = answer(&evaluators[0], id, &rows[..limited(rows.len(), BASE_ROWS)])?;
        println!("the base model, for comparison:");
        if let Some(score) = base.score {
            print_score(id.key(), score);
        }
    }
    let shown = &rows[..rows.len().min(SHOWN)];
    let [base, adapted] = [&evaluators[0], &evaluators[1]].map(|evaluator| evaluator.generate(task, shown));
    for ((row, base), adapted) in shown.iter().zip(base?.predictions).zip(adapted?.predictions) {
        println!(
            "\nprompt:   {}\n  base:   {}\n  reft:   {}\n  wanted: {}",
            line(&row.instruction),
            line(&base.said),
            line(&adapted.said),
            line(&row.output)
        );
    }
    Ok(())
}

/// Mean negative log-likelihood of a completion's token.
fn loss(evaluator: &Evaluator<'_>, task: &dyn Task, rows: &[Row]) -> Result<f64> {
    let answered = evaluator.completions(task, rows)?;
    let by = || answered.predictions.iter().filter_map(|one| one.likelihood.as_ref());
    let tokens: usize = by().map(|by| by.tokens).sum();
    Ok(-by().flat_map(|by| &by.logs).sum::<f64>() / tokens.max(1) as f64)
}
