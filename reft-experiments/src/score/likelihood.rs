//! Log-likelihoods of completions: what a model gives to the tokens that follow a prompt, with teacher forcing.

use std::collections::HashMap;

use reft_core::adaptation::{OverlapError, Step};
use reft_core::hooks::{Frozen, Hooks};
use reft_core::layout::{Extent, Layout};
use reft_models::attention::Cache;
use reft_models::model::{Decoder, Pass};
use tch::{Kind, Tensor, no_grad};

use crate::data::encode::Example;
use crate::train::{batches, causal};

/// What a model gives to a completion.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Likelihood {
    /// Sum of the log-probabilities of its tokens, in nats.
    pub log: f64,
    /// Its tokens.
    pub tokens: usize,
}

/// The log-likelihood of each example's completion, `tokens` tokens in one pass at most.
///
/// # Errors
/// When two interventions edit one token.
pub fn of(
    model: &dyn Decoder,
    adaptation: Option<&dyn Step>,
    examples: &[Example],
    tokens: usize,
) -> Result<Vec<Likelihood>, OverlapError> {
    // Passes over sequences of similar length; the order of results is that of the examples.
    let mut sequences = alike(examples);
    sequences.sort_by_key(|of| examples[of[0]].ids.len());
    let lengths: Vec<usize> = sequences.iter().map(|of| examples[of[0]].ids.len()).collect();
    let mut found = vec![Likelihood { log: 0.0, tokens: 0 }; examples.len()];
    for part in batches::micro(&lengths, tokens) {
        let batch: Vec<Vec<&Example>> =
            sequences[part.clone()].iter().map(|of| of.iter().map(|&index| &examples[index]).collect()).collect();
        let likelihoods = pass(model, adaptation, &batch)?;
        for (&index, likelihood) in sequences[part].iter().flatten().zip(likelihoods) {
            found[index] = likelihood;
        }
    }
    Ok(found)
}

/// The examples by their numbers, those together that differ in their last token only: what is before it, which alone is
/// read, is run once for all of them.
fn alike(examples: &[Example]) -> Vec<Vec<usize>> {
    let mut sequences: Vec<Vec<usize>> = Vec::new();
    let mut known: HashMap<(&[i64], usize), usize> = HashMap::new();
    for (index, example) in examples.iter().enumerate() {
        let read = example.ids.split_last().map_or(&[][..], |(_, read)| read);
        let sequence = *known.entry((read, example.prompt)).or_insert_with(|| {
            sequences.push(Vec::new());
            sequences.len() - 1
        });
        sequences[sequence].push(index);
    }
    sequences
}

/// One pass over some sequences, each of examples that are alike.
fn pass(
    model: &dyn Decoder,
    adaptation: Option<&dyn Step>,
    batch: &[Vec<&Example>],
) -> Result<Vec<Likelihood>, OverlapError> {
    let device = model.options().1;
    let extent = |of: &Vec<&Example>| Extent { len: of[0].ids.len() as i64, prompt: of[0].prompt as i64 };
    let layout = Layout::packed(&batch.iter().map(extent).collect::<Vec<_>>());
    let hooks: Box<dyn Hooks + '_> = match adaptation {
        Some(step) => step.hooks(&layout)?,
        None => Box::new(Frozen),
    };
    let (mut rows, mut next) = (Vec::new(), Vec::new());
    for (of, span) in batch.iter().zip(layout.spans()) {
        for example in of {
            for position in example.ids.len() - causal::labels(example)..example.ids.len() {
                rows.push(span.row + position as i64 - 1);
                next.push(example.ids[position]);
            }
        }
    }
    let logs: Vec<f64> = no_grad(|| {
        let rows = Tensor::from_slice(&rows).to_device(device);
        let ids: Vec<&[i64]> = batch.iter().map(|of| of[0].ids.as_slice()).collect();
        let mut pass = Pass { layout: &layout, hooks: hooks.as_ref(), cache: Cache::None, wanted: Some(&rows) };
        let h = model.hidden(&layout.place(&ids, device), &mut pass);
        let logits = model.logits(&h.index_select(0, &rows)).to_kind(Kind::Float);
        let next = Tensor::from_slice(&next).to_device(device);
        let logs = logits.log_softmax(-1, Kind::Float).gather(1, &next.unsqueeze(1), false).squeeze_dim(1);
        Vec::<f64>::try_from(logs.to_kind(Kind::Double)).expect("one number for each token")
    });
    let mut logs = logs.into_iter();
    let likelihood = |example: &&Example| {
        let tokens = causal::labels(example);
        Likelihood { log: logs.by_ref().take(tokens).sum(), tokens }
    };
    Ok(batch.iter().flatten().map(likelihood).collect())
}

/// The prompt and what follows it, as lm-evaluation-harness puts them together: spaces at the prompt's end belong to what follows,
/// both are tokenised as one text, and the prompt's tokens are as many as it has alone.
pub fn joined(prompt: &str, completion: &str) -> (String, String) {
    let kept = prompt.trim_end();
    (kept.to_owned(), format!("{}{completion}", &prompt[kept.len()..]))
}
