//! Figures 3 to 8: how much of a text one edit of one token can recall, by layer and length.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::cell::{EditTraining, FigureRun, FinishedRun, StudyBase, share};
use crate::config::ConfigError;
use crate::report::figures::panels::{LineSeries, SeriesPoint};
use crate::tasks::study::spec::{StudySpec, TextSpec};
use crate::tasks::study::text::{Book, Content};

/// The study's settings.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memorise {
    /// What is memorised.
    pub content: Content,
    /// Where the book comes from.
    #[serde(default)]
    pub book: Book,
    /// Tokens of prompt and text together.
    pub lengths: Vec<usize>,
    /// Layers, each with an edit of its own; from the last where negative.
    pub layers: Vec<i64>,
    /// How the edit is trained.
    pub training: EditTraining,
    /// As the authors' code does where it differs from the paper's text: its own access id for each content, and recovery
    /// by characters relative to what is generated.
    #[serde(default)]
    pub as_run: bool,
}

impl Memorise {
    /// A run for each length and layer: rank-1 ConsReFT, `h + Rᵀ(b − R h)`, of the last prompt token.
    ///
    /// # Errors
    /// When a setting is out of range.
    pub fn cells(&self, base: &StudyBase) -> Result<Vec<FigureRun>, ConfigError> {
        let Self { content, book, as_run, .. } = *self;
        let study = StudySpec::Text(TextSpec { content, book, as_run });
        let mut cells = Vec::new();
        for &length in &self.lengths {
            for &layer in &self.layers {
                let reft = json!({"intervention": "consreft", "rank": 1, "positions": "l1", "layers": [layer]});
                let settings = json!({
                    "adapt": {"reft": reft},
                    "data": {"train": [{"study": study}], "eval": [{"study": study}], "max_length": length},
                    "train": self.training.settings(),
                    "eval": {"max_new_tokens": length},
                });
                cells.push(base.cell(format!("{} {length} tokens, layer {layer}", content.name()), settings)?);
            }
        }
        Ok(cells)
    }

    /// A line for each length: the recovered share by layer.
    pub fn series(&self, done: &[FinishedRun]) -> Vec<LineSeries> {
        by_layer(&self.lengths, &self.layers, done)
    }
}

/// A panel for each size, with a point for each layer.
pub(super) fn by_layer(sizes: &[usize], layers: &[i64], done: &[FinishedRun]) -> Vec<LineSeries> {
    let series = |(size, done): (&usize, &[FinishedRun])| {
        let point = |(layer, (cell, record)): (&i64, &FinishedRun)| {
            let score = cell.score(record.as_ref(), 0)?;
            Some(SeriesPoint::of(*layer as f64, share(score), score, record.as_ref()))
        };
        let points = layers.iter().zip(done).filter_map(point).collect();
        LineSeries { panel: size.to_string(), name: "ours".to_owned(), points }
    };
    sizes.iter().zip(done.chunks(layers.len().max(1))).map(series).collect()
}
