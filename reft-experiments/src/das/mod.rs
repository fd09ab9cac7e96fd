//! Distributed alignment search (`reft das`): in which state does a causal variable live?

pub mod equality;
pub mod network;
pub mod price_tag;
pub mod search;
