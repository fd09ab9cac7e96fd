//! What edits of the prompt add to the time of a whole answer, along the axes of figure 11 (appendix H): rank, number of
//! layers, number of positions, length of the prompt.

use std::time::Instant;

use anyhow::Result;
use reft_core::AdaptSpec;
use reft_core::adaptation::{Mode, Step};
use reft_core::rng::Seed;
use reft_models::decode::{Decoding, Generator, Stopping, undecided};
use serde::Serialize;
use serde_json::{Value, json};
use tch::Device;

use crate::run::session::LoadedDecoder;

/// One point of `overhead.csv`.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct OverheadPoint {
    /// What is changed.
    pub axis: &'static str,
    /// To what.
    pub value: usize,
    /// New tokens of the answer.
    pub new_tokens: usize,
    /// Seconds of the whole answer with edits, the least of several turns.
    pub edited_s: f64,
    /// Without.
    pub plain_s: f64,
    /// The first less the second.
    pub added_s: f64,
}

/// A setting of figure 11: layer 15, rank 8, the last token, unless the axis says otherwise.
#[derive(Clone, Copy)]
struct OverheadSetting {
    rank: usize,
    layers: usize,
    positions: usize,
    prompt: usize,
}

const BASE: OverheadSetting = OverheadSetting { rank: 8, layers: 1, positions: 1, prompt: 64 };

/// Makes a setting of a value.
type Vary = fn(usize) -> OverheadSetting;

const AXES: &[(&str, &[usize], Vary)] = &[
    ("rank", &[1, 4, 8, 16, 32], |rank| OverheadSetting { rank, ..BASE }),
    ("layers", &[2, 4, 6, 8, 10], |layers| OverheadSetting { layers, ..BASE }),
    ("last positions", &[2, 4, 6, 8, 10], |positions| OverheadSetting { positions, ..BASE }),
    ("prompt length", &[32, 64, 128, 256], |prompt| OverheadSetting { prompt, ..BASE }),
];

/// Turns of each point: the machine has other things to do, and the least time has the least of them.
const TURNS: usize = 3;

impl OverheadSetting {
    fn spec(self, depth: usize) -> Result<AdaptSpec> {
        let first = 15.min(depth.saturating_sub(self.layers));
        let layers: Vec<usize> = (first..(first + self.layers).min(depth)).collect();
        let positions = format!("l{}", self.positions);
        let reft: Value =
            json!({"intervention": "loreft", "rank": self.rank, "positions": positions, "layers": layers});
        Ok(serde_json::from_value(json!({ "reft": reft }))?)
    }
}

/// Measures every point with answers of so many tokens to a prompt that is a part of `text`.
///
/// # Errors
/// When the text is too short.
pub fn run(loaded: &LoadedDecoder, text: &[i64], new_tokens: usize) -> Result<Vec<OverheadPoint>> {
    let depth = loaded.decoder.dims().layers;
    let mut points = Vec::new();
    for &(axis, values, vary) in AXES {
        eprintln!("edits' cost by {axis}");
        for &value in values {
            let setting = vary(value);
            anyhow::ensure!(text.len() >= setting.prompt, "the rows have too few tokens for this prompt length");
            let adaptation = setting.spec(depth)?.build(loaded.decoder.dims(), Seed(0), Device::Cpu)?;
            let step = adaptation.begin(Mode::Eval);
            let prompt = &text[..setting.prompt];
            let (mut edited_s, mut plain_s) = (f64::INFINITY, f64::INFINITY);
            for _ in 0..TURNS {
                edited_s = edited_s.min(seconds(loaded, Some(step.as_ref()), prompt, new_tokens)?);
                plain_s = plain_s.min(seconds(loaded, None, prompt, new_tokens)?);
            }
            points.push(OverheadPoint { axis, value, new_tokens, edited_s, plain_s, added_s: edited_s - plain_s });
        }
    }
    Ok(points)
}

/// Seconds of one answer, decoded as in the paper: greedily, with its penalty and n-gram rule, to the last token.
fn seconds(loaded: &LoadedDecoder, adaptation: Option<&dyn Step>, prompt: &[i64], max_new: usize) -> Result<f64> {
    let decoding = &Decoding { repetition_penalty: 1.1, no_repeat_ngram: 5, ..Decoding::default() };
    let stop = Stopping { max_new, ends: Vec::new() };
    let generator = Generator { model: loaded.decoder.as_ref(), adaptation, batch: 1, stop, decoding, seed: 0 };
    let began = Instant::now();
    generator.run(&[prompt], &undecided)?;
    Ok(began.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_fit_any_depth() {
        for (layers, depth, expected) in [(1, 30, vec![15]), (4, 30, vec![15, 16, 17, 18]), (10, 12, (2..12).collect())]
        {
            let spec = OverheadSetting { layers, ..BASE }.spec(depth).expect("valid");
            let written = serde_json::to_value(&spec).expect("plain data");
            assert_eq!(written["reft"]["layers"], json!(expected), "{layers} of {depth}");
        }
    }
}
