//! The interventions between two updates, and the edits of one pass: which rows, which parameters, which states of a source.

use std::collections::BTreeMap;

use tch::{Kind, Tensor};

use super::Reft;
use super::part::ReftPart;
use super::spec::{DropoutOn, EditDropout, is_one};
use crate::adaptation::{Adaptation, EditedRows, Mode, OverlapError, Step};
use crate::hooks::Hooks;
use crate::intervention::Intervention;
use crate::layout::Layout;
use crate::params::Leaves;
use crate::site::Site;

impl ReftPart {
    /// The rows that each group edits in a pass: by its positions, or those of its links.
    pub(super) fn rows(&self, layout: &Layout, index: usize) -> Vec<Vec<i64>> {
        if self.phi().takes_source() {
            vec![linked(layout, index).0]
        } else {
            self.spec.positions.resolve(layout, &self.groups, self.spec.truncation)
        }
    }
}

/// Rows that part `index` changes by interchange, and the rows whose states they take, as many.
fn linked(layout: &Layout, index: usize) -> (Vec<i64>, Vec<i64>) {
    let row = |sequence, &position: &i64| layout.row(sequence, position).expect("links are checked when they are made");
    let mine = layout.links().iter().filter(|link| link.part == index);
    let pairs = mine.flat_map(|link| {
        let pairs = link.base_positions.iter().zip(&link.source_positions);
        pairs.map(move |(base, source)| (row(link.base, base), row(link.source, source)))
    });
    pairs.unzip()
}

/// The interventions between two updates.
pub(super) struct ReftStep<'a> {
    pub reft: &'a Reft,
    pub mode: Mode,
    pub leaves: Leaves,
}

impl<'a> ReftStep<'a> {
    /// One part's terms in a pass, by layer; none where it edits no row.
    fn terms(&self, index: usize, rows: &[Vec<i64>], source: Option<&Tensor>) -> Vec<EditTerm<'a>> {
        let (part, device) = (&self.reft.parts[index], self.reft.params.flat().device());
        let present: Vec<usize> = (0..rows.len()).filter(|&group| !rows[group].is_empty()).collect();
        if present.is_empty() {
            return Vec::new();
        }
        let flat: Vec<i64> = rows.iter().flatten().copied().collect();
        let index_tensor = Tensor::from_slice(&flat).to_device(device);
        let sizes: Vec<i64> = present.iter().map(|&group| rows[group].len() as i64).collect();
        let chosen = |tensor: Tensor| match part.spec.subspace {
            None => tensor,
            Some(rows) => tensor.narrow(0, rows.first(), rows.end() - rows.first()),
        };
        let leaves = self.reft.by_part(self.leaves.tensors())[index];
        let per_site: Vec<Vec<Tensor>> = leaves.iter().map(|leaf| leaf.unbind(0)).collect();
        let term = |position: usize| {
            let parameters = |&group: &usize| {
                let site = position * part.groups.len() + group;
                per_site.iter().map(|stack| chosen(stack[site].shallow_clone())).collect()
            };
            EditTerm {
                phi: part.phi(),
                rows: index_tensor.shallow_clone(),
                sizes: sizes.clone(),
                parameters: present.iter().map(parameters).collect(),
                source: source.map(Tensor::shallow_clone),
                columns: part.spec.head.map(|_| part.columns),
                strength: part.spec.strength,
                dropout: (self.mode == Mode::Train && part.spec.dropout.p > 0.0).then_some(part.spec.dropout),
            }
        };
        (0..part.layers.len()).map(term).collect()
    }
}

impl Step for ReftStep<'_> {
    fn hooks<'s>(&'s self, layout: &Layout) -> Result<Box<dyn Hooks + 's>, OverlapError> {
        let mut edits: BTreeMap<Site, BTreeMap<usize, Vec<EditTerm<'s>>>> = BTreeMap::new();
        let mut taken: Vec<EditedPart> = Vec::new();
        for (index, part) in self.reft.parts.iter().enumerate() {
            if part.spec.strength.abs() == 0.0 {
                continue;
            }
            let seen = layout.of_part(index);
            let rows = part.rows(&seen, index);
            let flat: Vec<i64> = rows.iter().flatten().copied().collect();
            let owner = self.reft.owners[index];
            check_disjoint(taken.iter().filter(|other| other.owner != owner), (index, part, &flat), layout)?;
            taken.push(EditedPart::new((index, owner), part, &flat, layout));
            let device = self.reft.params.flat().device();
            let source =
                part.phi().takes_source().then(|| Tensor::from_slice(&linked(&seen, index).1).to_device(device));
            for (term, &layer) in self.terms(index, &rows, source.as_ref()).into_iter().zip(&part.layers) {
                edits.entry(part.site(layer)).or_default().entry(owner).or_default().push(term);
            }
        }
        let at_site =
            |(site, by_owner): (Site, BTreeMap<usize, Vec<EditTerm<'s>>>)| (site, by_owner.into_values().collect());
        Ok(Box::new(ReftHooks(edits.into_iter().map(at_site).collect())))
    }

    fn edits(&self, layout: &Layout) -> Vec<EditedRows> {
        self.reft.edits(layout)
    }

    fn backprop(self: Box<Self>) {
        self.leaves.backprop();
    }
}

/// The rows that a part edits in one pass.
struct EditedPart<'a> {
    index: usize,
    /// The part whose parameters it uses: parts of one subspace may edit the same tokens.
    owner: usize,
    part: &'a ReftPart,
    /// For every row of the pass, whether it is one of them.
    rows: Vec<bool>,
}

impl<'a> EditedPart<'a> {
    fn new((index, owner): (usize, usize), part: &'a ReftPart, edited: &[i64], layout: &Layout) -> Self {
        let mut rows = vec![false; layout.rows() as usize];
        for &row in edited {
            rows[row as usize] = true;
        }
        Self { index, owner, part, rows }
    }
}

/// Def. 3.2: no token of a site is edited twice. Groups of one part are disjoint by construction.
fn check_disjoint<'t>(
    taken: impl Iterator<Item = &'t EditedPart<'t>>,
    (second, part, rows): (usize, &ReftPart, &[i64]),
    layout: &Layout,
) -> Result<(), OverlapError> {
    for other in taken {
        let shared_layer = part.layers.iter().find(|&layer| other.part.layers.contains(layer));
        let same_component = other.part.spec.component == part.spec.component;
        let same_columns = part.columns.0 < other.part.columns.0 + other.part.columns.1
            && other.part.columns.0 < part.columns.0 + part.columns.1;
        let Some(&layer) = shared_layer.filter(|_| same_component && same_columns) else { continue };
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
struct EditTerm<'a> {
    phi: &'a dyn Intervention,
    /// Rows of all groups, one group after the other, `[M]`.
    rows: Tensor,
    /// How many of them each group has.
    sizes: Vec<i64>,
    /// Each group's parameters, the rows of its subspace only.
    parameters: Vec<Vec<Tensor>>,
    /// The rows whose states `Φ` takes, `[M]`, if it takes any.
    source: Option<Tensor>,
    /// First column and number of columns, where not all are edited.
    columns: Option<(i64, i64)>,
    strength: f64,
    dropout: Option<EditDropout>,
}

impl EditTerm<'_> {
    /// The states of these rows in f32, whatever the model's type: those columns that are edited.
    fn gather(&self, y: &Tensor, rows: &Tensor) -> Tensor {
        let h = y.index_select(0, rows).to_kind(Kind::Float);
        self.columns.map_or_else(|| h.shallow_clone(), |(first, count)| h.narrow(1, first, count))
    }

    /// `Φ` of each group on its rows of `h`, strength and dropout included.
    fn edited(&self, y: &Tensor, h: &Tensor) -> Tensor {
        let edited = match (self.parameters.as_slice(), &self.source) {
            ([parameters], Some(source)) => self.phi.phi_from(parameters, h, &self.gather(y, source)),
            ([parameters], None) => self.phi.phi(parameters, h),
            (groups, _) => {
                let pieces = h.split_with_sizes(self.sizes.as_slice(), 0);
                let edited: Vec<Tensor> = groups.iter().zip(&pieces).map(|(p, h)| self.phi.phi(p, h)).collect();
                Tensor::cat(&edited, 0)
            }
        };
        let edited = if is_one(&self.strength) { edited } else { h + (edited - h) * self.strength };
        match self.dropout {
            None => edited,
            Some(EditDropout { p, on: DropoutOn::State }) => edited.dropout(p, true),
            Some(EditDropout { p, on: DropoutOn::Edit }) => h + (edited - h).dropout(p, true),
        }
    }

    /// Gathers the rows once, edits each group, scatters once.
    fn apply(&self, y: &Tensor) -> Tensor {
        let h = self.gather(y, &self.rows);
        let edited = self.edited(y, &h).to_kind(y.kind());
        let rows = match self.columns {
            None => edited,
            Some((first, count)) => {
                let whole = y.index_select(0, &self.rows);
                let (end, width) = (first + count, whole.size()[1]);
                Tensor::cat(&[whole.narrow(1, 0, first), edited, whole.narrow(1, end, width - end)], 1)
            }
        };
        y.index_copy(0, &self.rows, &rows)
    }
}

/// `h + Σ_S (Φ_S(h) − h)`: the parts of one subspace all see the state before any of them edited it.
fn together(terms: &[EditTerm<'_>], y: &Tensor) -> Tensor {
    let moved = |sum: Tensor, term: &EditTerm<'_>| {
        let h = term.gather(y, &term.rows);
        let edit = term.edited(y, &h) - &h;
        let edit = match term.columns {
            None => edit,
            Some((first, count)) => edit.constant_pad_nd([first, y.size()[1] - first - count]),
        };
        sum.index_add(0, &term.rows, &edit)
    };
    let sum = terms.iter().fold(y.to_kind(Kind::Float), moved);
    sum.to_kind(y.kind())
}

/// The hooks of one pass: at each site the terms of each subspace.
struct ReftHooks<'a>(BTreeMap<Site, Vec<Vec<EditTerm<'a>>>>);

impl Hooks for ReftHooks<'_> {
    fn visit(&self, at: Site, _: &Tensor, y: Tensor) -> Tensor {
        let edit = |y: Tensor, terms: &Vec<EditTerm<'_>>| match terms.as_slice() {
            [term] => term.apply(&y),
            terms => together(terms, &y),
        };
        match self.0.get(&at) {
            None => y,
            Some(subspaces) => subspaces.iter().fold(y, edit),
        }
    }

    fn wants(&self, at: Site) -> bool {
        self.0.contains_key(&at)
    }
}
