//! What a tokenizer's class in transformers decides where the files are silent.

/// Classes whose tokenizers are built here from other files than `tokenizer.json`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum TokenizerClass {
    Llama,
    Gemma,
    Gpt2,
    Roberta,
    Qwen2,
    Bert,
    XlmRoberta,
    T5,
}

/// A special token's name and its text.
type SpecialTokenText = (&'static str, &'static str);

impl TokenizerClass {
    /// By `tokenizer_class`, with or without `Fast`.
    pub(super) fn of_tokenizer(class: &str) -> Option<Self> {
        Some(match class.trim_end_matches("Fast") {
            "LlamaTokenizer" | "LLaMATokenizer" | "CodeLlamaTokenizer" => Self::Llama,
            "GemmaTokenizer" => Self::Gemma,
            "GPT2Tokenizer" => Self::Gpt2,
            "RobertaTokenizer" => Self::Roberta,
            "Qwen2Tokenizer" => Self::Qwen2,
            "XLMRobertaTokenizer" => Self::XlmRoberta,
            "T5Tokenizer" => Self::T5,
            "BertTokenizer" | "DistilBertTokenizer" => Self::Bert,
            _ => return None,
        })
    }

    /// By the model's `model_type`.
    pub(super) fn of_model(model_type: &str) -> Option<Self> {
        Some(match model_type {
            "llama" | "mistral" | "mixtral" | "phi3" | "code_llama" => Self::Llama,
            "gemma" | "gemma2" | "gemma3" | "gemma3_text" => Self::Gemma,
            "gpt2" | "opt" => Self::Gpt2,
            "roberta" => Self::Roberta,
            "xlm-roberta" => Self::XlmRoberta,
            "t5" | "mt5" => Self::T5,
            "qwen2" | "qwen3" => Self::Qwen2,
            "bert" | "distilbert" => Self::Bert,
            _ => return None,
        })
    }

    /// The special tokens of the class, for those that no file names.
    pub(super) fn specials(self) -> &'static [SpecialTokenText] {
        match self {
            Self::Llama => &[("unk_token", "<unk>"), ("bos_token", "<s>"), ("eos_token", "</s>")],
            Self::Gemma => {
                &[("unk_token", "<unk>"), ("bos_token", "<bos>"), ("eos_token", "<eos>"), ("pad_token", "<pad>")]
            }
            Self::Gpt2 => {
                &[("unk_token", "<|endoftext|>"), ("bos_token", "<|endoftext|>"), ("eos_token", "<|endoftext|>")]
            }
            Self::Roberta | Self::XlmRoberta => &[
                ("bos_token", "<s>"),
                ("eos_token", "</s>"),
                ("sep_token", "</s>"),
                ("cls_token", "<s>"),
                ("unk_token", "<unk>"),
                ("pad_token", "<pad>"),
                ("mask_token", "<mask>"),
            ],
            Self::T5 => &[("eos_token", "</s>"), ("unk_token", "<unk>"), ("pad_token", "<pad>")],
            Self::Qwen2 => {
                &[("unk_token", "<|endoftext|>"), ("eos_token", "<|endoftext|>"), ("pad_token", "<|endoftext|>")]
            }
            Self::Bert => &[
                ("unk_token", "[UNK]"),
                ("sep_token", "[SEP]"),
                ("pad_token", "[PAD]"),
                ("cls_token", "[CLS]"),
                ("mask_token", "[MASK]"),
            ],
        }
    }
}
