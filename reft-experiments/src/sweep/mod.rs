//! Sweeps: many runs on dev rows, the best of which is run on test rows.
//!
//! A sweep is a file ([`spec`]) that names a space of settings ([`space`]) and how it is searched ([`search`], [`tpe`]), with
//! or without giving up early on what does badly ([`halving`]). Its [`folder`] says what is to be done next; workers ([`work`])
//! claim a piece, do it and look again, wherever they were started ([`launch`]).

mod dtype;
pub mod folder;
pub mod halving;
pub mod identity;
pub mod launch;
mod listed;
pub mod manifest;
pub mod measure;
pub mod search;
pub mod show;
pub mod space;
pub mod spec;
pub mod tpe;
pub mod view;
pub mod work;
