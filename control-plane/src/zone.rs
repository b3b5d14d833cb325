//! The state DNS answers from: made anew and swapped whole whenever sites, nodes or their health change.
//!
//! Nodes first, DNS after: an edge is an answer for a site's names only when the configuration that it reported has the site, or one of its hosts. A site that was deleted
//! is in no answer at once, while the nodes keep it for a while.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use skerry_agent::Role;
use skerry_config::process;
use skerry_config::site::{RouteBy, RouteScheme};
use skerry_dns::geo::{Location, Places};
use skerry_dns::state::{Edge, Redirect, Site, State, Target};
use tokio::sync::watch;

use crate::clock;
use crate::feed::Feed;
use crate::health::Health;
use crate::intent::{self, Intent, Numbered};

/// Time between two states; what happens meanwhile is in the next one.
const REBUILD_EVERY: Duration = Duration::from_millis(100);

/// Time between two looks for nodes that have fallen silent, of which no other word comes.
const SILENCE_CHECK: Duration = Duration::from_millis(500);

/// What may differ from one state to the next, in a form that can be compared.
#[derive(Clone, Default, PartialEq)]
struct Content {
    edges: Vec<Edge>,
    sites: Arc<Vec<Site>>,
    /// The edges that lack sites, and the sites that just these lack.
    lacking: BTreeMap<BTreeSet<String>, Vec<String>>,
}

/// Makes states.
pub(crate) struct Zone {
    fixed: State,
    serial: u32,
    content: Content,
    /// What the sites of the content were made of.
    made_of: Option<Arc<intent::State>>,
    /// The sites that a configuration lacks, by its number, as of what is in `made_of`.
    beyond: BTreeMap<u64, Vec<String>>,
    intent: Arc<Intent>,
    health: Arc<Health>,
    feed: Arc<Feed>,
}

impl Zone {
    /// From the settings, and what is known of places.
    pub(crate) fn new(dns: &process::Dns, geo: Option<Arc<dyn Places>>, intent: Arc<Intent>, health: Arc<Health>, feed: Arc<Feed>) -> Self {
        let target = |each: &process::Coverage| {
            if each.node.is_empty() { Target::Region(each.region.clone()) } else { Target::Node(each.node.clone()) }
        };
        let coverage = dns.coverage.iter().flat_map(|each| each.prefixes.iter().map(move |prefix| (*prefix, target(each))));
        let fixed = State {
            zone: dns.zone.trim_end_matches('.').to_ascii_lowercase(),
            nameservers: dns.nameservers.iter().map(|server| (server.name.clone(), server.addresses.clone())).collect(),
            ttl: dns.ttl.0,
            h3: dns.h3,
            region_order: dns.region_order.clone(),
            coverage: coverage.collect(),
            records: crate::declared::records(dns),
            geo,
            ..State::default()
        };
        Self { fixed, serial: 0, content: Content::default(), made_of: None, beyond: BTreeMap::new(), intent, health, feed }
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
        let mut lacking = BTreeMap::new();
        for (edges, sites) in &self.content.lacking {
            let edges = Arc::new(edges.clone());
            lacking.extend(sites.iter().map(|site| (site.clone(), Arc::clone(&edges))));
        }
        let (edges, sites) = (self.content.edges.clone(), self.content.sites.to_vec());
        Some(State { serial: self.serial, edges, sites, lacking, ..self.fixed.clone() })
    }

    fn content(&mut self) -> Content {
        let state = self.intent.state();
        let is_known = self.made_of.as_ref().is_some_and(|known| Arc::ptr_eq(known, &state));
        let sites = if is_known { Arc::clone(&self.content.sites) } else { Arc::new(sites(&state)) };
        if !is_known {
            self.beyond.clear();
        }
        let mut edges = Vec::new();
        // The edges that have a configuration, by its number.
        let mut having: BTreeMap<u64, Vec<&String>> = BTreeMap::new();
        for node in state.nodes.values().filter(|node| node.role() == Some(Role::Edge)) {
            // A drained edge is left out: it must not be answered even when no other one is up.
            if node.drained || node.addresses.is_empty() {
                continue;
            }
            let live = self.health.live(&node.name);
            let has = live.snapshot;
            // One that has said nothing yet since we started has had what is settled.
            let known = has.map_or_else(|| Some(Arc::clone(&state.tracks.settled)), |has| self.intent.known(has));
            let up = self.health.up(node) && known.is_some();
            edges.push(Edge {
                name: node.name.clone(),
                region: node.region.clone(),
                addresses: node.addresses.clone(),
                up,
                weight: node.steering.weight,
                cost: Duration::from_millis(node.steering.cost_ms.into()),
                location: live.location.map(|at| Location { latitude: at.latitude as f32, longitude: at.longitude as f32 }),
                ..Edge::default()
            });
            if let Some(known) = known {
                self.beyond.entry(known.version).or_insert_with(|| sites_beyond(&state, &known));
                having.entry(known.version).or_default().push(&node.name);
            }
        }
        let mut lacked_by: BTreeMap<&String, Vec<u64>> = BTreeMap::new();
        for (version, sites) in self.beyond.iter().filter(|(version, _)| having.contains_key(version)) {
            sites.iter().for_each(|site| lacked_by.entry(site).or_default().push(*version));
        }
        let mut alike: BTreeMap<Vec<u64>, Vec<String>> = BTreeMap::new();
        for (site, versions) in lacked_by {
            alike.entry(versions).or_default().push(site.clone());
        }
        let edges_with =
            |versions: Vec<u64>| versions.iter().filter_map(|version| having.get(version)).flatten().copied().cloned().collect();
        let lacking = alike.into_iter().map(|(versions, sites)| (edges_with(versions), sites)).collect();
        self.made_of = Some(Arc::clone(&state));
        Content { edges, sites, lacking }
    }

    /// Puts the state in force, when it differs from the last one.
    pub(crate) fn renew(&mut self) {
        if let Some(next) = self.next() {
            tracing::debug!(serial = next.serial, edges = ?next.edges, "zone changed");
            self.feed.put(next);
        }
    }

    /// Keeps the state true until `stop` says so.
    pub(crate) async fn keep(mut self, stop: watch::Receiver<bool>) {
        let mut wishes = self.intent.changes();
        let mut changes = self.health.changes();
        let mut silence = tokio::time::interval(SILENCE_CHECK);
        silence.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // First: nodes that are let go of because this process stops are not down.
                biased;
                () = skerry_agent::stopped(stop.clone()) => return,
                _ = wishes.changed() => {}
                _ = changes.changed() => {}
                _ = silence.tick() => {}
            }
            self.renew();
            tokio::select! {
                () = skerry_agent::stopped(stop.clone()) => return,
                () = tokio::time::sleep(REBUILD_EVERY) => {}
            }
        }
    }
}

/// The sites that DNS knows.
fn sites(state: &intent::State) -> Vec<Site> {
    let sites = state.sites.values().filter_map(|version| version.site.as_ref());
    let one = |site: &Arc<skerry_config::site::Site>| Site {
        name: site.name.clone(),
        hosts: site.hosts.clone(),
        regions: site.regions.clone(),
        redirect: Redirect { by_path: site.route.by == RouteBy::Path, cleartext: site.route.scheme == RouteScheme::Http },
    };
    sites.map(one).collect()
}

/// The sites that a configuration does not have, nor any of their hosts: those that it has for another site are served meanwhile by that.
fn sites_beyond(state: &intent::State, known: &Arc<Numbered>) -> Vec<String> {
    let tracks = &state.tracks;
    let content = &known.content;
    let lacks = |name: &&String| {
        let wanted = state.sites.get(*name).and_then(|version| version.site.as_ref());
        wanted.is_some_and(|site| !content.sites.contains_key(*name) && !site.hosts.iter().any(|host| content.serves(host)))
    };
    if Arc::ptr_eq(known, &tracks.newest) {
        Vec::new()
    } else if Arc::ptr_eq(known, &tracks.settled) {
        // All that differs from the newest is known.
        state.waiting.iter().filter(lacks).cloned().collect()
    } else {
        state.sites.keys().filter(lacks).cloned().collect()
    }
}
