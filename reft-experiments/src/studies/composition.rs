//! Composition (appendix G.1): two parts of one subspace, each trained by its own examples, used alone and together.
//!
//! The first part learns from answers in capitals, the second from answers that begin with `Well,`. The measure is the share
//! of held-out questions whose answer has each property, with neither part, each alone, and both.

use anyhow::{Result, bail};
use reft_core::AdaptSpec;
use reft_core::adaptation::Adaptation;
use reft_core::rng::Seed;
use reft_models::tokenizer::Specials;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::cells::CellFolder;
use super::constant_edit::{ConstantEditTraining, said};
use super::panels::LineSeries;
use super::things::{THINGS, TRAINING, answer, prompt};
use crate::data::encode::Example;
use crate::run::session::LoadedDecoder;
use crate::train::batches;
use crate::train::composed::{AssignedRow, Composed};
use crate::train::learner::{Learner, UpdateRules};
use crate::train::schedule::Schedule;

/// Tokens of an answer at most.
const MOST: usize = 24;
/// Tokens of one pass.
const MICRO_TOKENS: usize = 4096;

/// The study's settings.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Composition {
    /// The layer that is edited; from the last where negative.
    pub layer: i64,
    /// Rows of each part.
    pub rows: i64,
    /// How both are trained, in mixed batches.
    pub training: ConstantEditTraining,
    /// Strengths to use the parts with; 0 is the base model.
    pub strengths: Vec<f64>,
}

/// Shares of held-out answers with each property.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
struct Rates {
    capitals: f64,
    well: f64,
}

/// Whether most letters are capitals.
fn in_capitals(answer: &str) -> bool {
    let letters: Vec<char> = answer.chars().filter(|c| c.is_alphabetic()).collect();
    let capitals = letters.iter().filter(|c| c.is_uppercase()).count();
    !letters.is_empty() && capitals * 10 >= letters.len() * 9
}

/// Whether it begins with the word.
fn begins_with_well(answer: &str) -> bool {
    answer.trim_start().to_lowercase().starts_with("well,")
}

impl Composition {
    /// A panel for each part alone and for both, with a line for each property: its rate by strength.
    ///
    /// # Errors
    /// When the layer does not exist, or a file cannot be written.
    pub fn run(&self, loaded: &LoadedDecoder, cells: &CellFolder, seed: Seed) -> Result<Vec<LineSeries>> {
        let uses = [("first", [1.0, 0.0]), ("second", [0.0, 1.0]), ("both", [1.0, 1.0])];
        let settings = (self, &THINGS[..], seed);
        let rates: Vec<Vec<Rates>> = cells.get(&settings, || {
            let trained = self.train(loaded, seed)?;
            let rates = |strengths: &[f64; 2]| {
                let at =
                    |scale: &f64| self.rates(loaded, trained.as_ref(), &strengths.map(|strength| strength * scale));
                self.strengths.iter().map(at).collect::<Result<Vec<_>>>()
            };
            uses.iter().map(|(_, strengths)| rates(strengths)).collect()
        })?;
        let held_out = THINGS.len() - TRAINING;
        let mut series = Vec::new();
        for ((name, _), rates) in uses.iter().zip(&rates) {
            for (strength, Rates { capitals, well }) in self.strengths.iter().zip(rates) {
                println!(
                    "{name} at {strength}: {capitals:.3} in capitals, {well:.3} with Well, ({held_out} held-out questions)"
                );
            }
            let line = |property: &str, of: fn(&Rates) -> f64| LineSeries {
                panel: (*name).to_owned(),
                name: property.to_owned(),
                points: self.strengths.iter().copied().zip(rates.iter().map(of)).collect(),
            };
            series.push(line("in capitals", |rates| rates.capitals));
            series.push(line("with Well,", |rates| rates.well));
        }
        Ok(series)
    }

    fn spec(&self, strengths: &[f64]) -> Result<AdaptSpec> {
        let set = |(part, strength): (i64, &f64)| -> Value {
            let rows = format!("{}..{}", part * self.rows, (part + 1) * self.rows);
            json!({"intervention": "loreft", "rank": 2 * self.rows, "positions": "l1", "layers": [self.layer],
                "subspace": rows, "strength": strength})
        };
        let sets: Vec<Value> = (0..).zip(strengths).map(set).collect();
        Ok(serde_json::from_value(json!({ "refts": sets }))?)
    }

    fn train(&self, loaded: &LoadedDecoder, seed: Seed) -> Result<Box<dyn Adaptation>> {
        let model = loaded.decoder.as_ref();
        let mut adaptation = self.spec(&[1.0, 1.0])?.build(model.dims(), seed, model.options().1)?;
        let mut rows = Vec::new();
        for (part, style) in
            [|text: String| text.to_uppercase(), |text: String| format!("Well, {text}")].iter().enumerate()
        {
            for (thing, kind) in &THINGS[..TRAINING] {
                rows.push(AssignedRow { example: example(loaded, thing, &style(answer(thing, kind)))?, part });
            }
        }
        let lengths: Vec<usize> = rows.iter().map(|row| row.example.ids.len()).collect();
        let mut objective = Composed { model, micro_tokens: MICRO_TOKENS };
        let mut learner = Learner::new(&mut objective, adaptation.as_mut(), UpdateRules::default());
        let updates = self.training.epochs * rows.len().div_ceil(self.training.batch_size) as u64;
        let schedule = Schedule::linear(self.training.lr, 0.0, updates);
        for epoch in 0..self.training.epochs {
            for batch in batches::of_epoch(&lengths, self.training.batch_size, seed, epoch) {
                let batch: Vec<&AssignedRow> = batch.into_iter().map(|index| &rows[index]).collect();
                let rate = schedule.at(learner.updates());
                learner.update(&batch, rate)?;
            }
        }
        Ok(adaptation)
    }

    fn rates(&self, loaded: &LoadedDecoder, trained: &dyn Adaptation, strengths: &[f64]) -> Result<Rates> {
        let model = loaded.decoder.as_ref();
        let mut used = self.spec(strengths)?.build(model.dims(), Seed(0), model.options().1)?;
        used.params_mut().load(&trained.params().flat().detach());
        let answers = held_out(loaded, used.as_ref())?;
        let share =
            |is: fn(&str) -> bool| answers.iter().filter(|answer| is(answer)).count() as f64 / answers.len() as f64;
        Ok(Rates { capitals: share(in_capitals), well: share(begins_with_well) })
    }
}

/// A row: the prompt about a thing, and an answer with the end token.
///
/// # Errors
/// When the tokenizer has no end token.
pub fn example(loaded: &LoadedDecoder, thing: &str, answer: &str) -> Result<Example> {
    let tokenizer = &loaded.tokenizer;
    let Some(end) = tokenizer.eos() else { bail!("the tokenizer has no end token, which answers need") };
    let prompt = tokenizer.encode(&prompt(thing), Specials::AsModel)?.len();
    let mut ids = tokenizer.encode(&format!("{} {answer}", self::prompt(thing)), Specials::AsModel)?;
    ids.push(end);
    Ok(Example { ids, prompt, name: format!("the answer about {thing}"), lost: 0 })
}

/// The answers to the held-out questions.
///
/// # Errors
/// The tokenizer's.
pub fn held_out(loaded: &LoadedDecoder, adaptation: &dyn Adaptation) -> Result<Vec<String>> {
    let tokenizer = &loaded.tokenizer;
    let encode = |(thing, _): &(&str, &str)| tokenizer.encode(&prompt(thing), Specials::AsModel);
    let prompts = THINGS[TRAINING..].iter().map(encode).collect::<Result<Vec<_>, _>>()?;
    let prompts: Vec<&[i64]> = prompts.iter().map(Vec::as_slice).collect();
    let answers = said(loaded, adaptation, &prompts, MOST)?;
    answers.iter().map(|ids| Ok(tokenizer.decode(ids, true)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_told_apart_and_no_held_out_thing_is_learned_from() {
        assert!(in_capitals(" A ROBIN IS A BIRD.") && !in_capitals("A robin is a BIRD.") && !in_capitals("..."));
        assert!(begins_with_well(" WELL, A ROBIN") && !begins_with_well("Wells are deep"));
        let (learned, held_out) = THINGS.split_at(TRAINING);
        assert!(held_out.len() >= 40);
        assert!(held_out.iter().all(|(thing, _)| learned.iter().all(|(other, _)| other != thing)));
    }
}
