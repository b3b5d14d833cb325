//! The cache engine: rules, request machine, objects, purge.
//!
//! Knows requests, policies, objects and time, which is always an argument. Opens no socket, reads no clock, and reaches
//! upstream only through [`fetch::Fetch`].

pub mod answer;
pub mod cacheable;
pub mod collect;
pub mod conditional;
pub mod control;
pub mod exchange;
pub mod explain;
pub mod fetch;
pub mod figures;
pub mod freshness;
pub mod groups;
pub mod key;
pub mod no_vary_search;
pub mod range;
pub mod request;
pub mod time;
pub mod vary;

mod codec;
mod cookies;
mod flight;
mod lists;
mod lookup;
mod object;
mod purge;
mod shape;
mod store;

/// The disk tier, as far as a node sets it up and looks at it.
pub mod disk {
    pub use crate::store::disk::{DiskFigures, Settings, State};
}

#[cfg(test)]
mod second_opinion;
