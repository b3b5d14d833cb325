//! From a client to the edges that answer it.
//!
//! Owns the order in which what is known counts: what the operator declared, what was measured and planned, geography, the regions in their order.
//! A pure function of zone, client and time: reads no clock and asks nobody. Knows no packets.

mod candidate;
mod explain;
mod unmeasured;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64_with_seed;

pub(crate) use self::candidate::takes;
pub use self::candidate::{ADDRESSES_PER_EDGE_MAX, Candidate, Wanted};
pub use self::explain::{Considered, Excluded, Explanation, explain};
use crate::place::{Client, Declared};
use crate::plan::{Row, Why};
use crate::prefix::Prefix;
use crate::state::{Edge, State, Target};
use crate::zone::{Addresses, Zone};

/// How many edges one answer names: the chosen one and the next, which a client tries when the first does not connect.
pub const EDGES_PER_ANSWER_MAX: usize = 2;
/// The shortest lifetime of an address answer, in seconds: where a choice may not last.
pub const TTL_MIN_S: u64 = 5;
/// An edge is named second only when it is no farther than that beyond the first, in ms and as a share: many clients take whichever address they
/// please.
const NEAR_MS: f64 = 10.0;
const NEAR: f64 = 0.25;

/// Why an answer names the edges that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The operator declared it for the client's prefix.
    Declared,
    /// It is the best by measurements of the client's prefix.
    Measured,
    /// It is the best by an estimate from neighbours, network and geography.
    Estimated,
    /// It is the nearest.
    Geography,
    /// It is of the first region in the order.
    Region,
    /// It was the best, and none is so much better that a change is worth it, or the prefix has no change left.
    Held,
    /// It is the runner-up, tried for a while to learn about it.
    Explored,
    /// A better one has too much to do.
    Spilled,
    /// No edge is known to be up, so every one counts as up.
    LastResort,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Declared,
        Self::Measured,
        Self::Estimated,
        Self::Geography,
        Self::Region,
        Self::Held,
        Self::Explored,
        Self::Spilled,
        Self::LastResort,
    ];

    /// In one word, as figures and explanations have it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Declared => "declared",
            Self::Measured => "measured",
            Self::Estimated => "estimated",
            Self::Geography => "geography",
            Self::Region => "region",
            Self::Held => "held",
            Self::Explored => "explored",
            Self::Spilled => "spilled",
            Self::LastResort => "last_resort",
        }
    }
}

impl From<Why> for Reason {
    fn from(why: Why) -> Self {
        match why {
            Why::Measured => Self::Measured,
            Why::Estimated => Self::Estimated,
            Why::Held => Self::Held,
            Why::Spilled => Self::Spilled,
        }
    }
}

/// The edges chosen for a client.
#[derive(Clone, Debug)]
pub struct Choice<'a> {
    /// The chosen one first; at most [`EDGES_PER_ANSWER_MAX`], empty when none has what was wanted.
    pub edges: Vec<&'a Candidate>,
    /// The length, in bits, of the prefix within which every client is given the same edges (RFC 7871 section 7.2.1).
    pub scope: u8,
    /// How long the answer may be kept: the zone's lifetime, or less where the choice may not last.
    pub ttl: Duration,
    /// Why these.
    pub reason: Reason,
}

/// Chooses edges for a client at a time, in seconds since 1970; `None` for addresses that are the same for everybody.
#[must_use]
pub fn choose<'a>(zone: &'a Zone, addresses: &Addresses, client: &Client, wanted: Wanted, now: f64) -> Option<Choice<'a>> {
    zone.steer(addresses).map(|steer| steer.choose(zone, client, wanted, now))
}

/// The candidates for the sites that the same edges may serve.
#[derive(Debug, Default)]
pub struct Steer {
    /// All edges, in the order of the state.
    candidates: Arc<[Candidate]>,
    /// Which of them may be answered with.
    eligible: Vec<bool>,
    /// Those that may be, by number of what was declared; empty when none of it may.
    declared: Vec<Vec<usize>>,
    /// Those of each region that has any, in the order of the regions.
    regions: Vec<Vec<usize>>,
    /// The candidate of each of the plan's nodes, if it may be answered with.
    planned: Vec<Option<usize>>,
    /// Whether all edges count as up because none is.
    last_resort: bool,
}

/// Candidates by one thing that is known, the best first.
#[derive(Debug)]
struct Chosen {
    ranked: Vec<Scored>,
    reason: Reason,
    /// How long that holds, in seconds; 0: as long as the zone has it.
    ttl_s: u64,
}

/// A candidate in the course of a choice.
#[derive(Clone, Copy, Debug)]
struct Scored {
    index: usize,
    /// Latency, the operator's cost and the price of load, in ms.
    ms: f64,
}

/// The numbers of all that is declared in a state: one for each target, by its order.
#[must_use]
pub fn targets(state: &State) -> BTreeMap<&Target, Declared> {
    let distinct: BTreeSet<&Target> = state.coverage.iter().map(|(_, target)| target).collect();
    distinct.into_iter().zip(0..).collect()
}

impl Steer {
    /// Compiles the candidates of a state. When no edge at all is up every edge counts as up, because a wrong belief about their health must not
    /// take the whole service away.
    #[must_use]
    pub fn build(state: &State) -> Self {
        Self::among(state, state.edges.iter().enumerate().map(Candidate::new).collect(), &BTreeSet::new(), &[])
    }

    /// The same for sites that some edges, by name, do not have, and that only edges of some regions may serve, or all: the others are chosen in no
    /// case.
    #[must_use]
    pub fn without(&self, state: &State, left_out: &BTreeSet<String>, regions: &[String]) -> Self {
        Self::among(state, Arc::clone(&self.candidates), left_out, regions)
    }

    fn among(state: &State, candidates: Arc<[Candidate]>, left_out: &BTreeSet<String>, regions: &[String]) -> Self {
        let may = |edge: &Edge| {
            !edge.addresses.is_empty() && !left_out.contains(&edge.name) && (regions.is_empty() || regions.contains(&edge.region))
        };
        let anyone_up = state.edges.iter().any(|edge| may(edge) && edge.up);
        let can = |edge: &Edge| may(edge) && (edge.up || !anyone_up);
        // Without weight an edge is none while another one can answer, whatever was declared or planned.
        let anyone_weighs = state.edges.iter().any(|edge| can(edge) && edge.weight > 0);
        let eligible: Vec<bool> = state.edges.iter().map(|edge| can(edge) && (edge.weight > 0 || !anyone_weighs)).collect();

        let mut by_region: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        let mut by_name: BTreeMap<&str, usize> = BTreeMap::new();
        for (index, edge) in state.edges.iter().enumerate().filter(|(index, _)| eligible[*index]) {
            by_region.entry(edge.region.as_str()).or_default().push(index);
            by_name.insert(edge.name.as_str(), index);
        }
        let of_region = |region: &str| by_region.get(region).cloned().unwrap_or_default();
        let region_of = |name: &str| state.edges.iter().find(|edge| edge.name == name).map(|edge| edge.region.as_str());
        let declared = targets(state).into_keys().map(|target| match target {
            Target::Region(region) => of_region(region),
            Target::Node(name) => match by_name.get(name.as_str()) {
                Some(&index) => vec![index],
                None => region_of(name).map(of_region).unwrap_or_default(),
            },
        });
        let declared = declared.collect();
        let regions = state.region_order.iter().filter_map(|region| by_region.remove(region.as_str())).collect::<Vec<_>>();
        let regions = regions.into_iter().chain(by_region.into_values()).collect();
        let planned = state.plan.nodes.iter().map(|node| by_name.get(node.name.as_str()).copied());
        Self { eligible, declared, regions, planned: planned.collect(), last_resort: !anyone_up, candidates }
    }

    /// Those that may be answered with, in the order of the state.
    pub fn eligible(&self) -> impl Iterator<Item = &Candidate> {
        self.candidates.iter().zip(&self.eligible).filter(|(_, may)| **may).map(|(candidate, _)| candidate)
    }

    /// All edges as they are answered with, in the order of the state.
    #[must_use]
    pub fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    fn choose(&self, zone: &Zone, client: &Client, wanted: Wanted, now: f64) -> Choice<'_> {
        let state = zone.state();
        let placed = zone.coverage.place(client);
        let own = placed.declared.and_then(|declared| self.declared.get(declared as usize)).filter(|own| !own.is_empty());
        let group = client.group();
        let prefix = Prefix::from(client);
        let (mut chosen, mut by_group) = match own {
            Some(own) if own.len() == 1 => (self.turn(own, &group, Reason::Declared), false),
            Some(own) => {
                let by_row = self.by_row(state, prefix, &group, Some(own), now);
                (by_row.unwrap_or_else(|| self.turn(own, &group, Reason::Declared)), true)
            }
            None => {
                let learned =
                    self.by_row(state, prefix, &group, None, now).or_else(|| self.by_geography(state, prefix, &group, Wanted::Any));
                let first = self.regions.first().map_or(&[][..], Vec::as_slice);
                let by_group = !state.plan.is_empty() || state.geo.is_some() || first.len() > 1;
                (learned.unwrap_or_else(|| self.turn(first, &group, Reason::Region)), by_group)
            }
        };
        let mut edges = self.named(&chosen.ranked, wanted);
        // Who asks for IPv4 may have no other way. Who asks for IPv6 and is told of none takes the near edge by IPv4, if need be by NAT64, for which
        // DNS64 (RFC 6147) has to be told of none; an edge far away would be preferred to that (RFC 8305).
        if edges.is_empty()
            && wanted == Wanted::Ipv4
            && let Some(elsewhere) = self.elsewhere(state, prefix, &group, wanted)
        {
            edges = self.named(&elsewhere.ranked, wanted);
            (chosen, by_group) = (elsewhere, true);
        }
        let zone_ttl_s = state.ttl.as_secs();
        Choice {
            edges,
            scope: if by_group { placed.scope.max(client.group_bits()) } else { placed.scope },
            ttl: Duration::from_secs(if chosen.ttl_s == 0 { zone_ttl_s } else { zone_ttl_s.min(chosen.ttl_s) }),
            reason: if self.last_resort { Reason::LastResort } else { chosen.reason },
        }
    }

    /// By the row of the plan around a client, of those edges of it that were declared, if any were; `None` when none of them may be answered with.
    fn by_row(&self, state: &State, prefix: Prefix, group: &[u8; 17], own: Option<&Vec<usize>>, now: f64) -> Option<Chosen> {
        let row = state.plan.around(prefix)?;
        let mut ranked = self.planned(state, row, group, own);
        let tried = row.trial(now).and_then(|(node, until_s)| Some((self.planned.get(usize::from(node)).copied().flatten()?, until_s)));
        let may_be_tried = |index: usize| self.takes(index, group) && own.is_none_or(|own| own.contains(&index));
        if let Some((index, until_s)) = tried.filter(|(index, _)| may_be_tried(*index)) {
            let left_s = (f64::from(until_s) - now).ceil() as u64;
            // Where it stands in no order, as far as any.
            let known = ranked.iter().find(|scored| scored.index == index).or(ranked.last());
            let tried = Scored { index, ms: known.map_or(0.0, |scored| scored.ms) };
            ranked.retain(|scored| scored.index != index);
            ranked.insert(0, tried);
            return Some(Chosen { ranked, reason: Reason::Explored, ttl_s: left_s.max(TTL_MIN_S) });
        }
        let best = ranked.first()?.index;
        let first = row.ranked().next().and_then(|first| *self.planned.get(usize::from(first.node))?);
        let reason = match own {
            Some(_) => Reason::Declared,
            None if first == Some(best) => row.why.into(),
            // The one that was planned cannot answer, so why it was is not why another does.
            None => Reason::Estimated,
        };
        Some(Chosen { ranked, reason, ttl_s: row.ttl_s.into() })
    }

    /// The nearest of all edges that have what is wanted, else those of the first region that has one.
    fn elsewhere(&self, state: &State, prefix: Prefix, group: &[u8; 17], wanted: Wanted) -> Option<Chosen> {
        let having = |region: &Vec<usize>| region.iter().copied().filter(|index| self.candidates[*index].has(wanted)).collect::<Vec<_>>();
        let by_region = || self.regions.iter().map(having).find(|having| !having.is_empty());
        self.by_geography(state, prefix, group, wanted).or_else(|| by_region().map(|having| self.turn(&having, group, Reason::Region)))
    }

    /// The nodes of a row that may be answered with, or those of `own` among them.
    fn planned(&self, state: &State, row: &Row, group: &[u8; 17], own: Option<&Vec<usize>>) -> Vec<Scored> {
        let all: Vec<Scored> = row
            .ranked()
            .filter_map(|ranked| {
                let index = self.planned.get(usize::from(ranked.node)).copied().flatten()?;
                let price = state.plan.nodes.get(usize::from(ranked.node)).map_or(0.0, |node| node.price_ms);
                let ms = f64::from(ranked.ms + price) + self.candidates[index].cost_ms;
                own.is_none_or(|own| own.contains(&index)).then_some(Scored { index, ms })
            })
            .collect();
        self.weighed(all, group)
    }

    fn turn(&self, own: &[usize], group: &[u8; 17], reason: Reason) -> Chosen {
        Chosen { ranked: self.in_turn(own, group), reason, ttl_s: 0 }
    }

    /// By rendezvous hash over the client's group, so that load spreads, a client keeps its edge, and only the clients of an edge that leaves are
    /// moved.
    fn in_turn(&self, own: &[usize], group: &[u8; 17]) -> Vec<Scored> {
        let mut ranked = self.weighed(own.iter().map(|&index| Scored { index, ms: 0.0 }).collect(), group);
        let score = |scored: &Scored| xxh3_64_with_seed(group, self.candidates[scored.index].seed);
        ranked.sort_by_cached_key(|scored| (std::cmp::Reverse(score(scored)), self.candidates[scored.index].seed));
        ranked
    }

    /// Without those that by their weight do not take this group of clients, unless that is all of them.
    fn weighed(&self, mut ranked: Vec<Scored>, group: &[u8; 17]) -> Vec<Scored> {
        if ranked.iter().any(|scored| self.takes(scored.index, group)) {
            ranked.retain(|scored| self.takes(scored.index, group));
        }
        ranked
    }

    fn takes(&self, index: usize, group: &[u8; 17]) -> bool {
        self.candidates[index].takes(group)
    }

    /// The first of those that have what is wanted, and one that is as good or nearly.
    fn named(&self, ranked: &[Scored], wanted: Wanted) -> Vec<&Candidate> {
        let has = |scored: &&Scored| self.candidates[scored.index].has(wanted);
        let Some(best) = ranked.iter().find(has) else { return Vec::new() };
        let reach = best.ms.max(0.0) * (1.0 + NEAR) + NEAR_MS;
        let near = ranked.iter().filter(|scored| scored.ms <= reach).filter(has);
        near.take(EDGES_PER_ANSWER_MAX).map(|scored| &self.candidates[scored.index]).collect()
    }
}

#[cfg(test)]
mod tests;
