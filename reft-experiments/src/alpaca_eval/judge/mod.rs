//! A judge: a model behind an OpenAI-compatible server, asked which of two outputs is better.

pub mod client;
pub mod endpoint;
pub mod error;
pub mod estimate;
pub mod journal;
pub mod pace;
pub mod pairs;
pub mod prompt;
pub mod protocol;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::annotations::Annotation;
use client::Client;
use error::ClientError;
use estimate::CostEstimate;
use journal::{Journal, JournalError, QuestionId};
use pairs::OutputPair;
use prompt::{JudgePrompt, PresentationOrder, Verdict};
use protocol::Chat;

/// What happens while a judge is asked.
#[derive(Clone, Copy, Debug)]
pub enum JudgeEvent<'a> {
    /// A reply was kept.
    Judged,
    /// An attempt was in vain.
    Waiting {
        /// The address.
        url: &'a str,
        /// Why.
        reason: &'a str,
        /// Until the next attempt.
        wait: Duration,
    },
}

/// Told of every event, from every thread.
pub type JudgeObserver<'a> = &'a (dyn Fn(JudgeEvent<'_>) + Sync);

/// Judging that came to an end early. What was judged is kept in the journal.
#[derive(Debug, thiserror::Error)]
pub enum JudgeError {
    /// The judge cannot be asked.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Its reply cannot be kept.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// Who judges, and how it is asked.
#[derive(Clone, Debug)]
pub struct Judge {
    /// The judge's name at its server.
    pub model: String,
    /// The prompt.
    pub template: JudgePrompt,
    /// Tokens of a reply at most.
    pub max_tokens: u32,
    /// Decides which output is shown first.
    pub seed: u64,
}

/// A pair as it is put to the judge.
struct Question {
    id: QuestionId,
    order: PresentationOrder,
    prompt: String,
}

impl Judge {
    /// What is left to ask.
    pub fn estimate(&self, pairs: &[OutputPair], journal: &Journal) -> CostEstimate {
        let questions = pairs.iter().map(|pair| self.question(pair));
        let left: Vec<Question> = questions.filter(|question| journal.reply(&question.id).is_none()).collect();
        CostEstimate {
            pairs: pairs.len(),
            left: left.len(),
            tokens_in: left.iter().map(|question| question.prompt.chars().count().div_ceil(4) as u64).sum(),
            tokens_out: left.len() as u64 * u64::from(self.max_tokens),
        }
    }

    /// Asks what the journal has no reply to, with so many threads; annotations in the order of the pairs.
    ///
    /// # Errors
    /// When the judge cannot be asked or its reply cannot be kept; the other threads then end what they are at.
    pub fn run(
        &self,
        pairs: &[OutputPair],
        journal: &Journal,
        client: &Client,
        threads: usize,
        watch: JudgeObserver<'_>,
    ) -> Result<Vec<Annotation>, JudgeError> {
        let questions: Vec<Question> = pairs.iter().map(|pair| self.question(pair)).collect();
        let left: Vec<&Question> = questions.iter().filter(|question| journal.reply(&question.id).is_none()).collect();
        let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let work = || -> Result<(), JudgeError> {
            while !stop.load(Ordering::Relaxed)
                && let Some(question) = left.get(next.fetch_add(1, Ordering::Relaxed))
            {
                self.ask(question, journal, client, watch).inspect_err(|_| stop.store(true, Ordering::Relaxed))?;
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads.clamp(1, left.len().max(1))).map(|_| scope.spawn(work)).collect();
            workers.into_iter().try_for_each(|worker| worker.join().expect("workers do not panic"))
        })?;
        Ok(pairs.iter().zip(&questions).map(|(pair, question)| self.annotation(pair, question, journal)).collect())
    }

    fn question(&self, OutputPair { model, reference }: &OutputPair) -> Question {
        let order = PresentationOrder::of(&model.instruction, self.seed);
        let (a, b) = match order {
            PresentationOrder::ReferenceFirst => (&reference.output, &model.output),
            PresentationOrder::ModelFirst => (&model.output, &reference.output),
        };
        let prompt = self.template.fill(&model.instruction, a, b);
        // The length is part of it: who allows longer replies wants those that were cut off anew.
        let length = self.max_tokens.to_string();
        let parts = [
            self.model.as_str(),
            self.template.text(),
            length.as_str(),
            order.name(),
            model.instruction.as_str(),
            reference.output.as_str(),
            model.output.as_str(),
        ];
        Question { id: QuestionId::of(&parts), order, prompt }
    }

    fn ask(
        &self,
        question: &Question,
        journal: &Journal,
        client: &Client,
        watch: JudgeObserver<'_>,
    ) -> Result<(), JudgeError> {
        let chat = Chat { model: &self.model, prompt: &question.prompt, max_tokens: self.max_tokens };
        let reply = client.ask(&chat, watch)?;
        journal.record(question.id.clone(), reply)?;
        watch(JudgeEvent::Judged);
        Ok(())
    }

    fn annotation(&self, pair: &OutputPair, question: &Question, journal: &Journal) -> Annotation {
        let OutputPair { model, reference } = pair.clone();
        let reply = journal.reply(&question.id).expect("every question was asked");
        Annotation {
            dataset: model.dataset.or(reference.dataset),
            instruction: model.instruction,
            output_1: reference.output,
            generator_1: reference.generator,
            output_2: model.output,
            generator_2: model.generator,
            // Not the judge's name alone: other prompts than ours give other win rates.
            annotator: format!("reft judge {}", self.model),
            preference: Verdict::parse(&reply).map(|verdict| verdict.preference(question.order)),
            raw_completion: Some(Value::String(reply)),
        }
    }
}
