//! ReFT (Def. 3.2): sets of interventions `⟨Φ, P, l⟩` with independent parameters and disjoint positions.

mod part;
mod spec;
mod step;

use tch::{Device, Tensor};

use crate::adapt_config::SpecError;
use crate::adaptation::{Adaptation, EditedRows, Frontier, Mode, NamedTensor, Step};
use crate::layout::Layout;
use crate::params::ParamSet;
use crate::positions::Group;
use crate::rng::Seed;
use crate::site::{Component, Dims, LayerId, Site};
use part::Part;
pub use spec::{Dropout, DropoutOn, ReftList, ReftSpec};
use step::ReftStep;

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
        Box::new(ReftStep { reft: self, mode, leaves: self.params.leaves(mode) })
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
