//! Trains LoReFT and a classification head on an encoder to tell two kinds of sentences apart.
//!
//! `cargo run --example classify [MODEL]`: minilm, a Hugging Face id of a BERT or RoBERTa, or a folder.

use reft_experiments::prelude::*;
use reft_experiments::score::metric::Metric;

const ROWS: [(&str, i64); 8] = [
    ("A wonderful, moving film.", 1),
    ("I loved every minute of it.", 1),
    ("Great acting and a clever plot.", 1),
    ("The best evening in a long time.", 1),
    ("A dull and lifeless film.", 0),
    ("I wanted my money back.", 0),
    ("Bad acting and a silly plot.", 0),
    ("The worst evening in a long time.", 0),
];

/// The accuracy on the rows, after training on them.
///
/// # Errors
/// When the model cannot be loaded.
pub fn run(model: &str, updates: usize) -> Result<f64> {
    let loaded = LoadedEncoder::open(model, Dtype::F32, DeviceSpec(Device::Cpu))?;
    let encoder = &loaded.encoder;
    let row = |(text, class): &(&str, i64)| {
        let typed = loaded.tokenizer.encode_pair(text, None, 64)?;
        Ok(Labelled { ids: typed.ids, types: typed.types, target: Target::Class(*class), name: format!("`{text}`") })
    };
    let rows = ROWS.iter().map(row).collect::<Result<Vec<Labelled>>>()?;
    let spec = adapt(r#"{"reft": {"intervention": "loreft", "rank": 2, "positions": "f1"}}"#)?;
    let mut loreft = spec.build(encoder.dims(), Seed(42), Device::Cpu)?;
    let head = ClassificationHead::new(encoder.dims().width, 2, Seed(42), Device::Cpu);
    let (label_kind, micro_tokens) = (Kind::Float, 4096);
    let mut objective = Classification { encoder, head, model_dropout: false, label_kind, micro_tokens, watch: None };
    let mut learner = Learner::new(&mut objective, loreft.as_mut(), UpdateRules::default());
    let batch: Vec<&Labelled> = rows.iter().collect();
    for _ in 0..updates {
        learner.update(&batch, 5e-3)?;
    }
    let answers = objective.answers(loreft.begin(Mode::Eval).as_ref(), &rows)?;
    let accuracy = Metric::Accuracy.of(&answers).unwrap_or(f64::NAN);
    println!("accuracy on the rows that it was trained on: {accuracy}");
    Ok(accuracy)
}

fn main() -> Result<()> {
    run(&std::env::args().nth(1).unwrap_or("minilm".to_owned()), 40).map(|_| ())
}
