//! An adaptation of one's own: `y = W x + b + c`, a trained vector `c` beside linear maps. Its formula, its tensors and where
//! it is put are written here; training, saving, loading, counting and positions come with the program.
//!
//! `cargo run --example own_adaptation [MODEL]`

use std::path::Path;

use reft_core::adapt_config::{AdaptMethod, SpecError};
use reft_core::adaptations;
use reft_core::adaptations::components::{ComponentConfig, ComponentMethod, ComponentSite, PlacementSpec, SiteRows};
use reft_core::decay::ParameterRole;
use reft_core::layers::Layers;
use reft_core::lender::Lender;
use reft_core::positions::{Positions, Truncation};
use reft_core::site::Component;
use reft_experiments::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Adds a trained vector to what linear maps put out.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Shift {
    /// The components.
    components: Vec<Component>,
    /// The layers.
    #[serde(default)]
    layers: Layers,
}

impl ComponentConfig for Shift {
    fn check(&self) -> Result<(), SpecError> {
        Ok(())
    }

    fn placement(&self, _: &dyn Lender) -> PlacementSpec<'_> {
        let Self { components, layers } = self;
        let (positions, truncation) = (Positions::All, Truncation::default());
        PlacementSpec { method: Self::KEY, components, layers, positions, truncation }
    }

    fn method(&self, _: &dyn Lender) -> Box<dyn ComponentMethod> {
        Box::new(self.clone())
    }
}

impl ComponentMethod for Shift {
    fn key(&self) -> &'static str {
        Self::KEY
    }

    fn declare(&self, place: &ComponentSite) -> Vec<ParameterSpec> {
        let (init, constraint) = (Init::Constant(0.0), Constraint::Free);
        vec![ParameterSpec { name: "c", shape: vec![place.output], init, constraint, role: ParameterRole::Bias }]
    }

    fn change(&self, rows: &SiteRows<'_>) -> Tensor {
        rows.y() + &rows.parameters[0]
    }
}

impl AdaptMethod for Shift {
    const KEY: &'static str = "shift";
    const TITLE: &'static str = "Shift";
    const PARAMETERS: &'static str = "out for each component of each layer";
    const STARTS_AS_BASE: bool = true;

    fn example() -> Self {
        Self { components: vec![Component::Value], layers: Layers::All }
    }
}

/// The first and the last loss, and whether the loaded adapter has the trained tensors.
///
/// # Errors
/// When the model cannot be loaded.
pub fn run(model: &str, folder: &Path) -> Result<(f64, f64, bool)> {
    // A second registration of the key is refused.
    adaptations::register::<Shift>()?;
    let loaded = LoadedDecoder::open(model, Dtype::F32, DeviceSpec(Device::Cpu))?;
    let spec = adapt(r#"{"shift": {"components": ["value", "mlp_output"]}}"#)?;
    let mut shift = spec.build(loaded.decoder.dims(), Seed(42), Device::Cpu)?;
    let rows = examples(&loaded, &[("Say yes.", " yes"), ("Say no.", " no")])?;
    let mut objective = Causal::new(loaded.decoder.as_ref(), FrozenForward::off(loaded.decoder.as_ref()), 4096);
    let mut learner = Learner::new(&mut objective, shift.as_mut(), UpdateRules::default());
    let mut losses = Vec::new();
    for _ in 0..20 {
        losses.push(learner.update(&rows.iter().collect::<Vec<_>>(), 1e-2)?.loss);
    }
    let path = folder.join("shift");
    save(&path, &loaded.base, &spec, shift.as_ref())?;
    let again = SavedAdapter::read(&path)?.onto(&loaded.base, Device::Cpu)?;
    let same = shift.named().iter().zip(again.named()).all(|(trained, read)| trained.tensor.equal(&read.tensor));
    println!("loss {:.4} to {:.4}; read again: {same}", losses[0], losses[19]);
    Ok((losses[0], losses[19], same))
}

fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    run(&std::env::args().nth(1).unwrap_or("smollm2".to_owned()), folder.path()).map(|_| ())
}
