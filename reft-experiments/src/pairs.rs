//! Prompts and answers as texts: to training examples, and back from a model.

use anyhow::Result;
use reft_core::adaptation::{Adaptation, Mode};
use reft_models::decode::{Decoding, Generator, Stopping, undecided};
use reft_models::tokenizer::Specials;

use crate::data::encode::{Example, Text, encode};
use crate::run::session::LoadedDecoder;

/// Training examples from pairs of a prompt and the answer to learn, in order. Tokens beyond the model's context are cut off
/// ([`Example::lost`]).
///
/// # Errors
/// When the tokenizer cannot encode a text.
pub fn examples(loaded: &LoadedDecoder, pairs: &[(&str, &str)]) -> Result<Vec<Example>> {
    let text = |(prompt, answer): &(&str, &str)| Text {
        prompt: (*prompt).to_owned(),
        completion: (*answer).to_owned(),
        name: format!("`{prompt}`"),
    };
    let texts: Vec<Text> = pairs.iter().map(text).collect();
    let (tokenizer, context) = (&loaded.tokenizer, loaded.decoder.context());
    Ok(encode(&texts, &tokenizer.eos_text(), context, |text| tokenizer.encode(text, Specials::AsModel))?)
}

/// What a model continues a prompt with, greedily, in at most so many new tokens.
///
/// # Errors
/// When the tokenizer cannot encode the prompt, it is empty, or interventions overlap.
pub fn answer(
    loaded: &LoadedDecoder,
    adaptation: Option<&dyn Adaptation>,
    prompt: &str,
    max_new_tokens: usize,
) -> Result<String> {
    let ids = loaded.tokenizer.encode(prompt, Specials::AsModel)?;
    let step = adaptation.map(|adaptation| adaptation.begin(Mode::Eval));
    let stop = Stopping { max_new: max_new_tokens, ends: loaded.tokenizer.answer_ends() };
    let (model, decoding) = (loaded.decoder.as_ref(), Decoding::default());
    let generator = Generator { model, adaptation: step.as_deref(), batch: 1, stop, decoding: &decoding, seed: 0 };
    let answers = generator.run(&[&ids], &undecided)?;
    Ok(loaded.tokenizer.decode(&answers[0].ids, true)?)
}
