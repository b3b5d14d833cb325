//! The only writer of intent: takes it over the API, keeps it, publishes it to nodes, and answers DNS from it.
//!
//! Never carries a client's request; everything else goes on when it is away.

mod api;
mod auth;
mod behind;
mod ca;
mod certificates;
mod clock;
mod cookies;
mod declared;
mod diff;
mod events;
mod feed;
mod figures;
mod follower;
mod health;
mod history;
mod intent;
mod journal;
mod latency;
mod leads;
mod measured;
mod places;
mod plane;
mod publish;
mod purges;
mod questions;
mod reading;
mod redirect;
mod refusal;
mod removed;
mod revoked;
mod rollout;
mod secured;
mod start;
mod store;
mod webhooks;
mod zone;

pub use api::openapi_document;
pub use follower::run as run_dns;
pub use start::run;

#[cfg(test)]
mod tests;
