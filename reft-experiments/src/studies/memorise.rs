//! Figures 3 to 8: how much of a text one edit of one token can recall, by layer and length.

use anyhow::{Result, bail};
use reft_core::rng::Seed;
use reft_models::tokenizer::Specials;
use serde::{Deserialize, Serialize};

use super::cells::CellFolder;
use super::constant_edit::{ConstantEditTraining, said, train};
use super::panels::LineSeries;
use super::text::{Book, Content};
use crate::data::encode::Example;
use crate::run::session::LoadedDecoder;

/// The study's settings.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memorise {
    /// What is memorised.
    pub content: Content,
    /// Where the book comes from.
    #[serde(default)]
    pub book: Book,
    /// Tokens of prompt and text together.
    pub lengths: Vec<usize>,
    /// Layers, each with an edit of its own; from the last where negative.
    pub layers: Vec<i64>,
    /// How the edit is trained.
    pub training: ConstantEditTraining,
    /// As the authors' code does where it differs from the paper's text: its own access id for each content, and recovery
    /// by characters relative to what is generated.
    #[serde(default)]
    pub as_run: bool,
}

/// What was recalled.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct RecalledText {
    /// Tokens that are right before the first that is wrong, of those of the text.
    pub tokens: f64,
    /// Characters that are right before the first that is wrong, of those that are generated.
    pub characters: f64,
    /// Loss of the last update.
    pub loss: f64,
}

/// Equal elements before the first difference.
fn common<T: PartialEq>(a: impl Iterator<Item = T>, b: impl Iterator<Item = T>) -> usize {
    a.zip(b).take_while(|(a, b)| a == b).count()
}

impl Memorise {
    /// A line for each length: the recovered share by layer.
    ///
    /// # Errors
    /// When the text is too short, a layer does not exist, or a file cannot be written.
    pub fn run(&self, loaded: &LoadedDecoder, cells: &CellFolder, seed: Seed) -> Result<Vec<LineSeries>> {
        let tokenizer = &loaded.tokenizer;
        let text = self.content.text(self.book, tokenizer, loaded.decoder.dims().vocab, seed)?;
        let prompt = tokenizer.encode(self.content.prompt(self.as_run), Specials::AsModel)?;
        let whole = tokenizer.encode(&format!("{}{text}", self.content.prompt(self.as_run)), Specials::AsModel)?;
        let mut series = Vec::new();
        for &length in &self.lengths {
            if length > whole.len() || length <= prompt.len() {
                bail!(
                    "lengths: {length} tokens are not there: prompt and text have {} together, the prompt alone {} (book: whole \
                     is longer)",
                    whole.len(),
                    prompt.len()
                );
            }
            let example =
                Example { ids: whole[..length].to_vec(), prompt: prompt.len(), name: "the text".to_owned(), lost: 0 };
            let mut points = Vec::new();
            for &layer in &self.layers {
                let settings = (&example.ids, example.prompt, layer, self.training, seed);
                let recalled: RecalledText = cells.get(&settings, || self.recall(loaded, layer, &example, seed))?;
                let share = if self.as_run { recalled.characters } else { recalled.tokens };
                println!("{length} tokens, layer {layer}: {share:.3} recovered (loss {:.4})", recalled.loss);
                points.push((layer as f64, share));
            }
            series.push(LineSeries { panel: format!("{length}"), name: "ours".to_owned(), points });
        }
        Ok(series)
    }

    fn recall(&self, loaded: &LoadedDecoder, layer: i64, example: &Example, seed: Seed) -> Result<RecalledText> {
        let (adaptation, loss) = train(loaded, layer, std::slice::from_ref(example), self.training, seed)?;
        let (prompt, target) = example.ids.split_at(example.prompt);
        let got = said(loaded, adaptation.as_ref(), &[prompt], target.len())?.remove(0);
        let tokens = common(got.iter(), target.iter()) as f64 / target.len() as f64;
        let [said, text] = [&got[..], target].map(|ids| loaded.tokenizer.decode(ids, true));
        let (said, text) = (said?, text?);
        let characters = common(said.chars(), text.chars()) as f64 / said.chars().count().max(1) as f64;
        Ok(RecalledText { tokens, characters, loss })
    }
}
