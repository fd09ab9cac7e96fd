//! A table as a pure function of records and printed figures: no model is needed to make it again.

use std::collections::BTreeMap;

use super::paper::PrintedRow;
use super::spec::RowPlan;
use crate::score::grade::{Grade, Unit};
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
    /// Neither: what answers drawn at random reach.
    Chance,
    /// A publication whose figures the printed table copied.
    Copied(String),
}

/// Whose runs the tables of the paper are.
const PAPER: &str = "ReFT paper";

impl std::fmt::Display for RowOrigin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ours => f.write_str("ours"),
            Self::Printed(source) => write!(f, "{source}, as printed"),
            Self::Chance => f.write_str("chance"),
            Self::Copied(source) => write!(f, "{source}, copied by the {PAPER}"),
        }
    }
}

/// One figure.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Cell {
    /// Mean and spread.
    pub value: Aggregate,
    /// What it is measured in.
    pub unit: Unit,
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
    /// A task's figure.
    fn figure(&self, task: TaskId) -> Option<f64> {
        let score = self.record.scores.get(task.key()).map(|score| score.figure());
        score.or_else(|| self.win_rates.get(task.key()).copied())
    }
}

impl ResultsRow {
    /// A row from its runs. Tasks that are trained apart have a run each for every seed.
    pub fn ours(plan: &RowPlan, runs: &[TableRun], tasks: &[TaskId], statistic: Statistic) -> Self {
        let cell = |value: Option<Aggregate>, unit| value.map(|value| Cell { value, unit, best: false });
        let of_task = |&task| statistic.of(&runs.iter().filter_map(|run| run.figure(task)).collect::<Vec<_>>());
        let cells: Vec<Option<Aggregate>> = tasks.iter().map(of_task).collect();
        let mean = |values: Option<Vec<f64>>| values.and_then(|values| estimate(&values)).map(|estimate| estimate.mean);
        let of_seed = |seed: &u64| {
            let of_task = |&task: &TaskId| {
                runs.iter().filter(|run| run.record.plan.seed == *seed).find_map(|run| run.figure(task))
            };
            mean(tasks.iter().map(of_task).collect())
        };
        let mut seeds: Vec<u64> = Vec::new();
        for run in runs {
            if !seeds.contains(&run.record.plan.seed) {
                seeds.push(run.record.plan.seed);
            }
        }
        // Losses and percents have no mean.
        let in_percent = tasks.iter().all(|&task| unit(task) == Unit::Percent);
        let averages: Vec<f64> = seeds.iter().filter(|_| in_percent).filter_map(of_seed).collect();
        let average = match statistic {
            Statistic::Mean | Statistic::MeanSd => statistic.of(&averages),
            // As printed: the mean of the medians.
            Statistic::Median if !in_percent => None,
            Statistic::Median => mean(cells.iter().map(|cell| cell.map(|cell| cell.mean)).collect())
                .map(|mean| Aggregate { mean, sd: None, n: averages.len() }),
        };
        let parameters = runs.first().map(|run| run.record.parameters).filter(|parameters| parameters.trainable > 0);
        Self {
            model: plan.model.name.clone(),
            method: plan.method.clone(),
            params_percent: parameters.map(Parameters::percent),
            cells: tasks.iter().zip(cells).map(|(&task, value)| cell(value, unit(task))).collect(),
            average: cell(average, Unit::Percent),
            origin: RowOrigin::Ours,
        }
    }

    /// What answers drawn at random reach, all of a row's options alike.
    pub fn guessing(tasks: &[TaskId]) -> Self {
        let value = |mean: f64| Aggregate { mean: 100.0 * mean, sd: None, n: 0 };
        let cell = |mean: f64| Cell { value: value(mean), unit: Unit::Percent, best: false };
        let rates: Vec<Option<f64>> = tasks.iter().map(|task| task.task().guessing_rate()).collect();
        let all: Option<Vec<f64>> = rates.iter().copied().collect();
        Self {
            model: "any".to_owned(),
            method: "guessing".to_owned(),
            params_percent: None,
            cells: rates.into_iter().map(|rate| rate.map(cell)).collect(),
            average: all.map(|rates| cell(rates.iter().sum::<f64>() / rates.len() as f64)),
            origin: RowOrigin::Chance,
        }
    }

    /// A printed row.
    pub fn printed(row: &PrintedRow, tasks: &[TaskId], statistic: Statistic) -> Self {
        let cell = |name: &str| {
            let sd = row.scores.get(&format!("{name}_sd")).copied().filter(|_| statistic == Statistic::MeanSd);
            let value = |&mean: &f64| Cell { value: Aggregate { mean, sd, n: 1 }, unit: Unit::Percent, best: false };
            row.scores.get(name).map(value)
        };
        Self {
            model: row.model.clone(),
            method: row.method.clone(),
            params_percent: row.params_percent,
            cells: tasks.iter().map(|task| cell(task.column())).collect(),
            average: cell("avg"),
            origin: if row.origin == PAPER {
                RowOrigin::Printed(row.origin.clone())
            } else {
                RowOrigin::Copied(row.origin.clone())
            },
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
                mine.filter_map(|row| row.cell(column))
                    .copied()
                    .reduce(|best, cell| if cell.unit.better(cell.value.mean, best.value.mean) { cell } else { best })
            };
            let bests: Vec<Option<Cell>> = self.rows.iter().map(|row| best(&self.rows, &row.model)).collect();
            for (row, best) in self.rows.iter_mut().zip(bests) {
                let ours = row.origin == RowOrigin::Ours;
                if let Some(cell) = row.cell_mut(column) {
                    let beaten = best.is_some_and(|best| cell.unit.better(best.value.mean, cell.value.mean));
                    cell.best = ours && !beaten;
                }
            }
        }
        self
    }
}

/// What the figures of a task are measured in.
pub fn unit(task: TaskId) -> Unit {
    task.task().own().map_or(Unit::Percent, |set| set.scoring.unit())
}

/// The title of a task's column: with the unit where it is not percent.
pub fn title(task: TaskId) -> String {
    match unit(task) {
        Unit::Percent => task.column().to_owned(),
        unit @ (Unit::Loss(_) | Unit::AddedTime) => format!("{} ({unit})", task.column()),
    }
}

/// What a column with this title is measured in: the reverse of [`title`].
pub fn unit_of_title(title: &str) -> Unit {
    let losses = [Grade::Nll, Grade::Perplexity].map(Unit::Loss);
    losses.into_iter().find(|unit| title.ends_with(&format!(" ({unit})"))).unwrap_or(Unit::Percent)
}

impl ResultsRow {
    /// Runs behind each of its figures: 0 where a figure is missing.
    pub fn runs(&self) -> usize {
        let fewest = || self.cells.iter().map(|cell| cell.map_or(0, |cell| cell.value.n)).min().unwrap_or(0);
        self.average.map_or_else(fewest, |cell| cell.value.n)
    }

    /// The cell of a column; the one after the last task is the average.
    pub fn cell(&self, column: usize) -> Option<&Cell> {
        self.cells.get(column).map_or(self.average.as_ref(), Option::as_ref)
    }

    fn cell_mut(&mut self, column: usize) -> Option<&mut Cell> {
        if column < self.cells.len() { self.cells[column].as_mut() } else { self.average.as_mut() }
    }
}
