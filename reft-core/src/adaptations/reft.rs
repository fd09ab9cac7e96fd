//! ReFT (Def. 3.2): sets of interventions `⟨Φ, P, l⟩` with independent parameters and disjoint positions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor, no_grad};

use crate::adaptation::{Adaptation, EditedRows, Frontier, Mode, NamedTensor, OverlapError, Step};
use crate::hooks::Hooks;
use crate::intervention::Intervention;
use crate::layout::Layout;
use crate::method::Method;
use crate::params::{ParamSet, Stack};
use crate::positions::{Group, Positions, Truncation, Tying, TyingError};
use crate::rng::Seed;
use crate::site::{Component, Dims, LayerId, Layers, LayersError, Site};

/// What dropout falls on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DropoutOn {
    /// The whole edited state, as in the reference library and so in the paper's runs: a dropped coordinate is 0.
    State,
    /// The edit alone: a dropped coordinate keeps its value.
    #[default]
    Edit,
}

/// Dropout during training.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dropout {
    /// Probability, from 0 up to but not including 1.
    #[serde(default)]
    pub p: f64,
    /// What it falls on.
    #[serde(default)]
    pub on: DropoutOn,
}

/// One set of interventions: the same `Φ`, positions and rank at several layers.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReftSpec {
    /// `Φ`, by name or spelled out.
    pub intervention: Method,
    /// `r`, dimension of the subspace.
    pub rank: i64,
    /// `P`, the tokens.
    pub positions: Positions,
    /// `l`, the layers.
    #[serde(default)]
    pub layers: Layers,
    /// Which positions share parameters.
    #[serde(default)]
    pub tying: Tying,
    /// The station in the block.
    #[serde(default)]
    pub component: Component,
    /// Rule for short prompts.
    #[serde(default)]
    pub truncation: Truncation,
    /// Dropout during training.
    #[serde(default)]
    pub dropout: Dropout,
}

/// A specification that does not fit the model or itself.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum SpecError {
    /// A layer does not exist, or the list is wrong.
    #[error(transparent)]
    Layers(#[from] LayersError),
    /// Positions without ends cannot be untied.
    #[error(transparent)]
    Tying(#[from] TyingError),
    /// Rank 0, or more rows than the space has dimensions.
    #[error("rank {rank} is impossible at {component}: choose 1 to {width}, the width there")]
    Rank {
        /// The rank asked for.
        rank: i64,
        /// Where.
        component: Component,
        /// The width there.
        width: i64,
    },
    /// The model has no such component.
    #[error("component {0} does not exist in this model: {1}")]
    Component(Component, &'static str),
    /// Not a probability.
    #[error("dropout p {0} is not a probability: choose 0 up to (not including) 1")]
    Dropout(f64),
    /// The model's own weights are wanted where there are none.
    #[error(
        "{0} trains the model's own weights, which only encoders lend: take an encoder and a task that it classifies, or \
         choose reft"
    )]
    OwnWeights(&'static str),
    /// `refts: []`.
    #[error("refts is empty: name at least one set of interventions, or leave out adapt for the base model")]
    Empty,
}

impl ReftSpec {
    /// Number of trainable numbers for a model of these dimensions.
    ///
    /// # Errors
    /// When the specification does not fit the model.
    pub fn trainable(&self, dims: &Dims) -> Result<i64, SpecError> {
        Ok(Part::new(self, dims)?.stacks().iter().map(|s| s.sites * s.declared.shape.iter().product::<i64>()).sum())
    }
}

/// A checked [`ReftSpec`] with its sites and groups.
#[derive(Debug)]
struct Part {
    spec: ReftSpec,
    width: i64,
    layers: Vec<LayerId>,
    groups: Vec<Group>,
}

impl Part {
    fn new(spec: &ReftSpec, dims: &Dims) -> Result<Self, SpecError> {
        let width = spec.component.width(dims);
        if !(1..=width).contains(&spec.rank) {
            return Err(SpecError::Rank { rank: spec.rank, component: spec.component, width });
        }
        if !(0.0..1.0).contains(&spec.dropout.p) {
            return Err(SpecError::Dropout(spec.dropout.p));
        }
        let layers = layers(spec, dims)?;
        let groups = spec.positions.groups(spec.tying)?;
        Ok(Self { spec: spec.clone(), width, layers, groups })
    }

    /// The stacks of this part; sites are ordered by layer, then group.
    fn stacks(&self) -> Vec<Stack> {
        let sites = (self.layers.len() * self.groups.len()) as i64;
        let declared = self.phi().declare(self.width, self.spec.rank);
        declared.into_iter().map(|declared| Stack { declared, sites }).collect()
    }

    fn phi(&self) -> &dyn Intervention {
        self.spec.intervention.phi().as_intervention()
    }

    fn site(&self, layer: LayerId) -> Site {
        Site { layer, component: self.spec.component }
    }
}

/// The layers of a specification whose component exists there. The embedding is one for all layers.
fn layers(spec: &ReftSpec, dims: &Dims) -> Result<Vec<LayerId>, SpecError> {
    if !spec.component.exists(dims) {
        return Err(SpecError::Component(spec.component, "its MLP has no gate; choose up or mlp_hidden"));
    }
    let layers = spec.layers.resolve(dims)?;
    if spec.component != Component::Embedding || layers == [LayerId(0)] {
        return Ok(layers);
    }
    match spec.layers {
        Layers::All => Ok(vec![LayerId(0)]),
        Layers::Listed(_) => {
            Err(SpecError::Component(spec.component, "there is one, before layer 0: write layers: [0]"))
        }
    }
}

/// All interventions of a run.
#[derive(Debug)]
pub struct Reft {
    parts: Vec<Part>,
    params: ParamSet,
}

impl Reft {
    /// Fresh interventions for a model of these dimensions.
    ///
    /// # Errors
    /// When a specification does not fit the model.
    pub fn new(specs: &[ReftSpec], dims: &Dims, seed: Seed, device: Device) -> Result<Self, SpecError> {
        if specs.is_empty() {
            return Err(SpecError::Empty);
        }
        let parts = specs.iter().map(|spec| Part::new(spec, dims)).collect::<Result<Vec<_>, _>>()?;
        let stacks = parts.iter().flat_map(Part::stacks).collect();
        let params = ParamSet::new(stacks, &mut seed.stream("init", 0), device);
        Ok(Self { parts, params })
    }

    /// Splits one entry per stack into one slice per part.
    fn by_part<'t>(&'t self, mut stacks: &'t [Tensor]) -> impl Iterator<Item = (usize, &'t Part, &'t [Tensor])> {
        self.parts.iter().enumerate().map(move |(index, part)| {
            let (mine, rest) = stacks.split_at(part.stacks().len());
            stacks = rest;
            (index, part, mine)
        })
    }

    fn tensor_name(&self, part: usize, site: Site, group: Group, tensor: &str) -> String {
        let name = format!("{site}.{group}.{tensor}");
        if self.parts.len() == 1 { name } else { format!("{part}.{name}") }
    }
}

impl Adaptation for Reft {
    fn params(&self) -> &ParamSet {
        &self.params
    }

    fn params_mut(&mut self) -> &mut ParamSet {
        &mut self.params
    }

    fn named(&self) -> Vec<NamedTensor> {
        let views = self.params.views();
        let mut named = Vec::new();
        for (index, part, stacks) in self.by_part(&views) {
            for (stack, view) in part.stacks().iter().zip(stacks) {
                let sites = part.layers.iter().flat_map(|&l| part.groups.iter().map(move |&g| (part.site(l), g)));
                for ((site, group), tensor) in sites.zip(view.unbind(0)) {
                    named.push(NamedTensor { name: self.tensor_name(index, site, group, stack.declared.name), tensor });
                }
            }
        }
        named
    }

    fn begin(&self, mode: Mode) -> Box<dyn Step + '_> {
        let (derived, leaves) = match mode {
            Mode::Eval => (Vec::new(), no_grad(|| self.params.materialise())),
            Mode::Train => {
                let derived = self.params.materialise();
                let leaves = derived.iter().map(|tensor| tensor.detach().set_requires_grad(true)).collect();
                (derived, leaves)
            }
        };
        Box::new(ReftStep { reft: self, mode, derived, leaves })
    }

    fn edits(&self, layout: &Layout) -> Vec<EditedRows> {
        let of_part = |part: &Part| {
            let rows = part.spec.positions.resolve(layout, &part.groups, part.spec.truncation);
            let at = |&layer: &LayerId| {
                let site = part.site(layer);
                let groups = part.groups.iter().zip(&rows);
                groups.map(|(&group, rows)| EditedRows { site, group, rows: rows.clone() }).collect::<Vec<_>>()
            };
            part.layers.iter().flat_map(at).collect::<Vec<_>>()
        };
        self.parts.iter().flat_map(of_part).collect()
    }

    fn frontier(&self) -> Frontier {
        let lowest = |part: &Part| part.layers.iter().min().copied();
        let Some(first) = self.parts.iter().filter_map(lowest).min() else { return Frontier::NONE };
        let mut there = self.parts.iter().filter(|part| lowest(part) == Some(first));
        let visits_last = there.all(|part| part.spec.component == Component::BlockOutput);
        Frontier { blocks: first.0 + usize::from(visits_last), visits_last }
    }

    fn first_edited(&self, prompt: i64) -> Option<i64> {
        self.parts.iter().filter_map(|part| part.spec.positions.first_edited(prompt, part.spec.truncation)).min()
    }
}

/// The interventions between two updates. Passes read the detached `leaves`, so that the orthonormalisation behind
/// `derived` is differentiated once per step however many micro-batches there are.
struct ReftStep<'a> {
    reft: &'a Reft,
    mode: Mode,
    derived: Vec<Tensor>,
    leaves: Vec<Tensor>,
}

impl Step for ReftStep<'_> {
    fn hooks<'s>(&'s self, layout: &Layout) -> Result<Box<dyn Hooks + 's>, OverlapError> {
        let device = self.reft.params.flat().device();
        let mut edits: BTreeMap<Site, Vec<Edit<'s>>> = BTreeMap::new();
        let mut taken: Vec<Taken> = Vec::new();
        for (index, part, leaves) in self.reft.by_part(&self.leaves) {
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
        let pairs = self.derived.iter().zip(&self.leaves).filter(|(_, leaf)| leaf.grad().defined());
        let products: Vec<Tensor> = pairs.map(|(derived, leaf)| (derived * leaf.grad()).sum(Kind::Float)).collect();
        if !products.is_empty() {
            Tensor::stack(&products, 0).sum(Kind::Float).backward();
        }
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
