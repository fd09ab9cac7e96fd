//! A table as a pure function of records and printed figures: no model is needed to make it again.

use std::collections::BTreeMap;

use super::paper::PrintedRow;
use super::spec::RowPlan;
use crate::score::stats::{Aggregate, Statistic, estimate};
use crate::store::record::{Parameters, Record};
use crate::tasks::TaskId;

/// Who a row's figures are from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RowOrigin {
    /// Runs of this project.
    Ours,
    /// A publication, as printed.
    Printed(String),
}

impl std::fmt::Display for RowOrigin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ours => f.write_str("ours"),
            Self::Printed(source) => write!(f, "{source}, as printed"),
        }
    }
}

/// One figure, in percent.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Cell {
    /// Mean and spread.
    pub value: Aggregate,
    /// Whether no row of the same model and origin is better.
    pub best: bool,
}

/// One row.
#[derive(Clone, PartialEq, Debug)]
pub struct ResultsRow {
    /// Base model.
    pub model: String,
    /// Method.
    pub method: String,
    /// Trained numbers in percent of the model's; none for a base model.
    pub params_percent: Option<f64>,
    /// One for each task.
    pub cells: Vec<Option<Cell>>,
    /// Mean over tasks of each seed, then over seeds.
    pub average: Option<Cell>,
    /// Whose it is.
    pub origin: RowOrigin,
}

/// A table, ready to be rendered.
#[derive(Clone, PartialEq, Debug)]
pub struct ResultsTable {
    /// Caption.
    pub title: String,
    /// What the figures depend on, line by line.
    pub notes: Vec<String>,
    /// Columns.
    pub tasks: Vec<String>,
    /// Rows.
    pub rows: Vec<ResultsRow>,
}

/// A complete run with what others said about its answers.
#[derive(Clone, PartialEq, Debug)]
pub struct TableRun {
    /// What came out of it.
    pub record: Record,
    /// Win rates of judged tasks, in percent, where a judge was asked.
    pub win_rates: BTreeMap<String, f64>,
}

impl TableRun {
    /// A task's figure, in percent.
    fn percent(&self, task: TaskId) -> Option<f64> {
        let score = self.record.scores.get(task.key()).map(|score| score.percent());
        score.or_else(|| self.win_rates.get(task.key()).copied())
    }
}

impl ResultsRow {
    /// A row from its runs. Tasks that are trained apart have a run each for every seed.
    pub fn ours(plan: &RowPlan, runs: &[TableRun], tasks: &[TaskId], statistic: Statistic) -> Self {
        let cell = |value: Option<Aggregate>| value.map(|value| Cell { value, best: false });
        let of_task = |&task| statistic.of(&runs.iter().filter_map(|run| run.percent(task)).collect::<Vec<_>>());
        let cells: Vec<Option<Aggregate>> = tasks.iter().map(of_task).collect();
        let mean = |values: Option<Vec<f64>>| values.and_then(|values| estimate(&values)).map(|estimate| estimate.mean);
        let of_seed = |seed: &u64| {
            let of_task = |&task: &TaskId| {
                runs.iter().filter(|run| run.record.plan.seed == *seed).find_map(|run| run.percent(task))
            };
            mean(tasks.iter().map(of_task).collect())
        };
        let mut seeds: Vec<u64> = Vec::new();
        for run in runs {
            if !seeds.contains(&run.record.plan.seed) {
                seeds.push(run.record.plan.seed);
            }
        }
        let averages: Vec<f64> = seeds.iter().filter_map(of_seed).collect();
        let average = match statistic {
            Statistic::Mean | Statistic::MeanSd => statistic.of(&averages),
            // As printed: the mean of the medians.
            Statistic::Median => mean(cells.iter().map(|cell| cell.map(|cell| cell.mean)).collect())
                .map(|mean| Aggregate { mean, sd: None, n: averages.len() }),
        };
        let parameters = runs.first().map(|run| run.record.parameters).filter(|parameters| parameters.trainable > 0);
        Self {
            model: plan.model.name.clone(),
            method: plan.method.clone(),
            params_percent: parameters.map(Parameters::percent),
            cells: cells.into_iter().map(cell).collect(),
            average: cell(average),
            origin: RowOrigin::Ours,
        }
    }

    /// A printed row.
    pub fn printed(row: &PrintedRow, tasks: &[TaskId], statistic: Statistic) -> Self {
        let cell = |name: &str| {
            let sd = row.scores.get(&format!("{name}_sd")).copied().filter(|_| statistic == Statistic::MeanSd);
            let value = |&mean: &f64| Cell { value: Aggregate { mean, sd, n: 1 }, best: false };
            row.scores.get(name).map(value)
        };
        Self {
            model: row.model.clone(),
            method: row.method.clone(),
            params_percent: row.params_percent,
            cells: tasks.iter().map(|task| cell(task.column())).collect(),
            average: cell("avg"),
            origin: RowOrigin::Printed(row.origin.clone()),
        }
    }
}

impl ResultsTable {
    /// Marks the best figure of every column among our rows of one model; equals are all marked.
    #[must_use]
    pub fn with_marks(mut self) -> Self {
        for column in 0..=self.tasks.len() {
            let best = |rows: &[ResultsRow], model: &str| {
                let mine = rows.iter().filter(|row| row.model == model && row.origin == RowOrigin::Ours);
                let values = mine.filter_map(|row| row.cell(column)).map(|cell| cell.value.mean);
                values.fold(f64::NEG_INFINITY, f64::max)
            };
            let bests: Vec<f64> = self.rows.iter().map(|row| best(&self.rows, &row.model)).collect();
            for (row, best) in self.rows.iter_mut().zip(bests) {
                let ours = row.origin == RowOrigin::Ours;
                if let Some(cell) = row.cell_mut(column) {
                    cell.best = ours && cell.value.mean >= best;
                }
            }
        }
        self
    }
}

impl ResultsRow {
    /// The cell of a column; the one after the last task is the average.
    pub fn cell(&self, column: usize) -> Option<&Cell> {
        self.cells.get(column).map_or(self.average.as_ref(), Option::as_ref)
    }

    fn cell_mut(&mut self, column: usize) -> Option<&mut Cell> {
        if column < self.cells.len() { self.cells[column].as_mut() } else { self.average.as_mut() }
    }
}
