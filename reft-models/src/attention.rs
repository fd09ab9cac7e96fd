//! Causal attention with grouped key/value heads, over any layout, with or without a past.
//!
//! One rule holds for training, prefill and decoding: token `i` of a sequence sees its past and the tokens `0 ..= i` of
//! the pass. Which arithmetic serves it depends on the place and type alone:
//!
//! | weights | arithmetic | why (`make bench` measures it) |
//! |---|---|---|
//! | f32, bf16 on the CPU | the fused kernel | no padding, no mask, nothing kept for the backward pass; libtorch's fused CPU kernel has a slow bf16 backward |
//! | others, and passes with a prefix | explicit products over a padded batch | few large batched products; gradients reach the prefix |

use std::collections::BTreeMap;

use reft_core::hooks::KeyValuePrefix;
use reft_core::layout::Layout;
use reft_core::site::{Dims, LayerId};
use tch::{Device, Kind, Tensor};

use crate::kernels::{self, Past, Shape};
use crate::kv_cache::{KvCache, Slots};
use crate::rope::Angles;

/// Where the keys and values of earlier tokens are.
#[derive(Debug)]
pub enum Cache<'a> {
    /// Nowhere: every sequence begins in this pass.
    None,
    /// Constant ones, while gradients flow through the tokens of this pass.
    Fixed(&'a KvCache),
    /// In a cache that this pass adds to. Not differentiable: such a pass runs under [`tch::no_grad`].
    Grow(&'a mut KvCache),
}

/// What every layer's attention needs to know of a pass; computed once.
#[derive(Debug)]
pub struct Plan {
    angles: Angles,
    how: How,
    prefixes: Prefixes,
}

/// What every sequence attends to before its own tokens, by layer; as many rows in each, or none at all.
pub type Prefixes = BTreeMap<LayerId, KeyValuePrefix>;

#[derive(Debug)]
enum How {
    /// For each sequence: first row, tokens, first row of its past, tokens of its past. `[B, 4]`.
    Kernel(Tensor),
    Composite(Block),
}

impl Plan {
    /// The plan of a pass for states of this type.
    pub fn new(layout: &Layout, angles: Angles, cache: &Cache<'_>, kind: Kind, device: Device) -> Self {
        let how = if kernels::cover(kind, device) {
            let of_span = layout.spans().iter().flat_map(|span| [span.row, span.len, span.past_row, span.past]);
            How::Kernel(Tensor::from_slice(&of_span.collect::<Vec<_>>()).view([-1, 4]))
        } else {
            How::Composite(Block::new(layout, cache, 0, kind, device))
        };
        Self { angles, how, prefixes: Prefixes::new() }
    }

    /// The same pass through libtorch's operations whatever the type and place: what the kernels are tested against.
    pub fn composite(layout: &Layout, angles: Angles, cache: &Cache<'_>, kind: Kind, device: Device) -> Self {
        Self::after(Prefixes::new(), layout, angles, cache, (kind, device))
    }

    /// The plan of a pass whose sequences attend to these rows first. The angles must be those of positions behind them.
    pub fn after(
        prefixes: Prefixes,
        layout: &Layout,
        angles: Angles,
        cache: &Cache<'_>,
        (kind, device): (Kind, Device),
    ) -> Self {
        let rows = prefixes.values().next().map_or(0, |prefix| prefix.keys.size()[0]);
        Self { angles, how: How::Composite(Block::new(layout, cache, rows, kind, device)), prefixes }
    }

    /// Attention of one layer. `qkv` `[N, (H + 2K) E]`, not yet rotated; `[N, H E]`.
    ///
    /// # Panics
    /// When types, shapes, the layout and the cache do not belong together, when the cache has no room for the pass, and
    /// when a cache grows while gradients are on.
    pub fn attend(&self, dims: &Dims, qkv: &Tensor, cache: &mut Cache<'_>, layer: LayerId) -> Tensor {
        let grows = matches!(cache, Cache::Grow(_));
        assert!(!grows || !kernels::gradients_are_on(), "a cache cannot grow while gradients are on: use no_grad");
        match &self.how {
            How::Composite(block) => block.attend(dims, qkv, (&self.angles, self.prefixes.get(&layer)), cache, layer),
            How::Kernel(sequences) => {
                let past = match cache {
                    Cache::None => Past::None,
                    Cache::Fixed(cache) => {
                        let (k, v) = cache.layer(layer);
                        Past::Fixed(k, v)
                    }
                    Cache::Grow(cache) => {
                        let (k, v) = cache.layer_mut(layer);
                        Past::Grow(k, v)
                    }
                };
                let (cos, sin) = self.angles.tables();
                let shape = Shape { sequences, cos, sin, heads: dims.heads, kv_heads: dims.kv_heads, causal: true };
                kernels::expect(kernels::attention(qkv, &shape, past))
            }
        }
    }
}

/// Rows brought into a block: queries `[B, T]`, keys `[B, P]`, sequences aligned at their first token. Whatever it
/// holds beyond a sequence's tokens is seen by no real query.
#[derive(Debug)]
struct Block {
    sequences: i64,
    /// `T`, the longest sequence of the pass.
    longest: i64,
    /// `P`, keys of the longest sequence with its past and the prefix.
    end: i64,
    /// Row of each query cell `[B*T]`.
    query_rows: Tensor,
    /// Row of each key cell `[B*P]`: in the prefix followed by the pass, the growing cache, or the fixed past and the pass.
    key_rows: Tensor,
    /// Query cell of each row `[N]`.
    cells: Tensor,
    /// 0 where a query sees a key and -inf elsewhere, `[B, 1, T, P]`.
    mask: Tensor,
    slots: Option<Slots>,
}

impl Block {
    fn new(layout: &Layout, cache: &Cache<'_>, prefix: i64, kind: Kind, device: Device) -> Self {
        let spans = layout.spans();
        let longest = spans.iter().map(|span| span.len).max().unwrap_or(0);
        let end = prefix + spans.iter().map(|span| span.past + span.len).max().unwrap_or(0);
        let first_new = prefix
            + match cache {
                Cache::Fixed(past) => past.rows(),
                Cache::None | Cache::Grow(_) => 0,
            };
        // Cells and rows without a token point at 0: what they hold is never seen.
        let mut query_rows = vec![0i64; spans.len() * longest as usize];
        let mut key_rows = vec![0i64; spans.len() * end as usize];
        let mut cells = vec![0i64; layout.rows() as usize];
        for (index, span) in spans.iter().enumerate() {
            for token in 0..span.len {
                let cell = index as i64 * longest + token;
                query_rows[cell as usize] = span.row + token;
                cells[(span.row + token) as usize] = cell;
            }
            for row in 0..prefix {
                key_rows[(index as i64 * end + row) as usize] = row;
            }
            for position in 0..span.past + span.len {
                let new = position - span.past;
                let in_pass = new >= 0 && !matches!(cache, Cache::Grow(_));
                let row = if in_pass { first_new + span.row + new } else { prefix + span.past_row + position };
                key_rows[(index as i64 * end + prefix + position) as usize] = row;
            }
        }
        let tensor = |values: &[i64]| Tensor::from_slice(values).to_device(device);
        Self {
            sequences: spans.len() as i64,
            longest,
            end,
            query_rows: tensor(&query_rows),
            key_rows: tensor(&key_rows),
            cells: tensor(&cells),
            mask: mask(layout, longest, [prefix, end], kind, device),
            slots: matches!(cache, Cache::Grow(_)).then(|| Slots::new(layout, device)),
        }
    }

    fn attend(
        &self,
        dims: &Dims,
        qkv: &Tensor,
        (angles, prefix): (&Angles, Option<&KeyValuePrefix>),
        cache: &mut Cache<'_>,
        layer: LayerId,
    ) -> Tensor {
        let (b, t, e) = (self.sequences, self.longest, dims.head_width);
        let (kv, group) = (dims.kv_heads, dims.heads / dims.kv_heads);
        let parts = qkv.split_with_sizes([dims.heads * e, kv * e, kv * e], -1);
        let heads = |part: &Tensor| part.reshape([part.size()[0], -1, e]);
        let (q, k, v) = (angles.rotate(&heads(&parts[0])), angles.rotate(&heads(&parts[1])), heads(&parts[2]));
        let (keys, values) = match cache {
            Cache::None => (k, v),
            Cache::Fixed(cache) => {
                let (past_k, past_v) = cache.layer(layer);
                (Tensor::cat(&[past_k, &k], 0), Tensor::cat(&[past_v, &v], 0))
            }
            Cache::Grow(cache) => {
                cache.extend(layer, self.slots.as_ref().expect("made for a growing cache"), &k, &v);
                let (k, v) = cache.layer(layer);
                (k.shallow_clone(), v.shallow_clone())
            }
        };
        let (keys, values) = match prefix {
            None => (keys, values),
            Some(prefix) => {
                let before = |part: &Tensor, own: &Tensor| Tensor::cat(&[&part.to_kind(own.kind()), own], 0);
                (before(&prefix.keys, &keys), before(&prefix.values, &values))
            }
        };
        let gather = |x: &Tensor| {
            let x = x.index_select(0, &self.key_rows).view([b, self.end, kv, e]);
            x.transpose(1, 2).reshape([b * kv, self.end, e])
        };
        let (keys, values) = (gather(&keys), gather(&values));
        let q = (q * (e as f64).sqrt().recip()).index_select(0, &self.query_rows);
        // Query heads that share a key/value head are stacked along the tokens: one product for the group.
        let q = q.view([b, t, kv, group, e]).permute([0, 2, 3, 1, 4]).reshape([b * kv, group * t, e]);
        let scores = q.bmm(&keys.transpose(1, 2)).view([b, kv * group, t, self.end]) + &self.mask;
        let seen = scores.softmax(-1, q.kind()).view([b * kv, group * t, self.end]);
        let out = seen.bmm(&values).view([b, kv, group, t, e]).permute([0, 3, 1, 2, 4]);
        out.reshape([b * t, dims.heads * e]).index_select(0, &self.cells)
    }
}

fn mask(layout: &Layout, longest: i64, [prefix, end]: [i64; 2], kind: Kind, device: Device) -> Tensor {
    let positions = |n: i64| Tensor::arange(n, (Kind::Int64, device));
    let past: Vec<i64> = layout.spans().iter().map(|span| prefix + span.past).collect();
    let last_seen = Tensor::from_slice(&past).to_device(device).unsqueeze(1) + positions(longest).unsqueeze(0);
    let hidden = positions(end).gt_tensor(&last_seen.unsqueeze(-1));
    Tensor::zeros(hidden.size(), (kind, device)).masked_fill(&hidden, f64::NEG_INFINITY).unsqueeze(1)
}
