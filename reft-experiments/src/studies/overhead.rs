//! Figure 11: what edits cost while generating, by rank, layers, positions, length of the prompt, and new tokens.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::cell::{FigureRun, FinishedRun, StudyBase};
use crate::config::ConfigError;
use crate::report::figures::panels::{LineSeries, SeriesPoint};
use crate::store::record::Score;
use crate::tasks::study::spec::{OverheadSpec, StudySpec};

/// The study's settings.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overhead {
    /// Tokens of a prompt, of several lengths.
    pub prompt_tokens: Vec<usize>,
    /// New tokens, no fewer.
    pub new_tokens: usize,
    /// Pairs of runs of each prompt.
    pub repetitions: usize,
    /// The layer of the panels that do not vary it, the first of several; from the last where negative.
    pub layer: usize,
    /// Ranks, at one layer and the last token.
    pub ranks: Vec<i64>,
    /// Numbers of layers, rank 8, last token.
    pub layers: Vec<usize>,
    /// Numbers of last tokens, one layer, rank 8.
    pub positions: Vec<usize>,
    /// Tokens of the only prompt, one layer, rank 8, last token.
    #[serde(default)]
    pub prompts: Vec<usize>,
    /// New tokens, likewise.
    #[serde(default)]
    pub answers: Vec<usize>,
}

/// One setting of the edits and of what they are used on.
#[derive(Clone)]
struct PanelSetting {
    rank: i64,
    layers: usize,
    positions: usize,
    prompts: Vec<usize>,
    answer: usize,
}

impl Overhead {
    /// The panels: their names, and their settings by value.
    fn panels(&self) -> Vec<(&'static str, Vec<(f64, PanelSetting)>)> {
        let base = || PanelSetting {
            rank: 8,
            layers: 1,
            positions: 1,
            prompts: self.prompt_tokens.clone(),
            answer: self.new_tokens,
        };
        let of = |values: &[usize], vary: &dyn Fn(usize) -> PanelSetting| -> Vec<(f64, PanelSetting)> {
            values.iter().map(|&value| (value as f64, vary(value))).collect()
        };
        let ranks = self.ranks.iter().map(|&rank| (rank as f64, PanelSetting { rank, ..base() })).collect();
        vec![
            ("rank", ranks),
            ("layers", of(&self.layers, &|layers| PanelSetting { layers, ..base() })),
            ("positions", of(&self.positions, &|positions| PanelSetting { positions, ..base() })),
            ("prompt tokens", of(&self.prompts, &|tokens| PanelSetting { prompts: vec![tokens], ..base() })),
            ("new tokens", of(&self.answers, &|answer| PanelSetting { answer, ..base() })),
        ]
    }

    fn settings(&self, setting: &PanelSetting) -> Value {
        let layers: Vec<usize> = (self.layer..self.layer + setting.layers).collect();
        let positions = format!("l{}", setting.positions);
        let study =
            StudySpec::Overhead(OverheadSpec { prompt_tokens: setting.prompts.clone(), repetitions: self.repetitions });
        json!({
            "adapt": {"reft": {"intervention": "loreft", "rank": setting.rank, "positions": positions, "layers": layers}},
            "data": {"train": [], "eval": [{"study": study}]},
            "eval": {"max_new_tokens": setting.answer},
        })
    }

    /// A run for each value of each panel; its edits are as they begin.
    ///
    /// # Errors
    /// When a setting is out of range.
    pub fn cells(&self, base: &StudyBase) -> Result<Vec<FigureRun>, ConfigError> {
        let panels = self.panels();
        let all = panels.iter().flat_map(|(panel, settings)| settings.iter().map(move |one| (panel, one)));
        all.map(|(panel, (value, setting))| base.cell(format!("{panel} {value}"), self.settings(setting))).collect()
    }

    /// For each panel the median difference in milliseconds by value, and its quartiles as lines of their own.
    pub fn series(&self, done: &[FinishedRun]) -> Vec<LineSeries> {
        let mut done = done.iter();
        let mut series = Vec::new();
        for (panel, settings) in self.panels().into_iter().filter(|(_, settings)| !settings.is_empty()) {
            let mut lines: [Vec<SeriesPoint>; 3] = Default::default();
            for ((value, _), (cell, record)) in settings.iter().zip(done.by_ref().take(settings.len())) {
                let Some(score @ Score::Timed { added_ms, quartiles_ms: [low, high], .. }) =
                    cell.score(record.as_ref(), 0)
                else {
                    continue;
                };
                for (line, at) in lines.iter_mut().zip([added_ms, low, high]) {
                    line.push(SeriesPoint::of(*value, at, score, record.as_ref()));
                }
            }
            for (name, points) in ["median", "first quartile", "third quartile"].into_iter().zip(lines) {
                series.push(LineSeries { panel: panel.to_owned(), name: name.to_owned(), points });
            }
        }
        series
    }
}
