//! The zone, compiled from a state: every name with what it owns, coverage and candidates.
//!
//! Built once for each state so that no query walks over sites, edges or prefixes. Immutable; answers nothing itself.

mod fill;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::kind::Type;
use crate::name::{self, Name};
use crate::place::Coverage;
use crate::records::{Data, Set};
use crate::state::State;
use crate::steer::{Candidate, Steer, targets};

/// The label below the zone under which every edge has a name of its own: `NODE.nodes.ZONE`.
pub const NODES_LABEL: &str = "nodes";
/// The lifetime of SOA, NS and TXT records, in seconds.
pub const ZONE_TTL_S: u32 = 3600;
/// The lifetime, in seconds, of what changes only when an operator changes it: CNAME to a site's target, addresses of one machine.
pub const STEADY_TTL_S: u32 = 300;
/// How long a resolver may believe that a name or type does not exist, in seconds (RFC 2308): short, as a site may be added.
pub const NEGATIVE_TTL_S: u32 = 30;
/// The longest lifetime that an operator's is taken for, in seconds: one day.
pub const TTL_MAX_S: u32 = 86_400;
/// SOA refresh, retry and expire, in seconds, for secondaries that copy by other means; the zone is not transferred.
const SOA_TIMES_S: [u32; 3] = [3600, 600, 604_800];

/// Which edges serve the clients of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addresses {
    /// Those chosen for the client.
    Steered,
    /// The same without the edges that do not have the site or are beyond its fence; which these are is known by this number.
    SteeredAmong(usize),
    /// One, by its number in the state, whether it is up or not.
    Edge(usize),
}

/// What a name owns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owned {
    /// Records that are the same for every client.
    pub sets: Vec<Set>,
    /// Where its addresses come from, beside those in `sets`.
    pub addresses: Option<Addresses>,
    /// The name that it is another one of; then it owns nothing else.
    pub alias: Option<Alias>,
    /// Whether no site's wildcard reaches it or what is below it.
    pub is_reserved: bool,
}

impl Owned {
    /// Whether it owns nothing: there are only names below it (RFC 8020).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sets.is_empty() && self.addresses.is_none() && self.alias.is_none()
    }

    /// Its records of one type that are the same for every client.
    #[must_use]
    pub fn set(&self, record_type: Type) -> Option<&Set> {
        self.sets.iter().find(|set| set.record_type == record_type)
    }
}

/// What a name is another name of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// The other name, in the zone or not.
    pub target: Name,
    /// How long that holds, in seconds.
    pub ttl_s: u32,
}

/// What the zone knows about a name.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// The name is not in the zone.
    Outside,
    /// The name is in the zone and does not exist.
    Missing,
    /// The name exists.
    Owned(&'a Owned),
    /// A site's wildcard makes the name another one of this target.
    Wildcard(&'a Name),
    /// The name of an edge below a site's target: `NODE.SITE.ZONE` has the addresses of that edge.
    Edge(Addresses),
}

/// The tables hold what operators declared; their seeds are drawn anew in every process.
type Table<Value> = HashMap<Name, Value, foldhash::fast::RandomState>;

/// The compiled zone.
#[derive(Debug)]
pub struct Zone {
    state: Arc<State>,
    names: Arc<Names>,
    /// Where clients are.
    pub coverage: Arc<Coverage>,
    /// Which edges serve them.
    steer: Steer,
    /// Which edges serve them where some do not have the site, or may not serve it; in the order of the names' `fences`.
    among: Vec<Steer>,
}

/// The edges that do not have a site, and the regions that it must stay in, if it must.
type Fence = (Arc<BTreeSet<String>>, Vec<String>);

/// All that does not change with what is learned.
#[derive(Debug, Default)]
struct Names {
    /// None when the state names no zone, or none that is a domain name: then everything is refused.
    apex: Option<Name>,
    owned: Table<Owned>,
    /// The targets of sites by the name after `*.`.
    wildcards: Table<Name>,
    /// The octets of the longest name in `wildcards`, or reserved: no longer one is looked for.
    around_octets_max: usize,
    /// Where the addresses of each site come from, by its target.
    sites: Table<Addresses>,
    /// The numbers of the edges, by label.
    edges: HashMap<Box<[u8]>, usize, foldhash::fast::RandomState>,
    /// Each once.
    fences: Vec<Fence>,
    /// What a denial says of how long it holds.
    soa: Data,
    /// The addresses of name servers inside the zone.
    glue: Vec<(Name, Vec<Set>)>,
}

impl Zone {
    /// Compiles a state. A name in it that is no domain name is left out with a warning; checks upstream let none through.
    #[must_use]
    pub fn build(state: Arc<State>) -> Self {
        let targets = targets(&state);
        let declared = state.coverage.iter().filter_map(|(net, target)| targets.get(target).map(|number| (*net, *number)));
        let coverage = Arc::new(Coverage::build(declared));
        let names = Arc::new(Names::of(&state));
        Self::with(state, names, coverage)
    }

    /// Compiles the state that follows this one's; where only what was learned differs, names and coverage are shared.
    #[must_use]
    pub fn next(&self, state: Arc<State>) -> Self {
        if !is_same_zone(&self.state, &state) {
            return Self::build(state);
        }
        Self::with(state, Arc::clone(&self.names), Arc::clone(&self.coverage))
    }

    fn with(state: Arc<State>, names: Arc<Names>, coverage: Arc<Coverage>) -> Self {
        let steer = Steer::build(&state);
        let among = names.fences.iter().map(|(lacking, regions)| steer.without(&state, lacking, regions)).collect();
        Self { state, names, coverage, steer, among }
    }

    /// Which edges serve clients that ask for addresses of this kind; `None` of those that are the same for everybody.
    #[must_use]
    pub fn steer(&self, addresses: &Addresses) -> Option<&Steer> {
        match addresses {
            Addresses::Edge(_) => None,
            Addresses::Steered => Some(&self.steer),
            Addresses::SteeredAmong(number) => self.among.get(*number),
        }
    }

    /// An edge as it is answered with, by its number in the state.
    #[must_use]
    pub fn edge(&self, number: usize) -> Option<&Candidate> {
        self.steer.candidates().get(number)
    }

    /// Where the addresses of a site's names come from.
    #[must_use]
    pub fn site(&self, name: &str) -> Option<&Addresses> {
        let target = self.names.apex.as_ref()?.below(name)?;
        self.names.sites.get(&target)
    }

    /// The state it was compiled from.
    #[must_use]
    pub fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// The name of the zone.
    #[must_use]
    pub fn apex(&self) -> Option<&Name> {
        self.names.apex.as_ref()
    }

    /// The data of the zone's SOA record.
    #[must_use]
    pub fn soa(&self) -> &Data {
        &self.names.soa
    }

    /// The name servers inside the zone, with their addresses.
    #[must_use]
    pub fn glue(&self) -> &[(Name, Vec<Set>)] {
        &self.names.glue
    }

    /// Looks up a name, on the wire and in lower case.
    ///
    /// A wildcard follows the rule by which edges route: every name below it that no exact host owns, one or more labels deep,
    /// even below a name that exists (where RFC 4592 would stop), because a client is served there too.
    #[must_use]
    pub fn find(&self, name: &[u8]) -> Found<'_> {
        let names = &*self.names;
        if !names.apex.as_ref().is_some_and(|apex| apex.is_around(name)) {
            return Found::Outside;
        }
        let owned = names.owned.get(name);
        if let Some(owned) = owned.filter(|owned| !owned.is_empty() || owned.is_reserved) {
            return Found::Owned(owned);
        }
        if let Some(found) = self.edge_of_site(name).or_else(|| names.wildcard(name).map(Found::Wildcard)) {
            return found;
        }
        owned.map_or(Found::Missing, Found::Owned)
    }

    /// The edge that a name below a site's target names, if it may serve the site.
    fn edge_of_site(&self, name: &[u8]) -> Option<Found<'_>> {
        let addresses = self.names.sites.get(name::parent(name)?)?;
        let number = *self.names.edges.get(name::label(name))?;
        let fence = if let Addresses::SteeredAmong(number) = addresses { self.names.fences.get(*number) } else { None };
        let edge = self.state.edges.get(number)?;
        let may = |(lacking, regions): &Fence| !lacking.contains(&edge.name) && (regions.is_empty() || regions.contains(&edge.region));
        fence.is_none_or(may).then_some(Found::Edge(Addresses::Edge(number)))
    }
}

/// Whether two states have the same names and coverage. The serial alone does not tell: a follower may hear of it before it hears of what changed.
fn is_same_zone(one: &State, other: &State) -> bool {
    let edges =
        |state: &State| state.edges.iter().map(|edge| (edge.name.clone(), edge.region.clone(), edge.addresses.clone())).collect::<Vec<_>>();
    one.serial == other.serial
        && one.zone == other.zone
        && one.nameservers == other.nameservers
        && one.records == other.records
        && one.coverage == other.coverage
        && one.lacking == other.lacking
        && one.sites == other.sites
        && edges(one) == edges(other)
}

impl Names {
    fn wildcard(&self, name: &[u8]) -> Option<&Name> {
        if self.wildcards.is_empty() {
            return None;
        }
        for around in name::suffixes(name).skip(1).filter(|around| around.len() <= self.around_octets_max) {
            if self.owned.get(around).is_some_and(|owned| owned.is_reserved) {
                return None;
            }
            if let Some(target) = self.wildcards.get(around) {
                return Some(target);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
