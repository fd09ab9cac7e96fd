//! The tokens that a pass is scored on: the outputs of its examples.

use reft_core::layout::Layout;
use reft_models::model::Decoder;
use tch::{Device, Kind, Reduction, Tensor};

use crate::data::encode::Example;

/// What a pass is scored on.
#[derive(Debug)]
pub struct Targets {
    /// Rows whose next token is an output token, `[M]`.
    pub rows: Tensor,
    /// Those next tokens, `[M]`.
    next: Tensor,
}

/// Output tokens of an example that something before them can predict.
pub fn labels(example: &Example) -> usize {
    example.ids.len().saturating_sub(example.prompt.max(1))
}

impl Targets {
    /// The output tokens of these examples, in a pass that holds at least the tokens before them.
    pub fn new(examples: &[&Example], layout: &Layout, device: Device) -> Self {
        let (mut rows, mut next) = (Vec::new(), Vec::new());
        for (sequence, example) in examples.iter().enumerate() {
            for position in example.ids.len() - labels(example)..example.ids.len() {
                rows.push(
                    layout.row(sequence, position as i64 - 1).expect("a pass holds the tokens before the output"),
                );
                next.push(example.ids[position]);
            }
        }
        let tensor = |values: &[i64]| Tensor::from_slice(values).to_device(device);
        Self { rows: tensor(&rows), next: tensor(&next) }
    }

    /// Sum of the cross-entropies of the output tokens, in f32, given the last block's output `[N, D]`.
    /// Logits are computed for their rows and no other.
    pub fn loss_sum(&self, model: &dyn Decoder, h: &Tensor) -> Tensor {
        let logits = model.logits(&h.index_select(0, &self.rows)).to_kind(Kind::Float);
        logits.cross_entropy_loss::<Tensor>(&self.next, None, Reduction::Sum, -100, 0.0)
    }
}
