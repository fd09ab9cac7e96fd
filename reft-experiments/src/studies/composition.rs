//! Composition (appendix G.1): two parts of one subspace, each trained by its own examples, used alone and together.
//!
//! Each part learns from answers in a style. The measure is the share of held-out questions whose answer has each style, with
//! neither part, each alone, and both.

use std::num::NonZeroU32;

use reft_core::layers::{LayerIndex, Layers};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::distinct::Distinct;
use super::lines::{Axes, CellResult, LineSeries};
use super::questions::{AnswerStyle, MOST, Questions};
use super::study::{Study, StudyCell, StudyMeasure, StudySettings, as_task};
use super::training::EditTraining;

/// Two parts of one subspace, trained by examples of their own, used alone and together.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Composition {
    /// What the parts learn.
    pub parts: [AnswerStyle; 2],
    /// The layers that are edited, with one subspace each; from the last where negative.
    pub layers: Layers,
    /// The prompt tokens that are edited.
    #[serde(default = "last")]
    pub positions: String,
    /// Rows of each part.
    pub rows: NonZeroU32,
    /// How both are trained, in mixed batches.
    pub training: EditTraining,
    /// Strengths to use the parts with; 0 is the base model.
    pub strengths: Distinct<f64>,
}

fn last() -> String {
    "l1".to_owned()
}

/// How parts are used.
const USES: [(&str, [f64; 2]); 3] = [("first", [1.0, 0.0]), ("second", [0.0, 1.0]), ("both", [1.0, 1.0])];

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
}

impl Study for Composition {
    /// The one run, whose sets of interventions are parts of one subspace.
    fn cells(&self) -> Vec<StudyCell> {
        let rows = i64::from(self.rows.get());
        let set = |part: i64| {
            let subspace = format!("{}..{}", part * rows, (part + 1) * rows);
            json!({"intervention": "loreft", "rank": 2 * rows, "positions": self.positions, "layers": self.layers,
                "subspace": subspace})
        };
        let mut eval: Vec<Value> = Vec::new();
        for (_, _, strengths, style) in self.measures() {
            let measure = as_task(&Questions { style, strengths: strengths.to_vec() });
            // The base model is the same in every use.
            if !eval.contains(&measure) {
                eval.push(measure);
            }
        }
        let train = self.parts.map(|style| as_task(&Questions::learned(style)));
        let settings = json!({
            "adapt": {"refts": [set(0), set(1)]},
            "data": {"train": train, "eval": eval},
            "train": self.training.settings(),
            "eval": {"max_new_tokens": MOST},
        });
        vec![StudyCell { title: Self::KEY.to_owned(), settings }]
    }

    fn check(&self) -> Result<(), (&'static str, String)> {
        let [first, second] = self.parts;
        if first == second {
            return Err(("parts", format!("both learn {}: name two styles", first.name())));
        }
        Ok(())
    }

    /// A panel for each part alone and for both, with a line for each style: its rate by strength.
    fn lines(&self, done: &[Option<CellResult>]) -> Vec<LineSeries> {
        let Some(Some(result)) = done.first() else { return Vec::new() };
        let mut series: Vec<LineSeries> = Vec::new();
        for (part, strength, strengths, style) in self.measures() {
            let property = style.title();
            let name = Questions { style, strengths: strengths.to_vec() }.name();
            let Some(point) = result.share(strength, &name) else { continue };
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

impl StudySettings for Composition {
    const KEY: &'static str = "composition";
    const TITLE: &'static str = "two parts of one subspace (appendix G.1)";
    const AXES: Option<Axes> = Some(Axes::of_shares("part", "strength", "rate"));
    type Measure = Questions;

    fn example() -> Self {
        Self {
            parts: [AnswerStyle::Capitals, AnswerStyle::Well],
            layers: Layers::Listed(vec![LayerIndex::FromStart(1)]),
            positions: last(),
            rows: NonZeroU32::new(2).expect("not 0"),
            training: EditTraining::new(2, 4, 1e-2),
            strengths: [0.0, 1.0].into(),
        }
    }
}
