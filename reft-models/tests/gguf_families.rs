//! Every family out of a GGUF file, written here by the rules of llama.cpp's converter: the logits of the folder that it was
//! made from, for every golden family. And every type of blocks that files are stored in.

use std::collections::BTreeMap;
use std::path::Path;

use reft_core::hooks::NoHooks;
use reft_core::layout::{Extent, Layout};
use reft_core::testing::{Tol, assert_close, golden_dir, golden_json};
use reft_models::attention::PastKeyValues;
use reft_models::model::Pass;
use reft_models::registry;
use reft_models::weights::Weights;
use serde_json::Value;
use tch::{Device, Kind, Tensor};
use tempfile::TempDir;

use self::gguf_writer::{Metadata, Stored};

mod gguf_writer;

/// llama.cpp's names for Hugging Face's, longer ones first where one holds the other.
const NAMES: &[(&str, &str)] = &[
    ("gpt_neox.layers.", "blk."),
    ("gpt_neox.embed_in", "token_embd"),
    ("gpt_neox.final_layer_norm", "output_norm"),
    ("embed_out", "output"),
    ("transformer.h.", "blk."),
    ("transformer.wte", "token_embd"),
    ("transformer.wpe", "position_embd"),
    ("transformer.ln_f", "output_norm"),
    ("model.layers.", "blk."),
    ("model.embed_tokens", "token_embd"),
    ("model.norm", "output_norm"),
    ("lm_head", "output"),
    ("ln_1", "attn_norm"),
    ("ln_2", "ffn_norm"),
    ("attn.c_attn", "attn_qkv"),
    ("attn.c_proj", "attn_output"),
    ("mlp.c_fc", "ffn_up"),
    ("mlp.c_proj", "ffn_down"),
    ("attention.query_key_value", "attn_qkv"),
    ("attention.dense", "attn_output"),
    ("mlp.dense_h_to_4h", "ffn_up"),
    ("mlp.dense_4h_to_h", "ffn_down"),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
    ("self_attn.qkv_proj", "attn_qkv"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("mlp.gate_up_proj", "ffn_up"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
    ("pre_feedforward_layernorm", "ffn_norm"),
    ("post_feedforward_layernorm", "post_ffw_norm"),
    ("input_layernorm", "attn_norm"),
];

/// The number under the first of these keys that the configuration has.
fn number(config: &Value, keys: &[&str]) -> Option<f64> {
    keys.iter().find_map(|key| config[*key].as_f64().or_else(|| config["rope_parameters"][*key].as_f64()))
}

/// Whether the family's norm behind attention is called as Llama's norm before the MLP is.
fn has_post_norms(architecture: &str) -> bool {
    matches!(architecture, "gemma2" | "gemma3" | "olmo2")
}

fn renamed(architecture: &str, name: &str) -> String {
    let post = if has_post_norms(architecture) { "post_attention_norm" } else { "ffn_norm" };
    let names = NAMES.iter().copied().chain([("post_attention_layernorm", post)]);
    names.fold(name.to_owned(), |name, (theirs, ours)| name.replace(theirs, ours))
}

/// A tensor as the converter writes it.
fn converted(architecture: &str, name: &str, tensor: Tensor, [heads, kv_heads]: [i64; 2]) -> Tensor {
    let shape = tensor.size();
    let interleaved =
        |heads: i64| tensor.reshape([heads, 2, shape[0] / heads / 2, -1]).transpose(1, 2).reshape(shape.as_slice());
    match architecture {
        "llama" | "smollm3" if name.contains("q_proj") => interleaved(heads),
        "llama" | "smollm3" if name.contains("k_proj") => interleaved(kv_heads),
        "gemma2" | "gemma3" if name.ends_with("norm.weight") => tensor + 1.0,
        "gpt2" if name.contains(".c_") && shape.len() == 2 => tensor.tr().contiguous(),
        "gptneox" if name.contains("query_key_value") => {
            tensor.reshape([heads, 3, shape[0] / heads / 3, -1]).transpose(0, 1).reshape(shape.as_slice())
        }
        _ => tensor,
    }
}

/// The family's name in GGUF files; none for a configuration that they cannot express.
fn architecture(config: &Value) -> Option<&'static str> {
    // The converter writes no dynamic scaling, and no window of a file that calls itself llama.
    let scaling = &config["rope_parameters"]["rope_type"];
    Some(match config["model_type"].as_str()? {
        "llama" if matches!(scaling.as_str(), Some("default" | "linear" | "yarn" | "llama3")) => "llama",
        "mistral" if config["sliding_window"].is_null() => "llama",
        "qwen2" => "qwen2",
        "qwen3" => "qwen3",
        "gemma2" => "gemma2",
        // The files do not say the pattern, which is always the same in real models.
        "gemma3_text" => "gemma3",
        "phi3" => "phi3",
        "olmo2" => "olmo2",
        "smollm3" => "smollm3",
        "gpt_neox" => "gptneox",
        "gpt2" => "gpt2",
        _ => return None,
    })
}

/// The metadata, below the family's name.
fn metadata(config: &Value) -> Vec<(String, Metadata)> {
    let count =
        |name: &str, keys: &[&str]| number(config, keys).map(|number| (name.to_owned(), Metadata::U32(number as u32)));
    let float =
        |name: &str, keys: &[&str]| number(config, keys).map(|number| (name.to_owned(), Metadata::F32(number as f32)));
    let heads = number(config, &["num_attention_heads", "n_head"]).expect("heads");
    let width = number(config, &["hidden_size", "n_embd"]).expect("a width");
    let head = number(config, &["head_dim"]).unwrap_or(width / heads);
    let rotated = head * number(config, &["partial_rotary_factor"]).unwrap_or(1.0);
    let is = |names: &[&str]| names.iter().any(|name| config["model_type"] == *name);
    let mut all = vec![
        count("embedding_length", &["hidden_size", "n_embd"]),
        count("block_count", &["num_hidden_layers", "n_layer"]),
        count("attention.head_count", &["num_attention_heads", "n_head"]),
        count("attention.head_count_kv", &["num_key_value_heads"]),
        count("context_length", &["max_position_embeddings", "n_positions"]),
        float("attention.layer_norm_rms_epsilon", &["rms_norm_eps"]),
        float("attention.layer_norm_epsilon", &["layer_norm_eps", "layer_norm_epsilon"]),
        float("attn_logit_softcapping", &["attn_logit_softcapping"]),
        float("final_logit_softcapping", &["final_logit_softcapping"]),
        float("rope.freq_base", &["rope_theta"]),
    ];
    all.retain(|entry| !entry.as_ref().is_some_and(|(name, _)| is(&["gpt2"]) && name.starts_with("rope")));
    let inner = number(config, &["intermediate_size", "n_inner"]).unwrap_or(4.0 * width);
    all.push(Some(("feed_forward_length".to_owned(), Metadata::U32(inner as u32))));
    if !is(&["gpt2"]) {
        all.push(Some(("rope.dimension_count".to_owned(), Metadata::U32(rotated as u32))));
    }
    if !is(&["gpt2", "gpt_neox"]) {
        all.push(Some(("attention.key_length".to_owned(), Metadata::U32(head as u32))));
        all.push(Some(("attention.value_length".to_owned(), Metadata::U32(head as u32))));
    }
    if is(&["gemma2", "gemma3_text", "phi3"]) {
        all.push(count("attention.sliding_window", &["sliding_window"]));
    }
    if let Some(parallel) = config["use_parallel_residual"].as_bool() {
        all.push(Some(("use_parallel_residual".to_owned(), Metadata::Bool(parallel))));
    }
    let rope = &config["rope_parameters"];
    if let Some(kind) = rope["rope_type"].as_str().filter(|kind| ["linear", "yarn"].contains(kind)) {
        all.push(Some(("rope.scaling.type".to_owned(), Metadata::String(kind.to_owned()))));
        all.push(float("rope.scaling.factor", &["factor"]));
    }
    if rope["rope_type"] == "yarn" || rope["rope_type"] == "longrope" {
        all.push(count("rope.scaling.original_context_length", &["original_max_position_embeddings"]));
    }
    if rope["rope_type"] == "longrope" {
        let (long, original) = (
            number(config, &["max_position_embeddings"]).expect("a length"),
            number(config, &["original_max_position_embeddings"]).expect("a length"),
        );
        let factor = (1.0 + (long / original).ln() / original.ln()).sqrt();
        all.push(Some(("rope.scaling.attn_factor".to_owned(), Metadata::F32(factor as f32))));
    }
    all.into_iter().flatten().collect()
}

/// What the converter divides the frequencies of a Llama 3.1 by.
fn llama3_divisors(config: &Value) -> Vec<f32> {
    let rope = |key: &str| number(&config["rope_parameters"], &[key]).expect("a setting");
    let head = number(config, &["head_dim"]).expect("a width");
    let (factor, low, high) = (rope("factor"), rope("low_freq_factor"), rope("high_freq_factor"));
    let original = rope("original_max_position_embeddings");
    let divisor = |i: usize| {
        let wavelength = 2.0 * std::f64::consts::PI * rope("rope_theta").powf(2.0 * i as f64 / head);
        if wavelength < original / high {
            return 1.0;
        }
        if wavelength > original / low {
            return factor as f32;
        }
        let smooth = (original / wavelength - low) / (high - low);
        (1.0 / ((1.0 - smooth) / factor + smooth)) as f32
    };
    (0..head as usize / 2).map(divisor).collect()
}

/// Writes a folder's model as GGUF.
fn write(architecture: &str, source: &Weights, path: &Path) {
    let config = source.config();
    let heads = number(config, &["num_attention_heads", "n_head"]).expect("heads") as i64;
    let kv_heads = number(config, &["num_key_value_heads"]).map_or(heads, |heads| heads as i64);
    let read = |name: &str| source.tensor(name, source.shape(name).expect("there"), Kind::Float, Device::Cpu);
    let is_buffer = |name: &str| name.ends_with("masked_bias") || name.ends_with("inv_freq");
    let mut tensors: Vec<(String, Stored)> = Vec::new();
    for name in source.names().into_iter().filter(|name| !is_buffer(name)) {
        let tensor = converted(architecture, name, read(name).expect("readable"), [heads, kv_heads]);
        tensors.push((renamed(architecture, name), Stored::f32(&tensor)));
    }
    for (key, name) in [("short_factor", "rope_factors_short.weight"), ("long_factor", "rope_factors_long.weight")] {
        if let Some(list) = config["rope_parameters"][key].as_array() {
            let values: Vec<f32> = list.iter().filter_map(Value::as_f64).map(|value| value as f32).collect();
            tensors.push((name.to_owned(), Stored::f32(&Tensor::from_slice(&values))));
        }
    }
    if config["rope_parameters"]["rope_type"] == "llama3" {
        let divisors = Tensor::from_slice(&llama3_divisors(config));
        tensors.push(("rope_freqs.weight".to_owned(), Stored::f32(&divisors)));
    }
    let general = ("general.architecture".to_owned(), Metadata::String(architecture.to_owned()));
    let own = metadata(config).into_iter().map(|(key, value)| (format!("{architecture}.{key}"), value));
    let metadata: Vec<(String, Metadata)> = [general].into_iter().chain(own).collect();
    let metadata: Vec<(&str, &Metadata)> = metadata.iter().map(|(key, value)| (key.as_str(), value)).collect();
    let tensors: Vec<(&str, &Stored)> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    gguf_writer::write(path, &metadata, &tensors);
}

fn logits(weights: &Weights) -> Tensor {
    let model = registry::load(weights, Kind::Float, Device::Cpu).unwrap_or_else(|error| panic!("{error}"));
    let ids: Vec<i64> = (0..40).map(|i| 3 + i * 37 % 97).collect();
    let layout = Layout::packed(&[Extent { len: ids.len() as i64, prompt: ids.len() as i64 }]);
    let mut pass = Pass { layout: &layout, hooks: &NoHooks, cache: PastKeyValues::None, wanted: None };
    model.logits(&model.hidden(&Tensor::from_slice(&ids), &mut pass))
}

/// The golden models, with the configuration changed to what a GGUF file can say.
fn models() -> Vec<(String, TempDir)> {
    let index = golden_json("families/index.json");
    let names = index["families"].as_array().expect("a list").iter().filter_map(|family| family["name"].as_str());
    let folder = |name: &str| {
        let (from, place) = (golden_dir().join("families/models").join(name), TempDir::new().expect("a folder"));
        let text = std::fs::read_to_string(from.join("config.json")).expect("a configuration");
        let mut config: Value = serde_json::from_str(&text).expect("JSON");
        match config["model_type"].as_str() {
            Some("gemma3_text") => {
                // What files do not say is in real models always the same.
                config["layer_types"] = Value::Null;
                config["query_pre_attn_scalar"] = config["head_dim"].clone();
                config["rope_parameters"] = config["rope_parameters"]["full_attention"].clone();
            }
            Some("smollm3") => {
                config["no_rope_layers"] = Value::Null;
                config["no_rope_layer_interval"] = Value::Null;
            }
            Some("gemma2") => config["query_pre_attn_scalar"] = config["head_dim"].clone(),
            _ => {}
        }
        std::fs::write(place.path().join("config.json"), config.to_string()).expect("written");
        std::fs::copy(from.join("model.safetensors"), place.path().join("model.safetensors")).expect("copied");
        (name.to_owned(), place)
    };
    names.map(folder).collect()
}

#[test]
fn a_gguf_file_of_every_family_gives_the_logits_of_its_folder() {
    let mut written = 0;
    for (name, folder) in models() {
        let source = Weights::open(folder.path()).expect("a golden model");
        let Some(architecture) = architecture(source.config()) else { continue };
        let path = folder.path().join("model.gguf");
        write(architecture, &source, &path);
        let gguf = Weights::open(&path).unwrap_or_else(|error| panic!("{error}"));
        assert_close(&format!("{name}, {architecture}"), &logits(&gguf), &logits(&source), Tol::Absolute(2e-4));
        written += 1;
    }
    assert!(written > 0, "no golden family has a GGUF form");
}

/// Random blocks, and their values by llama.cpp's own package (`scripts/goldens/gguf_blocks.py`): equal to the last bit.
#[test]
fn every_type_of_blocks_is_dequantised_as_by_llama_cpp() {
    // Made here, so that no other folder of goldens has them.
    let blocks = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/gguf/blocks.safetensors");
    let golden = Tensor::read_safetensors(blocks).expect("a golden");
    let golden: BTreeMap<String, Tensor> = golden.into_iter().collect();
    let folder = TempDir::new().expect("a folder");
    let kinds: Vec<u32> = golden.keys().filter_map(|name| name.strip_suffix(".blocks")?.parse().ok()).collect();
    assert!(kinds.len() >= 12, "{kinds:?}");
    for kind in kinds {
        let expected = &golden[&format!("{kind}.values")];
        let bytes = Vec::<u8>::try_from(golden[&format!("{kind}.blocks")].flatten(0, -1)).expect("bytes");
        let path = folder.path().join("model.gguf");
        let general = Metadata::String("qwen2".to_owned());
        let numbers =
            ["embedding_length", "attention.head_count", "feed_forward_length", "block_count", "context_length"];
        let keys: Vec<String> = numbers.iter().map(|key| format!("qwen2.{key}")).collect();
        let (one, eps) = (Metadata::U32(1), Metadata::F32(1e-6));
        let mut metadata: Vec<(&str, &Metadata)> = keys.iter().map(|key| (key.as_str(), &one)).collect();
        metadata.extend([("general.architecture", &general), ("qwen2.attention.layer_norm_rms_epsilon", &eps)]);
        let stored = Stored::blocks(&expected.size(), kind, bytes);
        gguf_writer::write(&path, &metadata, &[("token_embd.weight", &stored)]);
        let weights = Weights::open(&path).unwrap_or_else(|error| panic!("{kind}: {error}"));
        let shape = expected.size();
        let found = weights.tensor("model.embed_tokens.weight", &shape, Kind::Float, Device::Cpu).expect("readable");
        let same = found.eq_tensor(expected).logical_or(&found.isnan().logical_and(&expected.isnan()));
        assert_eq!(same.all().int64_value(&[]), 1, "ggml type {kind}");
    }
}
