//! The request machine against scripted upstreams: gates in place of sleeps.

mod collapse;
mod directives;
pub(crate) mod disk;
mod explain;
mod groups;
mod heads;
pub(crate) mod house;
mod interim;
mod invalidation;
mod model;
mod parts;
mod purging;
mod raced;
mod resuming;
mod rfc9111;
mod search;
mod shape;
mod stale;
mod status;
mod targeted;
mod tiers;
mod windows;
