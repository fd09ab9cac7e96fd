//! Greedy generation for many prompts at once: one prefill, then one token per sequence and pass.
//!
//! Prompts are prefilled as they are, packed; each continues at its own position, so nothing is padded on the left.
//! A finished sequence leaves the batch and its cache with it.

use reft_core::adaptation::{OverlapError, Step};
use reft_core::hooks::{Frozen, Hooks};
use reft_core::layout::{Extent, Layout};
use tch::{Kind, Tensor, no_grad};

use crate::kv_cache::KvCache;
use crate::model::{Decoder, Pass};

/// When to stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stopping {
    /// Tokens to generate at most, the end token included.
    pub max_new: usize,
    /// The end token, if it ends a generation.
    pub eos: Option<i64>,
}

/// A sequence that is still growing.
struct Row {
    /// Index of its prompt.
    prompt: usize,
    generated: Vec<i64>,
}

/// Continues every prompt greedily; the generated ids of each, its end token included. Edits follow the positions of
/// the adaptation, so those on the prompt are part of the cache and cost nothing afterwards.
///
/// # Errors
/// When interventions overlap (Def. 3.2).
pub fn generate(
    model: &dyn Decoder,
    prompts: &[&[i64]],
    adaptation: Option<&dyn Step>,
    stop: Stopping,
) -> Result<Vec<Vec<i64>>, OverlapError> {
    no_grad(|| {
        let extents: Vec<Extent> = prompts.iter().map(|ids| extent(ids)).collect();
        let mut layout = Layout::packed(&extents);
        let longest = extents.iter().map(|extent| extent.len).max().unwrap_or(0);
        let mut cache = KvCache::new(model.dims(), prompts.len(), longest + stop.max_new as i64, model.options());
        let mut rows: Vec<Row> = (0..prompts.len()).map(|prompt| Row { prompt, generated: Vec::new() }).collect();
        let mut done = vec![Vec::new(); prompts.len()];
        let mut ids = layout.place(prompts, model.options().1);
        while !rows.is_empty() && stop.max_new > 0 {
            let next = next_tokens(model, &ids, &layout, &mut cache, adaptation)?;
            for (row, token) in rows.iter_mut().zip(next) {
                row.generated.push(token);
            }
            let growing = |row: &Row| row.generated.len() < stop.max_new && row.generated.last() != stop.eos.as_ref();
            let kept: Vec<usize> = (0..rows.len()).filter(|&index| growing(&rows[index])).collect();
            layout = layout.decode_step();
            if kept.len() < rows.len() {
                layout = layout.keep(&kept);
                cache.keep(&kept);
                for row in rows.extract_if(.., |row| !growing(row)) {
                    done[row.prompt] = row.generated;
                }
            }
            let last: Vec<i64> = rows.iter().filter_map(|row| row.generated.last().copied()).collect();
            ids = Tensor::from_slice(&last).to_device(model.options().1);
        }
        Ok(done)
    })
}

fn extent(ids: &[i64]) -> Extent {
    Extent { len: ids.len() as i64, prompt: ids.len() as i64 }
}

/// One pass; the most likely next token of each sequence.
fn next_tokens(
    model: &dyn Decoder,
    ids: &Tensor,
    layout: &Layout,
    cache: &mut KvCache,
    adaptation: Option<&dyn Step>,
) -> Result<Vec<i64>, OverlapError> {
    let hooks: Box<dyn Hooks> = match adaptation {
        Some(step) => step.hooks(layout)?,
        None => Box::new(Frozen),
    };
    let h = model.hidden(ids, &mut Pass { layout, hooks: hooks.as_ref(), cache: Some(cache) });
    let last = Tensor::from_slice(&layout.last_rows()).to_device(h.device());
    let best = model.logits(&h.index_select(0, &last)).argmax(-1, false);
    Ok(Vec::<i64>::try_from(best.to_kind(Kind::Int64)).expect("one id for each sequence"))
}
