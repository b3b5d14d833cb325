//! How far clients are, as edges say: whose word is heard, and how often.

use skerry_agent::Role;
use skerry_agent::wire::Latency;

use super::{Door, Peer};
use crate::health::Session;
use crate::measured::Told;

impl Door {
    /// Takes in how far clients are, of edges and at their pace.
    pub(super) fn take_latency(&self, peer: &Peer, session: &Session, latency: Latency) {
        let told = Told::read(latency);
        let taken = if peer.role == Role::Edge { session.latency(told) } else { told.refuse() };
        for (outcome, count) in taken.counts() {
            self.plane.figures.latency_prefixes.with_label_values(&[outcome]).inc_by(count);
        }
    }
}
