//! Attention of encoders: every token sees all tokens of its sequence.

use reft_core::hooks::KeyValuePrefix;
use reft_core::layout::Layout;
use reft_core::site::Dims;
use tch::{Device, Kind, Tensor};

use crate::kernels::{self, AttentionMask, AttentionShape, Past};
use crate::rope::{Angles, Rope};

/// Which tokens of a pass see each other, and how that is computed; made once for all layers.
#[derive(Debug)]
pub struct EncoderAttentionPlan(EncoderAttentionForm);

/// Attention of a layer whose positions are in its rotation and not in the embeddings.
#[derive(Debug)]
pub struct RotaryAttention {
    /// Of queries and keys.
    pub rope: Rope,
    /// A token sees those at most so many places before and behind it; none for all.
    pub reach: Option<i64>,
}

#[derive(Debug)]
enum EncoderAttentionForm {
    /// The rows as they are: no padding, nothing saved for the backward pass. Where positions are in the embeddings nothing is
    /// rotated: cosines are 1 and sines 0.
    Kernel { sequences: Tensor, cos: Tensor, sin: Tensor },
    /// A padded block and libtorch's product, which drops probabilities too.
    Block(PaddedSequences),
}

impl EncoderAttentionPlan {
    /// For a pass of this layout with states of this type; `dropout` is the probability that one token's sight of another
    /// is dropped.
    pub fn new(layout: &Layout, dims: &Dims, kind: Kind, device: Device, dropout: f64) -> Self {
        if !kernels::cover(kind, device) || dropout > 0.0 {
            return Self::block(layout, kind, device, dropout);
        }
        let halves = [layout.rows(), dims.head_width / 2];
        let like = (Kind::Float, device);
        Self::kernel(layout, Tensor::ones(halves, like), Tensor::zeros(halves, like))
    }

    fn kernel(layout: &Layout, cos: Tensor, sin: Tensor) -> Self {
        let of_span = layout.spans().iter().flat_map(|span| [span.row, span.len, 0, 0]);
        let sequences = Tensor::from_slice(&of_span.collect::<Vec<_>>()).view([-1, 4]);
        Self(EncoderAttentionForm::Kernel { sequences, cos, sin })
    }

    /// For a pass of this layout in layers of this kind, behind a prefix of so many rows where there is one: all tokens see
    /// the prefix, and the sequences' positions begin behind it.
    pub fn rotary(
        kind_of_layer: &RotaryAttention,
        layout: &Layout,
        (kind, device): (Kind, Device),
        prefix: Option<i64>,
    ) -> Self {
        let angles = kind_of_layer.rope.of_pass(layout, prefix.unwrap_or(0), (kind, device));
        let longest = layout.spans().iter().map(|span| span.len).max().unwrap_or(0);
        let reach = kind_of_layer.reach.filter(|reach| longest > reach + 1);
        if kernels::cover(kind, device) && prefix.is_none() && reach.is_none() {
            let (cos, sin) = angles.tables();
            return Self::kernel(layout, cos.shallow_clone(), sin.shallow_clone());
        }
        let mut block = PaddedSequences::new(layout, kind, device, 0.0);
        if let Some(reach) = reach {
            let at = Tensor::arange(longest, (Kind::Int64, device));
            let beyond = (at.unsqueeze(1) - at.unsqueeze(0)).abs().gt(reach);
            let unseen = Tensor::zeros([longest, longest], (kind, device)).masked_fill(&beyond, f64::NEG_INFINITY);
            block.mask = &block.mask + &unseen;
        }
        let block = block.behind(prefix.unwrap_or(0));
        Self(EncoderAttentionForm::Block(PaddedSequences { angles: Some(angles), ..block }))
    }

    /// The same through libtorch's operations whatever the type and place: what the kernel is tested against.
    pub fn block(layout: &Layout, kind: Kind, device: Device, dropout: f64) -> Self {
        Self::after(0, layout, (kind, device), dropout)
    }

    /// The same for sequences that attend to this many rows before their own.
    pub fn after(prefix: i64, layout: &Layout, (kind, device): (Kind, Device), dropout: f64) -> Self {
        let block = PaddedSequences::new(layout, kind, device, dropout);
        Self(EncoderAttentionForm::Block(block.behind(prefix)))
    }

    /// Queries, keys and values `[N, D]` each; `[N, D]`.
    pub fn attend(&self, dims: &Dims, qkv: &[Tensor]) -> Tensor {
        self.attend_after(dims, qkv, None)
    }

    /// The same behind a prefix of as many rows as this was made for.
    pub fn attend_after(&self, dims: &Dims, qkv: &[Tensor], prefix: Option<&KeyValuePrefix>) -> Tensor {
        match &self.0 {
            EncoderAttentionForm::Kernel { sequences, cos, sin } => {
                let (heads, scaled_by) = (dims.heads, dims.head_width as f64);
                let shape = AttentionShape {
                    sequences,
                    cos,
                    sin,
                    heads,
                    kv_heads: heads,
                    sight: AttentionMask::Whole,
                    scaled_by,
                    ring: None,
                };
                kernels::expect(kernels::attention(&Tensor::cat(qkv, -1), &shape, Past::None))
            }
            EncoderAttentionForm::Block(block) => block.attend(dims, qkv, prefix),
        }
    }
}

/// Rows brought into a block `[B, T]`, sequences aligned at their first token.
#[derive(Debug)]
struct PaddedSequences {
    sequences: i64,
    longest: i64,
    /// Row of each cell `[B*T]`.
    rows: Tensor,
    /// Cell of each row `[N]`.
    cells: Tensor,
    /// 0 for a token's cell that is seen and -inf for another or an empty one, `[B, 1, 1 or T, T]`, behind a prefix
    /// `[B, 1, 1 or T, P + T]`.
    mask: Tensor,
    dropout: f64,
    /// Of queries and keys, by row; none where positions are in the embeddings.
    angles: Option<Angles>,
}

impl PaddedSequences {
    fn new(layout: &Layout, kind: Kind, device: Device, dropout: f64) -> Self {
        let spans = layout.spans();
        let longest = spans.iter().map(|span| span.len).max().unwrap_or(0);
        // Cells and rows without a token point at 0: what they hold is never seen.
        let (mut rows, mut cells) = (vec![0i64; spans.len() * longest as usize], vec![0i64; layout.rows() as usize]);
        let mut mask = vec![f32::NEG_INFINITY; rows.len()];
        for (index, span) in spans.iter().enumerate() {
            for token in 0..span.len {
                let cell = index as i64 * longest + token;
                rows[cell as usize] = span.row + token;
                cells[(span.row + token) as usize] = cell;
                mask[cell as usize] = 0.0;
            }
        }
        let sequences = spans.len() as i64;
        let tensor = |values: &[i64]| Tensor::from_slice(values).to_device(device);
        let mask = Tensor::from_slice(&mask).to_device(device).to_kind(kind).view([sequences, 1, 1, longest]);
        Self { sequences, longest, rows: tensor(&rows), cells: tensor(&cells), mask, dropout, angles: None }
    }

    /// The same behind this many rows that every token sees.
    fn behind(self, prefix: i64) -> Self {
        let [_, _, queries, _] = self.mask.size()[..] else { unreachable!("a mask has four sizes") };
        let seen = Tensor::zeros([self.sequences, 1, queries, prefix], (self.mask.kind(), self.mask.device()));
        Self { mask: Tensor::cat(&[&seen, &self.mask], -1), ..self }
    }

    fn attend(&self, dims: &Dims, qkv: &[Tensor], prefix: Option<&KeyValuePrefix>) -> Tensor {
        let shape = [self.sequences, self.longest, dims.heads, dims.head_width];
        let block = |x: &Tensor| x.index_select(0, &self.rows).view(shape).transpose(1, 2);
        let turned = |x: &Tensor| match &self.angles {
            Some(angles) => angles.rotate(&x.view([-1, dims.heads, dims.head_width])).view([-1, dims.width]),
            None => x.shallow_clone(),
        };
        let (q, k, v) = (block(&turned(&qkv[0])), block(&turned(&qkv[1])), block(&qkv[2]));
        let (k, v) = match prefix {
            None => (k, v),
            Some(prefix) => {
                // `[P, H, E]` for every sequence, `[B, H, P, E]`.
                let size = [self.sequences, dims.heads, prefix.keys.size()[0], dims.head_width];
                let every = |part: &Tensor| part.to_kind(k.kind()).transpose(0, 1).unsqueeze(0).expand(size, false);
                (Tensor::cat(&[&every(&prefix.keys), &k], 2), Tensor::cat(&[&every(&prefix.values), &v], 2))
            }
        };
        let seen = Tensor::scaled_dot_product_attention(&q, &k, &v, Some(&self.mask), self.dropout, false, None, false);
        seen.transpose(1, 2).reshape([self.sequences * self.longest, -1]).index_select(0, &self.cells)
    }
}
