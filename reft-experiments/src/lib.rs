//! Training, evaluation and experiments with representation finetuning: tasks, runs, tables.
//!
//! Training on pairs of a prompt and an answer, and asking the model (`examples/finetune.rs` is the whole program):
//!
//! ```no_run
//! use reft_experiments::prelude::*;
//!
//! # fn main() -> Result<()> {
//! let loaded = LoadedDecoder::open("smollm2", Dtype::F32, DeviceSpec(Device::Cpu))?;
//! let spec = adapt(r#"{"reft": {"intervention": "loreft", "rank": 4, "positions": "l1"}}"#)?;
//! let mut loreft = spec.build(loaded.decoder.dims(), Seed(42), Device::Cpu)?;
//! let rows = examples(&loaded, &[("Capital of France?", " Paris"), ("Capital of Italy?", " Rome")])?;
//! let mut objective = Causal::new(loaded.decoder.as_ref(), FrozenForward::off(loaded.decoder.as_ref()), 4096);
//! let mut learner = Learner::new(&mut objective, loreft.as_mut(), UpdateRules::default());
//! for _ in 0..60 {
//!     learner.update(&rows.iter().collect::<Vec<_>>(), 4e-3)?;
//! }
//! println!("{}", answer(&loaded, Some(loreft.as_ref()), "Capital of France?", 8)?);
//! save("adapter".as_ref(), &loaded.base, &spec, loreft.as_ref())?;
//! # Ok(())
//! # }
//! ```
//!
//! More in `examples/`: `classify` (an encoder under a head), `own_phi` (an intervention of one's own),
//! `own_objective` (a loss of one's own), `own_task`, `own_study`, `own_adaptation`, `collect` (a hook that
//! reads activations), `interchange` (eq. 1). `tests/examples.rs` runs all of them.
//!
//! The default feature `program` is the command line with sweeps, tables and reports; without it (`default-features = false`)
//! the crate trains, applies and scores, and has no parquet, charts or HTTP.

#![forbid(unsafe_code)]

#[macro_use]
pub mod console;

pub mod alpaca_eval;
mod atomic;
#[cfg(feature = "program")]
pub mod bench;
#[cfg(feature = "program")]
pub mod cli;
pub mod collect;
#[cfg(feature = "program")]
mod columns;
#[cfg(feature = "program")]
pub mod commands;
pub mod config;
#[cfg(feature = "program")]
pub mod das;
pub mod data;
#[cfg(feature = "program")]
pub mod figures;
#[cfg(feature = "program")]
pub mod interop;
pub mod machine;
pub mod pairs;
pub mod prelude;
#[cfg(feature = "program")]
pub mod report;
pub mod run;
pub mod score;
pub mod settings;
pub mod store;
pub mod studies;
#[cfg(feature = "program")]
pub mod sweep;
#[cfg(feature = "program")]
pub mod tables;
pub mod tasks;
pub mod train;

use reft_core::suggest;
