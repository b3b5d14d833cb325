//! The request machine against scripted upstreams: gates in place of sleeps.

mod collapse;
mod house;
mod invalidation;
mod purging;
mod shape;
mod stale;
mod windows;
