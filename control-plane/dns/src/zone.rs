//! The zone, compiled from a state: every name with what it owns, coverage and candidates.
//!
//! Built once for each state so that no query walks over sites, edges or prefixes. Immutable; answers nothing itself.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::rr::Name;

use crate::place::Coverage;
use crate::state::{Site, State};
use crate::steer::{Steer, targets};

/// The label below the zone under which every edge has a name of its own: `NODE.nodes.ZONE`.
pub const NODES_LABEL: &str = "nodes";

/// Where the addresses of a name come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Addresses {
    /// The same for every client.
    Fixed(Vec<IpAddr>),
    /// Those of the edges chosen for the client.
    Steered,
    /// The same without the edges that do not have the site; which these are is known by this number.
    SteeredAmong(usize),
}

/// What a name of the zone owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// SOA, NS and TXT of the zone, and addresses when a site or a name server is named like the zone.
    Apex(Option<Addresses>),
    /// Nothing; there are names below (RFC 8020).
    Empty,
    /// Nothing; there are names below, and no site's wildcard reaches it or them.
    Reserved,
    /// Addresses.
    Host(Addresses),
    /// CNAME to a site's target in the zone.
    Alias(Name),
}

/// What the zone knows about a name.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// The name is not in the zone.
    Outside,
    /// The name is in the zone and does not exist.
    Missing,
    /// The name exists.
    Owned(&'a Owner),
    /// A site's wildcard makes the name a CNAME to this target.
    Wildcard(&'a Name),
}

/// The compiled zone.
#[derive(Debug)]
pub struct Zone {
    state: Arc<State>,
    /// None when the state names no zone, or none that is a domain name: then everything is refused.
    apex: Option<Name>,
    /// Name servers whose names are domain names, with their addresses when they are inside the zone.
    nameservers: Vec<(Name, Vec<IpAddr>)>,
    names: HashMap<Name, Owner>,
    /// The targets of sites by the name after `*.`.
    wildcards: HashMap<Name, Name>,
    /// Where clients are.
    pub coverage: Coverage,
    /// Which edges serve them.
    steer: Steer,
    /// Which edges serve them where some do not have the site.
    among: Vec<Steer>,
}

impl Zone {
    /// Compiles a state. A name in it that is no domain name is left out with a warning; checks upstream let none through.
    #[must_use]
    pub fn build(state: Arc<State>) -> Self {
        let steer = Steer::build(&state);
        let targets = targets(&state);
        let declared = state.coverage.iter().filter_map(|(net, target)| targets.get(target).map(|number| (*net, *number)));
        let coverage = Coverage::build(declared);
        let apex = if state.zone.is_empty() { None } else { domain_name(&state.zone) };
        let mut zone = Self {
            apex: None,
            nameservers: Vec::new(),
            names: HashMap::new(),
            wildcards: HashMap::new(),
            coverage,
            steer,
            among: Vec::new(),
            state: Arc::clone(&state),
        };
        if let Some(apex) = apex {
            zone.fill(&apex);
            zone.apex = Some(apex);
        }
        zone
    }

    /// Which edges serve clients that ask for addresses of this kind; `None` of those that are the same for everybody.
    #[must_use]
    pub fn steer(&self, addresses: &Addresses) -> Option<&Steer> {
        match addresses {
            Addresses::Fixed(_) => None,
            Addresses::Steered => Some(&self.steer),
            Addresses::SteeredAmong(number) => self.among.get(*number),
        }
    }

    /// The state it was compiled from.
    #[must_use]
    pub fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// The name of the zone.
    #[must_use]
    pub fn apex(&self) -> Option<&Name> {
        self.apex.as_ref()
    }

    /// The name servers; addresses only of those inside the zone.
    #[must_use]
    pub fn nameservers(&self) -> &[(Name, Vec<IpAddr>)] {
        &self.nameservers
    }

    /// Looks a name up, whatever its case.
    ///
    /// A wildcard follows the rule by which edges route: every name below it that no exact host owns, one or more labels deep,
    /// even below a name that exists (where RFC 4592 would stop), because a client is served there too.
    #[must_use]
    pub fn find(&self, name: &Name) -> Found<'_> {
        let Some(apex) = self.apex.as_ref().filter(|apex| apex.zone_of(name)) else {
            return Found::Outside;
        };
        let owner = self.names.get(name);
        if owner.is_some_and(|owner| *owner != Owner::Empty) {
            return owner.map_or(Found::Missing, Found::Owned);
        }
        let otherwise = owner.map_or(Found::Missing, Found::Owned);
        if self.wildcards.is_empty() {
            return otherwise;
        }
        let mut parent = name.base_name();
        while apex.zone_of(&parent) && self.names.get(&parent) != Some(&Owner::Reserved) {
            if let Some(target) = self.wildcards.get(&parent) {
                return Found::Wildcard(target);
            }
            if parent.is_root() {
                break;
            }
            parent = parent.base_name();
        }
        otherwise
    }

    /// Enters all names; the first to own one keeps it: name servers, sites' targets, edges, then sites' hosts.
    fn fill(&mut self, apex: &Name) {
        let state = Arc::clone(&self.state);
        let mut apex_addresses = None;
        for (text, addresses) in &state.nameservers {
            let Some(name) = domain_name(text) else { continue };
            let inside = apex.zone_of(&name);
            self.nameservers.push((name.clone(), if inside { addresses.clone() } else { Vec::new() }));
            if name == *apex {
                apex_addresses = Some(Addresses::Fixed(addresses.clone()));
            } else if inside {
                self.enter(apex, name, Owner::Host(Addresses::Fixed(addresses.clone())));
            }
        }
        // Sites that share a set and a fence share what is compiled.
        let nothing = Arc::default();
        let mut compiled: HashMap<(*const BTreeSet<String>, Vec<String>), Addresses> = HashMap::new();
        let mut steered = |site: &Site| {
            let lacking = state.lacking.get(&site.name);
            if lacking.is_none() && site.regions.is_empty() {
                return Addresses::Steered;
            }
            let lacking = lacking.unwrap_or(&nothing);
            let (steer, among) = (&self.steer, &mut self.among);
            let number = || {
                among.push(steer.without(&state, lacking, &site.regions));
                Addresses::SteeredAmong(among.len() - 1)
            };
            compiled.entry((Arc::as_ptr(lacking), site.regions.clone())).or_insert_with(number).clone()
        };
        let targets = state.sites.iter().filter_map(|site| Some((below(apex, &site.name)?, site.hosts.as_slice(), steered(site))));
        let targets: Vec<(Name, &[String], Addresses)> = targets.collect();
        for (target, _, addresses) in &targets {
            self.enter(apex, target.clone(), Owner::Host(addresses.clone()));
        }
        if let Some(nodes) = below(apex, NODES_LABEL) {
            for edge in &state.edges {
                let Some(name) = below(&nodes, &edge.name) else { continue };
                self.enter(apex, name, Owner::Host(Addresses::Fixed(edge.addresses.clone())));
            }
            if self.names.get(&nodes).is_none_or(|owner| *owner == Owner::Empty) {
                self.names.insert(nodes, Owner::Reserved);
            }
        }
        for (target, hosts, addresses) in targets {
            for host in hosts.iter().filter(|host| *host != "*") {
                let suffix = host.strip_prefix("*.");
                let Some(name) = domain_name(suffix.unwrap_or(host)).filter(|name| apex.zone_of(name)) else { continue };
                if suffix.is_some() {
                    self.enter_empty(apex, name.clone());
                    self.wildcards.entry(name).or_insert_with(|| target.clone());
                } else if name == *apex {
                    apex_addresses.get_or_insert(addresses.clone());
                } else {
                    self.enter(apex, name, Owner::Alias(target.clone()));
                }
            }
        }
        self.names.insert(apex.clone(), Owner::Apex(apex_addresses));
    }

    /// Gives a name to its first owner, and makes the names between it and the apex exist.
    fn enter(&mut self, apex: &Name, name: Name, owner: Owner) {
        self.enter_empty(apex, name.base_name());
        let slot = self.names.entry(name).or_insert(Owner::Empty);
        if *slot == Owner::Empty {
            *slot = owner;
        }
    }

    fn enter_empty(&mut self, apex: &Name, mut name: Name) {
        while name != *apex && apex.zone_of(&name) && !self.names.contains_key(&name) {
            let parent = name.base_name();
            self.names.insert(name, Owner::Empty);
            name = parent;
        }
    }
}

/// The name of `label` below `parent`. A dot in it makes no second label.
fn below(parent: &Name, label: &str) -> Option<Name> {
    let name = parent.prepend_label(label.to_ascii_lowercase().as_bytes()).ok();
    if name.is_none() {
        tracing::warn!(label, zone = %parent, "a name is left out of the zone because it is no label of at most 63 octets");
    }
    name
}

/// A domain name from text, lower case, absolute.
fn domain_name(text: &str) -> Option<Name> {
    match Name::from_ascii(text.to_ascii_lowercase()) {
        Ok(mut name) => {
            name.set_fqdn(true);
            Some(name)
        }
        Err(error) => {
            tracing::warn!(name = text, %error, "a name is left out of the zone because it is no domain name");
            None
        }
    }
}

#[cfg(test)]
mod tests;
