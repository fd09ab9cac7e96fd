//! Figure 11: what edits cost while generating.
//!
//! Each prompt is continued with and without the edits, one after the other, in an order that alternates; the measure is the
//! difference within such a pair, so that what disturbs the machine for longer than a pair cancels. Medians with quartiles.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use reft_core::adaptation::{Adaptation, Mode, Step};
use reft_models::decode::{Decoding, Generator, Stopping};

use crate::config::plan::RunPlan;
use crate::run::session::LoadedDecoder;
use crate::store::record::Score;
use crate::tasks::study::spec::OverheadSpec;

/// The value below which this share of the values lies.
fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let place = share * (values.len() - 1) as f64;
    let (low, high) = (values[place.floor() as usize], values[place.ceil() as usize]);
    low + (high - low) * place.fract()
}

/// Times of answers to prompts that are a part of `text`.
///
/// # Errors
/// When a prompt is longer than the text, or nothing is to be measured.
pub fn measure(
    loaded: &LoadedDecoder,
    edits: &dyn Adaptation,
    spec: &OverheadSpec,
    text: &[i64],
    plan: &RunPlan,
) -> Result<Score> {
    if spec.repetitions == 0 || spec.prompt_tokens.is_empty() {
        bail!("repetitions, prompt_tokens: at least one of each is needed");
    }
    let step = edits.begin(Mode::Eval);
    let decoding = Decoding { lookahead: 0, ..Decoding::default() };
    let milliseconds = |adaptation: Option<&dyn Step>, prompt: &[i64]| -> Result<f64> {
        let (model, seed) = (loaded.decoder.as_ref(), plan.seed);
        let stop = Stopping { max_new: plan.eval.max_new_tokens, ends: Vec::new() };
        let generator = Generator { model, adaptation, batch: 1, stop, decoding: &decoding, seed };
        let begin = Instant::now();
        generator.run(&[prompt], &|_, _| false)?;
        Ok(1e3 * begin.elapsed().as_secs_f64())
    };
    let (mut added, mut plain) = (Vec::new(), Vec::new());
    for &tokens in &spec.prompt_tokens {
        let too_long = || format!("prompt_tokens: {tokens} are more than the {} of the text", text.len());
        let prompt = text.get(..tokens).with_context(too_long)?;
        // The first run of a length pays for memory that later ones find.
        milliseconds(None, prompt)?;
        for repetition in 0..spec.repetitions {
            let edits_first = repetition % 2 == 0;
            let first = milliseconds(edits_first.then_some(step.as_ref()), prompt)?;
            let second = milliseconds((!edits_first).then_some(step.as_ref()), prompt)?;
            let (with, without) = if edits_first { (first, second) } else { (second, first) };
            added.push(with - without);
            plain.push(without);
        }
    }
    let [low, added_ms, high] = [0.25, 0.5, 0.75].map(|share| quantile(&mut added, share));
    Ok(Score::Timed { added_ms, quartiles_ms: [low, high], plain_ms: quantile(&mut plain, 0.5), n: added.len() })
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
