//! The request machine against scripted upstreams: gates in place of sleeps.

mod collapse;
pub(crate) mod house;
mod invalidation;
mod purging;
mod resuming;
mod shape;
mod stale;
mod windows;
