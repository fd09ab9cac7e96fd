//! The KV cache: keys and values of past tokens, for every layer.
//!
//! A cache is rows, like everything else: a sequence owns consecutive rows and [`Span::past_row`] says where they begin.
//! Sequences of any length live side by side, and a new one may take the rows of one that is done.
//!
//! A layer with a window need not keep what no later token sees: there the rows of a place are a [`Ring`].
//!
//! [`Span::past_row`]: reft_core::layout::Span::past_row

use reft_core::layout::Layout;
use reft_core::site::{Dims, LayerId};
use tch::{Device, Kind, Tensor};

/// Neighbouring rows to be copied within a cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RowMove {
    /// The first row to read.
    pub from: i64,
    /// The first row to write.
    pub to: i64,
    /// How many.
    pub len: i64,
}

/// How a layer with a window keeps the tokens of a place: the token at position `p` in row `p mod rows` of the place's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ring {
    /// Rows of a place in layers without a window.
    room: i64,
    /// Rows of a place here.
    pub rows: i64,
}

impl Ring {
    /// The row here of what is `row` in layers without a window.
    pub fn row(self, row: i64) -> i64 {
        row / self.room * self.rows + row % self.room % self.rows
    }
}

/// Places of equal size, one for each sequence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SlotSizes {
    /// Rows of a place.
    pub room: i64,
    /// Tokens of a pass that may turn out not to belong to their sequence.
    pub guessed: i64,
}

impl SlotSizes {
    /// The ring of a layer with this window; none where it would save nothing.
    fn ring(self, window: Option<i64>) -> Option<Ring> {
        // What a guess has overwritten, the next token does not see.
        let rows = window?.saturating_add(self.guessed);
        (rows < self.room).then_some(Ring { room: self.room, rows })
    }
}

/// Keys and values `[rows, K, E]` of each layer, keys rotated.
#[derive(Debug)]
pub struct KvCache {
    layers: Vec<(Tensor, Tensor)>,
    /// The layer that `layers` begins with.
    first: LayerId,
    rows: i64,
    /// Rings of layers with windows, where sequences have places.
    rings: Vec<Option<Ring>>,
    places: Option<SlotSizes>,
}

impl KvCache {
    /// Room for this many tokens of all sequences together, in the layers from `first` on.
    pub fn new(dims: &Dims, first: LayerId, rows: i64, options: (Kind, Device)) -> Self {
        let empty = || Tensor::zeros([rows, dims.kv_heads, dims.head_width], options);
        let layers: Vec<_> = (first.0..dims.layers).map(|_| (empty(), empty())).collect();
        Self { rings: vec![None; layers.len()], layers, first, rows, places: None }
    }

    /// The same for sequences in places, of which layers with a window keep what the window and a guess need. `windows` has one
    /// for each layer of the model.
    pub fn bounded(
        dims: &Dims,
        windows: &[Option<i64>],
        (rows, places): (i64, SlotSizes),
        (kind, device): (Kind, Device),
    ) -> Self {
        let rings: Vec<Option<Ring>> = windows.iter().map(|&window| places.ring(window)).collect();
        let mut cache = Self { layers: Vec::new(), first: LayerId(0), rows, rings: Vec::new(), places: Some(places) };
        let empty = |rows: i64| Tensor::zeros([rows, dims.kv_heads, dims.head_width], (kind, device));
        cache.layers = rings.iter().map(|&ring| (empty(cache.held(ring)), empty(cache.held(ring)))).collect();
        cache.rings = rings;
        cache
    }

    /// Rows of layers with this ring, or with none.
    pub fn held(&self, ring: Option<Ring>) -> i64 {
        // The last place may be cut short in layers without a ring.
        ring.map_or(self.rows, |ring| (self.rows + ring.room - 1) / ring.room * ring.rows)
    }

    /// How layers with this window keep the tokens of a place; none where they keep all.
    pub fn ring(&self, window: Option<i64>) -> Option<Ring> {
        self.places?.ring(window)
    }

    /// Bytes of all keys and values.
    pub fn bytes(&self) -> usize {
        let of = |tensor: &Tensor| tensor.numel() * tensor.kind().elt_size_in_bytes();
        self.layers.iter().map(|(keys, values)| of(keys) + of(values)).sum()
    }

    /// Keys and values that were kept, `[L, rows, K, E]` each, for the layers from `first` on.
    ///
    /// # Panics
    /// When they are not of one shape, type and device.
    pub fn from_parts(first: LayerId, keys: &Tensor, values: &Tensor) -> Self {
        let of = |x: &Tensor| (x.size(), x.kind(), x.device());
        assert!(keys.dim() == 4 && of(keys) == of(values), "keys {:?}, values {:?}", of(keys), of(values));
        let layers = keys.unbind(0).into_iter().zip(values.unbind(0)).collect();
        Self { rings: vec![None; keys.size()[0] as usize], layers, first, rows: keys.size()[1], places: None }
    }

    /// Keys and values of `len` rows from `row` on, in all layers: `[L, len, K, E]` each.
    pub fn part(&self, row: i64, len: i64) -> (Tensor, Tensor) {
        let stack = |of: fn(&(Tensor, Tensor)) -> &Tensor| {
            Tensor::stack(&self.layers.iter().map(|layer| of(layer).narrow(0, row, len)).collect::<Vec<_>>(), 0)
        };
        (stack(|layer| &layer.0), stack(|layer| &layer.1))
    }

    /// Copies rows in all layers, as if all at once: a row may be read by one move and written by another.
    pub fn copy(&mut self, moves: &[RowMove]) {
        if moves.is_empty() {
            return;
        }
        let device = self.layers.first().map_or(Device::Cpu, |(keys, _)| keys.device());
        let mut known: Vec<(Option<Ring>, [Tensor; 2])> = Vec::new();
        for ((keys, values), &ring) in self.layers.iter_mut().zip(&self.rings) {
            let index = known.iter().position(|(of, _)| *of == ring).unwrap_or_else(|| {
                let rows = |start: fn(&RowMove) -> i64| Tensor::from_slice(&rows(moves, start, ring)).to_device(device);
                known.push((ring, [rows(|part| part.from), rows(|part| part.to)]));
                known.len() - 1
            });
            let [from, to] = &known[index].1;
            for tensor in [keys, values] {
                let read = tensor.index_select(0, from);
                let _ = tensor.index_copy_(0, to, &read);
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

/// The rows that moves read or write, by where they start: of a ring the last ones, since earlier tokens are overwritten.
fn rows(moves: &[RowMove], start: fn(&RowMove) -> i64, ring: Option<Ring>) -> Vec<i64> {
    let of_move = |part: &RowMove| {
        let begin = ring.map_or(0, |ring| (part.len - ring.rows).max(0));
        (begin..part.len).map(|index| start(part) + index).map(|row| ring.map_or(row, |ring| ring.row(row))).collect()
    };
    moves.iter().flat_map(|part| -> Vec<i64> { of_move(part) }).collect()
}

/// Where the tokens of one pass go in the cache, the same for every layer of a kind.
#[derive(Debug)]
pub struct Slots {
    /// Rows of the pass that hold a token, `[n]`; all of them when there is no padding.
    rows: Option<Tensor>,
    /// Their rows in the cache, `[n]`.
    cache_rows: Tensor,
}

impl Slots {
    /// The slots of a pass; of a sequence that is longer than its ring, the last tokens have some.
    pub fn new(layout: &Layout, ring: Option<Ring>, device: Device) -> Self {
        let (mut rows, mut cache_rows) = (Vec::new(), Vec::new());
        for span in layout.spans() {
            for token in ring.map_or(0, |ring| (span.len - ring.rows).max(0))..span.len {
                let row = span.past_row + span.past + token;
                rows.push(span.row + token);
                cache_rows.push(ring.map_or(row, |ring| ring.row(row)));
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
