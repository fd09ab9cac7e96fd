//! The edited tokens and layers of a prompt, with the size of each edit and its angle to the state: figure 2.

use std::cell::RefCell;
use std::collections::BTreeMap;

use anyhow::Result;
use reft_core::adaptation::{Adaptation, Mode};
use reft_core::hooks::{Hooks, KeyValuePrefix};
use reft_core::layout::{Extent, Layout};
use reft_core::site::{LayerId, Site};
use reft_models::attention::PastKeyValues;
use reft_models::model::Pass;
use reft_models::tokenizer::Specials;
use tch::{Kind, Tensor, no_grad};

use crate::report::figures::size_map::{EditMark, SizeMap};
use crate::run::session::LoadedDecoder;

/// What one edit did to one state.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct MeasuredEdit {
    /// Where.
    pub site: Site,
    /// Which token of the prompt.
    pub position: i64,
    /// Length of the edit, `‖Φ(h) − h‖`.
    pub size: f64,
    /// Length of the state, `‖h‖`.
    pub state: f64,
    /// Angle between edit and state in degrees; none where one of them is 0.
    pub angle: Option<f64>,
}

/// Hooks whose edits are measured.
struct MeasuringHooks<'a> {
    inner: Box<dyn Hooks + 'a>,
    rows: BTreeMap<Site, Vec<i64>>,
    edits: RefCell<Vec<MeasuredEdit>>,
}

impl MeasuringHooks<'_> {
    /// What a visit makes of `y`, with the edit measured. Of a component's two visits the one that moves nothing is left out,
    /// unless both do.
    fn measured(&self, at: Site, y: Tensor, edit: impl FnOnce(Tensor) -> Tensor) -> Tensor {
        let Some(rows) = self.rows.get(&at) else { return edit(y) };
        let index = Tensor::from_slice(rows).to_device(y.device());
        let states = |y: &Tensor| y.index_select(0, &index).to_kind(Kind::Double);
        let before = states(&y);
        let edited = edit(y);
        let moved = states(&edited) - &before;
        let norms = |of: &Tensor| of.norm_scalaropt_dim(2.0, [1i64].as_slice(), false);
        let (sizes, lengths) = (norms(&moved), norms(&before));
        let dots = (&moved * &before).sum_dim_intlist([1i64].as_slice(), false, Kind::Double);
        let measured = rows.iter().enumerate().map(|(number, &position)| {
            let value = |of: &Tensor| of.double_value(&[number as i64]);
            let (size, state, dot) = (value(&sizes), value(&lengths), value(&dots));
            let angle =
                (size > 0.0 && state > 0.0).then(|| (dot / (size * state)).clamp(-1.0, 1.0).acos().to_degrees());
            MeasuredEdit { site: at, position, size, state, angle }
        });
        let measured: Vec<MeasuredEdit> = measured.collect();
        let mut edits = self.edits.borrow_mut();
        let known = edits.iter().any(|edit| edit.site == at && edit.size > 0.0);
        if !known || measured.iter().any(|edit| edit.size > 0.0) {
            edits.retain(|edit| edit.site != at || edit.size > 0.0);
            edits.extend(measured);
        }
        drop(edits);
        edited
    }
}

impl Hooks for MeasuringHooks<'_> {
    fn visit(&self, at: Site, x: &Tensor, y: Tensor) -> Tensor {
        self.measured(at, y, |y| self.inner.visit(at, x, y))
    }

    fn visit_map(&self, at: Site, x: &Tensor, y: Tensor) -> Tensor {
        self.measured(at, y, |y| self.inner.visit_map(at, x, y))
    }

    fn wants(&self, at: Site) -> bool {
        self.inner.wants(at)
    }

    fn prefix(&self, layer: LayerId) -> Option<KeyValuePrefix> {
        self.inner.prefix(layer)
    }
}

/// Every edit of a prompt, in the order of the pass. Each is measured on the state that it finds, which earlier edits have
/// changed.
///
/// # Errors
/// When interventions overlap.
pub fn measure(loaded: &LoadedDecoder, adaptation: &dyn Adaptation, ids: &[i64]) -> Result<Vec<MeasuredEdit>> {
    let len = ids.len() as i64;
    let layout = Layout::packed(&[Extent { len, prompt: len }]);
    let step = adaptation.begin(Mode::Eval);
    let mut rows: BTreeMap<Site, Vec<i64>> = BTreeMap::new();
    for edited in adaptation.edits(&layout) {
        rows.entry(edited.site).or_default().extend(edited.rows);
    }
    for rows in rows.values_mut() {
        rows.sort_unstable();
        rows.dedup();
    }
    let hooks = MeasuringHooks { inner: step.hooks(&layout)?, rows, edits: RefCell::default() };
    let model = loaded.decoder.as_ref();
    no_grad(|| {
        let mut pass = Pass { layout: &layout, hooks: &hooks, cache: PastKeyValues::None, wanted: None };
        let _ = model.hidden(&layout.place(&[ids], model.options().1), &mut pass);
    });
    Ok(hooks.edits.into_inner())
}

/// The drawing of a prompt's edits.
///
/// # Errors
/// When the prompt cannot be encoded, or interventions overlap.
pub fn drawing(loaded: &LoadedDecoder, adaptation: &dyn Adaptation, prompt: &str, title: String) -> Result<SizeMap> {
    let tokenizer = &loaded.tokenizer;
    let ids = tokenizer.encode(prompt, Specials::AsModel)?;
    let edits = measure(loaded, adaptation, &ids)?;
    let token = |(position, &id): (usize, &i64)| -> Result<String> {
        let text = tokenizer.decode(&[id], false)?;
        Ok(format!("{position} {}", text.replace('\n', "⏎").trim()).trim_end().to_owned())
    };
    let rows = ids.iter().enumerate().map(token).collect::<Result<Vec<_>>>()?;
    let several = edits.windows(2).any(|pair| pair[0].site.component != pair[1].site.component);
    let column = |site: Site| {
        if several { format!("{} {}", site.layer, site.component) } else { site.layer.to_string() }
    };
    let mut columns: Vec<String> = Vec::new();
    for edit in &edits {
        if !columns.contains(&column(edit.site)) {
            columns.push(column(edit.site));
        }
    }
    let mark = |edit: &MeasuredEdit| EditMark {
        row: edit.position as usize,
        column: columns.iter().position(|name| *name == column(edit.site)).unwrap_or(0),
        size: edit.size,
        of: edit.state,
        angle: edit.angle,
    };
    let marks = edits.iter().map(mark).collect();
    Ok(SizeMap { title, rows, columns, marks })
}
