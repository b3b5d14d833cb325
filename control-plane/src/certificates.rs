//! Watching the ends of certificates: the authority's, the control plane's own, and those of the nodes.
//!
//! Renews none: nodes ask for theirs themselves, and the control plane has a new one whenever it starts.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use skerry_transport::private;
use tokio::sync::watch;

use crate::clock;
use crate::events::Event;
use crate::plane::Plane;

/// How often the ends are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The authority's end, and the control plane's, is told of so long before.
const WARN_BEFORE: Duration = Duration::from_secs(365 * 86_400);

/// A warning is repeated after so long.
const WARN_EVERY: Duration = Duration::from_secs(86_400);

/// Keeps the gauges of the ends, and warns of those that are near. `own` is the control plane's certificate, DER.
pub(crate) async fn watch(plane: Arc<Plane>, own: Vec<u8>, stop: watch::Receiver<bool>) {
    let ours = [("ca", plane.ca.certificate().to_vec()), ("control", own)].map(|(name, certificate)| (name, end(&certificate)));
    let mut warned = BTreeSet::new();
    let mut warned_at = clock::unix_seconds();
    loop {
        let now = clock::unix_seconds();
        if now.saturating_sub(warned_at) >= WARN_EVERY.as_secs() {
            warned.clear();
            warned_at = now;
        }
        for (name, ends) in ours {
            gauge(&plane, name, ends);
            if ends.saturating_sub(now) <= WARN_BEFORE.as_secs() && warned.insert(name.to_owned()) {
                let ends_at = clock::of_seconds(ends);
                tracing::warn!(certificate = name, ends_at, "a certificate of the control plane ends");
                plane.events.tell(Event::Certificate { name: name.to_owned(), ends_at });
            }
        }
        nodes(&plane, now, &mut warned);
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = skerry_agent::stopped(stop.clone()) => return,
        }
    }
}

/// Warns of nodes whose certificate should have been renewed long ago: less is left than a third of the time that it counts beyond its end.
fn nodes(plane: &Plane, now: u64, warned: &mut BTreeSet<String>) {
    let state = plane.intent.state();
    let known = || state.nodes.values().filter(|node| node.issued.ends > 0);
    let first = known().map(|node| node.issued.ends).min();
    gauge(plane, "nodes", first.unwrap_or(0));
    for node in known() {
        let issued = &node.issued;
        let near = issued.counts_until.saturating_sub(issued.ends) / 3;
        if issued.ends.saturating_sub(now) <= near && warned.insert(format!("node {}", node.name)) {
            let ends_at = clock::of_seconds(issued.ends);
            tracing::warn!(node = node.name, ends_at, "the certificate of a node ends and was not renewed");
            plane.events.tell(Event::Certificate { name: format!("node {}", node.name), ends_at });
        }
    }
}

fn gauge(plane: &Plane, name: &str, ends: u64) {
    plane.figures.certificate_end.with_label_values(&[name]).set(i64::try_from(ends).unwrap_or(i64::MAX));
}

fn end(certificate: &[u8]) -> u64 {
    private::life(certificate).map_or(0, |(_, end)| end)
}
