//! What an operator typed and what it means: site files, process settings, and the snapshot that nodes run.
//!
//! Owns the typed documents, their checks and the compiled form that a request is routed with.
//! Opens no socket and reads no clock.

pub mod check;
pub mod cookies;
pub mod fields;
mod glob;
pub mod limits;
pub mod origin;
pub mod process;
pub mod purge;
#[cfg(test)]
mod reference;
pub mod secret;
pub mod site;
pub mod snapshot;
pub mod status;
mod typed;
pub mod units;
