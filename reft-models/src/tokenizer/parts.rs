//! A tokenizer of its parts, spelled as in `tokenizer.json`.

use serde_json::{Value, json};
use tokenizers::{
    DecoderWrapper, ModelWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper, Tokenizer,
};

/// A tokenizer of this model with `normalizer`, `pre_tokenizer`, `post_processor` and `decoder`, where they are given.
pub(super) fn assemble(model: impl Into<ModelWrapper>, parts: &Value) -> Result<Tokenizer, String> {
    fn read<T: serde::de::DeserializeOwned>(part: &Value) -> Result<Option<T>, String> {
        serde_json::from_value(part.clone()).map_err(|error| format!("{part} cannot be built: {error}"))
    }
    let mut tokenizer = Tokenizer::new(model);
    let normalizer = read::<NormalizerWrapper>(&parts["normalizer"])?;
    tokenizer.with_normalizer(normalizer).map_err(|error| error.to_string())?;
    tokenizer.with_pre_tokenizer(read::<PreTokenizerWrapper>(&parts["pre_tokenizer"])?);
    tokenizer.with_post_processor(read::<PostProcessorWrapper>(&parts["post_processor"])?);
    tokenizer.with_decoder(read::<DecoderWrapper>(&parts["decoder"])?);
    Ok(tokenizer)
}

/// A pre-tokenizer that cuts by these expressions, one after another, and spells bytes as letters.
pub(super) fn cut(expressions: &[&str], prefix: bool) -> Value {
    let split = |expression: &&str| json!({"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": false});
    let mut parts: Vec<Value> = expressions.iter().map(split).collect();
    parts.push(json!({"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": true, "use_regex": false}));
    json!({"type": "Sequence", "pretokenizers": parts})
}
