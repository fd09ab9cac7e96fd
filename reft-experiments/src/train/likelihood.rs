//! Log-likelihoods of completions: what a model gives to the tokens that follow a prompt, with teacher forcing.

use reft_core::adaptation::{OverlapError, Step};
use reft_core::hooks::{Hooks, NoHooks};
use reft_core::layout::{Extent, Layout};
use reft_models::attention::PastKeyValues;
use reft_models::model::{Decoder, Pass};
use tch::{Kind, Tensor, no_grad};

use super::{batches, causal};
use crate::data::encode::Example;

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
    // Passes over rows of similar length; the order of results is that of the examples.
    let mut order: Vec<usize> = (0..examples.len()).collect();
    order.sort_by_key(|&index| examples[index].ids.len());
    let lengths: Vec<usize> = order.iter().map(|&index| examples[index].ids.len()).collect();
    let mut found = vec![Likelihood { log: 0.0, tokens: 0 }; examples.len()];
    for part in batches::micro(&lengths, tokens) {
        let batch: Vec<&Example> = order[part.clone()].iter().map(|&index| &examples[index]).collect();
        for (&index, likelihood) in order[part].iter().zip(pass(model, adaptation, &batch)?) {
            found[index] = likelihood;
        }
    }
    Ok(found)
}

/// One pass over some examples.
fn pass(
    model: &dyn Decoder,
    adaptation: Option<&dyn Step>,
    batch: &[&Example],
) -> Result<Vec<Likelihood>, OverlapError> {
    let device = model.options().1;
    let extents: Vec<Extent> =
        batch.iter().map(|example| Extent { len: example.ids.len() as i64, prompt: example.prompt as i64 }).collect();
    let layout = Layout::packed(&extents);
    let hooks: Box<dyn Hooks + '_> = match adaptation {
        Some(step) => step.hooks(&layout)?,
        None => Box::new(NoHooks),
    };
    let (mut rows, mut next) = (Vec::new(), Vec::new());
    for (example, span) in batch.iter().zip(layout.spans()) {
        for position in example.ids.len() - causal::labels(example)..example.ids.len() {
            rows.push(span.row + position as i64 - 1);
            next.push(example.ids[position]);
        }
    }
    let logs: Vec<f64> = no_grad(|| {
        let rows = Tensor::from_slice(&rows).to_device(device);
        let ids: Vec<&[i64]> = batch.iter().map(|example| example.ids.as_slice()).collect();
        let mut pass = Pass { layout: &layout, hooks: hooks.as_ref(), cache: PastKeyValues::None, wanted: Some(&rows) };
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
    Ok(batch.iter().map(likelihood).collect())
}

/// The prompt and what follows it, as lm-evaluation-harness puts them together: spaces at the prompt's end belong to what follows,
/// both are tokenised as one text, and the prompt's tokens are as many as it has alone.
pub fn joined(prompt: &str, completion: &str) -> (String, String) {
    let kept = prompt.trim_end();
    (kept.to_owned(), format!("{}{completion}", &prompt[kept.len()..]))
}
