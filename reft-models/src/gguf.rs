//! A GGUF file: de-quantised on reading, llama.cpp's names and row order turned into Hugging Face's.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use candle_core::Device;
use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::{Content, TensorInfo, Value};
use serde_json::json;
use tch::{Kind, Tensor};

use crate::pickle::{brief, to_libtorch};
use crate::weights::{Container, Encoding, WeightsError, bytes_of, first_line, open_error};

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

/// Holds divisors of rotary frequencies in files of models with long contexts.
const ROPE_FACTORS: &str = "rope_freqs.weight";

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
        let content = Content::read(&mut file).map_err(|error| {
            let advice = "download it again, or choose a file in a common type such as F16, Q8_0 or Q4_K_M";
            open_error(path, format!("truncated, or no GGUF file that can be read ({}): {advice}", brief(&error)))
        })?;
        if content.tensor_infos.values().any(|info| end(&content, info).is_none_or(|end| end > length)) {
            return Err(open_error(path, format!("truncated ({length} bytes): download it again")));
        }
        let names = content.tensor_infos.keys().filter_map(|name| Some((hugging_face_name(name)?, name.clone())));
        let names = names.collect();
        let file = Self { path: path.to_owned(), content, names };
        file.check_family()?;
        Ok(file)
    }

    /// Refuses what would load and then compute something else than the model.
    fn check_family(&self) -> Result<(), WeightsError> {
        let architecture = self.text("general.architecture")?;
        if architecture != "llama" {
            return Err(open_error(&self.path, format!("architecture `{architecture}`: this reader knows llama")));
        }
        if self.content.tensor_infos.contains_key(ROPE_FACTORS) {
            let advice = "use the model's safetensors folder, whose config.json says how they came about";
            return Err(open_error(
                &self.path,
                format!("has rotary factors (`{ROPE_FACTORS}`), not read here: {advice}"),
            ));
        }
        Ok(())
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
        let numbers: Option<Vec<i64>> = list.iter().map(integer).collect();
        numbers.ok_or_else(|| open_error(&self.path, format!("metadata `{key}` is not a list of numbers")))
    }

    /// A metadata switch; off when the file does not say.
    ///
    /// # Errors
    /// When it is something else.
    pub fn switch(&self, key: &str) -> Result<bool, WeightsError> {
        let value = self.content.metadata.get(key);
        value.map_or(Ok(false), |value| value.to_bool().map_err(|error| self.wrong(key, &error)))
    }

    fn float(&self, key: &str) -> Result<f64, WeightsError> {
        self.value(key)?.to_f32().map(f64::from).map_err(|error| self.wrong(key, &error))
    }

    fn wrong(&self, key: &str, error: &candle_core::Error) -> WeightsError {
        open_error(&self.path, format!("metadata `{key}`: {}", brief(error)))
    }

    /// The configuration in Hugging Face's terms.
    ///
    /// # Errors
    /// When the metadata is incomplete.
    pub fn config(&self) -> Result<serde_json::Value, WeightsError> {
        let heads = self.integer("llama.attention.head_count")?;
        let width = self.integer("llama.embedding_length")?;
        let vocab = self.content.tensor_infos.get("token_embd.weight").and_then(|info| info.shape.dims().first());
        let head_width =
            self.integer("llama.attention.key_length").or_else(|_| self.integer("llama.rope.dimension_count"));
        Ok(json!({
            "architectures": ["LlamaForCausalLM"],
            "hidden_act": "silu",
            "hidden_size": width,
            "intermediate_size": self.integer("llama.feed_forward_length")?,
            "num_hidden_layers": self.integer("llama.block_count")?,
            "num_attention_heads": heads,
            "num_key_value_heads": self.key_value_heads()?,
            "head_dim": head_width.unwrap_or(width / heads.max(1)),
            "vocab_size": vocab,
            "rms_norm_eps": self.float("llama.attention.layer_norm_rms_epsilon")?,
            "rope_theta": self.float("llama.rope.freq_base").unwrap_or(10_000.0),
            "rope_scaling": self.rope_scaling(),
            "max_position_embeddings": self.integer("llama.context_length")?,
            "tie_word_embeddings": !self.content.tensor_infos.contains_key("output.weight"),
            "bos_token_id": self.integer("tokenizer.ggml.bos_token_id").ok(),
            "eos_token_id": self.integer("tokenizer.ggml.eos_token_id").ok(),
        }))
    }

    /// As many as query heads when the file does not say.
    fn key_value_heads(&self) -> Result<i64, WeightsError> {
        let own = self.integer("llama.attention.head_count_kv");
        own.or_else(|_| self.integer("llama.attention.head_count"))
    }

    /// Left to the port to accept or refuse.
    fn rope_scaling(&self) -> Option<serde_json::Value> {
        let kind = self.text("llama.rope.scaling.type").ok().filter(|kind| kind != "none")?;
        Some(json!({ "rope_type": kind, "factor": self.float("llama.rope.scaling.factor").ok() }))
    }

    /// Heads whose rows llama.cpp has reordered in this tensor.
    fn permuted_heads(&self, name: &str) -> Result<Option<i64>, WeightsError> {
        if name.contains(".q_proj.") {
            self.integer("llama.attention.head_count").map(Some)
        } else if name.contains(".k_proj.") {
            self.key_value_heads().map(Some)
        } else {
            Ok(None)
        }
    }
}

/// Undoes llama.cpp's order of rows, which pairs neighbours for its rotary embedding: `[heads, E/2, 2, D]` to halves.
fn unpermute(tensor: &Tensor, heads: i64) -> Result<Tensor, String> {
    let (shape, rows) = (tensor.size(), tensor.size().first().copied().unwrap_or(0));
    if heads <= 0 || rows % (2 * heads) != 0 {
        return Err(format!("{rows} rows do not divide among {heads} heads"));
    }
    let grouped = tensor.f_reshape([heads, rows / heads / 2, 2, -1]).map_err(|error| first_line(&error))?;
    grouped.transpose(1, 2).f_reshape(shape).map_err(|error| first_line(&error))
}

/// The byte after a tensor's last one; none when a damaged header says more than can be counted.
fn end(content: &Content, info: &TensorInfo) -> Option<u64> {
    let elements = info.shape.dims().iter().try_fold(1_u64, |product, &n| product.checked_mul(n as u64))?;
    let blocks = elements / info.ggml_dtype.block_size() as u64;
    let size = blocks.checked_mul(info.ggml_dtype.type_size() as u64)?;
    content.tensor_data_offset.checked_add(info.offset)?.checked_add(size)
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

/// Bytes of a file before its tensors: the model's settings and its vocabulary.
///
/// # Errors
/// When the file is missing, truncated, or no GGUF file of a Llama.
pub(crate) fn header(path: &Path) -> Result<Vec<u8>, WeightsError> {
    let length = GgufFile::open(path)?.content.tensor_data_offset;
    let mut header = Vec::new();
    let read = File::open(path).and_then(|file| file.take(length).read_to_end(&mut header));
    read.map_err(|error| open_error(path, format!("{error}: check the path")))?;
    Ok(header)
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
        let quantised = self.content.tensor(&mut file, ours, &Device::Cpu).map_err(|error| brief(&error))?;
        let values = quantised.dequantize(&Device::Cpu).map_err(|error| brief(&error))?;
        let tensor = to_libtorch(&values).map_err(|error| brief(&error))?;
        match self.permuted_heads(name).map_err(|error| error.to_string())? {
            Some(heads) => unpermute(&tensor, heads),
            None => Ok(tensor),
        }
    }

    fn encoding(&self, name: &str) -> Option<Encoding> {
        let info = self.content.tensor_infos.get(self.names.get(name)?)?;
        Some(match info.ggml_dtype {
            GgmlDType::F32 => Encoding::Plain(Kind::Float),
            GgmlDType::F16 => Encoding::Plain(Kind::Half),
            GgmlDType::BF16 => Encoding::Plain(Kind::BFloat16),
            quantised => Encoding::Quantised(format!("{quantised:?}")),
        })
    }

    /// Blocks of quantised values are taken as they lie in the file, in llama.cpp's order of rows.
    fn bytes(&self, name: &str) -> Result<Cow<'_, [u8]>, String> {
        match self.encoding(name).ok_or("not in the file")? {
            Encoding::Plain(kind) => bytes_of(&self.read(name)?, kind).map(Cow::Owned),
            Encoding::Quantised(_) => {
                let mut file = File::open(&self.path).map_err(|error| error.to_string())?;
                let stored = self.content.tensor(&mut file, &self.names[name], &Device::Cpu);
                let stored = stored.map_err(|error| brief(&error))?;
                stored.data().map(|bytes| Cow::Owned(bytes.into_owned())).map_err(|error| brief(&error))
            }
        }
    }
}
