//! What an operator typed and what it means: site files, process settings, and the snapshot that nodes run.
//!
//! Owns the typed documents, their checks and the compiled form that a request is routed with.
//! Opens no socket and reads no clock.

#![cfg_attr(test, expect(clippy::unwrap_used, reason = "a test that fails here should stop with the place"))]

pub mod check;
mod glob;
pub mod limits;
pub mod origin;
pub mod process;
pub mod purge;
#[cfg(test)]
mod reference;
pub mod site;
pub mod snapshot;
mod typed;
pub mod units;
