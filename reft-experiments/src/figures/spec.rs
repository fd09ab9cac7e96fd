//! `configs/figures/figureN.yaml`: a study in several sizes, and what the paper printed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use reft_core::layers::Layers;
use reft_core::site::Dims;
use serde::Deserialize;
use tch::Device;

use super::cell::{FigureRun, FinishedRun, StudyBase, result};
use super::parameters::ParametersFigure;
use crate::config::dtype::DtypeChoice;
use crate::config::paths::home;
use crate::config::plan::DeviceSpec;
use crate::config::read::{typed_at, written};
use crate::report::figures::axes::PARAMETERS;
use crate::report::figures::panels::PrintedSeries;
use crate::studies::StudySpec;
use crate::studies::lines::{Axes, CellResult, LineSeries, SeriesPoint};
use crate::studies::registry;
use crate::studies::study::Study;

/// A figure's file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FigureSpec {
    /// Caption.
    pub title: String,
    /// CSV of the printed values, relative to the repository: `panel,layer,value`; none where they are unknown.
    #[serde(default)]
    printed: Option<PathBuf>,
    /// By name.
    profiles: BTreeMap<String, FigureProfile>,
}

/// One size of a figure.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "RawFigureProfile")]
pub struct FigureProfile {
    /// What it is for, in one line.
    pub purpose: String,
    /// What is drawn.
    pub content: FigureContent,
}

/// What a profile is made of.
#[derive(Clone, Debug)]
pub enum FigureContent {
    /// Nothing of its own: with this profile's model it is another figure, named here.
    SameAs(String),
    /// Runs of a study.
    Study {
        /// The model.
        model: String,
        /// Type of its weights.
        dtype: DtypeChoice,
        /// Decides texts, answers and the beginning of edits.
        seed: u64,
        /// What is done.
        study: StudySpec,
    },
    /// The runs of tables.
    Tables(ParametersFigure),
}

/// A profile as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFigureProfile {
    purpose: String,
    same_as: Option<String>,
    model: Option<String>,
    dtype: Option<String>,
    seed: Option<u64>,
    study: Option<StudySpec>,
    tables: Option<ParametersFigure>,
}

impl TryFrom<RawFigureProfile> for FigureProfile {
    type Error = String;

    fn try_from(written: RawFigureProfile) -> Result<Self, String> {
        let RawFigureProfile { purpose, same_as, model, dtype, seed, study, tables } = written;
        let settings = model.is_some() || dtype.is_some() || seed.is_some();
        let content = match (same_as, study, tables) {
            (Some(figure), None, None) if !settings => FigureContent::SameAs(figure),
            (None, None, Some(tables)) if !settings => FigureContent::Tables(tables),
            (None, Some(study), None) => {
                let dtype = dtype.as_deref().map_or(Ok(DtypeChoice::default()), str::parse);
                let dtype = dtype.map_err(|reason| format!("dtype: {reason}"))?;
                let (Some(model), Some(seed)) = (model, seed) else {
                    return Err("a study needs a model and a seed: write model: smollm2 and seed: 42".to_owned());
                };
                let together = study.study().check();
                together.map_err(|(setting, reason)| format!("study.{}.{setting}: {reason}", study.key()))?;
                FigureContent::Study { model, dtype, seed, study }
            }
            _ => {
                return Err("write study with model and seed, or tables, or same_as alone".to_owned());
            }
        };
        Ok(Self { purpose, content })
    }
}

impl FigureSpec {
    /// Reads a figure's file.
    ///
    /// # Errors
    /// When it is missing or not valid.
    pub fn read(path: &Path) -> Result<Self> {
        let written = written(path)?;
        Ok(typed_at(&written.tree, &written.places)?)
    }

    /// A profile by its name.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn profile(&self, name: &str) -> Result<&FigureProfile> {
        let known = || self.profiles.keys().cloned().collect::<Vec<_>>().join(", ");
        match self.profiles.get(name) {
            Some(profile) => Ok(profile),
            None if self.profiles.is_empty() => bail!("profiles is empty: write one, such as quick"),
            None => bail!("there is no profile `{name}`: choose one of {}", known()),
        }
    }

    /// The printed values as lines, with where they were printed.
    ///
    /// # Errors
    /// When a file is missing or not a table of numbers.
    pub fn printed(&self, profile: &FigureProfile) -> Result<Vec<PrintedSeries>> {
        if let FigureContent::Tables(tables) = &profile.content {
            return tables.printed();
        }
        let Some(path) = self.printed.as_deref().map(home) else { return Ok(Vec::new()) };
        let mut lines: Vec<PrintedSeries> = Vec::new();
        let unread = || {
            format!(
                "printed: {}: cannot be read; name a CSV of panel, value on the axis and printed value, or leave printed out",
                path.display()
            )
        };
        let mut reader = csv::Reader::from_path(&path).with_context(unread)?;
        for (row, record) in reader.deserialize().enumerate() {
            let Ok((panel, x, y)) = record.map(|cells: (String, f64, f64)| cells) else {
                bail!("printed: {}: row {}: write a panel and two numbers", path.display(), row + 1)
            };
            let point = SeriesPoint { x, y, ..SeriesPoint::default() };
            if let Some((_, line)) = lines.last_mut().filter(|(_, line)| line.panel == panel) {
                line.points.push(point);
            } else {
                let name = "paper".to_owned();
                lines.push((name.clone(), LineSeries { panel, name, points: vec![point] }));
            }
        }
        Ok(lines)
    }
}

impl FigureProfile {
    /// The runs, in an order that [`FigureProfile::series`] relies on. `device` is where they compute: a figure of tables has theirs.
    ///
    /// # Errors
    /// When a setting does not fit.
    pub fn cells(&self, device: Option<DeviceSpec>) -> Result<Vec<FigureRun>> {
        match &self.content {
            FigureContent::SameAs(_) => Ok(Vec::new()),
            FigureContent::Tables(_) if device.is_some() => {
                bail!("--device: the tables' files say where their runs compute: leave it out")
            }
            FigureContent::Tables(tables) => tables.cells(),
            FigureContent::Study { model, dtype, seed, study } => {
                let device = device.unwrap_or(DeviceSpec(Device::Cpu));
                let base = StudyBase { model: model.clone(), dtype: *dtype, device, seed: *seed };
                let cells = study.study().cells().into_iter();
                Ok(cells.map(|cell| base.run(cell)).collect::<Result<_, _>>()?)
            }
        }
    }

    /// The model of a study.
    pub fn model(&self) -> Option<&str> {
        match &self.content {
            FigureContent::Study { model, .. } => Some(model),
            FigureContent::Tables(_) | FigureContent::SameAs(_) => None,
        }
    }

    /// Refuses layers that a model of these dimensions does not have, or has by two names.
    ///
    /// # Errors
    /// With the key, and what the model has.
    pub fn check_layers(&self, dims: &Dims) -> Result<()> {
        match &self.content {
            FigureContent::Study { study, .. } if !study.study().layers().is_empty() => {
                let fits = Layers::listed(study.study().layers().to_vec()).and_then(|layers| layers.resolve(dims));
                fits.map(drop).with_context(|| format!("study.{}.layers", study.key()))
            }
            FigureContent::Study { .. } | FigureContent::Tables(_) | FigureContent::SameAs(_) => Ok(()),
        }
    }

    /// The lines that are drawn of these runs of the folder `runs`, with their axes; none where no lines are drawn. `dims` are those of
    /// the study's model, where it is on this machine.
    ///
    /// # Errors
    /// When a table's file is wrong.
    pub fn series(
        &self,
        done: &[FinishedRun],
        runs: &Path,
        dims: Option<&Dims>,
    ) -> Result<Option<(Vec<LineSeries>, Axes)>> {
        match &self.content {
            FigureContent::SameAs(_) => Ok(None),
            FigureContent::Tables(tables) => Ok(Some((tables.series(done, runs)?, PARAMETERS))),
            FigureContent::Study { study, .. } => {
                let results: Vec<Option<CellResult>> = done.iter().map(result).collect();
                let Some(axes) = registry().find(study.key()).and_then(|entry| entry.axes) else { return Ok(None) };
                let mut lines = study.study().lines(&results);
                if let Some(dims) = dims.filter(|_| !study.study().layers().is_empty()) {
                    for line in &mut lines {
                        line.from_first_layer(dims.layers);
                    }
                }
                Ok(Some((lines, axes)))
            }
        }
    }

    /// The type that its file gives the model's weights; none where tables do.
    pub fn dtype(&self) -> Option<DtypeChoice> {
        match &self.content {
            FigureContent::Study { dtype, .. } => Some(*dtype),
            FigureContent::Tables(_) | FigureContent::SameAs(_) => None,
        }
    }

    /// The study, if it is of one.
    fn study(&self) -> Option<&dyn Study> {
        match &self.content {
            FigureContent::Study { study, .. } => Some(study.study()),
            FigureContent::Tables(_) | FigureContent::SameAs(_) => None,
        }
    }

    /// The prompt whose edits are drawn, if they are.
    pub fn edited_prompt(&self) -> Option<&str> {
        self.study()?.edited_prompt()
    }

    /// Whether times are measured, which runs beside each other disturb.
    pub fn is_timed(&self) -> bool {
        self.study().is_some_and(Study::is_timed)
    }
}
