//! Settings of methods that change components: what each of them says, and the [`AdaptConfig`] that follows from it.

use std::any::Any;
use std::fmt::Debug;

use tch::Device;

use super::{ComponentAdaptation, ComponentMethod, FrozenInputs, Placement, PlacementSpec, count};
use crate::adapt_config::{AdaptConfig, AdaptMethod, LentTensors, SpecError};
use crate::adaptation::Adaptation;
use crate::adaptations::several::{Member, jointly};
use crate::lender::Lender;
use crate::rng::Seed;
use crate::site::Dims;

/// Settings of a [`ComponentMethod`] at layers, components and positions.
pub trait ComponentConfig: Any + Debug + Send + Sync {
    /// Refuses settings that fit no model.
    ///
    /// # Errors
    /// The first such setting.
    fn check(&self) -> Result<(), SpecError>;

    /// Where it is put in a model that lends this of itself.
    fn placement(&self, lender: &dyn Lender) -> PlacementSpec<'_>;

    /// The sites in a model of these dimensions: linear maps, unless the method says otherwise.
    ///
    /// # Errors
    /// When a layer or a component does not exist there, or the method cannot be put there.
    fn sites(&self, dims: &Dims, lender: &dyn Lender) -> Result<Placement, SpecError> {
        self.placement(lender).linear(dims)
    }

    /// The method with these settings, for a model that lends this of itself.
    fn method(&self, lender: &dyn Lender) -> Box<dyn ComponentMethod>;

    /// What these settings train together with the method: its name in files and its settings.
    fn beside(&self) -> Option<(&'static str, &'static dyn AdaptConfig)> {
        None
    }
}

/// The error of biases that are trained beside a method, by the setting that asks for them.
fn of_bias(error: SpecError) -> SpecError {
    match error {
        SpecError::OwnWeights(_) => SpecError::OwnWeights("bias: all"),
        other => other,
    }
}

impl<C: ComponentConfig + AdaptMethod> AdaptConfig for C {
    fn build(
        &self,
        dims: &Dims,
        lender: &dyn Lender,
        seed: Seed,
        device: Device,
    ) -> Result<Box<dyn Adaptation>, SpecError> {
        self.check()?;
        let sites = self.sites(dims, lender)?;
        let method = ComponentAdaptation::new(self.method(lender), sites, (dims, lender), seed, device)?;
        let Some((name, beside)) = self.beside() else { return Ok(Box::new(method)) };
        let beside = beside.build(dims, lender, seed, device).map_err(of_bias)?;
        Ok(jointly(vec![Member::named(C::KEY, Box::new(method)), Member::named(name, beside)]))
    }

    fn trainable(&self, dims: &Dims, lender: &dyn Lender) -> Result<i64, SpecError> {
        self.check()?;
        let beside = self.beside().map_or(Ok(0), |(_, beside)| beside.trainable(dims, lender)).map_err(of_bias)?;
        Ok(count(self.method(lender).as_ref(), &self.sites(dims, lender)?, dims) + beside)
    }

    fn own_weights(&self) -> bool {
        self.beside().is_some_and(|(_, beside)| beside.own_weights())
    }

    fn trains_own(&self, name: &str) -> bool {
        self.beside().is_some_and(|(_, beside)| beside.trains_own(name))
    }

    fn computes_with_weights(&self) -> bool {
        self.method(&LentTensors(&[])).borrows() != FrozenInputs::Nothing
    }

    fn title(&self) -> String {
        C::TITLE.to_owned()
    }
}
