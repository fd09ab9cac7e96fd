//! What a tokenizer's class in transformers decides where the files are silent.

use super::Files;
use crate::tokenizer::TokenizerError;

/// Classes whose tokenizers are built here from other files than `tokenizer.json`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::tokenizer) enum TokenizerClass {
    Llama,
    Gemma,
    Gpt2,
    Roberta,
    Qwen2,
    Bert,
}

/// A special token's name and its text.
type SpecialTokenText = (&'static str, &'static str);

impl TokenizerClass {
    /// By `tokenizer_class`, else by the model's `model_type`; none for any other.
    pub(in crate::tokenizer) fn of(files: &Files) -> Result<Option<Self>, TokenizerError> {
        let class = files.class()?.map(|class| class.trim_end_matches("Fast"));
        Ok(match class {
            Some("LlamaTokenizer" | "LLaMATokenizer" | "CodeLlamaTokenizer") => Some(Self::Llama),
            Some("GemmaTokenizer") => Some(Self::Gemma),
            Some("GPT2Tokenizer") => Some(Self::Gpt2),
            Some("RobertaTokenizer") => Some(Self::Roberta),
            Some("Qwen2Tokenizer") => Some(Self::Qwen2),
            Some("BertTokenizer" | "DistilBertTokenizer") => Some(Self::Bert),
            Some(_) => None,
            None => match files.model_type()? {
                Some("llama" | "mistral" | "mixtral" | "phi3" | "code_llama") => Some(Self::Llama),
                Some("gemma" | "gemma2" | "gemma3" | "gemma3_text") => Some(Self::Gemma),
                Some("gpt2" | "opt") => Some(Self::Gpt2),
                Some("roberta") => Some(Self::Roberta),
                Some("qwen2" | "qwen3") => Some(Self::Qwen2),
                Some("bert" | "distilbert") => Some(Self::Bert),
                _ => None,
            },
        })
    }

    /// The special tokens of the class, for those that no file names.
    pub(in crate::tokenizer) fn specials(self) -> &'static [SpecialTokenText] {
        match self {
            Self::Llama => &[("unk_token", "<unk>"), ("bos_token", "<s>"), ("eos_token", "</s>")],
            Self::Gemma => {
                &[("unk_token", "<unk>"), ("bos_token", "<bos>"), ("eos_token", "<eos>"), ("pad_token", "<pad>")]
            }
            Self::Gpt2 => {
                &[("unk_token", "<|endoftext|>"), ("bos_token", "<|endoftext|>"), ("eos_token", "<|endoftext|>")]
            }
            Self::Roberta => &[
                ("bos_token", "<s>"),
                ("eos_token", "</s>"),
                ("sep_token", "</s>"),
                ("cls_token", "<s>"),
                ("unk_token", "<unk>"),
                ("pad_token", "<pad>"),
                ("mask_token", "<mask>"),
            ],
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
