//! Figures 9 and 10: how many input-output pairs one rank-1 edit of the last prompt token can hold.

use std::fmt;
use std::num::NonZeroUsize;

use anyhow::{Result, ensure};
use rand::Rng;
use rand::seq::SliceRandom;
use reft_core::layers::LayerIndex;
use reft_models::tokenizer::Specials;
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

/// Tokens that an answer may have.
const MOST: usize = 10;

/// Input-output pairs in one rank-1 edit of the last prompt token, for each number of pairs and each layer.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PairsStudy {
    /// Pairs that one edit learns.
    pub counts: Distinct<PairCount>,
    /// Layers, each with an edit of its own; from the last where negative.
    pub layers: Distinct<LayerIndex>,
    /// How the edit is trained.
    pub training: EditTraining,
    /// As the authors' code does where it differs from the paper's text: answers are words of the book, not tokens.
    #[serde(default)]
    pub as_run: bool,
    /// Where the book comes from, for words.
    #[serde(default)]
    pub book: Book,
}

/// Prompts `RAND#IDi->`, each with an answer drawn by the run's seed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DrawnPairs {
    /// How many.
    pub count: PairCount,
    /// As the authors' code does where it differs from the paper's text: answers are words of the book, not tokens.
    #[serde(default)]
    pub as_run: bool,
    /// Where the book comes from, for words.
    #[serde(default)]
    pub book: Book,
}

/// How many pairs one edit learns.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "NonZeroUsize")]
pub struct PairCount(NonZeroUsize);

impl PairCount {
    /// What is more does not fit into memory as tokens, and is no question that one vector could answer.
    const MOST: usize = 1_000_000;
}

impl TryFrom<NonZeroUsize> for PairCount {
    type Error = String;

    fn try_from(count: NonZeroUsize) -> Result<Self, String> {
        if count.get() > Self::MOST {
            Err(format!("{count} are too many: at most {}", Self::MOST))
        } else {
            Ok(Self(count))
        }
    }
}

impl fmt::Display for PairCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Study for PairsStudy {
    /// A run for each number of pairs and layer, with the edit of figures 3 to 8.
    fn cells(&self) -> Vec<StudyCell> {
        let cell = |(count, layer): (PairCount, LayerIndex)| {
            let task = as_task(&DrawnPairs { count, as_run: self.as_run, book: self.book });
            let settings = json!({
                "adapt": {"reft": {"intervention": "consreft", "rank": 1, "positions": "l1", "layers": [layer]}},
                "data": {"train": [task], "eval": [task]},
                "train": self.training.settings(),
                "eval": {"max_new_tokens": MOST},
            });
            StudyCell { title: format!("{count} pairs, layer {layer}"), settings }
        };
        let points = self.counts.iter().flat_map(|&count| self.layers.iter().map(move |&layer| (count, layer)));
        points.map(cell).collect()
    }

    fn layers(&self) -> &[LayerIndex] {
        &self.layers
    }

    /// A panel for each number of pairs: the share of pairs whose answer is exactly right, by layer.
    fn lines(&self, done: &[Option<CellResult>]) -> Vec<LineSeries> {
        by_layer(&self.counts, &self.layers, DrawnPairs::KEY, done)
    }
}

impl StudySettings for PairsStudy {
    const KEY: &'static str = "pairs";
    const TITLE: &'static str = "input-output pairs in one edit (figures 9 and 10)";
    const AXES: Option<Axes> = Some(Axes::of_shares("pairs", "layer", "right"));
    type Measure = DrawnPairs;

    fn example() -> Self {
        let training = EditTraining::new(2, 4, 1e-2);
        let counts = [2, 3].map(|count| PairCount(NonZeroUsize::new(count).expect("not 0"))).into();
        Self { counts, layers: [LayerIndex::FromStart(1)].into(), training, as_run: false, book: Book::Excerpt }
    }
}

impl DrawnPairs {
    /// Token ids of the answers.
    fn answers(self, context: &StudyContext<'_>) -> Result<Vec<Vec<i64>>> {
        let (tokenizer, mut rng) = (context.tokenizer, context.seed.stream("answers", 0));
        let count = self.count.0.get();
        if !self.as_run {
            let (ends, vocabulary) = (tokenizer.answer_ends(), context.model.dims().vocab);
            let token = || loop {
                let id = rng.random_range(0..vocabulary);
                if !ends.contains(&id) {
                    return vec![id];
                }
            };
            return Ok(std::iter::repeat_with(token).take(count).collect());
        }
        let bare = |word: &str| word.chars().filter(|c| !c.is_ascii_punctuation()).collect::<String>().to_lowercase();
        let words = context.material.split_whitespace().map(bare);
        let mut words: Vec<String> = words.filter(|word| !word.is_empty()).collect();
        words.sort_unstable();
        words.dedup();
        let known = words.len();
        ensure!(
            known >= count,
            "{count} pairs: so many different words are not there, but {known} (book: whole has more)"
        );
        words.shuffle(&mut rng);
        words.iter().take(count).map(|word| Ok(tokenizer.encode(word, Specials::None)?)).collect()
    }
}

impl StudyMeasure for DrawnPairs {
    fn name(&self) -> String {
        Self::KEY.to_owned()
    }

    fn material(&self, sources: &DataSources) -> Result<String> {
        if self.as_run { self.book.text(sources) } else { Ok(String::new()) }
    }

    /// `RAND#IDi->` with its answer and the end token.
    fn examples(&self, context: &StudyContext<'_>) -> Result<Vec<Example>> {
        let end = context.end()?;
        let example = |(index, answer): (usize, Vec<i64>)| -> Result<Example> {
            let mut ids = context.encode(&format!("RAND#ID{index}->"))?;
            let prompt = ids.len();
            ids.extend(answer);
            ids.push(end);
            Ok(Example { ids, prompt, name: format!("pair {index}"), lost: 0 })
        };
        self.answers(context)?.into_iter().enumerate().map(example).collect()
    }

    /// Pairs whose answer is exactly the one that was learned.
    fn measure(&self, edited: &EditedModel<'_>) -> Result<Measurement> {
        let context = &edited.context;
        let examples = self.examples(context)?;
        let prompts: Vec<&[i64]> = examples.iter().map(|example| &example.ids[..example.prompt]).collect();
        let got = edited.answers(&prompts, context.max_new_tokens)?;
        let one = |(example, said): (&Example, &Vec<i64>)| -> Result<StudyAnswer> {
            // Without the end token.
            let answer = &example.ids[example.prompt..example.ids.len() - 1];
            let [asked, expected] = [&example.ids[..example.prompt], answer].map(|ids| context.decode(ids));
            Ok(StudyAnswer { asked: asked?, said: context.decode(said)?, expected: expected?, correct: said == answer })
        };
        Ok(Measurement::counted(examples.iter().zip(&got).map(one).collect::<Result<_>>()?))
    }
}

impl MeasureSettings for DrawnPairs {
    const KEY: &'static str = "pairs";
    const ORIGIN: &'static str = "appendix F of the paper";
}
