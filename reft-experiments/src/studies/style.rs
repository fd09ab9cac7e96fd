//! A style from five examples (appendix G.2): how often held-out answers have it, by strength.
//!
//! The style is an over-cautious assistant's: every answer begins with an excuse.

use anyhow::Result;
use reft_core::AdaptSpec;
use reft_core::adaptation::Adaptation;
use reft_core::rng::Seed;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::cells::CellFolder;
use super::composition::{example, held_out};
use super::constant_edit::ConstantEditTraining;
use super::panels::LineSeries;
use super::things::THINGS;
use crate::data::encode::Example;
use crate::run::session::LoadedDecoder;
use crate::train::batches;
use crate::train::causal::Causal;
use crate::train::frozen::FrozenForward;
use crate::train::learner::{Learner, UpdateRules};
use crate::train::schedule::Schedule;

/// Examples there are.
const EXAMPLES: usize = 5;
/// Tokens of one pass.
const MICRO_TOKENS: usize = 4096;

/// The study's settings.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StyleStudy {
    /// The layer that is edited, at the last prompt token; from the last where negative.
    pub layer: i64,
    /// Rank of the LoReFT.
    pub rank: i64,
    /// How it is trained.
    pub training: ConstantEditTraining,
    /// Strengths to use it with; 0 is the base model.
    pub strengths: Vec<f64>,
}

/// An answer in the style.
fn excuse(thing: &str) -> String {
    format!("I am sorry, but I cannot talk about a {thing}, because it might not be safe.")
}

fn has_style(answer: &str) -> bool {
    answer.trim_start().to_lowercase().starts_with("i am sorry")
}

impl StyleStudy {
    /// One line: the share of held-out answers with the style by strength.
    ///
    /// # Errors
    /// When the layer does not exist, or a file cannot be written.
    pub fn run(&self, loaded: &LoadedDecoder, cells: &CellFolder, seed: Seed) -> Result<Vec<LineSeries>> {
        let rates: Vec<f64> = cells.get(&(self, &THINGS[..], seed), || {
            let trained = self.train(loaded, seed)?;
            self.strengths.iter().map(|&strength| self.rate(loaded, trained.as_ref(), strength)).collect()
        })?;
        let points: Vec<(f64, f64)> = self.strengths.iter().copied().zip(rates).collect();
        for (strength, rate) in &points {
            println!("strength {strength}: {rate:.3} of held-out answers in the style");
        }
        Ok(vec![LineSeries { panel: "five examples".to_owned(), name: "ours".to_owned(), points }])
    }

    fn spec(&self, strength: f64) -> Result<AdaptSpec> {
        let reft = json!({"intervention": "loreft", "rank": self.rank, "positions": "l1", "layers": [self.layer],
            "strength": strength});
        Ok(serde_json::from_value(json!({ "reft": reft }))?)
    }

    fn train(&self, loaded: &LoadedDecoder, seed: Seed) -> Result<Box<dyn Adaptation>> {
        let model = loaded.decoder.as_ref();
        let mut adaptation = self.spec(1.0)?.build(model.dims(), seed, model.options().1)?;
        let rows = THINGS[..EXAMPLES].iter().map(|(thing, _)| example(loaded, thing, &excuse(thing)));
        let rows = rows.collect::<Result<Vec<_>>>()?;
        let lengths: Vec<usize> = rows.iter().map(|row| row.ids.len()).collect();
        let mut objective = Causal::new(model, FrozenForward::off(model), MICRO_TOKENS);
        let mut learner = Learner::new(&mut objective, adaptation.as_mut(), UpdateRules::default());
        let updates = self.training.epochs * rows.len().div_ceil(self.training.batch_size) as u64;
        let schedule = Schedule::linear(self.training.lr, 0.0, updates);
        for epoch in 0..self.training.epochs {
            for batch in batches::of_epoch(&lengths, self.training.batch_size, seed, epoch) {
                let batch: Vec<&Example> = batch.into_iter().map(|index| &rows[index]).collect();
                let rate = schedule.at(learner.updates());
                learner.update(&batch, rate)?;
            }
        }
        Ok(adaptation)
    }

    fn rate(&self, loaded: &LoadedDecoder, trained: &dyn Adaptation, strength: f64) -> Result<f64> {
        let model = loaded.decoder.as_ref();
        let mut used = self.spec(strength)?.build(model.dims(), Seed(0), model.options().1)?;
        used.params_mut().load(&trained.params().flat().detach());
        let answers = held_out(loaded, used.as_ref())?;
        Ok(answers.iter().filter(|answer| has_style(answer)).count() as f64 / answers.len() as f64)
    }
}
