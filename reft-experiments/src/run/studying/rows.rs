//! What a study's edits learn from, as tokens.

use anyhow::{Context, Result, bail, ensure};
use rand::Rng;
use rand::seq::SliceRandom;
use reft_core::rng::Seed;
use reft_models::tokenizer::Specials;
use sha2::{Digest, Sha256};

use super::StudyExperiment;
use crate::config::plan::RunPlan;
use crate::data::data_file::DataFile;
use crate::data::encode::Example;
use crate::data::left_out::LeftOut;
use crate::data::row::limited;
use crate::data::source::DataSources;
use crate::run::context;
use crate::run::experiment::{Experiment, RunRows};
use crate::run::session::{LoadedDecoder, Session};
use crate::tasks::TaskId;
use crate::tasks::study::questions::{self, AnswerStyle, THINGS, TRAINING};
use crate::tasks::study::spec::{PairsSpec, StudySpec, TextSpec};
use crate::tasks::study::text::Book;

/// The texts that a study is made of.
pub struct StudyRows {
    plan: RunPlan,
    /// The book, where a text or words of it are learned.
    book: String,
    files: Vec<DataFile>,
}

impl StudyRows {
    /// Reads the texts of a plan.
    ///
    /// # Errors
    /// When the book is not there.
    pub fn read(plan: &RunPlan, sources: &DataSources) -> Result<Self> {
        let sources = &sources.afresh();
        let ids = || plan.data.train.iter().chain(&plan.data.eval);
        let needed = ids().find_map(|id| match id.task().study()? {
            StudySpec::Text(TextSpec { book, .. }) | StudySpec::Pairs(PairsSpec { book, as_run: true, .. }) => {
                Some(*book)
            }
            StudySpec::Overhead(_) => Some(Book::Excerpt),
            StudySpec::Pairs(_) | StudySpec::Questions(_) => None,
        });
        let book = needed.map_or_else(|| Ok(String::new()), |book| book.text(sources))?;
        Ok(Self { plan: plan.clone(), book, files: sources.files() })
    }

    /// The book's tokens, as a prompt has them.
    pub(super) fn book(&self, loaded: &LoadedDecoder) -> Result<Vec<i64>> {
        Ok(loaded.tokenizer.encode(&self.book, Specials::AsModel)?)
    }

    /// What each trained task is learned from; none of what is not trained.
    pub(super) fn examples(&self, loaded: &LoadedDecoder) -> Result<Vec<Vec<Example>>> {
        let of = |id: &TaskId| -> Result<Vec<Example>> {
            match id.task().study().context("no study")? {
                StudySpec::Text(text) => Ok(vec![self.text(*text, loaded)?]),
                StudySpec::Pairs(pairs) => self.pairs(*pairs, loaded),
                StudySpec::Questions(questions) => self.questions(questions.style, loaded),
                StudySpec::Overhead(_) => {
                    bail!("data.train: nothing is trained where time is measured: leave it empty")
                }
            }
        };
        let parts = self.plan.data.train.iter().map(of).collect::<Result<Vec<_>>>()?;
        for example in parts.iter().flatten() {
            context::check_row(&example.name, example.ids.len(), loaded.decoder.context())?;
        }
        Ok(parts)
    }

    /// Prompt and text, as many tokens as `data.max_length` says.
    pub(super) fn text(&self, text: TextSpec, loaded: &LoadedDecoder) -> Result<Example> {
        let (tokenizer, length) = (&loaded.tokenizer, self.plan.data.max_length);
        let access = text.content.prompt(text.as_run);
        let seed = Seed(self.plan.seed);
        let said = text.content.text(&self.book, tokenizer, loaded.decoder.dims().vocab, seed)?;
        let prompt = tokenizer.encode(access, Specials::AsModel)?.len();
        let whole = tokenizer.encode(&format!("{access}{said}"), Specials::AsModel)?;
        ensure!(
            (prompt + 1..=whole.len()).contains(&length),
            "data.max_length: {length} tokens are not there: prompt and text have {} together, the prompt alone {prompt} \
             (book: whole is longer)",
            whole.len()
        );
        let lost = whole.len() - length;
        Ok(Example { ids: whole[..length].to_vec(), prompt, name: "the text".to_owned(), lost })
    }

    /// `RAND#IDi->` with its answer and the end token.
    pub(super) fn pairs(&self, pairs: PairsSpec, loaded: &LoadedDecoder) -> Result<Vec<Example>> {
        let (tokenizer, end) = (&loaded.tokenizer, end(loaded)?);
        let example = |(index, answer): (usize, Vec<i64>)| -> Result<Example> {
            let mut ids = tokenizer.encode(&format!("RAND#ID{index}->"), Specials::AsModel)?;
            let prompt = ids.len();
            ids.extend(answer);
            ids.push(end);
            Ok(Example { ids, prompt, name: format!("pair {index}"), lost: 0 })
        };
        self.answers(pairs, loaded)?.into_iter().enumerate().map(example).collect()
    }

    fn answers(&self, pairs: PairsSpec, loaded: &LoadedDecoder) -> Result<Vec<Vec<i64>>> {
        let (tokenizer, mut rng) = (&loaded.tokenizer, Seed(self.plan.seed).stream("answers", 0));
        let count = pairs.count;
        if !pairs.as_run {
            let (ends, vocabulary) = (tokenizer.ends(), loaded.decoder.dims().vocab);
            let token = || loop {
                let id = rng.random_range(0..vocabulary);
                if !ends.contains(&id) {
                    return vec![id];
                }
            };
            return Ok(std::iter::repeat_with(token).take(count).collect());
        }
        let bare = |word: &str| word.chars().filter(|c| !c.is_ascii_punctuation()).collect::<String>().to_lowercase();
        let mut words: Vec<String> = self.book.split_whitespace().map(bare).filter(|word| !word.is_empty()).collect();
        words.sort_unstable();
        words.dedup();
        let known = words.len();
        ensure!(known >= count, "count: {count} different words are not there, but {known} (book: whole has more)");
        words.shuffle(&mut rng);
        words.iter().take(count).map(|word| Ok(tokenizer.encode(word, Specials::None)?)).collect()
    }

    /// Questions with answers in a style, `data.train_rows` at most.
    fn questions(&self, style: AnswerStyle, loaded: &LoadedDecoder) -> Result<Vec<Example>> {
        let (tokenizer, end) = (&loaded.tokenizer, end(loaded)?);
        let example = |&(thing, kind): &(&str, &str)| -> Result<Example> {
            let asked = questions::prompt(thing);
            let prompt = tokenizer.encode(&asked, Specials::AsModel)?.len();
            let answered = format!("{asked} {}", style.answer((thing, kind)));
            let mut ids = tokenizer.encode(&answered, Specials::AsModel)?;
            ids.push(end);
            // The activation cache knows rows by their names, and a thing is asked about in every style.
            Ok(Example { ids, prompt, name: format!("{} answer about {thing}", style.name()), lost: 0 })
        };
        THINGS[..limited(TRAINING, self.plan.data.train_rows)].iter().map(example).collect()
    }

    /// Things that are not learned from, `data.eval_rows` at most.
    pub(super) fn held_out(&self) -> &'static [(&'static str, &'static str)] {
        let held_out = &THINGS[TRAINING..];
        &held_out[..limited(held_out.len(), self.plan.data.eval_rows)]
    }
}

fn end(loaded: &LoadedDecoder) -> Result<i64> {
    loaded.tokenizer.eos().context("the tokenizer has no end token, which answers need")
}

impl RunRows for StudyRows {
    fn fingerprint(&self) -> String {
        let mut hash = Sha256::new().chain_update(&self.book);
        for text in THINGS.iter().flat_map(|(thing, kind)| [thing, kind]) {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        format!("{:.32x}", hash.finalize())
    }

    fn overlaps(&self) -> Vec<String> {
        Vec::new()
    }

    fn files(&self) -> &[DataFile] {
        &self.files
    }

    fn left_out(&self) -> &[LeftOut] {
        &[]
    }

    fn load(self: Box<Self>, session: &mut Session) -> Result<Box<dyn Experiment>> {
        let loaded = session.load(&self.plan)?;
        Ok(Box::new(StudyExperiment { rows: *self, loaded }))
    }
}
