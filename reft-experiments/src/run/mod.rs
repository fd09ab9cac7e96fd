//! One run from its plan to its record: read the rows, load the model, train, keep what was trained, score.
//!
//! | file | what |
//! |---|---|
//! | `runner.rs`, `named.rs` | a run's name, its claim, its folder; the record of the store where there is one |
//! | `experiment.rs`, `choice.rs` | what is run: the traits, and the choice between their implementations |
//! | `perform.rs` | the order of things and every policy: what is kept when, and what becomes of a checkpoint |
//! | `fit.rs` | the trainer with its observers, as a plan sets it |
//! | `answering/` | a causal model that answers in words |
//! | `classifying/` | an encoder under a head that gives every row its label |
//! | `studying/` | a causal model whose edits are measured as a study says |
//! | `session.rs`, `saved.rs` | models that are loaded, and what was trained on them read back |
//! | `saved_task.rs`, `predict.rs` | what a model was trained for, kept beside it; rows of other files answered by it |
//! | `memory.rs`, `context.rs`, `prediction.rs` | memory that a run needs, a model's context length, a row's answer |
//! | `model_dims.rs` | whether what many plans train fits their models, before the first of them is run |

pub mod answering;
mod choice;
mod classifying;
pub mod context;
pub mod experiment;
mod fit;
mod folders;
pub mod memory;
pub mod model_dims;
pub mod named;
mod perform;
pub mod predict;
pub mod prediction;
mod runner;
pub mod saved;
pub mod saved_task;
pub mod session;
mod studying;

pub use self::choice::{check, data_fingerprint, open, warnings};
pub use self::named::RunOutcome;
pub use self::perform::PredictionFile;
pub use self::runner::{Claiming, Resume, Runner, run_name};
