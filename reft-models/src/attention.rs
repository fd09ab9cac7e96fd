//! Causal attention with grouped key/value heads, over any layout, with or without a cache.
//!
//! Rows are brought into a block `[B, T]` (right-aligned at position `past`), where one rule holds for training,
//! prefill and decoding: query `i` of a sequence sees the keys at positions `0 ..= past + i`. Whatever the block holds
//! beyond a sequence's tokens is seen by no real query.

use reft_core::layout::Layout;
use reft_core::site::{Dims, LayerId};
use tch::{Device, Kind, Tensor};

use crate::kv_cache::{KvCache, Slots};

/// How the rows of one pass form a block; computed once and used by every layer.
#[derive(Debug)]
pub struct Block {
    sequences: i64,
    /// `T`, the longest sequence of the pass.
    longest: i64,
    /// Positions of keys that can be seen, from 0.
    end: i64,
    /// Row of each cell `[B*T]` and cell of each row `[N]`, unless rows and cells are the same.
    moves: Option<(Tensor, Tensor)>,
    /// 0 where a query sees a key and -inf elsewhere, `[B or 1, 1, T, end]`; none when every query sees every key.
    mask: Option<Tensor>,
    slots: Option<Slots>,
}

impl Block {
    /// The block of a pass. `cached` says whether keys and values go through a cache.
    pub fn new(layout: &Layout, cached: bool, kind: Kind, device: Device) -> Self {
        let spans = layout.spans();
        let longest = spans.iter().map(|span| span.len).max().unwrap_or(0);
        let end = spans.iter().map(|span| span.past + span.len).max().unwrap_or(0);
        Self {
            sequences: spans.len() as i64,
            longest,
            end: if cached { end } else { longest },
            moves: moves(layout, longest, device),
            mask: mask(layout, longest, if cached { end } else { longest }, cached, kind, device),
            slots: cached.then(|| Slots::new(layout, device)),
        }
    }

    /// Rows `[N, heads, E]` to `[B, T, heads, E]`.
    fn gather(&self, x: &Tensor) -> Tensor {
        let (_, heads, width) = x.size3().expect("[N, heads, E]");
        let shape = [self.sequences, self.longest, heads, width];
        match &self.moves {
            Some((row_of_cell, _)) => x.index_select(0, row_of_cell).view(shape),
            None => x.reshape(shape),
        }
    }

    /// Cells `[B*T, W]` to rows `[N, W]`.
    fn scatter(&self, x: &Tensor) -> Tensor {
        match &self.moves {
            Some((_, cell_of_row)) => x.index_select(0, cell_of_row),
            None => x.shallow_clone(),
        }
    }
}

fn moves(layout: &Layout, longest: i64, device: Device) -> Option<(Tensor, Tensor)> {
    let spans = layout.spans();
    let cells = spans.len() as i64 * longest;
    let aligned = spans.iter().enumerate().all(|(index, span)| span.row == index as i64 * longest);
    if aligned && layout.rows() == cells {
        return None;
    }
    // Cells and rows without a token point at row or cell 0: what they hold is never seen.
    let mut row_of_cell = vec![0i64; cells as usize];
    let mut cell_of_row = vec![0i64; layout.rows() as usize];
    for (index, span) in spans.iter().enumerate() {
        for token in 0..span.len {
            let (cell, row) = (index as i64 * longest + token, span.row + token);
            row_of_cell[cell as usize] = row;
            cell_of_row[row as usize] = cell;
        }
    }
    let tensor = |values: &[i64]| Tensor::from_slice(values).to_device(device);
    Some((tensor(&row_of_cell), tensor(&cell_of_row)))
}

fn mask(layout: &Layout, longest: i64, end: i64, cached: bool, kind: Kind, device: Device) -> Option<Tensor> {
    let spans = layout.spans();
    if longest == 1 && spans.iter().all(|span| !cached || span.past + 1 == end) {
        return None;
    }
    let positions = |n: i64| Tensor::arange(n, (Kind::Int64, device));
    let past = if cached { spans.iter().map(|span| span.past).collect() } else { vec![0i64] };
    let last_seen = Tensor::from_slice(&past).to_device(device).unsqueeze(1) + positions(longest).unsqueeze(0);
    let hidden = positions(end).gt_tensor(&last_seen.unsqueeze(-1));
    let mask = Tensor::zeros(hidden.size(), (kind, device)).masked_fill(&hidden, f64::NEG_INFINITY);
    Some(mask.unsqueeze(1))
}

/// Attention of one layer. `q` `[N, H, E]`, `k` and `v` `[N, K, E]`, rotated already; `[N, H*E]`.
pub fn attend(
    dims: &Dims,
    block: &Block,
    (q, k, v): (&Tensor, &Tensor, &Tensor),
    cache: Option<(&mut KvCache, LayerId)>,
) -> Tensor {
    let (b, t, e) = (block.sequences, block.longest, dims.head_width);
    let (kv, group) = (dims.kv_heads, dims.heads / dims.kv_heads);
    let (keys, values) = match (cache, &block.slots) {
        (Some((cache, layer)), Some(slots)) => cache.extend(layer, slots, k, v, block.end),
        _ => (block.gather(k).transpose(1, 2), block.gather(v).transpose(1, 2)),
    };
    let keys = keys.reshape([b * kv, block.end, e]);
    let values = values.reshape([b * kv, block.end, e]);
    let q = block.gather(&(q * (e as f64).sqrt().recip()));
    // Query heads that share a key/value head are stacked along the tokens: one product for the group.
    let q = q.view([b, t, kv, group, e]).permute([0, 2, 3, 1, 4]).reshape([b * kv, group * t, e]);
    let mut scores = q.bmm(&keys.transpose(1, 2));
    if let Some(mask) = &block.mask {
        scores = (scores.view([b, kv * group, t, block.end]) + mask).view([b * kv, group * t, block.end]);
    }
    let out = scores.softmax(-1, q.kind()).bmm(&values);
    let out = out.view([b, kv, group, t, e]).permute([0, 3, 1, 2, 4]).reshape([b * t, dims.heads * e]);
    block.scatter(&out)
}
