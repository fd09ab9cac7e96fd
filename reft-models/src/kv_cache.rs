//! Keys and values of the tokens that were already seen, for every layer and sequence.

use reft_core::layout::Layout;
use reft_core::site::{Dims, LayerId};
use tch::{Device, Kind, Tensor};

/// Room for `capacity` tokens of each of `B` sequences; keys and values `[B, K, C, E]` for each layer.
#[derive(Debug)]
pub struct KvCache {
    layers: Vec<(Tensor, Tensor)>,
    capacity: i64,
}

impl KvCache {
    /// An empty cache.
    pub fn new(dims: &Dims, sequences: usize, capacity: i64, options: (Kind, Device)) -> Self {
        let shape = [sequences as i64, dims.kv_heads, capacity, dims.head_width];
        let empty = || Tensor::zeros(shape, options);
        Self { layers: (0..dims.layers).map(|_| (empty(), empty())).collect(), capacity }
    }

    /// Tokens that fit for each sequence.
    pub fn capacity(&self) -> i64 {
        self.capacity
    }

    /// Stores the rows of a pass, `k` and `v` `[N, K, E]`, and returns all keys and values up to `end`, `[B, K, end, E]` each.
    pub fn extend(&mut self, layer: LayerId, slots: &Slots, k: &Tensor, v: &Tensor, end: i64) -> (Tensor, Tensor) {
        let (keys, values) = &mut self.layers[layer.0];
        slots.write(keys, k);
        slots.write(values, v);
        (keys.narrow(2, 0, end), values.narrow(2, 0, end))
    }

    /// Keeps some of the sequences, in the order given.
    pub fn keep(&mut self, sequences: &[usize]) {
        let index: Vec<i64> = sequences.iter().map(|&sequence| sequence as i64).collect();
        for (keys, values) in &mut self.layers {
            let index = Tensor::from_slice(&index).to_device(keys.device());
            *keys = keys.index_select(0, &index);
            *values = values.index_select(0, &index);
        }
    }
}

/// Where the rows of one pass go in the cache, the same for every layer.
#[derive(Debug)]
pub struct Slots {
    /// Rows that hold a token, `[n]`; all of them when there is no padding.
    rows: Option<Tensor>,
    /// Their sequence and position, `[n, 1]` each.
    sequence: Tensor,
    position: Tensor,
}

impl Slots {
    /// The slots of a pass.
    pub fn new(layout: &Layout, device: Device) -> Self {
        let (mut rows, mut sequence, mut position) = (Vec::new(), Vec::new(), Vec::new());
        for (index, span) in layout.spans().iter().enumerate() {
            for token in 0..span.len {
                rows.push(span.row + token);
                sequence.push(index as i64);
                position.push(span.past + token);
            }
        }
        let column = |values: &[i64]| Tensor::from_slice(values).unsqueeze(1).to_device(device);
        Self {
            rows: (rows.len() as i64 != layout.rows()).then(|| Tensor::from_slice(&rows).to_device(device)),
            sequence: column(&sequence),
            position: column(&position),
        }
    }

    /// Writes `x` `[N, K, E]` into `cache` `[B, K, C, E]`.
    fn write(&self, cache: &mut Tensor, x: &Tensor) {
        let selected = self.rows.as_ref().map(|rows| x.index_select(0, rows));
        let x = selected.as_ref().unwrap_or(x);
        let heads = Tensor::arange(x.size()[1], (Kind::Int64, x.device())).unsqueeze(0);
        let index = [Some(&self.sequence), Some(&heads), Some(&self.position)];
        let _ = cache.index_put_(&index, x, false);
    }
}
