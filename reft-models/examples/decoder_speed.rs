//! Times a decoder of a folder: prefill of one prompt and greedy decoding behind it, f32.
//! `scripts/speed_transformers.py` runs it beside transformers.
//!
//! `decoder_speed FOLDER PROMPT NEW REPEATS wall|cpu`, of the clock on the wall or of the processor, prints two numbers: milliseconds of a prefill, and of a decoded token.

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use reft_models::decode::{Decoding, Generator, Stopping, undecided};
use reft_models::model::Decoder;
use reft_models::registry;
use reft_models::weights::Weights;
use tch::{Device, Kind};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, prompt, new, repeats, clock] = arguments.as_slice() else {
        return Err("FOLDER PROMPT NEW REPEATS wall|cpu".into());
    };
    let (prompt, new, repeats): (usize, usize, usize) = (prompt.parse()?, new.parse()?, repeats.parse()?);
    let clock = match clock.as_str() {
        "wall" => Clock::Wall(Instant::now()),
        "cpu" => Clock::Cpu,
        other => return Err(format!("{other}: wall or cpu").into()),
    };
    let weights = Weights::open(Path::new(folder))?;
    let model = registry::load(&weights, Kind::Float, Device::Cpu)?;
    let ids: Vec<i64> = (0..prompt as i64).map(|at| 3 + at * 37 % 1009).collect();
    let (mut prefill, mut whole) = (f64::MAX, f64::MAX);
    for _ in 0..repeats {
        prefill = prefill.min(milliseconds(model.as_ref(), &ids, 1, &clock)?);
        whole = whole.min(milliseconds(model.as_ref(), &ids, 1 + new, &clock)?);
    }
    println!("{prefill} {}", (whole - prefill) / new as f64);
    Ok(())
}

/// What time is measured by.
enum Clock {
    /// Time since then.
    Wall(Instant),
    /// What the processor spent on this program.
    Cpu,
}

impl Clock {
    fn now(&self) -> Result<Duration, Box<dyn Error>> {
        match self {
            Self::Wall(begin) => Ok(begin.elapsed()),
            Self::Cpu => {
                // User and system time, fields 14 and 15 of the line, in hundredths of a second; a name in brackets is before.
                let line = std::fs::read_to_string("/proc/self/stat")?;
                let (_, fields) = line.rsplit_once(')').ok_or("/proc/self/stat has no name")?;
                let ticks: Vec<u64> =
                    fields.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
                Ok(Duration::from_millis(10 * ticks.iter().sum::<u64>()))
            }
        }
    }
}

/// Time to continue a prompt by so many tokens.
fn milliseconds(model: &dyn Decoder, ids: &[i64], max_new: usize, clock: &Clock) -> Result<f64, Box<dyn Error>> {
    let decoding = &Decoding { lookahead: 0, ..Decoding::default() };
    let stop = Stopping { max_new, ends: Vec::new() };
    let generator = Generator { model, adaptation: None, batch: 1, stop, decoding, seed: 0 };
    let begin = clock.now()?;
    let _ = generator.run(&[ids], &undecided)?;
    Ok(clock.now()?.saturating_sub(begin).as_secs_f64() * 1e3)
}
