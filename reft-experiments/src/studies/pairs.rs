//! Figures 9 and 10: how many input-output pairs one edit can hold, by layer and number of pairs.

use anyhow::{Result, bail};
use rand::Rng;
use rand::seq::SliceRandom;
use reft_core::rng::Seed;
use reft_models::tokenizer::Specials;
use serde::{Deserialize, Serialize};

use super::cells::CellFolder;
use super::constant_edit::{ConstantEditTraining, said, train};
use super::panels::LineSeries;
use super::text::Book;
use crate::data::encode::Example;
use crate::run::session::LoadedDecoder;

/// Tokens that an answer may have.
const MOST: usize = 10;

/// The study's settings.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairsStudy {
    /// Pairs that one edit learns.
    pub counts: Vec<usize>,
    /// Layers, each with an edit of its own; from the last where negative.
    pub layers: Vec<i64>,
    /// How the edit is trained.
    pub training: ConstantEditTraining,
    /// As the authors' code does where it differs from the paper's text: answers are words of the book, not tokens.
    #[serde(default)]
    pub as_run: bool,
    /// Where the book comes from, for words.
    #[serde(default)]
    pub book: Book,
}

/// What was recalled.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
struct RecalledPair {
    right: usize,
    loss: f64,
}

impl PairsStudy {
    /// A line for each number of pairs: the share of pairs whose answer is exactly right, by layer.
    ///
    /// # Errors
    /// When there are not as many words, a layer does not exist, or a file cannot be written.
    pub fn run(&self, loaded: &LoadedDecoder, cells: &CellFolder, seed: Seed) -> Result<Vec<LineSeries>> {
        let mut series = Vec::new();
        for &count in &self.counts {
            let examples = self.examples(loaded, count, seed)?;
            let mut points = Vec::new();
            for &layer in &self.layers {
                let ids: Vec<&[i64]> = examples.iter().map(|example| example.ids.as_slice()).collect();
                let settings = (ids, layer, self.training, seed);
                let recalled: RecalledPair = cells.get(&settings, || self.recall(loaded, layer, &examples, seed))?;
                let share = recalled.right as f64 / count as f64;
                println!("{count} pairs, layer {layer}: {share:.3} right (loss {:.4})", recalled.loss);
                points.push((layer as f64, share));
            }
            series.push(LineSeries { panel: format!("{count}"), name: "ours".to_owned(), points });
        }
        Ok(series)
    }

    /// `RAND#IDi->` with its answer and the end token.
    fn examples(&self, loaded: &LoadedDecoder, count: usize, seed: Seed) -> Result<Vec<Example>> {
        let tokenizer = &loaded.tokenizer;
        let Some(end) = tokenizer.eos() else { bail!("the tokenizer has no end token, which answers need") };
        let answers = self.answers(loaded, count, seed)?;
        let example = |(index, answer): (usize, Vec<i64>)| -> Result<Example> {
            let mut ids = tokenizer.encode(&format!("RAND#ID{index}->"), Specials::AsModel)?;
            let prompt = ids.len();
            ids.extend(answer);
            ids.push(end);
            Ok(Example { ids, prompt, name: format!("pair {index}"), lost: 0 })
        };
        answers.into_iter().enumerate().map(example).collect()
    }

    fn answers(&self, loaded: &LoadedDecoder, count: usize, seed: Seed) -> Result<Vec<Vec<i64>>> {
        let (tokenizer, mut rng) = (&loaded.tokenizer, seed.stream("answers", 0));
        if !self.as_run {
            let (ends, vocabulary) = (tokenizer.ends(), loaded.decoder.dims().vocab);
            let token = || loop {
                let id = rng.random_range(0..vocabulary);
                if !ends.contains(&id) {
                    return vec![id];
                }
            };
            return Ok(std::iter::repeat_with(token).take(count).collect());
        }
        let text = self.book.text()?;
        let bare = |word: &str| word.chars().filter(|c| !c.is_ascii_punctuation()).collect::<String>().to_lowercase();
        let mut words: Vec<String> = text.split_whitespace().map(bare).filter(|word| !word.is_empty()).collect();
        words.sort_unstable();
        words.dedup();
        if words.len() < count {
            bail!("counts: {count} different words are not there, but {} (book: whole has more)", words.len());
        }
        words.shuffle(&mut rng);
        words.iter().take(count).map(|word| Ok(tokenizer.encode(word, Specials::None)?)).collect()
    }

    fn recall(&self, loaded: &LoadedDecoder, layer: i64, examples: &[Example], seed: Seed) -> Result<RecalledPair> {
        let (adaptation, loss) = train(loaded, layer, examples, self.training, seed)?;
        let prompts: Vec<&[i64]> = examples.iter().map(|example| &example.ids[..example.prompt]).collect();
        let got = said(loaded, adaptation.as_ref(), &prompts, MOST)?;
        let is_right = |(example, said): &(&Example, Vec<i64>)| {
            let answer = &example.ids[example.prompt..example.ids.len() - 1];
            said == answer
        };
        Ok(RecalledPair { right: examples.iter().zip(got).filter(is_right).count(), loss })
    }
}
