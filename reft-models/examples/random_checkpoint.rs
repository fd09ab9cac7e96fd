//! Writes a checkpoint of random weights for a `config.json` of any decoder, shard after shard, one tensor in memory at a time: a
//! model of a size that is not at hand, to see what it takes to load and to train.
//!
//! `random_checkpoint CONFIG FOLDER SHARDS SEED MODEL` makes the folder, with the tokenizer of MODEL (`smollm2`), which must know no
//! more tokens than the configuration. Matrices are drawn from N(0, 0.02²), norms are ones and biases zeros, in the
//! configuration's `torch_dtype` (bfloat16 where it names none).

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::fs;
use std::path::Path;

use reft_models::tokenizer::Tokenizer;
use reft_models::{hub, registry};
use safetensors::tensor::{Dtype, View, serialize_to_file};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

/// Standard deviation of matrices.
const DEVIATION: f64 = 0.02;

/// Numbers that are drawn and written at once.
const DRAWN: i64 = 1 << 24;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [config, folder, shards, seed, model] = arguments.as_slice() else {
        return Err("CONFIG FOLDER SHARDS SEED MODEL".into());
    };
    let (folder, shards, seed): (_, usize, i64) = (Path::new(folder), shards.parse()?, seed.parse()?);
    let config: Value = serde_json::from_slice(&fs::read(config).map_err(|error| format!("{config}: {error}"))?)?;
    let kind = stored_kind(&config)?;
    fs::create_dir_all(folder)?;
    fs::write(folder.join("config.json"), serde_json::to_vec_pretty(&config)?)?;
    Tokenizer::open(&hub::locate(model)?)?.save_folder(folder)?;
    tch::manual_seed(seed);
    let tensors = registry::tensors_of(&config)?.into_iter().map(|(name, shape)| RandomTensor::new(name, &shape, kind));
    let parts = split(tensors.collect(), shards);
    // The note that transformers asks for.
    let about = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let (mut map, mut bytes) = (BTreeMap::new(), 0);
    for (number, part) in parts.iter().enumerate() {
        let file = format!("model-{:05}-of-{:05}.safetensors", number + 1, parts.len());
        bytes += part.iter().map(RandomTensor::bytes).sum::<usize>();
        map.extend(part.iter().map(|tensor| (tensor.name.clone(), file.clone())));
        serialize_to_file(
            part.iter().map(|tensor| (tensor.name.as_str(), tensor)),
            Some(about.clone()),
            &folder.join(&file),
        )?;
        println!("{file}: {} tensors, {} MiB so far", part.len(), bytes >> 20);
    }
    let index = json!({"metadata": {"total_size": bytes}, "weight_map": map});
    fs::write(folder.join("model.safetensors.index.json"), serde_json::to_vec_pretty(&index)?)?;
    Ok(())
}

/// The type that a configuration names for its weights.
fn stored_kind(config: &Value) -> Result<Kind, String> {
    let named = config.get("torch_dtype").or_else(|| config.get("dtype")).and_then(Value::as_str);
    match named.unwrap_or("bfloat16") {
        "bfloat16" => Ok(Kind::BFloat16),
        "float16" => Ok(Kind::Half),
        "float32" => Ok(Kind::Float),
        other => Err(format!("torch_dtype {other}: write bfloat16, float16 or float32")),
    }
}

/// Tensors in so many parts of about the same size, in their order; none is empty.
fn split(tensors: Vec<RandomTensor>, shards: usize) -> Vec<Vec<RandomTensor>> {
    let total: usize = tensors.iter().map(RandomTensor::bytes).sum();
    let (mut parts, mut begun) = (BTreeMap::<usize, Vec<RandomTensor>>::new(), 0);
    for tensor in tensors {
        let part = begun * shards.max(1) / total.max(1);
        begun += tensor.bytes();
        parts.entry(part).or_default().push(tensor);
    }
    parts.into_values().collect()
}

/// A tensor that is drawn when it is written.
struct RandomTensor {
    name: String,
    shape: Vec<usize>,
    kind: Kind,
}

impl RandomTensor {
    fn new(name: String, shape: &[i64], kind: Kind) -> Self {
        Self { name, shape: shape.iter().map(|&size| size as usize).collect(), kind }
    }

    /// Bytes of all its numbers.
    fn bytes(&self) -> usize {
        self.shape.iter().product::<usize>() * self.kind.elt_size_in_bytes()
    }

    fn drawn(&self, count: i64) -> Tensor {
        let options = (Kind::Float, Device::Cpu);
        match self.shape.len() {
            1 if self.name.ends_with("bias") => Tensor::zeros([count], options),
            1 => Tensor::ones([count], options),
            _ => Tensor::randn([count], options) * DEVIATION,
        }
    }
}

impl View for &RandomTensor {
    fn dtype(&self) -> Dtype {
        match self.kind {
            Kind::BFloat16 => Dtype::BF16,
            Kind::Half => Dtype::F16,
            _ => Dtype::F32,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let (numbers, width) = (self.shape.iter().product::<usize>() as i64, self.kind.elt_size_in_bytes());
        let mut bytes = vec![0; self.bytes()];
        for from in (0..numbers).step_by(DRAWN as usize) {
            let count = DRAWN.min(numbers - from);
            let begin = from as usize * width;
            self.drawn(count)
                .to_kind(self.kind)
                .copy_data_u8(&mut bytes[begin..begin + count as usize * width], count as usize);
        }
        Cow::Owned(bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes()
    }
}
