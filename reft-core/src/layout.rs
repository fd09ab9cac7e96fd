//! Which row of the residual stream holds which token.
//!
//! A pass over several sequences is one matrix of rows `[N, D]`. Packed, right-padded, left-padded, prefill and
//! decode are layouts of the same rows; only attention and positions ever ask which is which.

use tch::{Device, Kind, Tensor};

/// One sequence inside a pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// Row of the sequence's first token in this pass.
    pub row: i64,
    /// Tokens before it that the cache already holds.
    pub past: i64,
    /// Row of the cache that holds, or will hold, the sequence's token at position 0.
    pub past_row: i64,
    /// Tokens in this pass.
    pub len: i64,
    /// Length of the whole prompt, whichever part of it is in this pass.
    pub prompt: i64,
    /// Which adaptation edits the sequence, where those of a pass belong to different ones.
    pub adaptation: usize,
}

/// Tokens of one sequence and how many of them are the prompt: what a layout is built from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// Tokens in the pass.
    pub len: i64,
    /// Tokens of the prompt; the rest is the answer.
    pub prompt: i64,
}

/// Where the rows that hold no token are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Padding {
    /// There are none: sequences follow one another.
    Packed,
    /// Every sequence is filled up at its end to the longest.
    Right,
    /// Every sequence is filled up at its beginning to the longest.
    Left,
}

/// An interchange within one pass (eq. 1): a base sequence takes states from a source sequence, which no link edits.
///
/// The `k`-th base position takes the state at the `k`-th source position.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// Index of the set of interventions (of `refts`) that makes this interchange.
    pub part: usize,
    /// Index of the sequence that is changed.
    pub base: usize,
    /// Its positions.
    pub base_positions: Vec<i64>,
    /// Index of the sequence whose states are taken.
    pub source: usize,
    /// Its positions, as many.
    pub source_positions: Vec<i64>,
}

/// The rows of one pass. Built once per batch, on the host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layout {
    spans: Vec<Span>,
    rows: i64,
    links: Vec<Link>,
    /// Of each sequence, the only set of interventions that edits it; empty where all of them do.
    parts: Vec<usize>,
}

impl Layout {
    /// Sequences that start at position 0, laid out with this padding.
    ///
    /// # Panics
    /// When a length is negative.
    pub fn new(extents: &[Extent], padding: Padding) -> Self {
        let longest = extents.iter().map(|extent| extent.len).max().unwrap_or(0);
        let mut rows = 0;
        let mut spans = Vec::with_capacity(extents.len());
        for &Extent { len, prompt } in extents {
            assert!(len >= 0 && prompt >= 0, "a sequence of {len} tokens, {prompt} of them prompt");
            let (before, after) = match padding {
                Padding::Packed => (0, 0),
                Padding::Right => (0, longest - len),
                Padding::Left => (longest - len, 0),
            };
            spans.push(Span { row: rows + before, past: 0, past_row: 0, len, prompt, adaptation: 0 });
            rows += before + len + after;
        }
        Self { spans, rows, links: Vec::new(), parts: Vec::new() }
    }

    /// Sequences one after the other, without padding.
    pub fn packed(extents: &[Extent]) -> Self {
        Self::new(extents, Padding::Packed)
    }

    /// Parts of sequences one after the other, without padding, whatever rows their spans say.
    ///
    /// # Panics
    /// When a length or a row of the cache is negative.
    pub fn of(parts: impl IntoIterator<Item = Span>) -> Self {
        let mut rows = 0;
        let place = |span: Span| {
            let numbers = [span.len, span.past, span.past_row, span.prompt];
            assert!(numbers.iter().all(|&number| number >= 0), "negative numbers in {span:?}");
            let row = rows;
            rows += span.len;
            Span { row, ..span }
        };
        Self { spans: parts.into_iter().map(place).collect(), rows, links: Vec::new(), parts: Vec::new() }
    }

    /// The same rows, of which sequence `i` belongs to adaptation `adaptations[i]`.
    ///
    /// # Panics
    /// When there are not as many adaptations as sequences.
    #[must_use]
    pub fn with_adaptations(mut self, adaptations: &[usize]) -> Self {
        assert_eq!(adaptations.len(), self.spans.len(), "one adaptation for each sequence");
        self.spans.iter_mut().zip(adaptations).for_each(|(span, &adaptation)| span.adaptation = adaptation);
        self
    }

    /// The same rows with the sequences of one adaptation only, for hooks that must not see the others.
    #[must_use]
    pub fn only(&self, adaptation: usize) -> Self {
        let spans = self.spans.iter().copied().filter(|span| span.adaptation == adaptation).collect();
        Self { spans, rows: self.rows, links: Vec::new(), parts: Vec::new() }
    }

    /// The same rows with interchanges between them.
    ///
    /// # Panics
    /// When a link names a sequence or a token that is not in the pass, or more base than source positions or fewer.
    #[must_use]
    pub fn with_links(mut self, links: Vec<Link>) -> Self {
        for link in &links {
            assert_eq!(link.base_positions.len(), link.source_positions.len(), "positions come in pairs: {link:?}");
            for (sequence, positions) in [(link.base, &link.base_positions), (link.source, &link.source_positions)] {
                let present = positions.iter().all(|&position| self.row(sequence, position).is_some());
                assert!(present, "a position that is not in the pass: {link:?}");
            }
        }
        self.links = links;
        self
    }

    /// The interchanges of this pass.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// The same rows, of which sequence `i` is edited by set `parts[i]` of `refts` and by no other: training of a composed
    /// subspace (appendix G.1).
    ///
    /// # Panics
    /// When there are not as many as sequences.
    #[must_use]
    pub fn with_parts(mut self, parts: &[usize]) -> Self {
        assert_eq!(parts.len(), self.spans.len(), "one set of interventions for each sequence");
        self.parts = parts.to_vec();
        self
    }

    /// The rows as set `part` of `refts` sees them: without the sequences that belong to another.
    pub(crate) fn of_part(&self, part: usize) -> std::borrow::Cow<'_, Self> {
        if self.parts.iter().all(|&other| other == part) {
            return std::borrow::Cow::Borrowed(self);
        }
        let mine = self.spans.iter().zip(&self.parts).filter(|(_, other)| **other == part);
        let spans = mine.map(|(span, _)| *span).collect();
        std::borrow::Cow::Owned(Self { spans, rows: self.rows, links: Vec::new(), parts: Vec::new() })
    }

    /// The sequences.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// `N`, rows of the pass, those of padding included.
    pub fn rows(&self) -> i64 {
        self.rows
    }

    /// Whether every row holds a token of a sequence.
    pub fn is_whole(&self) -> bool {
        self.spans.iter().map(|span| span.len).sum::<i64>() == self.rows
    }

    /// Row of a sequence's token at `position` (counted from the sequence's first token), if it is in this pass.
    pub fn row(&self, sequence: usize, position: i64) -> Option<i64> {
        let span = self.spans.get(sequence)?;
        let index = position - span.past;
        (0..span.len).contains(&index).then(|| span.row + index)
    }

    /// Row of each sequence's last token, `[B]`.
    pub fn last_rows(&self) -> Vec<i64> {
        self.spans.iter().map(|span| span.row + span.len - 1).collect()
    }

    /// Position of every row's token in its sequence, `[N]`; 0 for padding.
    pub fn position_ids(&self, device: Device) -> Tensor {
        let mut ids = vec![0i64; self.rows as usize];
        for span in &self.spans {
            for index in 0..span.len {
                ids[(span.row + index) as usize] = span.past + index;
            }
        }
        Tensor::from_slice(&ids).to_device(device)
    }

    /// Token ids laid out on the rows, `[N]`; padding rows hold id 0, which nothing reads.
    ///
    /// Each item of `tokens` holds one sequence's tokens of this pass.
    ///
    /// # Panics
    /// When `tokens` holds more or fewer sequences than the layout, or a sequence more or fewer tokens than its span.
    pub fn place(&self, tokens: &[&[i64]], device: Device) -> Tensor {
        let (given, expected) = (tokens.len(), self.spans.len());
        assert_eq!(given, expected, "tokens of {given} sequences for a layout of {expected}");
        let mut ids = vec![0i64; self.rows as usize];
        for (index, (span, tokens)) in self.spans.iter().zip(tokens).enumerate() {
            let given = tokens.len();
            assert!(given as i64 == span.len, "{given} tokens for sequence {index}, which has {}", span.len);
            let start = span.row as usize;
            ids[start..start + tokens.len()].copy_from_slice(tokens);
        }
        Tensor::from_slice(&ids).to_device(device).to_kind(Kind::Int64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXTENTS: [Extent; 2] = [Extent { len: 3, prompt: 2 }, Extent { len: 5, prompt: 4 }];

    #[test]
    fn row_indices_follow_the_padding() {
        let check = |padding, rows: i64, firsts: [i64; 2]| {
            let layout = Layout::new(&EXTENTS, padding);
            assert_eq!(layout.rows(), rows);
            assert_eq!([layout.row(0, 0), layout.row(1, 0)], firsts.map(Some));
            assert_eq!(layout.row(0, 3), None);
        };
        check(Padding::Packed, 8, [0, 3]);
        check(Padding::Right, 10, [0, 5]);
        check(Padding::Left, 10, [2, 5]);
    }

    #[test]
    fn positions_of_a_decoding_step_continue_after_the_cached_tokens() {
        let next = |span: &Span| Span { past: span.len, len: 1, ..*span };
        let step = Layout::of(Layout::packed(&EXTENTS).spans().iter().map(next));
        assert_eq!(step.rows(), 2);
        assert_eq!(step.row(1, 5), Some(1));
        assert_eq!(step.row(1, 4), None, "an earlier token is not in this pass");
        assert_eq!(Vec::<i64>::try_from(&step.position_ids(Device::Cpu)).unwrap(), [3, 5]);
    }

    #[test]
    fn tokens_are_placed_row_by_row() {
        let place = |padding| Layout::new(&EXTENTS, padding).place(&[&[1, 2, 3], &[4, 5, 6, 7, 8]], Device::Cpu);
        let ids = |padding| Vec::<i64>::try_from(&place(padding)).unwrap();
        assert_eq!(ids(Padding::Packed), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(ids(Padding::Left), [0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
    }

    /// What `f` says when it panics.
    fn panic_of<T>(f: impl FnOnce() -> T + std::panic::UnwindSafe) -> String {
        let payload = std::panic::catch_unwind(f).err().expect("a panic");
        payload.downcast_ref::<String>().expect("a formatted message").clone()
    }

    #[test]
    fn tokens_of_other_lengths_are_refused() {
        let cases: [(&[&[i64]], &str); 4] = [
            (&[&[1, 2, 3]], "tokens of 1 sequences for a layout of 2"),
            (&[&[1, 2, 3], &[1, 2, 3, 4, 5], &[]], "tokens of 3 sequences for a layout of 2"),
            (&[&[1, 2], &[1, 2, 3, 4, 5]], "2 tokens for sequence 0, which has 3"),
            (&[&[1, 2, 3], &[1, 2, 3, 4, 5, 6]], "6 tokens for sequence 1, which has 5"),
        ];
        for (tokens, expected) in cases {
            let message = panic_of(|| Layout::packed(&EXTENTS).place(tokens, Device::Cpu));
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn negative_lengths_are_refused() {
        let span = Span { row: 0, past: 0, past_row: 0, len: 1, prompt: 1, adaptation: 0 };
        for span in [Span { len: -1, ..span }, Span { past: -1, ..span }, Span { past_row: -1, ..span }] {
            assert!(panic_of(|| Layout::of([span])).contains("negative"));
        }
        assert!(panic_of(|| Layout::packed(&[Extent { len: -2, prompt: 0 }])).contains("-2 tokens"));
    }
}
