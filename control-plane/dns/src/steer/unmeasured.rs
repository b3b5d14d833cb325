//! Clients that nothing was measured of: by distance, and by what is known of their network.
//!
//! Owns what is expected of their way to an edge, which is chosen and explained by alike.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{Candidate, Chosen, Reason, Scored, Steer, Wanted};
use crate::geo::Spot;
use crate::plan::{Geography, Network};
use crate::prefix::Prefix;
use crate::state::State;

/// Mixed into the hash of a group of clients by which it takes the price of load for more or less.
const PRICE_SEED: u64 = 0x70;

/// What is expected of a client.
#[derive(Debug)]
pub(super) struct Unmeasured {
    from: Spot,
    geography: Geography,
    /// By how much all paths of its network are longer than distance makes them, in ms.
    offset_ms: f32,
    /// By how much those to edges that were measured of it are, by number among the candidates.
    beyond_ms: Vec<Option<f32>>,
}

impl Unmeasured {
    /// `None` when nobody knows where the client is.
    pub(super) fn of(steer: &Steer, state: &State, prefix: Prefix) -> Option<Self> {
        let places = state.geo.as_ref()?;
        let from = Spot::new(places.location(prefix.address())?);
        let network: Option<&Network> = places.network(prefix.address()).and_then(|number| state.plan.networks.get(&number));
        let mut beyond_ms = vec![None; steer.candidates.len()];
        for (node, ms) in network.iter().flat_map(|network| &network.nodes) {
            if let Some(index) = steer.planned.get(usize::from(*node)).copied().flatten() {
                beyond_ms[index] = Some(*ms);
            }
        }
        let offset_ms = network.map_or(0.0, |network| network.offset_ms);
        Some(Self { from, geography: state.plan.geography, offset_ms, beyond_ms })
    }

    /// The expected latency to an edge, by its number among the candidates, in ms; `None` when the edge does not say where it is.
    pub(super) fn ms(&self, index: usize, candidate: &Candidate) -> Option<f64> {
        let by_distance = self.geography.ms(self.from.km(candidate.spot.as_ref()?));
        Some(by_distance + f64::from(self.beyond(index).unwrap_or(self.offset_ms)))
    }

    fn beyond(&self, index: usize) -> Option<f32> {
        self.beyond_ms.get(index).copied().flatten()
    }
}

/// The share of the price of load that a group of clients counts, half of it to one and a half, by its hash: so that of the clients between two edges
/// only some change with every plan.
pub(super) fn share_of_price(group: &[u8; 17]) -> f64 {
    0.5 + xxh3_64_with_seed(group, PRICE_SEED) as f64 / u64::MAX as f64
}

impl Steer {
    /// All that have what is wanted, by distance and what is known of the network; `None` when nobody knows where the client is, or where such edges
    /// are.
    pub(super) fn by_geography(&self, state: &State, prefix: Prefix, group: &[u8; 17], wanted: Wanted) -> Option<Chosen> {
        let unmeasured = Unmeasured::of(self, state, prefix)?;
        let share = share_of_price(group);
        let mut prices = vec![0.0; self.candidates.len()];
        for (node, index) in state.plan.nodes.iter().zip(&self.planned) {
            if let Some(index) = index {
                prices[*index] = f64::from(node.price_ms) * share;
            }
        }
        let may = |index: usize, candidate: &Candidate| self.eligible[index] && candidate.has(wanted);
        let scored =
            self.candidates.iter().enumerate().filter(|(index, candidate)| may(*index, candidate)).filter_map(|(index, candidate)| {
                let ms = unmeasured.ms(index, candidate)?;
                Some(Scored { index, ms: ms + candidate.cost_ms + prices[index] })
            });
        let mut ranked = self.weighed(scored.collect(), group);
        ranked.sort_by(|one, two| one.ms.total_cmp(&two.ms).then(one.index.cmp(&two.index)));
        let from_network = unmeasured.beyond(ranked.first()?.index).is_some();
        let reason = if from_network { Reason::Estimated } else { Reason::Geography };
        Some(Chosen { ranked, reason, ttl_s: 0 })
    }
}
