//! One set of interventions, checked against a model.

use super::spec::ReftSpec;
use crate::adapt_config::SpecError;
use crate::intervention::Intervention;
use crate::layers::Layers;
use crate::params::Stack;
use crate::positions::{Positions, TyingGroup};
use crate::site::{Component, Dims, LayerId, Site};

/// A checked [`ReftSpec`] with its sites and groups.
#[derive(Debug)]
pub(super) struct ReftPart {
    pub spec: ReftSpec,
    /// First column that is edited, and how many.
    pub columns: (i64, i64),
    /// Ascending.
    pub layers: Vec<LayerId>,
    pub groups: Vec<TyingGroup>,
}

impl ReftPart {
    pub fn new(spec: &ReftSpec, dims: &Dims) -> Result<Self, SpecError> {
        let columns = columns(spec, dims)?;
        let width = columns.1;
        if !(1..=width).contains(&spec.rank) {
            return Err(SpecError::Rank { rank: spec.rank, component: spec.component, width });
        }
        if !(0.0..1.0).contains(&spec.dropout.p) {
            return Err(SpecError::Dropout(spec.dropout.p));
        }
        if !spec.strength.is_finite() {
            return Err(SpecError::Strength(spec.strength));
        }
        let phi = spec.intervention.phi().as_intervention();
        if phi.takes_source() != (spec.positions == Positions::Given) {
            return Err(SpecError::Given(spec.positions));
        }
        if let Some(subspace) = spec.subspace {
            let error = |reason: String| Err(SpecError::Subspace { subspace, reason });
            if !phi.is_divisible() {
                return error(format!("{} has no rows to choose from; leave it out", spec.intervention.title()));
            }
            if subspace.end() > spec.rank {
                return error(format!("the rank is {}, so rows end at {}", spec.rank, spec.rank));
            }
        }
        let layers = layers(spec, dims)?;
        let groups = spec.positions.groups(spec.tying)?;
        Ok(Self { spec: spec.clone(), columns, layers, groups })
    }

    /// The stacks of this part; sites are ordered by layer, then group.
    pub fn stacks(&self) -> Vec<Stack> {
        let sites = (self.layers.len() * self.groups.len()) as i64;
        let declared = self.phi().declare(self.columns.1, self.spec.rank);
        declared.into_iter().map(|declared| Stack { declared, sites }).collect()
    }

    pub fn phi(&self) -> &dyn Intervention {
        self.spec.intervention.phi().as_intervention()
    }

    pub fn site(&self, layer: LayerId) -> Site {
        Site { layer, component: self.spec.component }
    }
}

/// The columns of the state that a specification edits: all, or one head's.
fn columns(spec: &ReftSpec, dims: &Dims) -> Result<(i64, i64), SpecError> {
    let Some(head) = spec.head else { return Ok((0, spec.component.width(dims))) };
    let heads = match spec.component {
        Component::Query | Component::HeadOutput => dims.heads,
        Component::Key | Component::Value => dims.kv_heads,
        Component::Embedding
        | Component::BlockInput
        | Component::AttentionOutput
        | Component::Gate
        | Component::Up
        | Component::MlpHidden
        | Component::MlpOutput
        | Component::BlockOutput => 0,
    };
    if i64::from(head) < heads {
        Ok((i64::from(head) * dims.head_width, dims.head_width))
    } else {
        Err(SpecError::Head { head, component: spec.component, heads })
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
