//! Causal attention with grouped key/value heads, over any layout, with or without a past.
//!
//! One rule holds for training, prefill and decoding: token `i` of a sequence sees its past and the tokens `0 ..= i` of
//! the pass, of these the last `W` where the layer has a window of `W`. Which arithmetic serves it depends on the place,
//! the type and the layer's [`AttentionRule`]:
//!
//! | weights and rule | arithmetic | why (`make bench` measures it) |
//! |---|---|---|
//! | f32, bf16 on the CPU | the fused kernel | no padding, no mask, nothing kept for the backward pass; libtorch's fused CPU kernel has a slow bf16 backward |
//! | others, soft-capped scores, and passes with a prefix | explicit products over a padded batch | few large batched products; gradients reach the prefix |

use std::collections::BTreeMap;

use reft_core::hooks::KeyValuePrefix;
use reft_core::layout::Layout;
use reft_core::site::{Dims, LayerId};
use tch::{Device, Kind, Tensor};

use crate::kernels::{self, AttentionMask, AttentionShape, Past};
use crate::kv_cache::{KvCache, Ring, Slots};
use crate::rope::Angles;

/// Where the keys and values of earlier tokens are.
#[derive(Debug)]
pub enum PastKeyValues<'a> {
    /// Nowhere: every sequence begins in this pass.
    None,
    /// Constant ones, while gradients flow through the tokens of this pass.
    Fixed(&'a KvCache),
    /// In a cache that this pass adds to. Not differentiable: such a pass runs under [`tch::no_grad`].
    Grow(&'a mut KvCache),
}

/// How the scores of a layer's queries and keys become weights.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct AttentionRule {
    /// `W`: a token sees its own key and the `W - 1` before it. None for all.
    pub window: Option<i64>,
    /// `s`: scores are `q k / √s`.
    pub scaled_by: f64,
    /// `c`: scores `x` become `c tanh(x / c)`.
    pub cap: Option<f64>,
}

impl AttentionRule {
    /// Of a layer that sees everything, with heads of width `E`: scores are `q k / √E`.
    pub fn plain(head_width: i64) -> Self {
        Self { window: None, scaled_by: head_width as f64, cap: None }
    }
}

/// One kind of layers in a pass: where its tokens are, and how they attend.
#[derive(Debug)]
pub struct AttentionVariant {
    /// The rotation of the rows.
    pub angles: Angles,
    /// How scores become weights.
    pub rule: AttentionRule,
}

/// What every layer's attention needs to know of a pass; computed once. Layers are of as many kinds as there are ways.
#[derive(Debug)]
pub struct AttentionPlan {
    ways: Vec<(AttentionVariant, AttentionForm)>,
    prefixes: Prefixes,
}

#[derive(Debug)]
enum AttentionForm {
    Kernel {
        /// For each sequence: first row, tokens, first row of its past, tokens of its past. `[B, 4]`.
        sequences: Tensor,
        ring: Option<Ring>,
    },
    Composite(PaddedBatch),
}

/// What every sequence attends to before its own tokens, by layer; as many rows in each, or none at all.
pub type Prefixes = BTreeMap<LayerId, KeyValuePrefix>;

impl AttentionPlan {
    /// The plan of a pass for states of this type.
    pub fn new(
        layout: &Layout,
        ways: Vec<AttentionVariant>,
        cache: &PastKeyValues<'_>,
        kind: Kind,
        device: Device,
    ) -> Self {
        let fused = |way: &AttentionVariant| kernels::cover(kind, device) && way.rule.cap.is_none();
        Self::with(Prefixes::new(), (layout, ways), cache, (kind, device), fused)
    }

    /// The same pass through libtorch's operations whatever the type and place: what the kernels are tested against.
    pub fn composite(
        layout: &Layout,
        ways: Vec<AttentionVariant>,
        cache: &PastKeyValues<'_>,
        kind: Kind,
        device: Device,
    ) -> Self {
        Self::after(Prefixes::new(), layout, ways, cache, (kind, device))
    }

    /// The plan of a pass whose sequences attend to these rows first. The angles must be those of positions behind them.
    pub fn after(
        prefixes: Prefixes,
        layout: &Layout,
        ways: Vec<AttentionVariant>,
        cache: &PastKeyValues<'_>,
        options: (Kind, Device),
    ) -> Self {
        Self::with(prefixes, (layout, ways), cache, options, |_| false)
    }

    fn with(
        prefixes: Prefixes,
        (layout, ways): (&Layout, Vec<AttentionVariant>),
        cache: &PastKeyValues<'_>,
        (kind, device): (Kind, Device),
        fused: impl Fn(&AttentionVariant) -> bool,
    ) -> Self {
        let rows = prefixes.values().next().map_or(0, |prefix| prefix.keys.size()[0]);
        let how = |way: AttentionVariant| {
            let ring = match cache {
                PastKeyValues::Grow(cache) => cache.ring(way.rule.window),
                PastKeyValues::None | PastKeyValues::Fixed(_) => None,
            };
            let how = if fused(&way) {
                AttentionForm::Kernel { sequences: sequences(layout, ring), ring }
            } else {
                AttentionForm::Composite(PaddedBatch::new(layout, cache, (rows, way.rule.window, ring), (kind, device)))
            };
            (way, how)
        };
        Self { ways: ways.into_iter().map(how).collect(), prefixes }
    }

    /// Attention of one layer, which is of kind `way`. `qkv` `[N, (H + 2K) E]`, not yet rotated; `[N, H E]`.
    ///
    /// # Panics
    /// When types, shapes, the layout and the cache do not belong together, when the cache has no room for the pass, and
    /// when a cache grows while gradients are on.
    pub fn attend(
        &self,
        dims: &Dims,
        qkv: &Tensor,
        cache: &mut PastKeyValues<'_>,
        (layer, way): (LayerId, usize),
    ) -> Tensor {
        let grows = matches!(cache, PastKeyValues::Grow(_));
        assert!(!grows || !kernels::gradients_are_on(), "a cache cannot grow while gradients are on: use no_grad");
        let (way, how) = &self.ways[way];
        match how {
            AttentionForm::Composite(block) => block.attend(dims, qkv, (way, self.prefixes.get(&layer)), cache, layer),
            AttentionForm::Kernel { sequences, ring } => fused(dims, qkv, (way, sequences, *ring), cache, layer),
        }
    }
}

/// What the kernel needs to know of each sequence, `[B, 4]`.
fn sequences(layout: &Layout, ring: Option<Ring>) -> Tensor {
    let begin = |row: i64| ring.map_or(row, |ring| ring.row(row));
    let of_span = layout.spans().iter().flat_map(|span| [span.row, span.len, begin(span.past_row), span.past]);
    Tensor::from_slice(&of_span.collect::<Vec<_>>()).view([-1, 4])
}

/// Attention by the kernel.
fn fused(
    dims: &Dims,
    qkv: &Tensor,
    (way, sequences, ring): (&AttentionVariant, &Tensor, Option<Ring>),
    cache: &mut PastKeyValues<'_>,
    layer: LayerId,
) -> Tensor {
    let past = match cache {
        PastKeyValues::None => Past::None,
        PastKeyValues::Fixed(cache) => {
            let (k, v) = cache.layer(layer);
            Past::Fixed(k, v)
        }
        PastKeyValues::Grow(cache) => {
            let (k, v) = cache.layer_mut(layer);
            Past::Grow(k, v)
        }
    };
    let (cos, sin) = way.angles.tables();
    let AttentionRule { window, scaled_by, .. } = way.rule;
    let sight = AttentionMask::Causal { window };
    let (heads, kv_heads, ring) = (dims.heads, dims.kv_heads, ring.map(|ring| ring.rows));
    let shape = AttentionShape { sequences, cos, sin, heads, kv_heads, sight, scaled_by, ring };
    kernels::expect(kernels::attention(qkv, &shape, past))
}

/// Rows brought into a block: queries `[B, T]`, keys `[B, P]`, sequences aligned at their first token. Whatever it
/// holds beyond a sequence's tokens is seen by no real query.
#[derive(Debug)]
struct PaddedBatch {
    sequences: i64,
    /// `T`, the longest sequence of the pass.
    longest: i64,
    /// `P`, keys of the longest sequence with its past and the prefix.
    end: i64,
    /// Row of each query cell `[B*T]`.
    query_rows: Tensor,
    /// Row of each key cell `[B*P]`: in the prefix followed by the pass, the growing cache, or a past that is fixed or a ring
    /// and the pass.
    key_rows: Tensor,
    /// Query cell of each row `[N]`.
    cells: Tensor,
    /// 0 where a query sees a key and -inf elsewhere, `[B, 1, T, P]`.
    mask: Tensor,
    slots: Option<Slots>,
    /// Whether the growing cache forgets: new keys then come from the pass.
    forgets: bool,
}

impl PaddedBatch {
    fn new(
        layout: &Layout,
        cache: &PastKeyValues<'_>,
        (prefix, window, ring): (i64, Option<i64>, Option<Ring>),
        (kind, device): (Kind, Device),
    ) -> Self {
        let spans = layout.spans();
        let longest = spans.iter().map(|span| span.len).max().unwrap_or(0);
        let end = prefix + spans.iter().map(|span| span.past + span.len).max().unwrap_or(0);
        let first_new = prefix
            + match cache {
                PastKeyValues::Fixed(past) => past.rows(),
                PastKeyValues::Grow(past) => ring.map_or(0, |ring| past.held(Some(ring))),
                PastKeyValues::None => 0,
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
                let in_pass = new >= 0 && (ring.is_some() || !matches!(cache, PastKeyValues::Grow(_)));
                let past = span.past_row + position;
                let past = prefix + ring.map_or(past, |ring| ring.row(past));
                let row = if in_pass { first_new + span.row + new } else { past };
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
            mask: mask(layout, longest, [prefix, end], window, (kind, device)),
            slots: matches!(cache, PastKeyValues::Grow(_)).then(|| Slots::new(layout, ring, device)),
            forgets: ring.is_some(),
        }
    }

    fn attend(
        &self,
        dims: &Dims,
        qkv: &Tensor,
        (way, prefix): (&AttentionVariant, Option<&KeyValuePrefix>),
        cache: &mut PastKeyValues<'_>,
        layer: LayerId,
    ) -> Tensor {
        let (b, t, e) = (self.sequences, self.longest, dims.head_width);
        let (kv, group) = (dims.kv_heads, dims.heads / dims.kv_heads);
        let parts = qkv.split_with_sizes([dims.heads * e, kv * e, kv * e], -1);
        let heads = |part: &Tensor| part.reshape([part.size()[0], -1, e]);
        let rotated = |part: &Tensor| way.angles.rotate(&heads(part));
        let (q, k, v) = (rotated(&parts[0]), rotated(&parts[1]), heads(&parts[2]));
        let (keys, values) = match cache {
            PastKeyValues::None => (k, v),
            PastKeyValues::Fixed(cache) => {
                let (past_k, past_v) = cache.layer(layer);
                (Tensor::cat(&[past_k, &k], 0), Tensor::cat(&[past_v, &v], 0))
            }
            PastKeyValues::Grow(cache) => {
                let slots = self.slots.as_ref().expect("made for a growing cache");
                let (past_k, past_v) = cache.layer(layer);
                let before = self.forgets.then(|| (Tensor::cat(&[past_k, &k], 0), Tensor::cat(&[past_v, &v], 0)));
                cache.extend(layer, slots, &k, &v);
                let (k, v) = cache.layer(layer);
                before.unwrap_or_else(|| (k.shallow_clone(), v.shallow_clone()))
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
        let q = (q * way.rule.scaled_by.sqrt().recip()).index_select(0, &self.query_rows);
        // Query heads that share a key/value head are stacked along the tokens: one product for the group.
        let q = q.view([b, t, kv, group, e]).permute([0, 2, 3, 1, 4]).reshape([b * kv, group * t, e]);
        let scores = q.bmm(&keys.transpose(1, 2)).view([b, kv * group, t, self.end]);
        let scores = way.rule.cap.map_or_else(|| scores.shallow_clone(), |cap| (&scores / cap).tanh() * cap);
        let seen = (scores + &self.mask).softmax(-1, q.kind()).view([b * kv, group * t, self.end]);
        let out = seen.bmm(&values).view([b, kv, group, t, e]).permute([0, 3, 1, 2, 4]);
        out.reshape([b * t, dims.heads * e]).index_select(0, &self.cells)
    }
}

/// 0 where a query sees a key and -inf elsewhere, `[B, 1, T, P]`.
fn mask(
    layout: &Layout,
    longest: i64,
    [prefix, end]: [i64; 2],
    window: Option<i64>,
    (kind, device): (Kind, Device),
) -> Tensor {
    let positions = |n: i64| Tensor::arange(n, (Kind::Int64, device));
    let past: Vec<i64> = layout.spans().iter().map(|span| prefix + span.past).collect();
    let last_seen = Tensor::from_slice(&past).to_device(device).unsqueeze(1) + positions(longest).unsqueeze(0);
    let keys = positions(end);
    let mut hidden = keys.gt_tensor(&last_seen.unsqueeze(-1));
    if let Some(window) = window {
        // A cell behind its sequence's last token sees something, so that its numbers stay finite.
        let first_seen = last_seen.clamp_max(end - 1) - (window - 1);
        hidden = hidden.logical_or(&keys.lt_tensor(&first_seen.unsqueeze(-1)));
    }
    Tensor::zeros(hidden.size(), (kind, device)).masked_fill(&hidden, f64::NEG_INFINITY).unsqueeze(1)
}
