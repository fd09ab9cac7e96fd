//! Tokens that end an answer.

use std::collections::HashSet;

use super::Tokenizer;

/// Control tokens that end a turn of a conversation in the chat formats in use, whether or not a file names them.
const TURN_ENDS: [&str; 15] = [
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|eot|>",
    "<|eom|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<end_of_turn>",
    "<|end_of_turn|>",
    "<|END_OF_TURN_TOKEN|>",
    "[|endofturn|]",
    "<EOT>",
    "<|endoftext|>",
    "<|end_of_text|>",
];

/// In a vocabulary with `<|return|>`, a message of an answer ends with this token and the answer goes on.
const MESSAGE_END: &str = "<|end|>";

/// Ids in their order, each once.
pub(super) fn distinct(ids: impl IntoIterator<Item = i64>) -> Vec<i64> {
    let mut seen = HashSet::new();
    ids.into_iter().filter(|id| seen.insert(*id)).collect()
}

impl Tokenizer {
    /// Every token after which transformers' `generate` ends: those of `generation_config.json` where there is one, else of
    /// `config.json`; a GGUF file's ends of text, turn and message.
    pub fn ends(&self) -> &[i64] {
        &self.ends
    }

    /// Every token that ends an answer: the tokenizer's end token, which finetuned models learn to say, and
    /// [`ends`](Self::ends).
    pub fn answer_ends(&self) -> Vec<i64> {
        distinct(self.eos.into_iter().chain(self.ends.iter().copied()))
    }

    /// Every token that ends a turn of a conversation: [`answer_ends`](Self::answer_ends), and the control tokens of the
    /// vocabulary that chat formats end a turn or a document with.
    pub fn turn_ends(&self) -> Vec<i64> {
        let special = |name: &str| {
            let id = self.inner.token_to_id(name)?;
            self.is_special(id).then_some(i64::from(id))
        };
        let messages = special("<|return|>").is_some();
        let named = TURN_ENDS.into_iter().filter(|&name| !(messages && name == MESSAGE_END));
        distinct(self.answer_ends().into_iter().chain(named.filter_map(special)))
    }

    /// Whether a token controls the model and is no text.
    fn is_special(&self, id: u32) -> bool {
        self.inner.get_added_vocabulary().get_added_tokens_decoder().get(&id).is_some_and(|token| token.special)
    }
}
