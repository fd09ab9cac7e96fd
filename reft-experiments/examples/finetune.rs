//! Trains LoReFT on ten pairs of prompt and answer, and lets the model answer before and after.
//!
//! `cargo run --example finetune [MODEL]`: smollm2, a Hugging Face id, a folder, or a .gguf file.

use reft_experiments::prelude::*;

const PAIRS: [(&str, &str); 10] = [
    ("Capital of France?", " Paris"),
    ("Capital of Italy?", " Rome"),
    ("Capital of Spain?", " Madrid"),
    ("Capital of Japan?", " Tokyo"),
    ("Capital of Egypt?", " Cairo"),
    ("Capital of Peru?", " Lima"),
    ("Capital of Norway?", " Oslo"),
    ("Capital of Kenya?", " Nairobi"),
    ("Capital of Cuba?", " Havana"),
    ("Capital of Greece?", " Athens"),
];

/// The mean loss before the first update and before the last.
///
/// # Errors
/// When the model cannot be loaded.
pub fn run(model: &str, updates: usize) -> Result<(f64, f64)> {
    let loaded = LoadedDecoder::open(model, Dtype::F32, DeviceSpec(Device::Cpu))?;
    let spec = adapt(r#"{"reft": {"intervention": "loreft", "rank": 4, "positions": "l1"}}"#)?;
    let mut loreft = spec.build(loaded.decoder.dims(), Seed(42), Device::Cpu)?;
    println!("before: {}", answer(&loaded, None, PAIRS[0].0, 8)?);
    let rows = examples(&loaded, &PAIRS)?;
    let batch: Vec<&Example> = rows.iter().collect();
    let mut objective = Causal::new(loaded.decoder.as_ref(), FrozenForward::off(loaded.decoder.as_ref()), 4096);
    let mut learner = Learner::new(&mut objective, loreft.as_mut(), UpdateRules::default());
    let mut losses = Vec::new();
    for _ in 0..updates {
        losses.push(learner.update(&batch, 4e-3)?.loss);
    }
    println!("after: {}", answer(&loaded, Some(loreft.as_ref()), PAIRS[0].0, 8)?);
    println!("loss {:.3} to {:.3}", losses[0], losses[updates - 1]);
    Ok((losses[0], losses[updates - 1]))
}

fn main() -> Result<()> {
    run(&std::env::args().nth(1).unwrap_or("smollm2".to_owned()), 60).map(|_| ())
}
