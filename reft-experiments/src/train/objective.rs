//! Eq. 4: cross-entropy on the output tokens only, with teacher forcing.

use reft_core::hooks::Hooks;
use reft_core::layout::{Extent, Layout};
use reft_models::attention::Cache;
use reft_models::model::{Decoder, Pass};
use tch::{Device, Kind, Reduction, Tensor};

use crate::data::encode::Example;

/// The tokens of one pass with the rows that are scored.
#[derive(Debug)]
pub struct Batch {
    /// Which row is which token.
    pub layout: Layout,
    /// Token ids `[N]`.
    pub ids: Tensor,
    /// Rows whose next token is an output token, `[M]`.
    rows: Tensor,
    /// Those next tokens, `[M]`.
    targets: Tensor,
    /// Tokens in the pass.
    pub tokens: usize,
}

/// Output tokens of an example that something before them can predict.
pub fn labels(example: &Example) -> usize {
    example.ids.len().saturating_sub(example.prompt.max(1))
}

impl Batch {
    /// Packs these examples.
    pub fn new(examples: &[&Example], device: Device) -> Self {
        let extent = |example: &&Example| Extent { len: example.ids.len() as i64, prompt: example.prompt as i64 };
        let layout = Layout::packed(&examples.iter().map(extent).collect::<Vec<_>>());
        let ids: Vec<&[i64]> = examples.iter().map(|example| example.ids.as_slice()).collect();
        let (mut rows, mut targets) = (Vec::new(), Vec::new());
        for (example, span) in examples.iter().zip(layout.spans()) {
            for position in example.ids.len() - labels(example)..example.ids.len() {
                rows.push(span.row + position as i64 - 1);
                targets.push(example.ids[position]);
            }
        }
        let tensor = |values: &[i64]| Tensor::from_slice(values).to_device(device);
        Self {
            ids: layout.place(&ids, device),
            tokens: ids.iter().map(|ids| ids.len()).sum(),
            rows: tensor(&rows),
            targets: tensor(&targets),
            layout,
        }
    }

    /// The pass through the model.
    pub fn on<'a>(&'a self, hooks: &'a dyn Hooks) -> Pass<'a> {
        Pass { layout: &self.layout, hooks, cache: Cache::None, wanted: Some(&self.rows) }
    }

    /// Sum of the cross-entropies of the output tokens, in f32, given the last block's output `[N, D]`.
    /// Logits are computed for their rows and no other.
    pub fn loss_sum(&self, model: &dyn Decoder, h: &Tensor) -> Tensor {
        let logits = model.logits(&h.index_select(0, &self.rows)).to_kind(Kind::Float);
        logits.cross_entropy_loss::<Tensor>(&self.targets, None, Reduction::Sum, -100, 0.0)
    }
}
