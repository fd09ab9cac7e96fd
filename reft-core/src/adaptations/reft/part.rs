//! One set of interventions, checked against a model.

use super::spec::ReftSpec;
use crate::adapt_config::SpecError;
use crate::intervention::Intervention;
use crate::layers::Layers;
use crate::params::Stack;
use crate::positions::Group;
use crate::site::{Component, Dims, LayerId, Site};

/// A checked [`ReftSpec`] with its sites and groups.
#[derive(Debug)]
pub(super) struct Part {
    pub spec: ReftSpec,
    width: i64,
    /// Ascending.
    pub layers: Vec<LayerId>,
    pub groups: Vec<Group>,
}

impl Part {
    pub fn new(spec: &ReftSpec, dims: &Dims) -> Result<Self, SpecError> {
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
    pub fn stacks(&self) -> Vec<Stack> {
        let sites = (self.layers.len() * self.groups.len()) as i64;
        let declared = self.phi().declare(self.width, self.spec.rank);
        declared.into_iter().map(|declared| Stack { declared, sites }).collect()
    }

    pub fn phi(&self) -> &dyn Intervention {
        self.spec.intervention.phi().as_intervention()
    }

    pub fn site(&self, layer: LayerId) -> Site {
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
