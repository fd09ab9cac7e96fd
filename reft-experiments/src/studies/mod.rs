//! The studies beside the tables: what a representation holds, and what one edit can do.
//!
//! A study is a set of runs ([`cell::FigureRun`]) and a measure of their records ([`figure`]); its runs are runs of the store like any
//! others.

pub mod cell;
pub mod composition;
pub mod das;
pub mod edits;
pub mod equality;
pub mod figure;
pub mod memorise;
pub mod network;
pub mod overhead;
pub mod pairs;
pub mod parameters;
pub mod price_tag;
pub mod style;
