//! One file per adaptation.

pub mod nothing;
pub mod own_weights;
pub mod reft;
pub mod routed;
