//! Composition (appendix G.1): two parts of one subspace, each trained by its own examples, used alone and together.
//!
//! Each part learns from answers in a style. The measure is the share of held-out questions whose answer has each style, with
//! neither part, each alone, and both.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::cell::{EditTraining, FigureRun, FinishedRun, StudyBase, share};
use crate::config::ConfigError;
use crate::report::figures::panels::{LineSeries, SeriesPoint};
use crate::tasks::study::questions::{AnswerStyle, Questions};
use crate::tasks::study::spec::StudySpec;

/// Tokens of an answer at most.
pub(super) const MOST: usize = 24;

/// The study's settings.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Composition {
    /// What the parts learn.
    pub parts: [AnswerStyle; 2],
    /// The layers that are edited, with one subspace each; from the last where negative.
    pub layers: Vec<i64>,
    /// The prompt tokens that are edited.
    #[serde(default = "last")]
    pub positions: String,
    /// Rows of each part.
    pub rows: i64,
    /// How both are trained, in mixed batches.
    pub training: EditTraining,
    /// Strengths to use the parts with; 0 is the base model.
    pub strengths: Vec<f64>,
}

fn last() -> String {
    "l1".to_owned()
}

/// How parts are used.
const USES: [(&str, [f64; 2]); 3] = [("first", [1.0, 0.0]), ("second", [0.0, 1.0]), ("both", [1.0, 1.0])];

/// A set of questions as a run's configuration has it.
pub(super) fn questions(style: AnswerStyle, strengths: Vec<f64>) -> Value {
    json!({"study": StudySpec::Questions(Questions { style, strengths })})
}

impl Composition {
    /// Strengths of both parts with the place of each in the figure, and the style that is looked for.
    fn measures(&self) -> Vec<(&'static str, f64, [f64; 2], AnswerStyle)> {
        let of_use = |(name, parts): (&'static str, [f64; 2])| {
            self.parts.into_iter().flat_map(move |style| {
                let at = move |&strength: &f64| (name, strength, parts.map(|part| part * strength), style);
                self.strengths.iter().map(at)
            })
        };
        USES.into_iter().flat_map(of_use).collect()
    }

    /// The one run, whose sets of interventions are parts of one subspace.
    ///
    /// # Errors
    /// When a setting is out of range.
    pub fn cells(&self, base: &StudyBase) -> Result<Vec<FigureRun>, ConfigError> {
        let set = |part: i64| {
            let rows = format!("{}..{}", part * self.rows, (part + 1) * self.rows);
            json!({"intervention": "loreft", "rank": 2 * self.rows, "positions": self.positions, "layers": self.layers,
                "subspace": rows})
        };
        let mut eval: Vec<Value> = Vec::new();
        for (_, _, strengths, style) in self.measures() {
            let measure = questions(style, strengths.to_vec());
            // The base model is the same in every use.
            if !eval.contains(&measure) {
                eval.push(measure);
            }
        }
        let train: Vec<Value> = self.parts.into_iter().map(|style| questions(style, Vec::new())).collect();
        let settings = json!({
            "adapt": {"refts": [set(0), set(1)]},
            "data": {"train": train, "eval": eval},
            "train": self.training.settings(),
            "eval": {"max_new_tokens": MOST},
        });
        Ok(vec![base.cell("composition".to_owned(), settings)?])
    }

    /// A panel for each part alone and for both, with a line for each style: its rate by strength.
    pub fn series(&self, done: &[FinishedRun]) -> Vec<LineSeries> {
        let Some((_, Some(record))) = done.first() else { return Vec::new() };
        let mut series: Vec<LineSeries> = Vec::new();
        for (part, strength, strengths, style) in self.measures() {
            let property = style.title();
            let name = Questions { style, strengths: strengths.to_vec() }.name();
            let Some(&score) = record.scores.get(&name) else { continue };
            let point = SeriesPoint::of(strength, share(score), score, Some(record));
            match series.iter_mut().find(|line| line.panel == part && line.name == property) {
                Some(line) => line.points.push(point),
                None => {
                    series.push(LineSeries { panel: part.to_owned(), name: property.to_owned(), points: vec![point] });
                }
            }
        }
        series
    }
}
