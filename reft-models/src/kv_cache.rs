//! Keys and values of tokens that were already seen, for every layer.
//!
//! A cache is rows, like everything else: a sequence owns consecutive rows and [`Span::past_row`] says where they begin.
//! Sequences of any length live side by side, and a new one may take the rows of one that is done.
//!
//! [`Span::past_row`]: reft_core::layout::Span::past_row

use reft_core::layout::Layout;
use reft_core::site::{Dims, LayerId};
use tch::{Device, Kind, Tensor};

/// Neighbouring rows to be copied within a cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Move {
    /// The first row to read.
    pub from: i64,
    /// The first row to write.
    pub to: i64,
    /// How many.
    pub len: i64,
}

/// Keys and values `[rows, K, E]` of each layer, keys rotated.
#[derive(Debug)]
pub struct KvCache {
    layers: Vec<(Tensor, Tensor)>,
    /// The layer that `layers` begins with.
    first: LayerId,
    rows: i64,
}

impl KvCache {
    /// Room for this many tokens of all sequences together, in the layers from `first` on.
    pub fn new(dims: &Dims, first: LayerId, rows: i64, options: (Kind, Device)) -> Self {
        let empty = || Tensor::zeros([rows, dims.kv_heads, dims.head_width], options);
        Self { layers: (first.0..dims.layers).map(|_| (empty(), empty())).collect(), first, rows }
    }

    /// Keys and values that were kept, `[L, rows, K, E]` each, for the layers from `first` on.
    ///
    /// # Panics
    /// When they are not of one shape, type and device.
    pub fn from_parts(first: LayerId, keys: &Tensor, values: &Tensor) -> Self {
        let of = |x: &Tensor| (x.size(), x.kind(), x.device());
        assert!(keys.dim() == 4 && of(keys) == of(values), "keys {:?}, values {:?}", of(keys), of(values));
        let layers = keys.unbind(0).into_iter().zip(values.unbind(0)).collect();
        Self { layers, first, rows: keys.size()[1] }
    }

    /// Keys and values of `len` rows from `row` on, in all layers: `[L, len, K, E]` each.
    pub fn part(&self, row: i64, len: i64) -> (Tensor, Tensor) {
        let stack = |of: fn(&(Tensor, Tensor)) -> &Tensor| {
            Tensor::stack(&self.layers.iter().map(|layer| of(layer).narrow(0, row, len)).collect::<Vec<_>>(), 0)
        };
        (stack(|layer| &layer.0), stack(|layer| &layer.1))
    }

    /// Copies rows in all layers, as if all at once: a row may be read by one move and written by another.
    pub fn copy(&mut self, moves: &[Move]) {
        if moves.is_empty() {
            return;
        }
        let rows = |start: fn(&Move) -> i64| -> Vec<i64> {
            moves.iter().flat_map(|part| (0..part.len).map(move |index| start(part) + index)).collect()
        };
        let device = self.layers.first().map_or(Device::Cpu, |(keys, _)| keys.device());
        let tensor = |rows: Vec<i64>| Tensor::from_slice(&rows).to_device(device);
        let (from, to) = (tensor(rows(|part| part.from)), tensor(rows(|part| part.to)));
        for (keys, values) in &mut self.layers {
            for tensor in [keys, values] {
                let read = tensor.index_select(0, &from);
                let _ = tensor.index_copy_(0, &to, &read);
            }
        }
    }

    /// Tokens that fit.
    pub fn rows(&self) -> i64 {
        self.rows
    }

    /// Keys and values of one layer.
    ///
    /// # Panics
    /// When the cache does not hold the layer.
    pub fn layer(&self, layer: LayerId) -> (&Tensor, &Tensor) {
        let (keys, values) = &self.layers[self.index(layer)];
        (keys, values)
    }

    /// Keys and values of one layer, to be written to.
    ///
    /// # Panics
    /// When the cache does not hold the layer.
    pub fn layer_mut(&mut self, layer: LayerId) -> (&mut Tensor, &mut Tensor) {
        let index = self.index(layer);
        let (keys, values) = &mut self.layers[index];
        (keys, values)
    }

    fn index(&self, layer: LayerId) -> usize {
        let index = layer.0.checked_sub(self.first.0).filter(|&index| index < self.layers.len());
        let held = self.first.0..self.first.0 + self.layers.len();
        index.unwrap_or_else(|| panic!("layer {} is not in a cache of the layers {held:?}", layer.0))
    }

    /// Stores the tokens of a pass, `k` and `v` `[N, K, E]`, at their `slots`.
    pub fn extend(&mut self, layer: LayerId, slots: &Slots, k: &Tensor, v: &Tensor) {
        let (keys, values) = self.layer_mut(layer);
        slots.write(keys, k);
        slots.write(values, v);
    }
}

/// Where the tokens of one pass go in the cache, the same for every layer.
#[derive(Debug)]
pub struct Slots {
    /// Rows of the pass that hold a token, `[n]`; all of them when there is no padding.
    rows: Option<Tensor>,
    /// Their rows in the cache, `[n]`.
    cache_rows: Tensor,
}

impl Slots {
    /// The slots of a pass.
    pub fn new(layout: &Layout, device: Device) -> Self {
        let (mut rows, mut cache_rows) = (Vec::new(), Vec::new());
        for span in layout.spans() {
            for token in 0..span.len {
                rows.push(span.row + token);
                cache_rows.push(span.past_row + span.past + token);
            }
        }
        let tensor = |values: &[i64]| Tensor::from_slice(values).to_device(device);
        Self { rows: (rows.len() as i64 != layout.rows()).then(|| tensor(&rows)), cache_rows: tensor(&cache_rows) }
    }

    fn write(&self, cache: &mut Tensor, x: &Tensor) {
        let selected = self.rows.as_ref().map(|rows| x.index_select(0, rows));
        let _ = cache.index_copy_(0, &self.cache_rows, selected.as_ref().unwrap_or(x));
    }
}
