//! Figure 11: what edits cost while generating, by rank, layers and positions.
//!
//! Each prompt is continued with and without the edits, one after the other, in an order that alternates; the measure is the
//! difference within such a pair, so that what disturbs the machine for longer than a pair cancels. Medians with quartiles.

use std::time::Instant;

use anyhow::{Result, bail};
use reft_core::AdaptSpec;
use reft_core::adaptation::{Mode, Step};
use reft_core::rng::Seed;
use reft_models::decode::{Decoding, Generator, Stopping};
use reft_models::tokenizer::Specials;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::cells::CellFolder;
use super::panels::LineSeries;
use super::text::Book;
use crate::run::session::LoadedDecoder;

/// The study's settings.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overhead {
    /// Tokens of a prompt.
    pub prompt_tokens: Vec<usize>,
    /// New tokens, no fewer.
    pub new_tokens: usize,
    /// Pairs of runs of each prompt.
    pub repetitions: usize,
    /// Ranks, at the middle layer and the last token.
    pub ranks: Vec<i64>,
    /// Numbers of layers around the middle one, rank 8, last token.
    pub layers: Vec<usize>,
    /// Numbers of last tokens, middle layer, rank 8.
    pub positions: Vec<usize>,
}

/// Seconds of the runs of one setting.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Times {
    with: Vec<f64>,
    without: Vec<f64>,
}

/// The value below which this share of the values lies.
fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let place = share * (values.len() - 1) as f64;
    let (low, high) = (values[place.floor() as usize], values[place.ceil() as usize]);
    low + (high - low) * place.fract()
}

impl Overhead {
    /// For each panel the median difference in milliseconds by value, and its quartiles as lines of their own.
    ///
    /// # Errors
    /// When a setting does not fit the model, or a file cannot be written.
    pub fn run(&self, loaded: &LoadedDecoder, cells: &CellFolder, seed: Seed) -> Result<Vec<LineSeries>> {
        if self.repetitions == 0 || self.prompt_tokens.is_empty() || self.new_tokens == 0 {
            bail!("repetitions, prompt_tokens and new_tokens: at least one of each is needed");
        }
        let middle = loaded.decoder.dims().layers / 2;
        let around = |count: usize| {
            let first = middle.saturating_sub(count / 2);
            (first..first + count).collect::<Vec<_>>()
        };
        let ranks =
            self.ranks.iter().map(|&rank| (rank as f64, json!({"rank": rank, "layers": [middle], "positions": "l1"})));
        let layers = self
            .layers
            .iter()
            .map(|&count| (count as f64, json!({"rank": 8, "layers": around(count), "positions": "l1"})));
        let positions = self
            .positions
            .iter()
            .map(|&last| (last as f64, json!({"rank": 8, "layers": [middle], "positions": format!("l{last}")})));
        let mut series = Vec::new();
        for (panel, settings) in
            [("rank", ranks.collect::<Vec<_>>()), ("layers", layers.collect()), ("positions", positions.collect())]
        {
            let mut lines: [Vec<(f64, f64)>; 3] = Default::default();
            for (value, mut reft) in settings {
                reft["intervention"] = "loreft".into();
                let key = (&reft, &self.prompt_tokens, self.new_tokens, self.repetitions, seed);
                let times: Times = cells.get(&key, || self.measure(loaded, &reft, seed))?;
                let mut differences: Vec<f64> =
                    times.with.iter().zip(&times.without).map(|(with, without)| 1e3 * (with - without)).collect();
                let [low, median, high] = [0.25, 0.5, 0.75].map(|share| quantile(&mut differences, share));
                let base = 1e3 * quantile(&mut times.without.clone(), 0.5);
                println!("{panel} {value}: {median:+.2} ms ({low:+.2} to {high:+.2}) of {base:.0} ms");
                for (line, at) in lines.iter_mut().zip([median, low, high]) {
                    line.push((value, at));
                }
            }
            for (name, points) in ["median", "first quartile", "third quartile"].into_iter().zip(lines) {
                series.push(LineSeries { panel: panel.to_owned(), name: name.to_owned(), points });
            }
        }
        Ok(series)
    }

    fn measure(&self, loaded: &LoadedDecoder, reft: &serde_json::Value, seed: Seed) -> Result<Times> {
        let model = loaded.decoder.as_ref();
        let spec: AdaptSpec = serde_json::from_value(json!({ "reft": reft }))?;
        let adaptation = spec.build(model.dims(), seed, model.options().1)?;
        let step = adaptation.begin(Mode::Eval);
        let text = loaded.tokenizer.encode(&Book::Excerpt.text()?, Specials::AsModel)?;
        let decoding = Decoding { lookahead: 0, ..Decoding::default() };
        let seconds = |step: Option<&dyn Step>, prompt: &[i64]| -> Result<f64> {
            let stop = Stopping { max_new: self.new_tokens, ends: Vec::new() };
            let generator = Generator { model, adaptation: step, batch: 1, stop, decoding: &decoding, seed: 0 };
            let begin = Instant::now();
            generator.run(&[prompt], &|_, _| false)?;
            Ok(begin.elapsed().as_secs_f64())
        };
        let mut times = Times { with: Vec::new(), without: Vec::new() };
        for &tokens in &self.prompt_tokens {
            let Some(prompt) = text.get(..tokens) else {
                bail!("prompt_tokens: {tokens} are more than the {} of the text", text.len());
            };
            // The first run of a length pays for memory that later ones find.
            seconds(None, prompt)?;
            for repetition in 0..self.repetitions {
                let edits_first = repetition % 2 == 0;
                let first = seconds(edits_first.then_some(step.as_ref()), prompt)?;
                let second = seconds((!edits_first).then_some(step.as_ref()), prompt)?;
                let (with, without) = if edits_first { (first, second) } else { (second, first) };
                times.with.push(with);
                times.without.push(without);
            }
        }
        Ok(times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_interpolated() {
        let mut values = [4.0, 1.0, 3.0, 2.0];
        assert!((quantile(&mut values, 0.5) - 2.5).abs() < 1e-12);
        assert!((quantile(&mut values, 0.25) - 1.75).abs() < 1e-12);
        assert!((quantile(&mut [7.0], 0.75) - 7.0).abs() < 1e-12);
    }
}
