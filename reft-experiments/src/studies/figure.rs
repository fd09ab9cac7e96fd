//! `configs/figures/figureN.yaml`: a study in several sizes, and what the paper printed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use reft_core::rng::Seed;
use serde::Deserialize;

use super::cells::CellFolder;
use super::composition::Composition;
use super::memorise::Memorise;
use super::overhead::Overhead;
use super::pairs::PairsStudy;
use super::panels::{self, Axes, LineSeries};
use super::style::StyleStudy;
use crate::config::dtype::DtypeChoice;
use crate::config::plan::DeviceSpec;
use crate::config::read::{typed_at, written};
use crate::report::figure::Figure;
use crate::run::session::LoadedDecoder;

/// A figure's file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FigureSpec {
    /// Caption.
    pub title: String,
    /// CSV of the printed values, relative to the working folder: `panel,layer,value`; none where they are unknown.
    #[serde(default)]
    pub printed: Option<PathBuf>,
    /// By name.
    pub profiles: BTreeMap<String, FigureProfile>,
}

/// One size of a figure.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FigureProfile {
    /// What it is for, in one line.
    pub purpose: String,
    /// The model.
    pub model: String,
    /// Type of its weights, as in a run's configuration; auto if left out.
    #[serde(default)]
    dtype: Option<String>,
    /// Decides texts, answers and the beginning of edits.
    pub seed: u64,
    /// What is done.
    pub study: Study,
}

/// Every study that a figure can show. A new one is a file in this folder and a line here.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Study {
    /// Figures 3 to 8.
    Memorise(Memorise),
    /// Figures 9 and 10.
    Pairs(PairsStudy),
    /// Figure 11.
    Overhead(Overhead),
    /// Appendix G.1.
    Composition(Composition),
    /// Appendix G.2.
    Style(StyleStudy),
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
            None => bail!("there is no profile `{name}`: choose one of {}", known()),
        }
    }

    /// The printed values as lines, a panel each.
    ///
    /// # Errors
    /// When the file is missing or not a table of numbers.
    fn printed(&self) -> Result<Vec<LineSeries>> {
        let Some(path) = &self.printed else { return Ok(Vec::new()) };
        let mut lines: Vec<LineSeries> = Vec::new();
        let mut reader = csv::Reader::from_path(path).with_context(|| path.display().to_string())?;
        for (row, record) in reader.deserialize().enumerate() {
            let (panel, layer, value): (String, f64, f64) =
                record.with_context(|| format!("{}: row {}", path.display(), row + 1))?;
            match lines.last_mut().filter(|line| line.panel == panel) {
                Some(line) => line.points.push((layer, value)),
                None => lines.push(LineSeries { panel, name: "paper".to_owned(), points: vec![(layer, value)] }),
            }
        }
        Ok(lines)
    }

    /// Does what is missing of a profile's study, and makes the figure.
    ///
    /// # Errors
    /// When a setting does not fit, or a file cannot be read or written.
    pub fn make(&self, name: &str, profile: &FigureProfile, device: DeviceSpec, runs: &Path) -> Result<Figure> {
        let printed = self.printed()?;
        let dtype: DtypeChoice = match &profile.dtype {
            Some(dtype) => dtype.parse().map_err(|error: String| anyhow!("dtype: {error}"))?,
            None => DtypeChoice::default(),
        };
        let loaded = LoadedDecoder::open(&profile.model, dtype.on(device), device)?;
        let seed = Seed(profile.seed);
        let cells = |study: &str| CellFolder::new(runs, study, &loaded);
        let (series, axes) = match &profile.study {
            Study::Memorise(study) => {
                let axes = Axes { panel: "tokens", x: "layer", y: "recovered", range: Some((-0.1, 1.1)) };
                (study.run(&loaded, &cells("memorise"), seed)?, axes)
            }
            Study::Pairs(study) => {
                let axes = Axes { panel: "pairs", x: "layer", y: "right", range: Some((-0.1, 1.1)) };
                (study.run(&loaded, &cells("pairs"), seed)?, axes)
            }
            Study::Overhead(study) => {
                let axes = Axes { panel: "by", x: "value", y: "ms more", range: None };
                (study.run(&loaded, &cells("overhead"), seed)?, axes)
            }
            Study::Composition(study) => {
                let axes = Axes { panel: "part", x: "strength", y: "rate", range: Some((-0.1, 1.1)) };
                (study.run(&loaded, &cells("composition"), seed)?, axes)
            }
            Study::Style(study) => {
                let axes = Axes { panel: "style", x: "strength", y: "rate", range: Some((-0.1, 1.1)) };
                (study.run(&loaded, &cells("style"), seed)?, axes)
            }
        };
        let title = format!("{} ({}: {})", self.title, profile.model, profile.purpose);
        Ok(panels::figure(name, &title, axes, series, &printed))
    }
}
