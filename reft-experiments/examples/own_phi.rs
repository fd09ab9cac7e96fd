//! An intervention of one's own: `Φ(h) = h + a ⊙ tanh(h)`, with one learned number for each coordinate. Registered once, it
//! is read from configurations, trained, saved and loaded like those that come with the program.
//!
//! `cargo run --example own_phi [MODEL]`

use std::path::Path;

use reft_core::decay::ParameterRole;
use reft_core::interventions;
use reft_experiments::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Adds a part of every coordinate's hyperbolic tangent.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Squash {
    /// What the learned numbers begin with.
    begin: f32,
}

impl Intervention for Squash {
    fn declare(&self, d: i64, _rank: i64) -> Vec<ParameterSpec> {
        let init = Init::Constant(self.begin);
        vec![ParameterSpec { name: "a", shape: vec![d], init, constraint: Constraint::Free, role: ParameterRole::Gain }]
    }

    fn phi(&self, p: PhiParams<'_>, h: &Tensor) -> Tensor {
        h + &p[0] * h.tanh()
    }
}

impl PhiSettings for Squash {
    const KEY: &'static str = "squash";
    const PARAMETERS: &'static str = "d";
    const STARTS_AS_IDENTITY: bool = false;

    fn example() -> Self {
        Self { begin: 0.0 }
    }
}

/// What the trained model says, and what the loaded adapter says.
///
/// # Errors
/// When the model cannot be loaded.
pub fn run(model: &str, folder: &Path) -> Result<(String, String)> {
    // A second registration of the key is refused.
    interventions::register::<Squash>()?;
    let loaded = LoadedDecoder::open(model, Dtype::F32, DeviceSpec(Device::Cpu))?;
    let spec = adapt(r#"{"reft": {"intervention": {"squash": {"begin": 0.1}}, "rank": 1, "positions": "prompt"}}"#)?;
    let mut squash = spec.build(loaded.decoder.dims(), Seed(42), Device::Cpu)?;
    let rows = examples(&loaded, &[("Say yes.", " yes"), ("Say no.", " no")])?;
    let mut objective = Causal::new(loaded.decoder.as_ref(), FrozenForward::off(loaded.decoder.as_ref()), 4096);
    let mut learner = Learner::new(&mut objective, squash.as_mut(), UpdateRules::default());
    for _ in 0..10 {
        learner.update(&rows.iter().collect::<Vec<_>>(), 1e-2)?;
    }
    let path = folder.join("squash");
    save(&path, &loaded.base, &spec, squash.as_ref())?;
    let again = SavedAdapter::read(&path)?.onto(&loaded.base, Device::Cpu)?;
    let said = |adaptation: &dyn Adaptation| answer(&loaded, Some(adaptation), "Say yes.", 8);
    let both = (said(squash.as_ref())?, said(again.as_ref())?);
    println!("trained: {}\nloaded: {}", both.0, both.1);
    Ok(both)
}

fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    run(&std::env::args().nth(1).unwrap_or("smollm2".to_owned()), folder.path()).map(|_| ())
}
