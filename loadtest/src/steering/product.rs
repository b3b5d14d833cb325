//! The code that answers DNS and learns from what nodes measure, told of the world what a control plane is told where its databases are right.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use skerry_dns::geo::{Location, Places};
use skerry_dns::learn::{Learner, Measured, Settings};
use skerry_dns::place::Client;
use skerry_dns::state::{Edge, State};
use skerry_dns::steer::{Wanted, choose};
use skerry_dns::zone::{Addresses, Zone};

use super::choosers::{Chooser, Measurement};
use super::random::Random;
use super::world::World;
use super::{STEP_S, TTL_S};

/// The bits of a simulated prefix, and the first of them: 16.0.0.0/24.
const PREFIX_BITS: u8 = 24;
const FIRST_PREFIX: u32 = 16 << 24;
/// Simulated time begins here, in seconds since 1970.
const EPOCH_S: f64 = 1e9;
/// What a prefix of average weight opens by day, in connections a second.
const CONNECTIONS: f64 = 0.5;

/// Where simulated addresses are: a database that is right.
#[derive(Debug)]
struct Known(Arc<World>);

impl Known {
    fn prefix(&self, address: IpAddr) -> Option<usize> {
        let IpAddr::V4(address) = address else { return None };
        let number = address.to_bits().checked_sub(FIRST_PREFIX)? >> (32 - PREFIX_BITS);
        usize::try_from(number).ok().filter(|number| *number < self.0.prefixes())
    }
}

impl Places for Known {
    fn location(&self, address: IpAddr) -> Option<Location> {
        Some(location(self.0.prefix_at(self.prefix(address)?)))
    }

    fn network(&self, address: IpAddr) -> Option<u32> {
        // Zero stands for none.
        u32::try_from(self.0.network(self.prefix(address)?) + 1).ok()
    }
}

fn location((latitude, longitude): (f64, f64)) -> Location {
    Location { latitude: latitude as f32, longitude: longitude as f32 }
}

/// See the module.
#[derive(Debug)]
pub struct Skerry {
    world: Arc<World>,
    learner: Learner,
    state: State,
    zone: Zone,
    /// Connections a second for a weight of 1.
    scale: f64,
    seed: u64,
}

impl Skerry {
    /// Of that world.
    #[must_use]
    pub fn new(world: Arc<World>, seed: u64) -> Self {
        let edges = (0..world.nodes()).map(|node| Edge {
            name: format!("edge-{node}"),
            region: "world".to_owned(),
            addresses: vec![IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(node).unwrap_or(u32::MAX)))],
            utilization: Some(0.0),
            location: Some(location(world.node_at(node))),
            ..Edge::default()
        });
        let state = State {
            zone: "cdn.test".to_owned(),
            ttl: Duration::from_secs_f64(TTL_S),
            edges: edges.collect(),
            geo: Some(Arc::new(Known(Arc::clone(&world)))),
            ..State::default()
        };
        let zone = Zone::build(Arc::new(state.clone()));
        let scale = CONNECTIONS / world.mean_weight();
        Self { world, learner: Learner::new(Settings::default()), state, zone, scale, seed }
    }
}

impl Chooser for Skerry {
    fn name(&self) -> &'static str {
        "skerry"
    }

    fn told(&mut self, at_s: f64, measured: &[Measurement], used: &[f64]) {
        let mut reports: Vec<Vec<Measured>> = vec![Vec::new(); self.world.nodes()];
        for &Measurement { prefix, node, rtt_ms, weight } in measured {
            // Connections are whole ones: what is left over comes by chance.
            let mut random = Random::new(self.seed, &[5, at_s as u64, prefix as u64]);
            let count = (weight * self.scale * STEP_S + random.unit()) as u32;
            let Some(net) = net(prefix).filter(|_| count > 0) else { continue };
            let smoothed = Duration::from_secs_f64(rtt_ms / 1_000.0);
            reports[node].push(Measured { prefix: net, count, smoothed, least: smoothed, age: Duration::from_secs_f64(STEP_S / 2.0) });
        }
        let now = EPOCH_S + at_s;
        for ((report, edge), used) in reports.iter().zip(&mut self.state.edges).zip(used) {
            self.learner.told(now, &edge.name, report);
            edge.utilization = Some(*used as f32);
        }
        self.state.plan = Arc::new(self.learner.plan(now, &self.state));
        self.zone = Zone::build(Arc::new(self.state.clone()));
    }

    fn choose(&mut self, at_s: f64, prefix: usize) -> (usize, f64) {
        let client = Client::new(address(prefix).into(), PREFIX_BITS);
        let Some(choice) = choose(&self.zone, &Addresses::Steered, &client, Wanted::Ipv4, EPOCH_S + at_s) else { return (0, TTL_S) };
        let first = choice.edges.first().and_then(|edge| edge.ipv4.first());
        let node = first.and_then(|address| usize::try_from(address.to_bits()).ok()).filter(|node| *node < self.world.nodes());
        (node.unwrap_or_default(), choice.ttl.as_secs_f64())
    }
}

fn address(prefix: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(FIRST_PREFIX + (u32::try_from(prefix).unwrap_or(0) << (32 - PREFIX_BITS)))
}

fn net(prefix: usize) -> Option<IpNet> {
    Ipv4Net::new(address(prefix), PREFIX_BITS).ok().map(IpNet::V4)
}
