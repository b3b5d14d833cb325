//! The world that is simulated: nodes and client prefixes on a sphere, what a round trip between them takes, and how much clients ask for, at any time.
//!
//! A pure function of its settings and of time. Nobody who chooses sees it but the oracle.

use std::f64::consts::{PI, TAU};

use super::Settings;
use super::random::Random;

/// The radius of the Earth, in km, and what light in fibre makes in a millisecond there and back.
const EARTH_KM: f64 = 6_371.0;
const FIBRE_KM_PER_MS: f64 = 100.0;
/// What a path is longer than the great circle at least, and the time in a node, in ms.
const STRETCH_MIN: f64 = 1.3;
const NODE_MS: f64 = 0.5;
/// The last mile of a network, in ms; a detour; what a path worsens by for a time.
const LAST_MILE_MS: (f64, f64) = (2.0, 12.0);
const DETOUR_MS: (f64, f64) = (25.0, 90.0);
const WORSE_MS: (f64, f64) = (10.0, 40.0);
/// How long a path is worse, in seconds.
const WORSE_S: (f64, f64) = (1_200.0, 5_400.0);
/// Cities for each node, prefixes of one network, and how far a prefix lies from its city, in radians.
const CITIES_PER_NODE: usize = 4;
const NETWORK_PREFIXES: usize = 20;
const CITY_RADIANS: f64 = 0.03;
/// Cities lie within this sine of the equator.
const LATITUDE_SINE_MAX: f64 = 0.85;
/// Traffic at night in terms of that by day, and the hour of the most.
const NIGHT: f64 = 0.3;
const PEAK_HOUR: f64 = 20.0;
/// The hour in Greenwich at which the simulation begins.
const BEGIN_HOUR: f64 = 18.0;
/// What clients of the flash crowd lie within, in radians; when it begins, in seconds.
const FLASH_RADIANS: f64 = 0.25;
pub(super) const FLASH_BEGIN_S: f64 = 4_800.0;
/// How long it takes to come, and to go, in seconds: answers hold for some time, and what nodes report is of the time before.
pub(super) const FLASH_RAMP_S: f64 = 300.0;
/// The smallest capacity of a node, in terms of the average one.
const CAPACITY_MIN: f64 = 0.5;
/// From this utilization on requests wait, by so much for each whole more of it, at most so long.
const BUSY: f64 = 0.95;
const WAIT_MS: f64 = 200.0;
const WAIT_MS_MAX: f64 = 500.0;

/// A place on the sphere.
#[derive(Clone, Copy, Debug)]
struct Spot {
    /// A vector of length 1.
    at: [f64; 3],
    longitude: f64,
}

impl Spot {
    fn random(random: &mut Random) -> Self {
        let (sine, longitude) = (random.between(-LATITUDE_SINE_MAX, LATITUDE_SINE_MAX), random.between(-PI, PI));
        Self::new(sine.asin(), longitude)
    }

    fn new(latitude: f64, longitude: f64) -> Self {
        let at = [latitude.cos() * longitude.cos(), latitude.cos() * longitude.sin(), latitude.sin()];
        Self { at, longitude }
    }

    /// North and east, in degrees.
    fn degrees(self) -> (f64, f64) {
        (self.at[2].asin().to_degrees(), (self.longitude + PI).rem_euclid(TAU).to_degrees() - 180.0)
    }

    fn near(self, random: &mut Random) -> Self {
        let latitude = self.at[2].asin() + random.between(-CITY_RADIANS, CITY_RADIANS);
        Self::new(latitude, self.longitude + random.between(-CITY_RADIANS, CITY_RADIANS))
    }

    /// The great circle between two, in radians.
    fn radians(self, other: Self) -> f64 {
        let product: f64 = self.at.iter().zip(other.at).map(|(one, two)| one * two).sum();
        product.clamp(-1.0, 1.0).acos()
    }
}

/// A path that is worse for a time.
#[derive(Clone, Copy, Debug)]
struct Worse {
    from_s: f64,
    to_s: f64,
    ms: f64,
}

/// A group of clients.
#[derive(Clone, Copy, Debug)]
struct Prefix {
    spot: Spot,
    network: usize,
    weight: f64,
    in_flash: bool,
}

/// See the module.
#[derive(Debug)]
pub struct World {
    nodes: Vec<Spot>,
    prefixes: Vec<Prefix>,
    /// By prefix and node, in ms, without what changes.
    steady: Vec<f64>,
    /// By network and node.
    worse: Vec<Option<Worse>>,
    capacity: Vec<f64>,
    flash: (f64, f64),
    noise: f64,
    seed: u64,
}

impl World {
    /// Of these settings.
    pub(super) fn new(settings: &Settings) -> Self {
        let mut random = Random::new(settings.seed, &[1]);
        let cities: Vec<Spot> = (0..settings.nodes * CITIES_PER_NODE).map(|_| Spot::random(&mut random)).collect();
        let nodes: Vec<Spot> = cities.iter().take(settings.nodes).copied().collect();
        let networks = settings.prefixes.div_ceil(NETWORK_PREFIXES);
        let homes: Vec<usize> = (0..networks).map(|_| random.below(cities.len())).collect();
        let centre = nodes[random.below(nodes.len())];
        // Ranks are dealt out by chance, so that a network has large prefixes and small ones.
        let mut ranks: Vec<usize> = (1..=settings.prefixes).collect();
        for index in (1..ranks.len()).rev() {
            ranks.swap(index, random.below(index + 1));
        }
        let prefixes: Vec<Prefix> = ranks
            .iter()
            .enumerate()
            .map(|(index, rank)| {
                let network = index / NETWORK_PREFIXES;
                let spot = cities[homes[network]].near(&mut random);
                let weight = (*rank as f64).powf(-settings.zipf);
                Prefix { spot, network, weight, in_flash: spot.radians(centre) < FLASH_RADIANS }
            })
            .collect();
        let (steady, worse) = paths(settings, &nodes, &prefixes, networks);
        let flash = (settings.flash_factor, FLASH_BEGIN_S + settings.flash_minutes * 60.0);
        let noise = settings.noise_percent / 100.0;
        let mut world = Self { nodes, prefixes, steady, worse, capacity: Vec::new(), flash, noise, seed: settings.seed };
        world.capacity = world.capacities(settings.headroom);
        world
    }

    /// What each node was built for: the clients nearest to it at their busiest hour, with room, and never much less than others.
    fn capacities(&self, headroom: f64) -> Vec<f64> {
        let mut nominal = vec![0.0; self.nodes.len()];
        for (index, prefix) in self.prefixes.iter().enumerate() {
            nominal[self.by_distance(index)[0]] += prefix.weight;
        }
        let average = nominal.iter().sum::<f64>() / nominal.len() as f64;
        nominal.iter().map(|own| headroom * own.max(CAPACITY_MIN * average)).collect()
    }

    /// How many nodes.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// How many prefixes.
    #[must_use]
    pub fn prefixes(&self) -> usize {
        self.prefixes.len()
    }

    /// Where a node is, north and east in degrees.
    #[must_use]
    pub fn node_at(&self, node: usize) -> (f64, f64) {
        self.nodes[node].degrees()
    }

    /// Where a prefix is, north and east in degrees.
    #[must_use]
    pub fn prefix_at(&self, prefix: usize) -> (f64, f64) {
        self.prefixes[prefix].spot.degrees()
    }

    /// The number of a prefix's network.
    #[must_use]
    pub fn network(&self, prefix: usize) -> usize {
        self.prefixes[prefix].network
    }

    /// The nodes, the nearest to a prefix by great circle first.
    #[must_use]
    pub fn by_distance(&self, prefix: usize) -> Vec<usize> {
        let spot = self.prefixes[prefix].spot;
        let mut order: Vec<usize> = (0..self.nodes.len()).collect();
        order.sort_by(|&one, &two| spot.radians(self.nodes[one]).total_cmp(&spot.radians(self.nodes[two])));
        order
    }

    /// What prefixes weigh on average.
    #[must_use]
    pub fn mean_weight(&self) -> f64 {
        self.prefixes.iter().map(|prefix| prefix.weight).sum::<f64>() / self.prefixes.len() as f64
    }

    /// What a node can do.
    #[must_use]
    pub fn capacity(&self, node: usize) -> f64 {
        self.capacity[node]
    }

    /// What the clients of a prefix ask for at a time.
    #[must_use]
    pub fn demand(&self, at_s: f64, prefix: usize) -> f64 {
        let Prefix { spot, weight, in_flash, .. } = self.prefixes[prefix];
        let hour = BEGIN_HOUR + at_s / 3_600.0 + spot.longitude / TAU * 24.0;
        let day = f64::midpoint(1.0, ((hour - PEAK_HOUR) / 24.0 * TAU).cos());
        let there = ((at_s - FLASH_BEGIN_S) / FLASH_RAMP_S).min((self.flash.1 + FLASH_RAMP_S - at_s) / FLASH_RAMP_S).clamp(0.0, 1.0);
        let flash = if in_flash { 1.0 + (self.flash.0 - 1.0) * there } else { 1.0 };
        weight * (NIGHT + (1.0 - NIGHT) * day) * flash
    }

    /// What a round trip takes at a time, in ms.
    #[must_use]
    pub fn path_ms(&self, at_s: f64, prefix: usize, node: usize) -> f64 {
        let worse = self.worse[self.prefixes[prefix].network * self.nodes.len() + node];
        let more = worse.filter(|worse| (worse.from_s..worse.to_s).contains(&at_s)).map_or(0.0, |worse| worse.ms);
        self.steady[prefix * self.nodes.len() + node] + more
    }

    /// How long requests wait in a node that has so much to do in terms of its capacity, in ms.
    #[must_use]
    pub fn wait_ms(utilization: f64) -> f64 {
        ((utilization - BUSY).max(0.0) * WAIT_MS).min(WAIT_MS_MAX)
    }

    /// What a node measures of a round trip, in ms.
    #[must_use]
    pub fn measured_ms(&self, at_s: f64, prefix: usize, node: usize) -> f64 {
        let mut random = Random::new(self.seed, &[2, at_s as u64, prefix as u64, node as u64]);
        // Round trips are rarely shorter than the path and often longer.
        let more = -(1.0 - random.unit()).ln();
        self.path_ms(at_s, prefix, node) * (1.0 + self.noise * more)
    }
}

/// What paths take, and which of them are worse for a time: the same for all prefixes of a network but for where they lie.
fn paths(settings: &Settings, nodes: &[Spot], prefixes: &[Prefix], networks: usize) -> (Vec<f64>, Vec<Option<Worse>>) {
    let mut worse = Vec::with_capacity(networks * nodes.len());
    let mut stretch_and_more = Vec::with_capacity(networks * nodes.len());
    for network in 0..networks {
        let last_mile = Random::new(settings.seed, &[3, network as u64]).between(LAST_MILE_MS.0, LAST_MILE_MS.1);
        for node in 0..nodes.len() {
            let mut random = Random::new(settings.seed, &[4, network as u64, node as u64]);
            let stretch = STRETCH_MIN * (1.0 + random.unit() * settings.stretch_percent / 100.0);
            let detour = if random.happens(settings.detour_percent / 100.0) { random.between(DETOUR_MS.0, DETOUR_MS.1) } else { 0.0 };
            stretch_and_more.push((stretch, last_mile + NODE_MS + detour));
            let changes = random.happens(settings.changing_percent / 100.0);
            let from_s = random.between(0.0, super::SECONDS);
            let (to_s, ms) = (from_s + random.between(WORSE_S.0, WORSE_S.1), random.between(WORSE_MS.0, WORSE_MS.1));
            worse.push(changes.then_some(Worse { from_s, to_s, ms }));
        }
    }
    let mut steady = Vec::with_capacity(prefixes.len() * nodes.len());
    for prefix in prefixes {
        for (index, node) in nodes.iter().enumerate() {
            let (stretch, more) = stretch_and_more[prefix.network * nodes.len() + index];
            steady.push(prefix.spot.radians(*node) * EARTH_KM / FIBRE_KM_PER_MS * stretch + more);
        }
    }
    (steady, worse)
}
