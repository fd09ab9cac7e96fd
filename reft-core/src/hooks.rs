//! What a model offers to whoever wants to read or change its hidden states.

use std::cell::RefCell;
use std::collections::BTreeMap;

use tch::Tensor;

use crate::site::Site;

/// A reader or editor of hidden states. The default is to leave everything alone.
pub trait Hooks {
    /// Component `at` turned `x` `[N, d_in]` into `y` `[N, d_out]`; the model goes on with the returned tensor.
    /// `y` comes by value so that leaving it alone moves it through without a copy.
    fn visit(&self, at: Site, x: &Tensor, y: Tensor) -> Tensor;

    /// Whether a visit there reads or changes anything. Where it does not, a model may leave the visit out, and with it
    /// the work of making that state by itself.
    fn wants(&self, at: Site) -> bool;
}

/// Changes nothing: the base model.
#[derive(Clone, Copy, Debug, Default)]
pub struct Frozen;

impl Hooks for Frozen {
    fn visit(&self, _: Site, _: &Tensor, y: Tensor) -> Tensor {
        y
    }

    fn wants(&self, _: Site) -> bool {
        false
    }
}

/// Several hooks at once, applied in order.
pub struct Chain<'a>(pub Vec<&'a dyn Hooks>);

impl Hooks for Chain<'_> {
    fn visit(&self, at: Site, x: &Tensor, y: Tensor) -> Tensor {
        self.0.iter().fold(y, |y, hooks| hooks.visit(at, x, y))
    }

    fn wants(&self, at: Site) -> bool {
        self.0.iter().any(|hooks| hooks.wants(at))
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

    fn wants(&self, at: Site) -> bool {
        self.sites.contains(&at)
    }
}
