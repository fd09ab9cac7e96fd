//! Times a decoder of a folder: prefill of one prompt and greedy decoding behind it, f32. `scripts/decoder_speed.py` runs it beside
//! transformers.
//!
//! `decoder_speed FOLDER PROMPT NEW REPEATS` prints two numbers: milliseconds of a prefill, and of a decoded token.

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use reft_models::decode::{Decoding, Generator, Stopping, undecided};
use reft_models::model::Decoder;
use reft_models::registry;
use reft_models::weights::Weights;
use tch::{Device, Kind};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, numbers @ ..] = arguments.as_slice() else { return Err("FOLDER PROMPT NEW REPEATS".into()) };
    let numbers: Vec<usize> = numbers.iter().map(|number| number.parse()).collect::<Result<_, _>>()?;
    let &[prompt, new, repeats] = numbers.as_slice() else { return Err("FOLDER PROMPT NEW REPEATS".into()) };
    let weights = Weights::open(Path::new(folder))?;
    let model = registry::load(&weights, Kind::Float, Device::Cpu)?;
    let ids: Vec<i64> = (0..prompt as i64).map(|at| 3 + at * 37 % 1009).collect();
    let (mut prefill, mut whole) = (f64::MAX, f64::MAX);
    for _ in 0..repeats {
        prefill = prefill.min(milliseconds(model.as_ref(), &ids, 1)?);
        whole = whole.min(milliseconds(model.as_ref(), &ids, 1 + new)?);
    }
    println!("{prefill} {}", (whole - prefill) / new as f64);
    Ok(())
}

/// Time to continue a prompt by so many tokens.
fn milliseconds(model: &dyn Decoder, ids: &[i64], max_new: usize) -> Result<f64, Box<dyn Error>> {
    let decoding = &Decoding { lookahead: 0, ..Decoding::default() };
    let stop = Stopping { max_new, ends: Vec::new() };
    let generator = Generator { model, adaptation: None, batch: 1, stop, decoding, seed: 0 };
    let begin = Instant::now();
    let _ = generator.run(&[ids], &undecided)?;
    Ok(begin.elapsed().as_secs_f64() * 1e3)
}
