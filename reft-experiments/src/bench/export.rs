//! A model as a Hugging Face folder, for the peer.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result};
use reft_models::hub;
use reft_models::tokenizer::Tokenizer;
use reft_models::weights::Weights;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};
use tch::{Device, Kind};

/// Writes `config.json`, `model.safetensors` (f32) and the tokenizer into `folder`.
///
/// # Errors
/// When the model cannot be read or the folder cannot be written.
pub fn export(model: &str, folder: &Path) -> Result<()> {
    let path = hub::locate(model)?;
    let weights = Weights::open(&path)?;
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let mut config = weights.config().clone();
    if let Value::Object(map) = &mut config {
        map.insert("architectures".to_owned(), json!(["LlamaForCausalLM"]));
        map.insert("model_type".to_owned(), json!("llama"));
    }
    save_weights(&weights, &folder.join("model.safetensors"))?;
    let tokenizer = Tokenizer::open(&path)?;
    tokenizer.save(&folder.join("tokenizer.json"))?;
    let piece = |id: Option<i64>| id.and_then(|id| tokenizer.piece(id));
    let tokenizer_config = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": piece(tokenizer.bos()),
        "eos_token": piece(tokenizer.eos()),
        "unk_token": piece(Some(0)),
    });
    for (name, value) in [("config.json", &config), ("tokenizer_config.json", &tokenizer_config)] {
        let path = folder.join(name);
        std::fs::write(&path, value.to_string()).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// In f32, with the note that transformers asks for.
fn save_weights(weights: &Weights, path: &Path) -> Result<()> {
    let mut tensors = Vec::new();
    for name in weights.names() {
        let shape = weights.shape(name).unwrap_or_default().to_vec();
        let tensor = weights.tensor(name, &shape, Kind::Float, Device::Cpu)?;
        let mut values = vec![0u8; tensor.numel() * 4];
        tensor.copy_data_u8(&mut values, tensor.numel());
        tensors.push((name, shape.iter().map(|&n| n as usize).collect::<Vec<_>>(), values));
    }
    let view = |(name, shape, values)| Ok((name, TensorView::new(Dtype::F32, shape, values)?));
    let views: Result<Vec<_>> =
        tensors.iter().map(|(name, shape, values)| view((*name, shape.clone(), values))).collect();
    let about = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize_to_file(views?, Some(about), path).with_context(|| path.display().to_string())
}
