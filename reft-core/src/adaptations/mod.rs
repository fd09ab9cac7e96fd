//! One file per adaptation.

pub mod reft;
