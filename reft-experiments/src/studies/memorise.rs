//! Figures 3 to 8: how much of a text one edit of one token can recall, by layer and length.

use std::num::NonZeroUsize;

use anyhow::{Result, ensure};
use rand::Rng;
use rand::seq::SliceRandom;
use reft_core::layers::LayerIndex;
use reft_core::rng::Seed;
use reft_models::tokenizer::{Specials, Tokenizer};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::book::Book;
use super::distinct::Distinct;
use super::edited::{EditedModel, StudyContext};
use super::lines::{Axes, CellResult, LineSeries, by_layer};
use super::study::{MeasureSettings, Measurement, Study, StudyAnswer, StudyCell, StudyMeasure, StudySettings, as_task};
use super::training::EditTraining;
use crate::data::encode::Example;
use crate::data::source::DataSources;
use crate::score::outcome::Score;

/// Recovery of a text by rank-1 edits of the last prompt token, one for each layer and length.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Memorise {
    /// What is memorised.
    pub content: Content,
    /// Where the book comes from.
    #[serde(default)]
    pub book: Book,
    /// Tokens of prompt and text together.
    pub lengths: Distinct<NonZeroUsize>,
    /// Layers, each with an edit of its own; from the last where negative.
    pub layers: Distinct<LayerIndex>,
    /// How the edit is trained.
    pub training: EditTraining,
    /// As the authors' code does where it differs from the paper's text: its own access id for each content, and recovery
    /// by characters relative to what is generated.
    #[serde(default)]
    pub as_run: bool,
}

/// A text that comes after an access id. Prompt and text together have `data.max_length` tokens.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecoveredText {
    /// What is memorised.
    pub content: Content,
    /// Where the book comes from.
    #[serde(default)]
    pub book: Book,
    /// As the authors' code does where it differs from the paper's text: its own access id for each content, and recovery by
    /// characters relative to what is generated.
    #[serde(default)]
    pub as_run: bool,
}

/// What is made of the book.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// The text.
    Book,
    /// Its words shuffled, a blank between them.
    Scrambled,
    /// Tokens drawn from the vocabulary, as text.
    Random,
}

impl Memorise {
    fn measure(&self) -> RecoveredText {
        RecoveredText { content: self.content, book: self.book, as_run: self.as_run }
    }
}

impl Study for Memorise {
    /// A run for each length and layer: rank-1 ConsReFT, `h + Rᵀ(b − R h)`, of the last prompt token.
    fn cells(&self) -> Vec<StudyCell> {
        let task = as_task(&self.measure());
        let cell = |(length, layer): (NonZeroUsize, LayerIndex)| StudyCell {
            title: format!("{} {length} tokens, layer {layer}", self.content.name()),
            settings: json!({
                "adapt": {"reft": {"intervention": "consreft", "rank": 1, "positions": "l1", "layers": [layer]}},
                "data": {"train": [task], "eval": [task], "max_length": length},
                "train": self.training.settings(),
                "eval": {"max_new_tokens": length},
            }),
        };
        let points = self.lengths.iter().flat_map(|&length| self.layers.iter().map(move |&layer| (length, layer)));
        points.map(cell).collect()
    }

    fn layers(&self) -> &[LayerIndex] {
        &self.layers
    }

    /// A panel for each length: the recovered share by layer.
    fn lines(&self, done: &[Option<CellResult>]) -> Vec<LineSeries> {
        by_layer(&self.lengths, &self.layers, &self.measure().name(), done)
    }
}

impl StudySettings for Memorise {
    const KEY: &'static str = "memorise";
    const TITLE: &'static str = "recovery of a text (figures 3 to 8)";
    const AXES: Option<Axes> = Some(Axes::of_shares("tokens", "layer", "recovered"));
    type Measure = RecoveredText;

    fn example() -> Self {
        let training = EditTraining::new(30, 1, 3e-2);
        let lengths = [16, 24].map(|length| NonZeroUsize::new(length).expect("not 0")).into();
        let layers = [0, -1].map(LayerIndex::from).into();
        Self { content: Content::Book, book: Book::Excerpt, lengths, layers, training, as_run: false }
    }
}

impl RecoveredText {
    /// Prompt and text, as many tokens as `data.max_length` says.
    fn example(self, context: &StudyContext<'_>) -> Result<Example> {
        let (length, access) = (context.max_length, self.content.prompt(self.as_run));
        let vocabulary = context.model.dims().vocab;
        let said = self.content.text(context.material, context.tokenizer, vocabulary, context.seed)?;
        let prompt = context.encode(access)?.len();
        let whole = context.encode(&format!("{access}{said}"))?;
        ensure!(
            (prompt + 1..=whole.len()).contains(&length),
            "{length} tokens (data.max_length, `lengths` of a figure) are not there: prompt and text have {} together, the prompt alone \
             {prompt} (book: whole is longer)",
            whole.len()
        );
        let lost = whole.len() - length;
        Ok(Example { ids: whole[..length].to_vec(), prompt, name: "the text".to_owned(), lost })
    }
}

impl StudyMeasure for RecoveredText {
    fn name(&self) -> String {
        self.content.name().to_owned()
    }

    fn material(&self, sources: &DataSources) -> Result<String> {
        self.book.text(sources)
    }

    fn examples(&self, context: &StudyContext<'_>) -> Result<Vec<Example>> {
        Ok(vec![self.example(context)?])
    }

    /// How much of the text comes back before the first error: in tokens of the text, or, as run, in characters of what was
    /// generated.
    fn measure(&self, edited: &EditedModel<'_>) -> Result<Measurement> {
        let context = &edited.context;
        let example = self.example(context)?;
        let (prompt, target) = example.ids.split_at(example.prompt);
        let got = edited.answers(&[prompt], target.len().min(context.max_new_tokens))?.remove(0);
        let (said, expected) = (context.decode(&got)?, context.decode(target)?);
        let (correct, n) = if self.as_run {
            (common(said.chars(), expected.chars()), said.chars().count().max(1))
        } else {
            (common(got.iter(), target.iter()), target.len())
        };
        let (asked, right) = (self.content.prompt(self.as_run).to_owned(), got == target);
        let answers = vec![StudyAnswer { asked, said, expected, correct: right }];
        Ok(Measurement { score: Score::Counts { correct, n, cut: 0 }, answers })
    }
}

impl MeasureSettings for RecoveredText {
    const KEY: &'static str = "text";
    const ORIGIN: &'static str = "appendix F of the paper";
}

/// Equal elements before the first difference.
fn common<T: PartialEq>(a: impl Iterator<Item = T>, b: impl Iterator<Item = T>) -> usize {
    a.zip(b).take_while(|(a, b)| a == b).count()
}

impl Content {
    /// Its name in records.
    fn name(self) -> &'static str {
        match self {
            Self::Book => "book",
            Self::Scrambled => "scrambled",
            Self::Random => "random",
        }
    }

    /// The access id of the authors' code, after which the text comes; the paper names the book's only.
    fn prompt(self, as_run: bool) -> &'static str {
        match (self, as_run) {
            (Self::Scrambled, true) => "ALIS#ID1->",
            (Self::Random, true) => "RAND#ID1->",
            (Self::Book, _) | (Self::Scrambled | Self::Random, false) => "ALIC#ID1->",
        }
    }

    /// The text.
    ///
    /// # Errors
    /// The tokenizer's.
    fn text(self, book: &str, tokenizer: &Tokenizer, vocabulary: i64, seed: Seed) -> Result<String> {
        Ok(match self {
            Self::Book => book.to_owned(),
            Self::Scrambled => {
                let mut words: Vec<&str> = book.split_whitespace().collect();
                words.shuffle(&mut seed.stream("scrambled", 0));
                words.join(" ")
            }
            Self::Random => {
                let mut rng = seed.stream("random tokens", 0);
                let count = tokenizer.encode(book, Specials::None)?.len();
                let ids: Vec<i64> = (0..count).map(|_| rng.random_range(0..vocabulary)).collect();
                tokenizer.decode(&ids, true)?
            }
        })
    }
}
