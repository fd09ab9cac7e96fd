//! Sweeps: many runs on dev rows, the best of which is run on test rows.
//!
//! A sweep is a file ([`spec`]) that names a space of settings ([`space`]) and how it is searched ([`search`], [`tpe`]), with
//! or without giving up early on what does badly ([`halving`]).

pub mod check;
pub mod halving;
pub mod search;
pub mod space;
pub mod spec;
pub mod tpe;
