//! A pass whose sequences belong to different adaptations: each edits its own and no other.

use crate::adaptation::{EditedRows, OverlapError, Step};
use crate::hooks::{Chain, Hooks};
use crate::layout::Layout;

/// Adaptation `i` acts on the sequences whose [`Span::adaptation`](crate::layout::Span::adaptation) is `i`, if there is
/// such an adaptation; the others are the base model's. For adaptations that act by hooks at sites: a prefix of keys and
/// values belongs to a whole pass.
pub struct Routed<'a>(pub Vec<Box<dyn Step + 'a>>);

impl Step for Routed<'_> {
    fn hooks<'s>(&'s self, layout: &Layout) -> Result<Box<dyn Hooks + 's>, OverlapError> {
        let hooks = self.0.iter().enumerate().map(|(index, step)| step.hooks(&layout.only(index)));
        Ok(Box::new(Chain(hooks.collect::<Result<_, _>>()?)))
    }

    fn edits(&self, layout: &Layout) -> Vec<EditedRows> {
        self.0.iter().enumerate().flat_map(|(index, step)| step.edits(&layout.only(index))).collect()
    }

    fn backprop(self: Box<Self>) {
        self.0.into_iter().for_each(Step::backprop);
    }
}
