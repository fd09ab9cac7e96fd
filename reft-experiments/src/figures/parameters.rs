//! Figure 1: trained parameters against score, from the records of the tables' runs.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use super::cell::{FigureRun, FinishedRun};
use crate::config::paths::home;
use crate::report::figures::panels::PrintedSeries;
use crate::store::RunPaths;
use crate::studies::lines::{LineSeries, SeriesPoint};
use crate::tables::judged;
use crate::tables::spec::{RowPlan, TableSpec};
use crate::tables::table::{ResultsRow, TableRun};
use crate::tasks::TaskId;

/// The tables that are drawn.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParametersFigure {
    /// Their files, relative to the working folder.
    #[serde(deserialize_with = "some_files")]
    pub files: Vec<PathBuf>,
    /// Which of their profiles.
    pub profile: String,
}

fn some_files<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PathBuf>, D::Error> {
    let files = Vec::<PathBuf>::deserialize(deserializer)?;
    let twice = files.iter().enumerate().find(|(index, file)| files[..*index].contains(file));
    match twice {
        Some((_, file)) => Err(D::Error::custom(format!("{} stands there twice: leave one out", file.display()))),
        None if files.is_empty() => Err(D::Error::custom("the list is empty: name the file of a table")),
        None => Ok(files),
    }
}

/// A table's file with the rows of the profile.
struct AskedTable {
    spec: TableSpec,
    tasks: Vec<TaskId>,
    rows: Vec<RowPlan>,
}

impl AskedTable {
    /// `commonsense reasoning, LLaMA-7B`.
    fn panel(&self, model: &str) -> String {
        let title = self.spec.title.split_once(": ").map_or(self.spec.title.as_str(), |(_, title)| title);
        format!("{title}, {model}")
    }
}

impl ParametersFigure {
    fn asked(&self) -> Result<Vec<AskedTable>> {
        let of = |path: &PathBuf| -> Result<AskedTable> {
            let spec = TableSpec::read(path).context("tables.files")?;
            let profile = spec.profile(&self.profile)?;
            let (tasks, rows) = (profile.tasks.clone(), profile.rows()?);
            Ok(AskedTable { spec, tasks, rows })
        };
        self.files.iter().map(of).collect()
    }

    /// The tables' runs.
    ///
    /// # Errors
    /// When a table's file is wrong.
    pub fn cells(&self) -> Result<Vec<FigureRun>> {
        let mut cells = Vec::new();
        for asked in self.asked()? {
            for row in &asked.rows {
                for (plan, &dtype) in row.runs.iter().zip(&row.dtypes) {
                    let title = format!("{} {} seed {}", asked.panel(&row.model.name), row.method, plan.seed);
                    cells.push(FigureRun { title, plan: plan.clone(), dtype });
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
    pub fn series(&self, done: &[FinishedRun], runs: &Path) -> Result<Vec<LineSeries>> {
        let (mut done, mut series) = (done.iter(), Vec::new());
        for asked in self.asked()? {
            for row in &asked.rows {
                let mut of_row = Vec::new();
                for record in done.by_ref().take(row.runs.len()).filter_map(|(_, record)| record.clone()) {
                    let win_rates = judged::win_rates(&record, &RunPaths::new(runs, &record.id))?;
                    of_row.push(TableRun { record, win_rates });
                }
                let Some(first) = of_row.first().map(|run| run.record.id.to_string()) else { continue };
                let ours = ResultsRow::ours(row, &of_row, &asked.tasks, asked.spec.statistic);
                let (Some(x), Some(average)) = (ours.params_percent, ours.average) else { continue };
                let point = SeriesPoint { x, y: average.value.mean, n: Some(average.value.n), run: first };
                let panel = asked.panel(&row.model.name);
                series.push(LineSeries { panel, name: row.method.clone(), points: vec![point] });
            }
        }
        Ok(series)
    }

    /// What the paper prints in these tables, for its own models.
    ///
    /// # Errors
    /// When a file of printed figures is missing or wrong.
    pub fn printed(&self) -> Result<Vec<PrintedSeries>> {
        let mut printed = Vec::new();
        for asked in self.asked()? {
            for row in asked.spec.printed(home)? {
                // A table of one column has no average.
                let only = || asked.tasks.first().filter(|_| asked.tasks.len() == 1);
                let score = row.scores.get("avg").or_else(|| row.scores.get(only()?.column()));
                let (Some(x), Some(&y)) = (row.params_percent, score) else { continue };
                let points = vec![SeriesPoint { x, y, ..SeriesPoint::default() }];
                printed.push((row.origin, LineSeries { panel: asked.panel(&row.model), name: row.method, points }));
            }
        }
        Ok(printed)
    }
}
