//! Keys of configurations that no port reads because they change nothing in a forward pass, each with the reason; some
//! only at one value.

use std::fmt;

use serde_json::Value;

/// A key that a reader may pass over.
#[derive(Clone, Copy, Debug)]
pub struct KnownKey {
    /// The key.
    pub key: &'static str,
    /// At which values.
    pub condition: Condition,
}

/// At which values a key changes nothing.
#[derive(Clone, Copy, Debug)]
pub enum Condition {
    /// At all.
    Always,
    /// At this one.
    Only(Neutral),
}

/// A value that switches something off.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Neutral {
    /// A switch.
    Switch(bool),
    /// A number.
    Number(f64),
    /// A text.
    Text(&'static str),
    /// A list or an object without entries.
    Empty,
    /// A list of texts, all of them this one.
    All(&'static str),
}

impl Neutral {
    /// Whether `value` is this one.
    pub fn holds(self, value: &Value) -> bool {
        match self {
            Self::Switch(wanted) => value.as_bool() == Some(wanted),
            Self::Number(wanted) => value.as_f64() == Some(wanted),
            Self::Text(wanted) => value.as_str() == Some(wanted),
            Self::Empty => {
                value.as_array().is_some_and(Vec::is_empty) || value.as_object().is_some_and(serde_json::Map::is_empty)
            }
            Self::All(wanted) => {
                value.as_array().is_some_and(|list| list.iter().all(|item| item.as_str() == Some(wanted)))
            }
        }
    }
}

impl fmt::Display for Neutral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Switch(value) => write!(f, "only {value}"),
            Self::Number(value) => write!(f, "only {value}"),
            Self::Text(value) => write!(f, "only {value}"),
            Self::Empty => write!(f, "only an empty one"),
            Self::All(value) => write!(f, "only {value} for every layer"),
        }
    }
}

/// A key that changes nothing whatever it says.
pub const fn always(key: &'static str) -> KnownKey {
    KnownKey { key, condition: Condition::Always }
}

/// A key that changes nothing at this value.
pub const fn only(key: &'static str, value: Neutral) -> KnownKey {
    KnownKey { key, condition: Condition::Only(value) }
}

/// Of every `config.json`, whatever the family.
pub const GENERAL: &[KnownKey] = &[
    // Where the file comes from and who wrote it.
    always("_name_or_path"),
    always("_model_name_or_path"),
    always("name_or_path"),
    always("_commit_hash"),
    always("transformers_version"),
    always("transformers.js_config"),
    always("is_llama_config"),
    always("unsloth_version"),
    always("unsloth_fixed"),
    always("model_name"),
    // Code beside the checkpoint, which the library does not run either unless it is told to: the architecture counts.
    always("auto_map"),
    always("custom_pipelines"),
    // The type that weights were saved in; they are read in the type that the run asks for.
    always("dtype"),
    always("torch_dtype"),
    always("use_bfloat16"),
    always("_pre_quantization_dtype"),
    // How a library runs the same computation.
    always("use_cache"),
    always("attn_implementation"),
    always("_attn_implementation"),
    always("_attn_implementation_autoset"),
    always("_attn_implementation_internal"),
    always("_experts_implementation"),
    always("experts_implementation"),
    always("_flash_attn_2_enabled"),
    always("use_flash_attn"),
    always("use_flash_attention"),
    always("use_flash_attention_2"),
    always("gradient_checkpointing"),
    always("use_reentrant"),
    always("chunk_size_feed_forward"),
    always("torchscript"),
    always("base_model_tp_plan"),
    always("base_model_pp_plan"),
    always("base_model_ep_plan"),
    always("tp_plan"),
    always("pp_plan"),
    always("ep_plan"),
    always("tensor_parallel"),
    always("xla_device"),
    // What a forward pass gives back beside its result.
    always("output_attentions"),
    always("output_hidden_states"),
    always("output_past"),
    always("output_scores"),
    always("return_dict"),
    always("use_return_dict"),
    always("return_dict_in_generate"),
    // How weights were initialised before training.
    always("initializer_range"),
    always("initializer_factor"),
    // Token ids and other facts of the tokenizer, which reads its own files; a padding row is as any other.
    always("bos_token_id"),
    always("eos_token_id"),
    always("pad_token_id"),
    always("unk_token_id"),
    always("sep_token_id"),
    always("cls_token_id"),
    always("mask_token_id"),
    always("decoder_start_token_id"),
    always("bos_token"),
    always("eos_token"),
    always("pad_token"),
    always("unk_token"),
    always("tokenizer_class"),
    always("tokenizer_model_max_length"),
    always("tokenizer_padding_side"),
    always("model_max_length"),
    always("max_sequence_length"),
    always("prefix"),
    // Labels of a classification head; its size is that of its weights.
    always("id2label"),
    always("label2id"),
    always("num_labels"),
    always("_num_labels"),
    always("problem_type"),
    always("finetuning_task"),
    always("task_specific_params"),
    // Decoding settings of older files; a run has its own.
    always("temperature"),
    always("top_k"),
    always("top_p"),
    always("typical_p"),
    always("min_p"),
    always("do_sample"),
    always("num_beams"),
    always("num_beam_groups"),
    always("num_return_sequences"),
    always("diversity_penalty"),
    always("repetition_penalty"),
    always("encoder_no_repeat_ngram_size"),
    always("no_repeat_ngram_size"),
    always("length_penalty"),
    always("early_stopping"),
    always("max_length"),
    always("min_length"),
    always("max_new_tokens"),
    always("min_new_tokens"),
    always("bad_words_ids"),
    always("forced_bos_token_id"),
    always("forced_eos_token_id"),
    always("suppress_tokens"),
    always("begin_suppress_tokens"),
    always("remove_invalid_values"),
    always("renormalize_logits"),
    always("exponential_decay_length_penalty"),
    // Other kinds of model than a plain stack of blocks.
    only("is_encoder_decoder", Neutral::Switch(false)),
    only("is_decoder", Neutral::Switch(false)),
    only("add_cross_attention", Neutral::Switch(false)),
    only("tie_encoder_decoder", Neutral::Switch(false)),
    only("pruned_heads", Neutral::Empty),
];

/// Of decoders, where the family does not read them.
pub const DECODER: &[KnownKey] = &[
    // Off in plain decoders; neighbours with such keys compute something else.
    only("attention_dropout", Neutral::Number(0.0)),
    only("hidden_dropout", Neutral::Number(0.0)),
    only("resid_pdrop", Neutral::Number(0.0)),
    only("embd_pdrop", Neutral::Number(0.0)),
    only("pretraining_tp", Neutral::Number(1.0)),
    only("partial_rotary_factor", Neutral::Number(1.0)),
    only("rope_interleaved", Neutral::Switch(false)),
    only("use_sliding_window", Neutral::Switch(false)),
    only("layer_types", Neutral::All("full_attention")),
    only("logit_scale", Neutral::Number(1.0)),
    only("logits_scaling", Neutral::Number(1.0)),
    only("embedding_multiplier", Neutral::Number(1.0)),
    only("residual_multiplier", Neutral::Number(1.0)),
    only("use_qk_norm", Neutral::Switch(false)),
    only("qk_layernorm", Neutral::Switch(false)),
    only("clip_qkv", Neutral::Empty),
    // Dropout of a classification head, which a language model has not.
    always("classifier_dropout"),
];

/// Of BERT and RoBERTa.
pub const ENCODER: &[KnownKey] = &[
    only("position_embedding_type", Neutral::Text("absolute")),
    // The head of masked language modelling is not read.
    always("tie_word_embeddings"),
    // Sizes of a pooler that no model has.
    always("directionality"),
    always("pooler_fc_size"),
    always("pooler_num_attention_heads"),
    always("pooler_num_fc_layers"),
    always("pooler_size_per_head"),
    always("pooler_type"),
];

/// Of DistilBERT.
pub const DISTILBERT: &[KnownKey] = &[
    // How its table of positions was initialised; it is stored.
    always("sinusoidal_pos_embds"),
    // Heads that are not read.
    always("qa_dropout"),
    always("tie_weights_"),
    always("tie_word_embeddings"),
];

/// Of ModernBERT.
pub const MODERNBERT: &[KnownKey] = &[
    // Base and large have none, and so has this port.
    only("attention_dropout", Neutral::Number(0.0)),
    only("embedding_dropout", Neutral::Number(0.0)),
    only("mlp_dropout", Neutral::Number(0.0)),
    only("position_embedding_type", Neutral::Text("absolute")),
    // The head of masked language modelling is not read.
    always("decoder_bias"),
    always("tie_word_embeddings"),
    always("sparse_prediction"),
    always("sparse_pred_ignore_index"),
    // How weights were initialised, and how the library runs.
    always("initializer_cutoff_factor"),
    always("deterministic_flash_attn"),
    always("reference_compile"),
    always("repad_logits_with_grad"),
    // Of other norms, in the files of the first version; the epsilon is `norm_eps`.
    always("layer_norm_eps"),
    always("gradient_checkpointing"),
];

/// Of a GGUF file's section of the model.
pub const GGUF: &[KnownKey] = &[
    // The table of tokens says it too.
    always("vocab_size"),
    // Which converter wrote the file, and from what; rows are in llama.cpp's order all the same.
    always("tensor_data_layout"),
    // Where a scaling comes from, beside its type and factor.
    always("rope.scaling.finetuned"),
    only("rope.scale_linear", Neutral::Number(1.0)),
    only("rope.scaling.attn_factor", Neutral::Number(1.0)),
    only("attention.causal", Neutral::Switch(true)),
    only("attention.sliding_window", Neutral::Number(0.0)),
    only("attention.max_alibi_bias", Neutral::Number(0.0)),
    only("attention.clamp_kqv", Neutral::Number(0.0)),
    // Widths of heads in layers with a window, which are those of the others.
    always("attention.key_length_swa"),
    always("attention.value_length_swa"),
    only("expert_count", Neutral::Number(0.0)),
    only("expert_used_count", Neutral::Number(0.0)),
    only("logit_scale", Neutral::Number(1.0)),
    only("use_parallel_residual", Neutral::Switch(false)),
];
