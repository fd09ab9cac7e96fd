//! Methods that change what components of a model compute: `y' = g(x, y)` with parameters of its own at every site.
//!
//! A method is a [`ComponentMethod`]; [`ComponentAdaptation`] puts it at layers and components, on all tokens or, like an
//! intervention, on some positions only. The arithmetic is in f32 whatever the model's type.

mod config;
mod place;
mod step;

use std::fmt::Debug;

use tch::{Device, Kind, Tensor, no_grad};

pub use config::ComponentConfig;
pub use place::{Placement, PlacementError, PlacementSpec};
pub(crate) use place::{everywhere, positive, probability};
use step::ComponentsStep;

use crate::adapt_config::SpecError;
use crate::adaptation::{Adaptation, EditedRows, Frontier, Mode, NamedTensor, Step};
use crate::intervention::ParameterSpec;
use crate::layout::Layout;
use crate::lender::{Lender, NormWeight};
use crate::params::{ParamSet, Stack};
use crate::positions::{Positions, Truncation, TyingGroup};
use crate::rng::Seed;
use crate::site::{Component, Dims, LinearWeight, Site};

/// One site with what is known of it.
#[derive(Debug)]
pub struct ComponentSite {
    /// Where.
    pub site: Site,
    /// Width of `x`.
    pub input: i64,
    /// Width of `y`.
    pub output: i64,
    /// The frozen map, where the method [borrows](ComponentMethod::borrows) it.
    pub linear: Option<LinearWeight>,
    /// The normalisation at the block's end, likewise.
    pub norm: Option<NormWeight>,
}

impl ComponentSite {
    /// Sizes alone.
    fn bare(site: Site, dims: &Dims) -> Self {
        let (input, output) = (site.component.input_width(dims).unwrap_or(0), site.component.width(dims));
        Self { site, input, output, linear: None, norm: None }
    }

    /// The frozen map.
    ///
    /// # Panics
    /// When the method does not say that it borrows it.
    pub fn map(&self) -> &LinearWeight {
        self.linear.as_ref().expect("a method that says so has it")
    }
}

/// What of the model a method computes with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrozenInputs {
    /// Inputs and outputs alone.
    Nothing,
    /// The weights of the maps it changes.
    Linear,
    /// The normalisation at the block's end.
    Norm,
}

/// Rows of one site in one pass.
#[derive(Debug)]
pub struct SiteRows<'a> {
    /// Where.
    pub place: &'a ComponentSite,
    /// The site's tensors, in the order of [`ComponentMethod::declare`].
    pub parameters: &'a [Tensor],
    /// What [`ComponentMethod::constants`] made of them.
    pub constants: &'a [Tensor],
    /// Input rows `[M, in]`, in the model's type.
    pub x: Tensor,
    /// Output rows `[M, out]`, in the model's type.
    pub y: Tensor,
    /// The input of [`ComponentMethod::beside`] in the same rows.
    pub beside: Option<Tensor>,
    /// Training or not.
    pub mode: Mode,
}

impl SiteRows<'_> {
    /// `x` in f32, with coordinates dropped in training.
    pub fn dropped_x(&self, p: f64) -> Tensor {
        self.dropped(self.x.to_kind(Kind::Float), p)
    }

    /// `z` with coordinates dropped in training.
    pub fn dropped(&self, z: Tensor, p: f64) -> Tensor {
        if self.mode == Mode::Train && p > 0.0 { z.dropout(p, true) } else { z }
    }

    /// `y` in f32.
    pub fn y(&self) -> Tensor {
        self.y.to_kind(Kind::Float)
    }
}

/// `g`: a component's new output from its input and its output.
pub trait ComponentMethod: Debug {
    /// The key in configurations.
    fn key(&self) -> &'static str;

    /// The tensors that one site needs.
    fn declare(&self, place: &ComponentSite) -> Vec<ParameterSpec>;

    /// What of the model it computes with.
    fn borrows(&self) -> FrozenInputs {
        FrozenInputs::Nothing
    }

    /// A component of the same block, visited before, whose input it computes with too.
    fn beside(&self) -> Option<Component> {
        None
    }

    /// Initial values that depend on the model's weights, put into the site's tensors.
    fn initialise(&self, _: &ComponentSite, _: &[Tensor]) {}

    /// What follows from a site's tensors and is constant to the gradient; made once between two updates.
    fn constants(&self, _: &ComponentSite, _: &[Tensor]) -> Vec<Tensor> {
        Vec::new()
    }

    /// Draws the frozen tensors that all sites share, once for all of them.
    fn draw_shared(&mut self, _places: &[ComponentSite], _device: Device) {}

    /// Frozen tensors of its own, shared by all sites; they are saved with the trained ones.
    fn shared(&self) -> Vec<NamedTensor> {
        Vec::new()
    }

    /// The rows' new output `[M, out]`, f32.
    fn change(&self, rows: &SiteRows<'_>) -> Tensor;
}

/// A method at its sites.
#[derive(Debug)]
pub struct ComponentAdaptation {
    method: Box<dyn ComponentMethod>,
    places: Vec<ComponentSite>,
    positions: Positions,
    truncation: Truncation,
    params: ParamSet,
    /// Tensors of each site.
    tensors: usize,
}

impl ComponentAdaptation {
    /// Fresh parameters.
    ///
    /// # Errors
    /// When the model does not lend what the method computes with.
    pub fn new(
        mut method: Box<dyn ComponentMethod>,
        at: Placement,
        (dims, lender): (&Dims, &dyn Lender),
        seed: Seed,
        device: Device,
    ) -> Result<Self, SpecError> {
        let Placement { sites, positions, truncation } = at;
        let borrow = |&site: &Site| borrow(method.as_ref(), ComponentSite::bare(site, dims), lender);
        let places = sites.iter().map(borrow).collect::<Result<Vec<_>, _>>()?;
        method.draw_shared(&places, device);
        let stacks = places.iter().flat_map(|place| method.declare(place));
        let stacks: Vec<Stack> = stacks.map(|declared| Stack { declared, sites: 1 }).collect();
        let tensors = stacks.len() / places.len();
        let params = ParamSet::new(stacks, &mut seed.stream("init", 0), device);
        let made = Self { method, places, positions, truncation, params, tensors };
        let views = no_grad(|| made.views());
        made.by_site(&views).for_each(|(place, views)| no_grad(|| made.method.initialise(place, views)));
        Ok(made)
    }

    /// One view of the flat leaf for each tensor of each site.
    fn views(&self) -> Vec<Tensor> {
        self.params.views().into_iter().map(|view| view.squeeze_dim(0)).collect()
    }

    /// One entry for each tensor, taken apart by site.
    fn by_site<'t>(&'t self, tensors: &'t [Tensor]) -> impl Iterator<Item = (&'t ComponentSite, &'t [Tensor])> {
        self.places.iter().zip(tensors.chunks(self.tensors))
    }

    fn rows(&self, layout: &Layout) -> Vec<i64> {
        self.positions.resolve(layout, &[TyingGroup::Both], self.truncation).concat()
    }
}

/// Numbers that a method trains at these sites.
pub(crate) fn count(method: &dyn ComponentMethod, at: &Placement, dims: &Dims) -> i64 {
    let of_site = |&site: &Site| method.declare(&ComponentSite::bare(site, dims));
    at.sites.iter().flat_map(of_site).map(|declared| declared.shape.iter().product::<i64>()).sum()
}

/// A place with what the method computes with.
fn borrow(method: &dyn ComponentMethod, bare: ComponentSite, lender: &dyn Lender) -> Result<ComponentSite, SpecError> {
    let site = bare.site;
    let missing =
        |what| SpecError::from(PlacementError::NotLent { method: method.key(), what, site: site.to_string() });
    match method.borrows() {
        FrozenInputs::Nothing => Ok(bare),
        FrozenInputs::Linear => {
            let linear = lender.linear(site).ok_or_else(|| missing("weight"))?;
            Ok(ComponentSite { linear: Some(linear), ..bare })
        }
        FrozenInputs::Norm => {
            let norm = lender.norm(site.layer).ok_or_else(|| missing("normalisation"))?;
            Ok(ComponentSite { norm: Some(norm), ..bare })
        }
    }
}

impl Adaptation for ComponentAdaptation {
    fn params(&self) -> &ParamSet {
        &self.params
    }

    fn params_mut(&mut self) -> &mut ParamSet {
        &mut self.params
    }

    fn named(&self) -> Vec<NamedTensor> {
        let names = self.places.iter().flat_map(|place| {
            let site = place.site;
            self.method.declare(place).into_iter().map(move |declared| format!("{site}.{}", declared.name))
        });
        names.zip(self.views()).map(|(name, tensor)| NamedTensor { name, tensor }).collect()
    }

    fn fixed(&self) -> Vec<NamedTensor> {
        self.method.shared()
    }

    fn begin(&self, mode: Mode) -> Box<dyn Step + '_> {
        let leaves = self.params.leaves(mode);
        let tensors: Vec<Tensor> = leaves.tensors().iter().map(|leaf| leaf.squeeze_dim(0)).collect();
        let of_site = |(place, tensors): (&ComponentSite, &[Tensor])| no_grad(|| self.method.constants(place, tensors));
        let constants = self.by_site(&tensors).map(of_site).collect();
        Box::new(ComponentsStep { adaptation: self, mode, leaves, tensors, constants })
    }

    fn edits(&self, layout: &Layout) -> Vec<EditedRows> {
        let rows = self.rows(layout);
        let at = |place: &ComponentSite| EditedRows { site: place.site, group: TyingGroup::Both, rows: rows.clone() };
        self.places.iter().map(at).collect()
    }

    fn frontier(&self) -> Frontier {
        let lowest = self.places.iter().map(|place| place.site.layer.0).min();
        Frontier { blocks: lowest.unwrap_or(0), visits_last: false }
    }

    fn first_edited(&self, prompt: i64) -> Option<i64> {
        self.positions.first_edited(prompt, self.truncation)
    }
}
