//! A GGUF file: de-quantised on reading, llama.cpp's names and row order turned into Hugging Face's.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use candle_core::Device;
use candle_core::quantized::gguf_file::{Content, Value};
use serde_json::json;
use tch::Tensor;

use crate::pickle::to_libtorch;
use crate::weights::{Container, WeightsError, open_error};

/// Parts of tensor names, llama.cpp's and Hugging Face's.
const NAMES: [(&str, &str); 11] = [
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
    ("token_embd", "model.embed_tokens"),
    ("output_norm", "model.norm"),
];

/// A GGUF file of a Llama model.
pub struct GgufFile {
    path: PathBuf,
    content: Content,
    /// Hugging Face name to llama.cpp's.
    names: BTreeMap<String, String>,
}

impl GgufFile {
    /// Reads the header.
    ///
    /// # Errors
    /// When the file is missing, truncated, or holds no Llama.
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        let mut file = File::open(path).map_err(|error| open_error(path, format!("{error}: check the path")))?;
        let length = file.metadata().map_or(0, |metadata| metadata.len());
        let content = Content::read(&mut file)
            .map_err(|error| open_error(path, format!("truncated, or no GGUF file ({error}): download it again")))?;
        let offset = content.tensor_infos.values().map(|info| info.offset).max().unwrap_or(0);
        if content.tensor_data_offset + offset >= length {
            return Err(open_error(path, format!("truncated ({length} bytes): download it again")));
        }
        let names = content.tensor_infos.keys().filter_map(|name| Some((hugging_face_name(name)?, name.clone())));
        let names = names.collect();
        let file = Self { path: path.to_owned(), content, names };
        match file.text("general.architecture")?.as_str() {
            "llama" => Ok(file),
            other => Err(open_error(path, format!("architecture `{other}`: this reader knows llama"))),
        }
    }

    /// A metadata value.
    ///
    /// # Errors
    /// When the file lacks it.
    pub fn value(&self, key: &str) -> Result<&Value, WeightsError> {
        let value = self.content.metadata.get(key);
        value.ok_or_else(|| open_error(&self.path, format!("metadata `{key}` is missing: not a complete model file")))
    }

    /// A metadata string.
    ///
    /// # Errors
    /// When the file lacks it or holds something else.
    pub fn text(&self, key: &str) -> Result<String, WeightsError> {
        self.value(key)?.to_string().cloned().map_err(|error| self.wrong(key, &error))
    }

    /// A metadata list of strings.
    ///
    /// # Errors
    /// When the file lacks it or holds something else.
    pub fn texts(&self, key: &str) -> Result<Vec<String>, WeightsError> {
        let list = self.value(key)?.to_vec().map_err(|error| self.wrong(key, &error))?;
        list.iter().map(|item| item.to_string().cloned().map_err(|error| self.wrong(key, &error))).collect()
    }

    /// A metadata number; GGUF writers differ in the width they give it.
    ///
    /// # Errors
    /// When the file lacks it or holds something else.
    pub fn integer(&self, key: &str) -> Result<i64, WeightsError> {
        integer(self.value(key)?).ok_or_else(|| open_error(&self.path, format!("metadata `{key}` is not a number")))
    }

    /// A metadata list of numbers.
    ///
    /// # Errors
    /// When the file lacks it or holds something else.
    pub fn integers(&self, key: &str) -> Result<Vec<i64>, WeightsError> {
        let list = self.value(key)?.to_vec().map_err(|error| self.wrong(key, &error))?;
        Ok(list.iter().filter_map(integer).collect())
    }

    fn float(&self, key: &str) -> Result<f64, WeightsError> {
        self.value(key)?.to_f32().map(f64::from).map_err(|error| self.wrong(key, &error))
    }

    fn wrong(&self, key: &str, error: &candle_core::Error) -> WeightsError {
        open_error(&self.path, format!("metadata `{key}`: {error}"))
    }

    /// The configuration in Hugging Face's terms.
    ///
    /// # Errors
    /// When the metadata is incomplete.
    pub fn config(&self) -> Result<serde_json::Value, WeightsError> {
        let heads = self.integer("llama.attention.head_count")?;
        let width = self.integer("llama.embedding_length")?;
        let vocab = self.content.tensor_infos.get("token_embd.weight").map(|info| info.shape.dims()[0]);
        Ok(json!({
            "architectures": ["LlamaForCausalLM"],
            "hidden_act": "silu",
            "hidden_size": width,
            "intermediate_size": self.integer("llama.feed_forward_length")?,
            "num_hidden_layers": self.integer("llama.block_count")?,
            "num_attention_heads": heads,
            "num_key_value_heads": self.integer("llama.attention.head_count_kv").unwrap_or(heads),
            "head_dim": self.integer("llama.rope.dimension_count").unwrap_or(width / heads.max(1)),
            "vocab_size": vocab,
            "rms_norm_eps": self.float("llama.attention.layer_norm_rms_epsilon")?,
            "rope_theta": self.float("llama.rope.freq_base").unwrap_or(10_000.0),
            "max_position_embeddings": self.integer("llama.context_length")?,
            "tie_word_embeddings": !self.content.tensor_infos.contains_key("output.weight"),
        }))
    }

    /// Undoes llama.cpp's order of rows, which pairs neighbours for its rotary embedding: `[heads, E/2, 2, D]` back to halves.
    fn unpermute(&self, tensor: &Tensor, heads_key: &str) -> Result<Tensor, String> {
        let heads = self.integer(heads_key).map_err(|error| error.to_string())?;
        let (rows, width) = tensor.size2().map_err(|error| error.to_string())?;
        let grouped = tensor.f_reshape([heads, rows / heads / 2, 2, width]).map_err(|error| error.to_string())?;
        Ok(grouped.transpose(1, 2).reshape([rows, width]))
    }
}

fn integer(value: &Value) -> Option<i64> {
    match *value {
        Value::U8(n) => Some(n.into()),
        Value::I8(n) => Some(n.into()),
        Value::U16(n) => Some(n.into()),
        Value::I16(n) => Some(n.into()),
        Value::U32(n) => Some(n.into()),
        Value::I32(n) => Some(n.into()),
        Value::U64(n) => n.try_into().ok(),
        Value::I64(n) => Some(n),
        Value::F32(_) | Value::F64(_) | Value::Bool(_) | Value::String(_) | Value::Array(_) => None,
    }
}

/// None for tensors that Hugging Face's layout does not have, such as rotary factors.
fn hugging_face_name(name: &str) -> Option<String> {
    if name == "output.weight" {
        return Some("lm_head.weight".to_owned());
    }
    let (module, parameter) = name.rsplit_once('.')?;
    let (block, part) = match module.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) {
        Some((layer, part)) => (format!("model.layers.{layer}."), part),
        None => (String::new(), module),
    };
    let (_, theirs) = NAMES.iter().find(|(ours, _)| *ours == part)?;
    Some(format!("{block}{theirs}.{parameter}"))
}

impl Container for GgufFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn shapes(&self) -> BTreeMap<String, Vec<i64>> {
        let shape = |name: &String| self.content.tensor_infos[name].shape.dims().iter().map(|&n| n as i64).collect();
        self.names.iter().map(|(theirs, ours)| (theirs.clone(), shape(ours))).collect()
    }

    fn read(&self, name: &str) -> Result<Tensor, String> {
        let ours = self.names.get(name).ok_or("not in the file")?;
        let mut file = File::open(&self.path).map_err(|error| error.to_string())?;
        let quantised = self.content.tensor(&mut file, ours, &Device::Cpu).map_err(|error| error.to_string())?;
        let values = quantised.dequantize(&Device::Cpu).map_err(|error| error.to_string())?;
        let tensor = to_libtorch(&values).map_err(|error| error.to_string())?;
        if name.contains("q_proj.weight") {
            self.unpermute(&tensor, "llama.attention.head_count")
        } else if name.contains("k_proj.weight") {
            self.unpermute(&tensor, "llama.attention.head_count_kv")
        } else {
            Ok(tensor)
        }
    }
}
