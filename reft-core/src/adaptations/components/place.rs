//! Where a method is put, and what cannot be put there.

pub use crate::adapt_config::PlacementError;
use crate::adapt_config::SpecError;
use crate::layers::Layers;
use crate::positions::{Positions, Truncation};
use crate::site::{Component, Dims, Site};

/// Layers, components and tokens that a method is put at.
#[derive(Clone, Debug)]
pub struct Placement {
    pub(super) sites: Vec<Site>,
    pub(super) positions: Positions,
    pub(super) truncation: Truncation,
}

/// The same, as specifications have it.
#[derive(Clone, Copy, Debug)]
pub struct PlacementSpec<'a> {
    /// The method, for messages.
    pub method: &'static str,
    /// The components in each layer.
    pub components: &'a [Component],
    /// The layers.
    pub layers: &'a Layers,
    /// The tokens.
    pub positions: Positions,
    /// Rule for short prompts.
    pub truncation: Truncation,
}

impl PlacementSpec<'_> {
    /// The sites in a model of these dimensions, by layer.
    ///
    /// # Errors
    /// When a layer or a component does not exist there.
    pub fn resolve(&self, dims: &Dims) -> Result<Placement, SpecError> {
        let layers = self.layers.resolve(dims)?;
        let mut components = self.components.to_vec();
        components.sort_unstable();
        if let Some(pair) = components.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(PlacementError::Twice(pair[0]).into());
        }
        let missing = components.iter().find(|component| !component.exists(dims));
        match (components.is_empty(), missing) {
            (true, _) => Err(PlacementError::NoComponents.into()),
            (_, Some(&component)) => Err(SpecError::Component(component, "its MLP has no gate; choose up")),
            (false, None) => {
                let of_layer = |&layer| components.iter().map(move |&component| Site { layer, component });
                let sites = layers.iter().flat_map(of_layer).collect();
                Ok(Placement { sites, positions: self.positions, truncation: self.truncation })
            }
        }
    }

    /// The same for methods that change linear maps.
    ///
    /// # Errors
    /// When a layer or a component does not exist, or is no linear map.
    pub fn linear(&self, dims: &Dims) -> Result<Placement, SpecError> {
        if let Some(&component) = self.components.iter().find(|component| !component.is_linear()) {
            let linear = Component::ALL.into_iter().filter(|component| component.is_linear() && component.exists(dims));
            let known = linear.map(Component::name).collect::<Vec<_>>().join(", ");
            return Err(PlacementError::NotLinear { method: self.method, component, known }.into());
        }
        self.resolve(dims)
    }
}

/// Every token: where a method acts unless positions are given.
pub(crate) fn everywhere() -> Positions {
    Positions::All
}

/// A number above 0 under this key.
pub(crate) fn positive(key: &'static str, given: f64) -> Result<(), SpecError> {
    let fine = given > 0.0 && given.is_finite();
    let fault = || PlacementError::Number { key, given: given.to_string(), allowed: "a number above 0" };
    if fine { Ok(()) } else { Err(fault().into()) }
}

/// A probability below 1.
pub(crate) fn probability(p: f64) -> Result<(), SpecError> {
    if (0.0..1.0).contains(&p) { Ok(()) } else { Err(SpecError::Dropout(p)) }
}
