//! ReFT (Def. 3.2): sets of interventions `⟨Φ, P, l⟩` with independent parameters and disjoint positions.

mod config;
mod part;
mod shared;
mod spec;
mod step;

use tch::{Device, Tensor};

use crate::adapt_config::SpecError;
use crate::adaptation::{Adaptation, EditedRows, Frontier, Mode, NamedTensor, Step};
use crate::layout::Layout;
use crate::params::ParamSet;
use crate::positions::TyingGroup;
use crate::rng::Seed;
use crate::site::{Component, Dims, LayerId, Site};
use part::ReftPart;
use shared::owners;
pub use spec::{DropoutOn, EditDropout, ReftList, ReftSpec};
use step::ReftStep;

/// All interventions of a run.
#[derive(Debug)]
pub struct Reft {
    parts: Vec<ReftPart>,
    /// Of each part, the one whose parameters it uses: itself, or the first of its subspace.
    owners: Vec<usize>,
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
        let parts = specs.iter().map(|spec| ReftPart::new(spec, dims)).collect::<Result<Vec<_>, _>>()?;
        let owners = owners(&parts)?;
        let stacks = parts.iter().enumerate().filter(|(index, _)| owners[*index] == *index);
        let stacks = stacks.flat_map(|(_, part)| part.stacks()).collect();
        let params = ParamSet::new(stacks, &mut seed.stream("init", 0), device);
        Ok(Self { parts, owners, params })
    }

    /// One entry per stack as one slice per part; parts of one subspace have the same slice.
    fn by_part<'t>(&'t self, mut stacks: &'t [Tensor]) -> Vec<&'t [Tensor]> {
        let mut slices: Vec<&[Tensor]> = Vec::with_capacity(self.parts.len());
        for (index, (part, &owner)) in self.parts.iter().zip(&self.owners).enumerate() {
            if owner == index {
                let (mine, rest) = stacks.split_at(part.stacks().len());
                slices.push(mine);
                stacks = rest;
            } else {
                slices.push(slices[owner]);
            }
        }
        slices
    }

    /// Whether there is more than one set of parameters, so that names must say whose they are.
    fn is_numbered(&self) -> bool {
        self.owners.iter().any(|&owner| owner != 0)
    }

    fn tensor_name(&self, part: usize, site: Site, group: TyingGroup, tensor: &str) -> String {
        let name = format!("{site}.{group}.{tensor}");
        if self.is_numbered() { format!("{part}.{name}") } else { name }
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
        for (index, (part, stacks)) in self.parts.iter().zip(self.by_part(&views)).enumerate() {
            if self.owners[index] != index {
                continue;
            }
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
        let of_part = |(index, part): (usize, &ReftPart)| {
            let rows = part.rows(&layout.of_part(index), index);
            let at = |&layer: &LayerId| {
                let site = part.site(layer);
                let groups = part.groups.iter().zip(&rows);
                groups.map(|(&group, rows)| EditedRows { site, group, rows: rows.clone() }).collect::<Vec<_>>()
            };
            part.layers.iter().flat_map(at).collect::<Vec<_>>()
        };
        self.parts.iter().enumerate().flat_map(of_part).collect()
    }

    fn frontier(&self) -> Frontier {
        let lowest = |part: &ReftPart| part.layers.iter().min().copied();
        let Some(first) = self.parts.iter().filter_map(lowest).min() else { return Frontier::NONE };
        let mut there = self.parts.iter().filter(|part| lowest(part) == Some(first));
        let visits_last = there.all(|part| part.spec.component == Component::BlockOutput);
        Frontier { blocks: first.0 + usize::from(visits_last), visits_last }
    }

    fn first_edited(&self, prompt: i64) -> Option<i64> {
        self.parts.iter().filter_map(|part| part.spec.positions.first_edited(prompt, part.spec.truncation)).min()
    }
}
