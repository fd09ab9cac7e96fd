//! How llama.cpp writes each family of decoders: what it calls tensors, and what it did to their numbers.

use tch::Tensor;

use crate::container::first_line;

/// A family as GGUF files hold it.
#[derive(Debug)]
pub struct GgufDialect {
    /// `general.architecture`, which the keys of the model's metadata begin with.
    pub architecture: &'static str,
    /// The same model in `architectures` of a `config.json`.
    pub hugging_face: &'static str,
    /// What blocks are called by Hugging Face.
    blocks: &'static str,
    /// Modules outside blocks, llama.cpp's name and Hugging Face's.
    outside: &'static [(&'static str, &'static str)],
    /// Modules of a block.
    inside: &'static [(&'static str, &'static str)],
    /// What was done to tensors, by the ends of Hugging Face's names.
    changes: &'static [(&'static str, Change)],
}

/// What llama.cpp does to a tensor when it writes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// Rows of query heads are reordered so that neighbours are rotated together.
    PermutedQueries,
    /// The same of key heads.
    PermutedKeys,
    /// 1 is added, because the norm multiplies by `1 + w`.
    PlusOne,
    /// `[in, out]` is stored `[out, in]`.
    Turned,
    /// A head's query, key and value, one head after the other, are stored as all queries, all keys, all values.
    ByPart,
}

/// Norms and projections that are called the same everywhere.
const LLAMA: &[(&str, &str)] = &[
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_q_norm", "self_attn.q_norm"),
    ("attn_k_norm", "self_attn.k_norm"),
    ("attn_output", "self_attn.o_proj"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

const ENDS: &[(&str, &str)] =
    &[("token_embd", "model.embed_tokens"), ("output_norm", "model.norm"), ("output", "lm_head")];

/// With norms on both sides; the first of each name counts.
const GEMMA: &[(&str, &str)] = &[
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_q_norm", "self_attn.q_norm"),
    ("attn_k_norm", "self_attn.k_norm"),
    ("attn_output", "self_attn.o_proj"),
    ("post_attention_norm", "post_attention_layernorm"),
    ("ffn_norm", "pre_feedforward_layernorm"),
    ("post_ffw_norm", "post_feedforward_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

const PHI3: &[(&str, &str)] = &[
    ("attn_norm", "input_layernorm"),
    ("attn_qkv", "self_attn.qkv_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_up", "mlp.gate_up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

const NEOX: &[(&str, &str)] = &[
    ("attn_norm", "input_layernorm"),
    ("attn_qkv", "attention.query_key_value"),
    ("attn_output", "attention.dense"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_up", "mlp.dense_h_to_4h"),
    ("ffn_down", "mlp.dense_4h_to_h"),
];

const GPT2: &[(&str, &str)] = &[
    ("attn_norm", "ln_1"),
    ("attn_qkv", "attn.c_attn"),
    ("attn_output", "attn.c_proj"),
    ("ffn_norm", "ln_2"),
    ("ffn_up", "mlp.c_fc"),
    ("ffn_down", "mlp.c_proj"),
];

const PERMUTED: &[(&str, Change)] = &[
    ("q_proj.weight", Change::PermutedQueries),
    ("q_proj.bias", Change::PermutedQueries),
    ("k_proj.weight", Change::PermutedKeys),
    ("k_proj.bias", Change::PermutedKeys),
];

const PLUS_ONE: &[(&str, Change)] = &[("norm.weight", Change::PlusOne)];

const TURNED: &[(&str, Change)] =
    &[("c_attn.weight", Change::Turned), ("c_proj.weight", Change::Turned), ("c_fc.weight", Change::Turned)];

const BY_PART: &[(&str, Change)] =
    &[("query_key_value.weight", Change::ByPart), ("query_key_value.bias", Change::ByPart)];

/// A family with Llama's names and numbers as they are.
const PLAIN: GgufDialect = GgufDialect {
    architecture: "",
    hugging_face: "",
    blocks: "model.layers",
    outside: ENDS,
    inside: LLAMA,
    changes: &[],
};

/// Every family that is read. Mistral's files call themselves llama.
pub const DIALECTS: &[GgufDialect] = &[
    GgufDialect { architecture: "llama", hugging_face: "LlamaForCausalLM", changes: PERMUTED, ..PLAIN },
    GgufDialect { architecture: "qwen2", hugging_face: "Qwen2ForCausalLM", ..PLAIN },
    GgufDialect { architecture: "qwen3", hugging_face: "Qwen3ForCausalLM", ..PLAIN },
    GgufDialect {
        architecture: "gemma2",
        hugging_face: "Gemma2ForCausalLM",
        inside: GEMMA,
        changes: PLUS_ONE,
        ..PLAIN
    },
    GgufDialect {
        architecture: "gemma3",
        hugging_face: "Gemma3ForCausalLM",
        inside: GEMMA,
        changes: PLUS_ONE,
        ..PLAIN
    },
    GgufDialect { architecture: "phi3", hugging_face: "Phi3ForCausalLM", inside: PHI3, ..PLAIN },
    GgufDialect { architecture: "olmo2", hugging_face: "Olmo2ForCausalLM", inside: GEMMA, ..PLAIN },
    GgufDialect { architecture: "smollm3", hugging_face: "SmolLM3ForCausalLM", changes: PERMUTED, ..PLAIN },
    GgufDialect {
        architecture: "gptneox",
        hugging_face: "GPTNeoXForCausalLM",
        blocks: "gpt_neox.layers",
        outside: &[
            ("token_embd", "gpt_neox.embed_in"),
            ("output_norm", "gpt_neox.final_layer_norm"),
            ("output", "embed_out"),
        ],
        inside: NEOX,
        changes: BY_PART,
    },
    GgufDialect {
        architecture: "gpt2",
        hugging_face: "GPT2LMHeadModel",
        blocks: "transformer.h",
        outside: &[
            ("token_embd", "transformer.wte"),
            ("position_embd", "transformer.wpe"),
            ("output_norm", "transformer.ln_f"),
            ("output", "lm_head"),
        ],
        inside: GPT2,
        changes: TURNED,
    },
];

impl GgufDialect {
    /// Hugging Face's name of a tensor. One of a block that has none keeps llama.cpp's, so that its port does not pass over
    /// it; none for tensors outside that Hugging Face's layout does not have, such as rotary factors.
    pub fn name(&self, theirs: &str) -> Option<String> {
        let (module, parameter) = theirs.rsplit_once('.')?;
        let find = |list: &[(&str, &'static str)], module: &str| {
            list.iter().find(|(theirs, _)| *theirs == module).map(|(_, ours)| *ours)
        };
        match module.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) {
            Some((layer, part)) => {
                let part = find(self.inside, part).unwrap_or(part);
                Some(format!("{}.{layer}.{part}.{parameter}", self.blocks))
            }
            None => Some(format!("{}.{parameter}", find(self.outside, module)?)),
        }
    }

    /// What was done to the tensor of this name.
    pub fn change(&self, name: &str) -> Option<Change> {
        self.changes.iter().find(|(end, _)| name.ends_with(end)).map(|&(_, change)| change)
    }
}

impl Change {
    /// A tensor's shape before it was changed.
    pub fn undone_shape(self, shape: &[i64]) -> Vec<i64> {
        match self {
            Self::Turned => shape.iter().rev().copied().collect(),
            Self::PermutedQueries | Self::PermutedKeys | Self::PlusOne | Self::ByPart => shape.to_vec(),
        }
    }

    /// The numbers as they were, in a model of so many query and key/value heads.
    ///
    /// # Errors
    /// When rows do not divide among heads.
    pub fn undone(self, tensor: &Tensor, [heads, kv_heads]: [i64; 2]) -> Result<Tensor, String> {
        let words = |error: tch::TchError| first_line(&error);
        match self {
            Self::PermutedQueries => unpermuted(tensor, heads),
            Self::PermutedKeys => unpermuted(tensor, kv_heads),
            Self::PlusOne => Ok(tensor - 1.0),
            Self::Turned => tensor.f_tr().and_then(|turned| turned.f_contiguous()).map_err(words),
            Self::ByPart => {
                check_rows(tensor, 3 * heads)?;
                let (shape, width) = (tensor.size(), tensor.size()[0] / (3 * heads));
                let parts = tensor.f_reshape([3, heads, width, -1]).map_err(words)?;
                parts.transpose(0, 1).f_reshape(shape).map_err(words)
            }
        }
    }
}

/// Undoes llama.cpp's order of rows, which pairs neighbours for its rotary embedding: `[heads, E/2, 2, D]` to halves.
fn unpermuted(tensor: &Tensor, heads: i64) -> Result<Tensor, String> {
    check_rows(tensor, 2 * heads)?;
    let (shape, rows) = (tensor.size(), tensor.size()[0]);
    let grouped = tensor.f_reshape([heads, rows / heads / 2, 2, -1]).map_err(|error| first_line(&error))?;
    grouped.transpose(1, 2).f_reshape(shape).map_err(|error| first_line(&error))
}

fn check_rows(tensor: &Tensor, among: i64) -> Result<(), String> {
    let rows = tensor.size().first().copied().unwrap_or(0);
    if among <= 0 || rows % among != 0 {
        return Err(format!("{rows} rows do not divide among the heads, {among} parts"));
    }
    Ok(())
}
