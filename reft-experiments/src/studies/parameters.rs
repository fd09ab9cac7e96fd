//! Figure 1: trained parameters against score, from the records of the tables' runs.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::cell::{Cell, Done};
use super::panels::{Axes, Point, Printed, Series};
use crate::config::paths::home;
use crate::store::RunPaths;
use crate::tables::judged;
use crate::tables::paper;
use crate::tables::spec::{RowPlan, TableSpec};
use crate::tables::table::{Row, Run};
use crate::tasks::TaskId;

/// The tables that are drawn.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// Their files, relative to the working folder.
    pub files: Vec<PathBuf>,
    /// Which of their profiles.
    pub profile: String,
}

/// Axes of figure 1.
pub const AXES: Axes = Axes { panel: "table", x: "parameters in %", y: "score", range: None, log: true };

/// A table's file with the rows of the profile.
struct Asked {
    spec: TableSpec,
    tasks: Vec<TaskId>,
    rows: Vec<RowPlan>,
}

impl Asked {
    /// `commonsense reasoning, LLaMA-7B`.
    fn panel(&self, model: &str) -> String {
        let title = self.spec.title.split_once(": ").map_or(self.spec.title.as_str(), |(_, title)| title);
        format!("{title}, {model}")
    }
}

impl Parameters {
    fn asked(&self) -> Result<Vec<Asked>> {
        let of = |path: &PathBuf| -> Result<Asked> {
            let spec = TableSpec::read(path)?;
            let profile = spec.profile(&self.profile)?;
            let (tasks, rows) = (profile.tasks.clone(), profile.rows()?);
            Ok(Asked { spec, tasks, rows })
        };
        self.files.iter().map(of).collect()
    }

    /// The tables' runs.
    ///
    /// # Errors
    /// When a table's file is wrong.
    pub fn cells(&self) -> Result<Vec<Cell>> {
        let mut cells = Vec::new();
        for asked in self.asked()? {
            for row in &asked.rows {
                for (plan, &dtype) in row.runs.iter().zip(&row.dtypes) {
                    let title = format!("{} {} seed {}", asked.panel(&row.model.name), row.method, plan.seed);
                    cells.push(Cell { title, plan: plan.clone(), dtype });
                }
            }
        }
        Ok(cells)
    }

    /// A panel for each table and model with a point for each method. What trains nothing, and what has no average yet, has no
    /// place in it.
    ///
    /// # Errors
    /// When a table's file is wrong.
    pub fn series(&self, done: &[Done], runs: &Path) -> Result<Vec<Series>> {
        let (mut done, mut series) = (done.iter(), Vec::new());
        for asked in self.asked()? {
            for row in &asked.rows {
                let mut of_row = Vec::new();
                for record in done.by_ref().take(row.runs.len()).filter_map(|(_, record)| record.clone()) {
                    let win_rates = judged::win_rates(&record, &RunPaths::new(runs, &record.id))?;
                    of_row.push(Run { record, win_rates });
                }
                let Some(first) = of_row.first().map(|run| run.record.id.to_string()) else { continue };
                let ours = Row::ours(row, &of_row, &asked.tasks, asked.spec.statistic);
                let (Some(x), Some(average)) = (ours.params_percent, ours.average) else { continue };
                let point = Point { x, y: average.value.mean, n: Some(average.value.n), run: first };
                let panel = asked.panel(&row.model.name);
                series.push(Series { panel, name: row.method.clone(), points: vec![point] });
            }
        }
        Ok(series)
    }

    /// What the paper prints in these tables, for its own models.
    ///
    /// # Errors
    /// When a file of printed figures is missing or wrong.
    pub fn printed(&self) -> Result<Vec<Printed>> {
        let mut printed = Vec::new();
        for asked in self.asked()? {
            for row in paper::read(&home(Path::new(&asked.spec.printed)))? {
                // A table of one column has no average.
                let only = || asked.tasks.first().filter(|_| asked.tasks.len() == 1);
                let score = row.scores.get("avg").or_else(|| row.scores.get(only()?.column()));
                let (Some(x), Some(&y)) = (row.params_percent, score) else { continue };
                let points = vec![Point { x, y, ..Point::default() }];
                printed.push((row.origin, Series { panel: asked.panel(&row.model), name: row.method, points }));
            }
        }
        Ok(printed)
    }
}
