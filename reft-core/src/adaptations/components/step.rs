//! A method between two updates, and its hooks in one pass.

use std::cell::RefCell;
use std::collections::BTreeMap;

use tch::Tensor;

use super::{ComponentAdaptation, SiteRows};
use crate::adaptation::{Adaptation, EditedRows, Mode, OverlapError, Step};
use crate::hooks::Hooks;
use crate::layout::Layout;
use crate::params::Leaves;
use crate::positions::Positions;
use crate::site::{Component, LayerId, Site};

/// A method between two updates.
pub(super) struct ComponentsStep<'a> {
    pub adaptation: &'a ComponentAdaptation,
    pub mode: Mode,
    pub leaves: Leaves,
    /// The leaves without the axis of sites.
    pub tensors: Vec<Tensor>,
    /// What follows from them, by site.
    pub constants: Vec<Vec<Tensor>>,
}

impl Step for ComponentsStep<'_> {
    fn hooks<'s>(&'s self, layout: &Layout) -> Result<Box<dyn Hooks + 's>, OverlapError> {
        let ComponentAdaptation { positions, params, places, method, .. } = self.adaptation;
        let rows = match positions {
            Positions::All if layout.is_whole() => RowsOf::All,
            _ => {
                let rows = self.adaptation.rows(layout);
                RowsOf::Some(Tensor::from_slice(&rows).to_device(params.flat().device()))
            }
        };
        let none = matches!(&rows, RowsOf::Some(rows) if rows.numel() == 0);
        let sites = places.iter().enumerate().filter(|_| !none).map(|(index, place)| (place.site, index)).collect();
        Ok(Box::new(ComponentsHooks { step: self, rows, sites, beside: method.beside(), inputs: RefCell::default() }))
    }

    fn edits(&self, layout: &Layout) -> Vec<EditedRows> {
        self.adaptation.edits(layout)
    }

    fn backprop(self: Box<Self>) {
        self.leaves.backprop();
    }
}

/// Rows of a pass that are changed.
enum RowsOf {
    All,
    Some(Tensor),
}

impl RowsOf {
    fn of(&self, x: &Tensor) -> Tensor {
        match self {
            Self::All => x.shallow_clone(),
            Self::Some(rows) => x.index_select(0, rows),
        }
    }
}

/// The hooks of one pass.
struct ComponentsHooks<'a> {
    step: &'a ComponentsStep<'a>,
    rows: RowsOf,
    /// Index of each site.
    sites: BTreeMap<Site, usize>,
    beside: Option<Component>,
    /// Inputs of the component beside, by layer, in the rows that are changed.
    inputs: RefCell<BTreeMap<LayerId, Tensor>>,
}

impl ComponentsHooks<'_> {
    fn is_beside(&self, at: Site) -> bool {
        self.beside == Some(at.component) && self.sites.keys().any(|site| site.layer == at.layer)
    }

    fn changed(&self, at: Site, x: &Tensor, y: Tensor) -> Tensor {
        let Some(&index) = self.sites.get(&at) else { return y };
        let ComponentAdaptation { method, places, tensors, .. } = self.step.adaptation;
        let changed = method.change(&SiteRows {
            place: &places[index],
            parameters: &self.step.tensors[index * tensors..(index + 1) * tensors],
            constants: &self.step.constants[index],
            x: self.rows.of(x),
            y: self.rows.of(&y),
            beside: self.inputs.borrow_mut().remove(&at.layer),
            mode: self.step.mode,
        });
        let changed = changed.to_kind(y.kind());
        match &self.rows {
            RowsOf::All => changed,
            RowsOf::Some(rows) => y.index_copy(0, rows, &changed),
        }
    }
}

impl Hooks for ComponentsHooks<'_> {
    fn visit(&self, at: Site, x: &Tensor, y: Tensor) -> Tensor {
        if self.is_beside(at) {
            self.inputs.borrow_mut().insert(at.layer, self.rows.of(x));
        }
        if at.component.is_linear() { y } else { self.changed(at, x, y) }
    }

    fn visit_map(&self, at: Site, x: &Tensor, y: Tensor) -> Tensor {
        if at.component.is_linear() { self.changed(at, x, y) } else { y }
    }

    fn wants(&self, at: Site) -> bool {
        self.sites.contains_key(&at) || self.is_beside(at)
    }
}
