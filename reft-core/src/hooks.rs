//! What a model offers to whoever wants to read or change its hidden states.

use std::cell::RefCell;
use std::collections::BTreeMap;

use tch::Tensor;

use crate::site::{LayerId, Site};

/// A reader or editor of hidden states. The default is to leave everything alone.
pub trait Hooks {
    /// Component `at` turned `x` `[N, d_in]` into `y` `[N, d_out]`; the model goes on with the returned tensor.
    /// `y` comes by value so that leaving it alone moves it through without a copy.
    fn visit(&self, at: Site, x: &Tensor, y: Tensor) -> Tensor;

    /// The first layer whose states this can change, if any. Below it no graph is built and outputs may be kept.
    fn first_layer(&self) -> Option<LayerId>;
}

/// Changes nothing: the base model.
#[derive(Clone, Copy, Debug, Default)]
pub struct Frozen;

impl Hooks for Frozen {
    fn visit(&self, _: Site, _: &Tensor, y: Tensor) -> Tensor {
        y
    }

    fn first_layer(&self) -> Option<LayerId> {
        None
    }
}

/// Several hooks at once, applied in order.
pub struct Chain<'a>(pub Vec<&'a dyn Hooks>);

impl Hooks for Chain<'_> {
    fn visit(&self, at: Site, x: &Tensor, y: Tensor) -> Tensor {
        self.0.iter().fold(y, |y, hooks| hooks.visit(at, x, y))
    }

    fn first_layer(&self) -> Option<LayerId> {
        self.0.iter().filter_map(|hooks| hooks.first_layer()).min()
    }
}

/// Keeps what passes by at some sites, and changes nothing.
#[derive(Debug)]
pub struct Collect {
    sites: Vec<Site>,
    states: RefCell<BTreeMap<Site, Tensor>>,
}

impl Collect {
    /// Collects at these sites.
    pub fn new(sites: Vec<Site>) -> Self {
        Self { sites, states: RefCell::default() }
    }

    /// The states of the last pass, `[N, d]` each.
    pub fn into_states(self) -> BTreeMap<Site, Tensor> {
        self.states.into_inner()
    }
}

impl Hooks for Collect {
    fn visit(&self, at: Site, _: &Tensor, y: Tensor) -> Tensor {
        if self.sites.contains(&at) {
            self.states.borrow_mut().insert(at, y.shallow_clone());
        }
        y
    }

    fn first_layer(&self) -> Option<LayerId> {
        None
    }
}
