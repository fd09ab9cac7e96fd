//! The interventions between two updates, and the edits of one pass.

use std::collections::BTreeMap;

use tch::{Kind, Tensor};

use super::Reft;
use super::part::Part;
use super::spec::{Dropout, DropoutOn};
use crate::adaptation::{Adaptation, EditedRows, Mode, OverlapError, Step};
use crate::hooks::Hooks;
use crate::intervention::Intervention;
use crate::layout::Layout;
use crate::params::Leaves;
use crate::site::Site;

/// The interventions between two updates.
pub(super) struct ReftStep<'a> {
    pub reft: &'a Reft,
    pub mode: Mode,
    pub leaves: Leaves,
}

impl Step for ReftStep<'_> {
    fn hooks<'s>(&'s self, layout: &Layout) -> Result<Box<dyn Hooks + 's>, OverlapError> {
        let device = self.reft.params.flat().device();
        let mut edits: BTreeMap<Site, Vec<Edit<'s>>> = BTreeMap::new();
        let mut taken: Vec<Taken> = Vec::new();
        for (index, part, leaves) in self.reft.by_part(self.leaves.tensors()) {
            let rows = part.spec.positions.resolve(layout, &part.groups, part.spec.truncation);
            let present: Vec<usize> = (0..rows.len()).filter(|&group| !rows[group].is_empty()).collect();
            let flat: Vec<i64> = rows.iter().flatten().copied().collect();
            check_disjoint(&taken, (index, part, &flat), layout)?;
            taken.push(Taken::new(index, part, &flat, layout));
            if present.is_empty() {
                continue;
            }
            let index_tensor = Tensor::from_slice(&flat).to_device(device);
            let sizes: Vec<i64> = present.iter().map(|&group| rows[group].len() as i64).collect();
            let per_site: Vec<Vec<Tensor>> = leaves.iter().map(|leaf| leaf.unbind(0)).collect();
            for (position, &layer) in part.layers.iter().enumerate() {
                let parameters = |&group: &usize| {
                    let site = position * part.groups.len() + group;
                    per_site.iter().map(|stack| stack[site].shallow_clone()).collect()
                };
                edits.entry(part.site(layer)).or_default().push(Edit {
                    phi: part.phi(),
                    rows: index_tensor.shallow_clone(),
                    sizes: sizes.clone(),
                    parameters: present.iter().map(parameters).collect(),
                    dropout: (self.mode == Mode::Train && part.spec.dropout.p > 0.0).then_some(part.spec.dropout),
                });
            }
        }
        Ok(Box::new(ReftHooks(edits)))
    }

    fn edits(&self, layout: &Layout) -> Vec<EditedRows> {
        self.reft.edits(layout)
    }

    fn backprop(self: Box<Self>) {
        self.leaves.backprop();
    }
}

/// The rows that a part edits in one pass.
struct Taken<'a> {
    index: usize,
    part: &'a Part,
    /// For every row of the pass, whether it is one of them.
    rows: Vec<bool>,
}

impl<'a> Taken<'a> {
    fn new(index: usize, part: &'a Part, edited: &[i64], layout: &Layout) -> Self {
        let mut rows = vec![false; layout.rows() as usize];
        for &row in edited {
            rows[row as usize] = true;
        }
        Self { index, part, rows }
    }
}

/// Def. 3.2: no token of a site is edited twice. Groups of one part are disjoint by construction.
fn check_disjoint(
    taken: &[Taken<'_>],
    (second, part, rows): (usize, &Part, &[i64]),
    layout: &Layout,
) -> Result<(), OverlapError> {
    for other in taken {
        let shared_layer = part.layers.iter().find(|&layer| other.part.layers.contains(layer));
        let same_component = other.part.spec.component == part.spec.component;
        let Some(&layer) = shared_layer.filter(|_| same_component) else { continue };
        if let Some(&row) = rows.iter().find(|&&row| other.rows[row as usize]) {
            let spans = layout.spans().iter();
            let span = spans.rev().find(|span| span.row <= row).expect("a resolved row belongs to a sequence");
            return Err(OverlapError {
                first: other.index,
                second,
                site: part.site(layer).to_string(),
                position: span.past + row - span.row,
                prompt: span.prompt,
            });
        }
    }
    Ok(())
}

/// One part's edit at one site in one pass.
struct Edit<'a> {
    phi: &'a dyn Intervention,
    /// Rows of all groups, one group after the other, `[M]`.
    rows: Tensor,
    /// How many of them each group has.
    sizes: Vec<i64>,
    /// Each group's parameters.
    parameters: Vec<Vec<Tensor>>,
    dropout: Option<Dropout>,
}

impl Edit<'_> {
    /// Gathers the rows once, edits each group, scatters once. The subspace arithmetic is in f32 whatever the model's type.
    fn apply(&self, y: &Tensor) -> Tensor {
        let h = y.index_select(0, &self.rows).to_kind(Kind::Float);
        let edited = match self.parameters.as_slice() {
            [parameters] => self.phi.phi(parameters, &h),
            groups => {
                let pieces = h.split_with_sizes(self.sizes.as_slice(), 0);
                let edited: Vec<Tensor> = groups.iter().zip(&pieces).map(|(p, h)| self.phi.phi(p, h)).collect();
                Tensor::cat(&edited, 0)
            }
        };
        let edited = match self.dropout {
            None => edited,
            Some(Dropout { p, on: DropoutOn::State }) => edited.dropout(p, true),
            Some(Dropout { p, on: DropoutOn::Edit }) => &h + (edited - &h).dropout(p, true),
        };
        y.index_copy(0, &self.rows, &edited.to_kind(y.kind()))
    }
}

/// The hooks of one pass.
struct ReftHooks<'a>(BTreeMap<Site, Vec<Edit<'a>>>);

impl Hooks for ReftHooks<'_> {
    fn visit(&self, at: Site, _: &Tensor, y: Tensor) -> Tensor {
        match self.0.get(&at) {
            None => y,
            Some(edits) => edits.iter().fold(y, |y, edit| edit.apply(&y)),
        }
    }

    fn wants(&self, at: Site) -> bool {
        self.0.contains_key(&at)
    }
}
