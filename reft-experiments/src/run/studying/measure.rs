//! What a study measures once its edits are trained.

use anyhow::{Context, Result};
use reft_core::AdaptSpec;
use reft_core::adaptation::{Adaptation, Mode};
use reft_core::rng::Seed;
use reft_models::decode::{Decoding, Generator, Stopping};
use reft_models::tokenizer::Specials;

use super::overhead;
use super::rows::StudyRows;
use crate::config::plan::RunPlan;
use crate::run::experiment::TaskScore;
use crate::run::prediction::{Prediction, count};
use crate::run::session::LoadedDecoder;
use crate::store::record::Score;
use crate::tasks::TaskId;
use crate::tasks::study::questions::{self, Questions};
use crate::tasks::study::spec::{PairsSpec, StudySpec, TextSpec};

/// Trained edits, to be measured.
pub struct StudyMeasure<'a> {
    /// The run's plan.
    pub plan: &'a RunPlan,
    /// The study's texts.
    pub rows: &'a StudyRows,
    /// The model.
    pub loaded: &'a LoadedDecoder,
    /// What was trained.
    pub spec: &'a AdaptSpec,
    /// The same with its parameters.
    pub trained: &'a dyn Adaptation,
}

/// Equal elements before the first difference.
fn common<T: PartialEq>(a: impl Iterator<Item = T>, b: impl Iterator<Item = T>) -> usize {
    a.zip(b).take_while(|(a, b)| a == b).count()
}

impl StudyMeasure<'_> {
    /// What a task of the plan comes to.
    ///
    /// # Errors
    /// When a text cannot be encoded, or strengths do not fit the interventions.
    pub fn of(&self, task: TaskId) -> Result<TaskScore> {
        let (predictions, score) = match task.task().study().context("no study")? {
            StudySpec::Text(text) => self.text(*text)?,
            StudySpec::Pairs(pairs) => counted(self.pairs(*pairs)?),
            StudySpec::Questions(questions) => counted(self.questions(questions)?),
            StudySpec::Overhead(spec) => {
                let prompts = self.rows.book(self.loaded)?;
                (Vec::new(), overhead::measure(self.loaded, self.trained, spec, &prompts, self.plan)?)
            }
        };
        Ok(TaskScore { task, predictions, too_long: None, score: Some(score) })
    }

    /// How much of the text comes back before the first error: in tokens of the text, or, as run, in characters of what was
    /// generated.
    fn text(&self, text: TextSpec) -> Result<(Vec<Prediction>, Score)> {
        let example = self.rows.text(text, self.loaded)?;
        let (prompt, target) = example.ids.split_at(example.prompt);
        let got = self.said(self.trained, &[prompt], target.len().min(self.plan.eval.max_new_tokens))?.remove(0);
        let decode = |ids: &[i64]| self.loaded.tokenizer.decode(ids, true);
        let (said, expected) = (decode(&got)?, decode(target)?);
        let (correct, n) = if text.as_run {
            (common(said.chars(), expected.chars()), said.chars().count().max(1))
        } else {
            (common(got.iter(), target.iter()), target.len())
        };
        let right = got == target;
        let prediction = prediction(text.content.prompt(text.as_run).to_owned(), said, expected, right);
        Ok((vec![prediction], Score::Counts { correct, n, cut: 0 }))
    }

    fn pairs(&self, pairs: PairsSpec) -> Result<Vec<Prediction>> {
        let examples = self.rows.pairs(pairs, self.loaded)?;
        let prompts: Vec<&[i64]> = examples.iter().map(|example| &example.ids[..example.prompt]).collect();
        let got = self.said(self.trained, &prompts, self.plan.eval.max_new_tokens)?;
        let decode = |ids: &[i64]| self.loaded.tokenizer.decode(ids, true);
        let one = |(example, said): (&crate::data::encode::Example, &Vec<i64>)| -> Result<Prediction> {
            // Without the end token.
            let answer = &example.ids[example.prompt..example.ids.len() - 1];
            let asked = decode(&example.ids[..example.prompt])?;
            Ok(prediction(asked, decode(said)?, decode(answer)?, said == answer))
        };
        examples.iter().zip(&got).map(one).collect()
    }

    /// Answers to the held-out questions, right where they have the style.
    fn questions(&self, measured: &Questions) -> Result<Vec<Prediction>> {
        let used = if measured.strengths.is_empty() { None } else { Some(self.at(&measured.strengths)?) };
        let tokenizer = &self.loaded.tokenizer;
        let asked: Vec<String> = self.rows.held_out().iter().map(|(thing, _)| questions::prompt(thing)).collect();
        let prompts =
            asked.iter().map(|text| tokenizer.encode(text, Specials::AsModel)).collect::<Result<Vec<_>, _>>()?;
        let prompts: Vec<&[i64]> = prompts.iter().map(Vec::as_slice).collect();
        let edits: &dyn Adaptation = match &used {
            Some(used) => used.as_ref(),
            None => self.trained,
        };
        let got = self.said(edits, &prompts, self.plan.eval.max_new_tokens)?;
        let one = |(index, ids): (usize, &Vec<i64>)| -> Result<Prediction> {
            let said = tokenizer.decode(ids, true)?;
            let right = measured.style.is_in(&said);
            let expected = measured.style.answer(self.rows.held_out()[index]);
            Ok(prediction(asked[index].clone(), said, expected, right))
        };
        got.iter().enumerate().map(one).collect()
    }

    /// What was trained, with its sets of interventions at these strengths.
    fn at(&self, strengths: &[f64]) -> Result<Box<dyn Adaptation>> {
        let spec = self.spec.with_strengths(strengths).context("strengths")?;
        let dims = self.loaded.decoder.dims();
        let mut used = spec.build_on(dims, &self.loaded.lender(), Seed(self.plan.seed), self.plan.device.0)?;
        used.params_mut().load(&self.trained.params().flat().detach());
        Ok(used)
    }

    /// What the edited model says after each prompt, greedily, up to so many tokens; the end token is left out.
    fn said(&self, adaptation: &dyn Adaptation, prompts: &[&[i64]], most: usize) -> Result<Vec<Vec<i64>>> {
        let ends = self.loaded.tokenizer.ends().to_vec();
        let decoding = Decoding::default();
        let step = adaptation.begin(Mode::Eval);
        let generator = Generator {
            model: self.loaded.decoder.as_ref(),
            adaptation: Some(step.as_ref()),
            batch: self.plan.eval.batch_size,
            stop: Stopping { max_new: most, ends: ends.clone() },
            decoding: &decoding,
            seed: self.plan.seed,
        };
        let answers = generator.run(prompts, &|_, _| false)?;
        let text = |ids: Vec<i64>| ids.into_iter().take_while(|id| !ends.contains(id)).collect();
        Ok(answers.into_iter().map(|answer| text(answer.ids)).collect())
    }
}

fn counted(predictions: Vec<Prediction>) -> (Vec<Prediction>, Score) {
    let score = count(&predictions);
    (predictions, score)
}

fn prediction(instruction: String, said: String, expected: String, correct: bool) -> Prediction {
    let (input, answer, correct) = (String::new(), said.clone(), Some(correct));
    Prediction { instruction, input, said, answer, expected, correct, cut: false, likelihood: None }
}
