//! What an objective is computed from: the last block's states in the rows asked for, their logits, and the tokens that follow.

use std::ops::Range;

use reft_core::layout::Layout;
use reft_models::model::Decoder;
use tch::{Device, Kind, Reduction, Tensor};

use crate::data::encode::Example;

/// Stands for the token that follows a sequence's last: none. Losses of libtorch ignore it by default.
const NO_TOKEN: i64 = -100;

/// The rows of a pass that an objective asks for.
#[derive(Debug)]
pub struct AskedRows {
    /// Their indices in the pass, `[M]`.
    pub rows: Tensor,
    /// The tokens that follow them, `[M]`.
    next: Tensor,
    /// How many belong to each sequence, `S` numbers whose sum is `M`.
    counts: Vec<i64>,
    /// How many sequences each training row has, numbers whose sum is `S`.
    sequences: Vec<usize>,
}

impl AskedRows {
    /// The rows that `asked` names of these training rows, each with its sequences, which a pass holds from the first position
    /// asked for on at least.
    ///
    /// # Panics
    /// When `asked` names a position that is not in the pass.
    pub fn new(asked: impl Fn(&Example) -> Range<usize>, of: &[&[Example]], layout: &Layout, device: Device) -> Self {
        let (mut rows, mut next, mut counts) = (Vec::new(), Vec::new(), Vec::new());
        for (sequence, example) in of.iter().copied().flatten().enumerate() {
            let positions = asked(example);
            counts.push(positions.len() as i64);
            for position in positions {
                rows.push(layout.row(sequence, position as i64).expect("a pass holds the rows that are asked for"));
                next.push(example.ids.get(position + 1).copied().unwrap_or(NO_TOKEN));
            }
        }
        let tensor = |values: &[i64]| Tensor::from_slice(values).to_device(device);
        let sequences = of.iter().map(|sequences| sequences.len()).collect();
        Self { rows: tensor(&rows), next: tensor(&next), counts, sequences }
    }

    /// What the last block put out in them, given its output `[N, D]` in all rows.
    pub fn of<'m>(&self, model: &'m dyn Decoder, h: &Tensor) -> Outputs<'m> {
        self.with_states(model, h.index_select(0, &self.rows))
    }

    /// The same, given the states `[M, D]` in these rows alone.
    pub fn with_states<'m>(&self, model: &'m dyn Decoder, states: Tensor) -> Outputs<'m> {
        let next = self.next.shallow_clone();
        let (counts, sequences) = (self.counts.clone(), self.sequences.clone());
        Outputs { model, states, next, counts, sequences, classes: Vec::new(), parameters: Vec::new() }
    }

    /// How many belong to each sequence.
    pub fn counts(&self) -> &[i64] {
        &self.counts
    }
}

/// Outputs of a model in the rows asked for, one sequence after the other.
pub struct Outputs<'m> {
    model: &'m dyn Decoder,
    /// The last block's output, before the final norm, `[M, D]` in the model's type.
    pub states: Tensor,
    /// The tokens that follow, `[M]`; -100 where a sequence ends.
    pub next: Tensor,
    counts: Vec<i64>,
    sequences: Vec<usize>,
    classes: Vec<Option<i64>>,
    /// The objective's own parameters, in the order in which it declares them.
    pub parameters: Vec<Tensor>,
}

impl Outputs<'_> {
    /// The same with the classes of the training rows and the objective's own parameters.
    #[must_use]
    pub fn with_head(self, classes: Vec<Option<i64>>, parameters: Vec<Tensor>) -> Self {
        Self { classes, parameters, ..self }
    }

    /// The states behind the final norm, `[M, D]` in the model's type.
    pub fn normalised(&self) -> Tensor {
        self.model.normalise(&self.states)
    }

    /// The class of each training row, in order; nothing of the base model's outputs.
    pub fn classes(&self) -> &[Option<i64>] {
        &self.classes
    }

    /// Logits `[M, V]`, f32.
    pub fn logits(&self) -> Tensor {
        self.model.logits(&self.states).to_kind(Kind::Float)
    }

    /// Log-probabilities `[M]` of the tokens that follow, f32; 0 where a sequence ends.
    pub fn log_likelihoods(&self) -> Tensor {
        -self.logits().cross_entropy_loss::<Tensor>(&self.next, None, Reduction::None, NO_TOKEN, 0.0)
    }

    /// Sums `[S]` of values `[M]` over the rows of each sequence.
    pub fn sums(&self, values: &Tensor) -> Tensor {
        let parts = values.split_with_sizes(self.counts.as_slice(), 0);
        Tensor::stack(&parts.iter().map(|part| part.sum(Kind::Float)).collect::<Vec<_>>(), 0)
    }

    /// How many sequences each training row has, in order.
    pub fn sequences(&self) -> &[usize] {
        &self.sequences
    }
}
