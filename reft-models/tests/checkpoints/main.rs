//! Checkpoints as people have them: configurations of several versions, tied ends, pickles of every kind, old encoders.

mod configurations;
mod encoders;
mod families;
mod folder;
mod pickle_writer;
mod pickles;
mod tied;
