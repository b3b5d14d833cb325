//! How far clients are, as edges say: whose word is heard, and how often.

use std::time::Instant;

use skerry_agent::Role;
use skerry_agent::wire::Latency;

use super::{Door, Peer};
use crate::health::Session;
use crate::measured::Pace;

impl Door {
    /// Takes in how far clients are, of edges and at their pace.
    pub(super) fn take_latency(&self, peer: &Peer, session: &Session, latency: Latency, pace: &mut Pace) {
        let figures = &self.plane.figures;
        if peer.role != Role::Edge || !pace.is_kept(Instant::now()) {
            figures.latency_prefixes.with_label_values(&["unasked"]).inc_by(latency.prefixes.len() as u64);
            return;
        }
        for (outcome, count) in session.latency(latency).counts() {
            figures.latency_prefixes.with_label_values(&[outcome]).inc_by(count);
        }
    }
}
