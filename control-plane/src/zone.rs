//! The state DNS answers from: made anew and swapped whole whenever sites, nodes or their health change.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use skerry_agent::Role;
use skerry_config::process;
use skerry_dns::state::{Edge, Site, State};
use tokio::sync::watch;

use crate::clock;
use crate::health::Health;
use crate::intent::Intent;

/// Time between two looks for nodes that have fallen silent, of which no other word comes.
const SILENCE_CHECK: Duration = Duration::from_millis(500);

/// What may differ from one state to the next, in a form that can be compared.
#[derive(Default, PartialEq)]
struct Content {
    edges: Vec<(String, String, Vec<IpAddr>, bool)>,
    sites: Vec<(String, Vec<String>)>,
}

/// Makes states.
pub(crate) struct Zone {
    fixed: State,
    serial: u32,
    content: Content,
    intent: Arc<Intent>,
    health: Arc<Health>,
}

impl Zone {
    /// From the settings.
    pub(crate) fn new(dns: &process::Dns, intent: Arc<Intent>, health: Arc<Health>) -> Self {
        let coverage = dns.coverage.iter().flat_map(|each| each.prefixes.iter().map(|prefix| (*prefix, each.region.clone())));
        let fixed = State {
            zone: dns.zone.trim_end_matches('.').to_ascii_lowercase(),
            nameservers: dns.nameservers.iter().map(|server| (server.name.clone(), server.addresses.clone())).collect(),
            ttl: dns.ttl.0,
            h3: dns.h3,
            region_order: dns.region_order.clone(),
            coverage: coverage.collect(),
            ..State::default()
        };
        Self { fixed, serial: 0, content: Content::default(), intent, health }
    }

    /// The state, when it differs from the last one.
    pub(crate) fn next(&mut self) -> Option<State> {
        let content = self.content();
        if self.serial != 0 && content == self.content {
            return None;
        }
        self.content = content;
        // The time of a change is above every serial that an earlier process gave out; SOA serials wrap (RFC 1982).
        let now = u32::try_from(clock::unix_seconds() & u64::from(u32::MAX)).unwrap_or(1);
        self.serial = now.max(self.serial.wrapping_add(1));
        let edges = self.content.edges.iter().cloned().map(|(name, region, addresses, up)| Edge { name, region, addresses, up });
        let sites = self.content.sites.iter().cloned().map(|(name, hosts)| Site { name, hosts });
        Some(State { serial: self.serial, edges: edges.collect(), sites: sites.collect(), ..self.fixed.clone() })
    }

    fn content(&self) -> Content {
        let state = self.intent.state();
        let edges = state.nodes.values().filter(|node| node.role() == Some(Role::Edge));
        let edges = edges.map(|node| (node.name.clone(), node.region.clone(), node.addresses.clone(), node.drained, self.health.up(node)));
        // A drained edge is left out: it must not be answered even when no other one is up.
        let edges = edges.filter(|(_, _, addresses, drained, _)| !drained && !addresses.is_empty());
        let sites = state.sites.values().filter_map(|version| version.site.as_ref());
        Content {
            edges: edges.map(|(name, region, addresses, _, up)| (name, region, addresses, up)).collect(),
            sites: sites.map(|site| (site.name.clone(), site.hosts.clone())).collect(),
        }
    }

    /// Keeps `state` true until `stop` says so.
    pub(crate) async fn keep(mut self, state: Arc<ArcSwap<State>>, stop: watch::Receiver<bool>) {
        let mut wishes = self.intent.changes();
        let mut changes = self.health.changes();
        let mut silence = tokio::time::interval(SILENCE_CHECK);
        silence.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = skerry_agent::stopped(stop.clone()) => return,
                _ = wishes.changed() => {}
                _ = changes.changed() => {}
                _ = silence.tick() => {}
            }
            if let Some(next) = self.next() {
                tracing::debug!(serial = next.serial, edges = ?next.edges, "zone changed");
                state.store(Arc::new(next));
            }
        }
    }
}
