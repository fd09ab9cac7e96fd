//! A whole model folder, as transformers loads it: configuration, safetensors in shards, tokenizer.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use reft_models::registry;
use reft_models::tokenizer::Tokenizer;
use reft_models::weights::Weights;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Map, Value, json};
use tch::{Device, Kind, Tensor};

use super::NamedTensors;

/// Files that hold weights or describe them: everything else of a small size is copied.
const LARGEST_COPY: u64 = 64 << 20;

/// Writes the model of a checkpoint with these tensors, and these settings of its configuration, in place of its own, as the folder `out`, complete or not at all.
/// `shard` is the size of a file of weights at most, in bytes. Gives the type that was written. What a `.gguf` file holds becomes a folder too: f32 weights, the
/// configuration by transformers' keys, its tokenizer.
///
/// # Errors
/// When the folder is there already, transformers has no keys for what the checkpoint says, or a file cannot be read or
/// written.
pub fn write(
    weights: &Weights,
    (changed, settings): (&NamedTensors, &Map<String, Value>),
    out: &Path,
    shard: usize,
) -> Result<Kind> {
    let source = weights.path();
    if out.exists() {
        bail!("{}: is there already: name another folder", out.display());
    }
    let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
    let fresh = tempfile::Builder::new().prefix(".merge-").tempdir_in(parent)?;
    let mut config = config(weights, changed);
    settings.iter().for_each(|(key, value)| config[key] = value.clone());
    if source.is_dir() {
        copy_small_files(source, fresh.path())?;
    } else {
        Tokenizer::open(source)?.save_folder(fresh.path())?;
        complete(&mut config, weights)?;
    }
    let kind = stored_kind(&config)?;
    fs::write(fresh.path().join("config.json"), serde_json::to_vec_pretty(&config)?)?;
    write_shards(weights, changed, fresh.path(), (kind, shard))?;
    fs::rename(fresh.keep(), out).with_context(|| out.display().to_string())?;
    Ok(kind)
}

/// The type that the weights are stored in, by the configuration.
fn stored_kind(config: &Value) -> Result<Kind> {
    match config.get("dtype").or_else(|| config.get("torch_dtype")).and_then(Value::as_str) {
        None | Some("float32") => Ok(Kind::Float),
        Some("bfloat16") => Ok(Kind::BFloat16),
        Some("float16") => Ok(Kind::Half),
        Some(other) => bail!("config.json: torch_dtype {other} is not written here: float32, bfloat16 and float16 are"),
    }
}

fn copy_small_files(source: &Path, target: &Path) -> Result<()> {
    for entry in fs::read_dir(source).with_context(|| source.display().to_string())? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
        let of_weights = ends(&[".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack", ".index.json"]);
        let metadata = fs::metadata(entry.path()).with_context(|| entry.path().display().to_string())?;
        if metadata.is_file() && !of_weights && name != "config.json" && metadata.len() <= LARGEST_COPY {
            fs::copy(entry.path(), target.join(&name)).with_context(|| entry.path().display().to_string())?;
        }
    }
    Ok(())
}

/// The configuration; with biases announced where merging made some.
fn config(weights: &Weights, changed: &NamedTensors) -> Value {
    let mut config = weights.config().clone();
    let new: Vec<&String> = changed.keys().filter(|name| !weights.contains(name)).collect();
    for (part, key) in [(".self_attn.", "attention_bias"), (".mlp.", "mlp_bias")] {
        if new.iter().any(|name| name.contains(part)) {
            config[key] = json!(true);
        }
    }
    config
}

/// What the configuration of a `.gguf` file lacks for transformers.
fn complete(config: &mut Value, weights: &Weights) -> Result<()> {
    let path = weights.path().display();
    if config["rope_scaling"]["rope_type"] == "divided" {
        bail!(
            "{path}: its rotary frequencies have divisors that config.json has no key for: name the model's Hugging Face folder"
        );
    }
    let model_type = registry::model_type(weights).with_context(|| format!("{path}: no decoder that is read here"))?;
    // What the file does not say is left to transformers, which takes some keys of null for a value.
    if let Value::Object(keys) = config {
        keys.retain(|_, value| !value.is_null());
    }
    config["model_type"] = json!(model_type);
    config["torch_dtype"] = json!("float32");
    Ok(())
}

/// Biases of 0 for the other maps of a part whose configuration now announces biases.
fn zero_biases(weights: &Weights, changed: &NamedTensors) -> BTreeMap<String, i64> {
    let new = |part: &str| changed.keys().any(|name| name.contains(part) && !weights.contains(name));
    let parts: Vec<&str> = [".self_attn.", ".mlp."].into_iter().filter(|part| new(part)).collect();
    let of = |name: &str| {
        let module = name.strip_suffix("_proj.weight")?;
        let bias = format!("{module}_proj.bias");
        let wanted = parts.iter().any(|part| name.contains(part)) && !changed.contains_key(&bias);
        (wanted && !weights.contains(&bias)).then(|| Some((bias, weights.shape(name)?[0]))).flatten()
    };
    weights.names().into_iter().filter_map(of).collect()
}

fn write_shards(weights: &Weights, changed: &NamedTensors, folder: &Path, (kind, most): (Kind, usize)) -> Result<()> {
    let zeros = zero_biases(weights, changed);
    let own: BTreeSet<String> = weights.names().into_iter().map(str::to_owned).collect();
    let names: BTreeSet<&String> = own.iter().chain(changed.keys()).chain(zeros.keys()).collect();
    let numel = |name: &String| -> usize {
        let shape = changed.get(name).map(Tensor::size).or_else(|| weights.shape(name).map(<[i64]>::to_vec));
        shape.unwrap_or_else(|| vec![zeros[name]]).iter().product::<i64>() as usize
    };
    let mut shards: Vec<(usize, Vec<&String>)> = vec![(0, Vec::new())];
    for name in names {
        let bytes = numel(name) * kind.elt_size_in_bytes();
        match shards.last_mut() {
            Some((size, list)) if list.is_empty() || *size + bytes <= most => {
                *size += bytes;
                list.push(name);
            }
            _ => shards.push((bytes, vec![name])),
        }
    }
    let (count, total) = (shards.len(), shards.iter().map(|(size, _)| size).sum::<usize>());
    let mut places = Map::new();
    for (index, (_, list)) in shards.iter().enumerate() {
        let file = if count == 1 {
            "model.safetensors".to_owned()
        } else {
            format!("model-{:05}-of-{count:05}.safetensors", index + 1)
        };
        let read = |name: &&String| -> Result<(String, Tensor)> {
            let tensor = match (changed.get(*name), weights.shape(name)) {
                (Some(tensor), _) => tensor.shallow_clone(),
                (None, Some(shape)) => weights.tensor(name, shape, kind, Device::Cpu)?,
                (None, None) => Tensor::zeros([zeros[*name]], (kind, Device::Cpu)),
            };
            Ok(((*name).clone(), tensor.to_kind(kind)))
        };
        let tensors = list.iter().map(read).collect::<Result<Vec<_>>>()?;
        write_safetensors(&folder.join(&file), &tensors)?;
        places.extend(list.iter().map(|name| ((*name).clone(), json!(file))));
    }
    if count > 1 {
        let index = json!({"metadata": {"total_size": total}, "weight_map": places});
        fs::write(folder.join("model.safetensors.index.json"), serde_json::to_vec_pretty(&index)?)?;
    }
    Ok(())
}

/// A safetensors file of tensors of floating-point types, with the note that torch's loaders ask for.
///
/// # Errors
/// When it cannot be written.
pub fn write_safetensors(path: &Path, tensors: &[(String, Tensor)]) -> Result<()> {
    let bytes = |tensor: &Tensor| {
        let tensor = tensor.detach().contiguous();
        let mut bytes = vec![0u8; tensor.numel() * tensor.kind().elt_size_in_bytes()];
        tensor.copy_data_u8(&mut bytes, tensor.numel());
        bytes
    };
    let data: Vec<Vec<u8>> = tensors.iter().map(|(_, tensor)| bytes(tensor)).collect();
    let view = |((name, tensor), data): (&(String, Tensor), &'_ Vec<u8>)| -> Result<(String, Dtype, Vec<usize>)> {
        let dtype = match tensor.kind() {
            Kind::BFloat16 => Dtype::BF16,
            Kind::Half => Dtype::F16,
            Kind::Float => Dtype::F32,
            other => bail!("tensor `{name}` is {other:?} ({} bytes)", data.len()),
        };
        Ok((name.clone(), dtype, tensor.size().into_iter().map(|n| n as usize).collect()))
    };
    let heads = tensors.iter().zip(&data).map(view).collect::<Result<Vec<_>>>()?;
    let views = heads.into_iter().zip(&data);
    let views = views.map(|((name, dtype, shape), data)| Ok((name, TensorView::new(dtype, shape, data)?)));
    let views = views.collect::<Result<Vec<_>>>()?;
    let note = std::collections::HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let file = safetensors::serialize(views, Some(note))?;
    crate::atomic::write(path, &file).with_context(|| path.display().to_string())
}
