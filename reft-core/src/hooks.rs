//! What a model offers to code that reads or changes its hidden states.

use std::cell::RefCell;
use std::collections::BTreeMap;

use tch::Tensor;

use crate::site::{LayerId, Site};

/// A reader or editor of hidden states. The default is to leave everything alone.
pub trait Hooks {
    /// Component `at` turned `x` into `y`, as [`Component`](crate::site::Component) defines both; the model goes on with
    /// the returned tensor. `y` comes by value so that leaving it alone moves it through without a copy.
    fn visit(&self, at: Site, x: &Tensor, y: Tensor) -> Tensor;

    /// The linear map of component `at` turned `x` into `y`, before any norm of the model's that follows it: what a change of the
    /// map's weight would change. The model visits every linear component here first.
    fn visit_map(&self, _at: Site, _x: &Tensor, y: Tensor) -> Tensor {
        y
    }

    /// Whether a visit there, of either kind, reads or changes anything. Where it does not, a model may leave the visit out, and
    /// with it the work of making that state by itself.
    fn wants(&self, at: Site) -> bool;

    /// Keys and values that every sequence of the pass attends to before its own tokens (prefix-tuning); gradients flow to
    /// them. All layers must have as many rows.
    fn prefix(&self, _: LayerId) -> Option<KeyValuePrefix> {
        None
    }
}

/// Both visits of a linear component that no norm follows.
pub fn visit_linear(hooks: &dyn Hooks, at: Site, x: &Tensor, y: Tensor) -> Tensor {
    let y = hooks.visit_map(at, x, y);
    hooks.visit(at, x, y)
}

/// Keys and values before a sequence's first token. The sequence's own positions begin behind them.
#[derive(Debug)]
pub struct KeyValuePrefix {
    /// `[P, K, E]`, used as they are: not rotated.
    pub keys: Tensor,
    /// `[P, K, E]`.
    pub values: Tensor,
}

impl<H: Hooks + ?Sized> Hooks for &H {
    fn visit(&self, at: Site, x: &Tensor, y: Tensor) -> Tensor {
        (**self).visit(at, x, y)
    }

    fn visit_map(&self, at: Site, x: &Tensor, y: Tensor) -> Tensor {
        (**self).visit_map(at, x, y)
    }

    fn wants(&self, at: Site) -> bool {
        (**self).wants(at)
    }

    fn prefix(&self, layer: LayerId) -> Option<KeyValuePrefix> {
        (**self).prefix(layer)
    }
}

/// Changes nothing: the base model.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHooks;

impl Hooks for NoHooks {
    fn visit(&self, _: Site, _: &Tensor, y: Tensor) -> Tensor {
        y
    }

    fn wants(&self, _: Site) -> bool {
        false
    }
}

/// Several hooks at once, applied in order.
pub struct Chain<'a>(pub Vec<Box<dyn Hooks + 'a>>);

impl Hooks for Chain<'_> {
    fn visit(&self, at: Site, x: &Tensor, y: Tensor) -> Tensor {
        self.0.iter().fold(y, |y, hooks| hooks.visit(at, x, y))
    }

    fn visit_map(&self, at: Site, x: &Tensor, y: Tensor) -> Tensor {
        self.0.iter().fold(y, |y, hooks| hooks.visit_map(at, x, y))
    }

    fn wants(&self, at: Site) -> bool {
        self.0.iter().any(|hooks| hooks.wants(at))
    }

    /// The prefixes of all of them, in order.
    fn prefix(&self, layer: LayerId) -> Option<KeyValuePrefix> {
        let prefixes: Vec<KeyValuePrefix> = self.0.iter().filter_map(|hooks| hooks.prefix(layer)).collect();
        let of = |part: fn(&KeyValuePrefix) -> &Tensor| Tensor::cat(&prefixes.iter().map(part).collect::<Vec<_>>(), 0);
        (!prefixes.is_empty())
            .then(|| KeyValuePrefix { keys: of(|prefix| &prefix.keys), values: of(|prefix| &prefix.values) })
    }
}

/// Keeps `x` and `y` of some sites, and changes nothing.
#[derive(Debug)]
pub struct Collect {
    sites: Vec<Site>,
    visits: RefCell<BTreeMap<Site, (Tensor, Tensor)>>,
}

impl Collect {
    /// Collects at these sites.
    pub fn new(sites: Vec<Site>) -> Self {
        Self { sites, visits: RefCell::default() }
    }

    /// `y` of the last pass at each site, `[N, d]`.
    pub fn into_states(self) -> BTreeMap<Site, Tensor> {
        self.into_visits().into_iter().map(|(site, (_, y))| (site, y)).collect()
    }

    /// `x` and `y` of the last pass at each site.
    pub fn into_visits(self) -> BTreeMap<Site, (Tensor, Tensor)> {
        self.visits.into_inner()
    }
}

impl Hooks for Collect {
    fn visit(&self, at: Site, x: &Tensor, y: Tensor) -> Tensor {
        if self.sites.contains(&at) {
            self.visits.borrow_mut().insert(at, (x.shallow_clone(), y.shallow_clone()));
        }
        y
    }

    fn wants(&self, at: Site) -> bool {
        self.sites.contains(&at)
    }
}
