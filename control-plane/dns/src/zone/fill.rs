//! From a state to the names of its zone.
//!
//! Owns who gets a name that several want: the first keeps it, of name servers, sites' targets, edges, declared records, sites' hosts.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Addresses, Alias, NEGATIVE_TTL_S, NODES_LABEL, Names, Owned, SOA_TIMES_S, STEADY_TTL_S, TTL_MAX_S, ZONE_TTL_S};
use crate::kind::Type;
use crate::name::Name;
use crate::records::{self, Data};
use crate::state::State;

impl Names {
    /// The names of a state; none when it has no zone.
    pub(super) fn of(state: &State) -> Self {
        let mut names = Self::default();
        if let Some(apex) = (!state.zone.is_empty()).then(|| domain_name(&state.zone)).flatten() {
            names.zone(&apex, state);
            names.nameservers(&apex, state);
            names.targets(&apex, state);
            names.nodes(&apex, state);
            names.declared(&apex, state);
            names.hosts(&apex, state);
            names.glue(state);
            names.apex = Some(apex);
        }
        names
    }

    fn zone(&mut self, apex: &Name, state: &State) {
        let primary = state.nameservers.first().and_then(|(name, _)| Name::from_text(name)).unwrap_or_else(|| apex.clone());
        let mailbox = apex.below("hostmaster").unwrap_or_else(|| apex.clone());
        let numbers = [state.serial].into_iter().chain(SOA_TIMES_S).chain([NEGATIVE_TTL_S]);
        let after = numbers.flat_map(u32::to_be_bytes).collect();
        self.soa = Data { before: Vec::new(), names: vec![primary, mailbox], after };
        let soa = self.soa.clone();
        let owned = self.enter(apex, apex.clone());
        records::add(&mut owned.sets, Type::SOA, ZONE_TTL_S, soa);
        records::add(&mut owned.sets, Type::TXT, ZONE_TTL_S, Data::text(format!("skerry serial={}", state.serial).as_bytes()));
    }

    fn nameservers(&mut self, apex: &Name, state: &State) {
        for (text, addresses) in &state.nameservers {
            let Some(name) = domain_name(text) else { continue };
            records::add(&mut self.enter(apex, apex.clone()).sets, Type::NS, ZONE_TTL_S, Data::name(name.clone()));
            if apex.is_around(name.octets()) {
                let owned = self.enter(apex, name);
                addresses.iter().for_each(|address| add_address(owned, *address));
            }
        }
    }

    fn targets(&mut self, apex: &Name, state: &State) {
        let nothing = Arc::default();
        // Sites that share a set and a fence share what is compiled.
        let mut numbers = HashMap::new();
        for site in &state.sites {
            let Some(target) = below(apex, &site.name) else { continue };
            let lacking = state.lacking.get(&site.name);
            let addresses = if lacking.is_none() && site.regions.is_empty() {
                Addresses::Steered
            } else {
                let lacking = lacking.unwrap_or(&nothing);
                let fences = &mut self.fences;
                let number = numbers.entry((Arc::as_ptr(lacking), &site.regions)).or_insert_with(|| {
                    fences.push((Arc::clone(lacking), site.regions.clone()));
                    fences.len() - 1
                });
                Addresses::SteeredAmong(*number)
            };
            self.enter(apex, target.clone()).steer(addresses);
            self.sites.entry(target).or_insert(addresses);
        }
    }

    fn nodes(&mut self, apex: &Name, state: &State) {
        let Some(nodes) = below(apex, NODES_LABEL) else { return };
        for (number, edge) in state.edges.iter().enumerate() {
            let Some(name) = below(&nodes, &edge.name) else { continue };
            self.edges.entry(edge.name.to_ascii_lowercase().into_bytes().into()).or_insert(number);
            let owned = self.enter(apex, name);
            if owned.is_empty() {
                edge.addresses.iter().for_each(|address| add_address(owned, *address));
            }
        }
        self.around_octets_max = self.around_octets_max.max(nodes.octets().len());
        let owned = self.enter(apex, nodes);
        owned.is_reserved = owned.is_empty();
    }

    /// Records that an operator declared. Where one cannot stand beside what the name owns already it is left out, with a warning.
    fn declared(&mut self, apex: &Name, state: &State) {
        // The addresses and names of the CDN itself, beside which no declared ones go.
        let taken: std::collections::BTreeSet<Name> =
            self.owned.iter().filter(|(_, owned)| owned.has_addresses()).map(|(name, _)| name.clone()).collect();
        for record in &state.records {
            let Some(name) = domain_name(&record.name) else { continue };
            let Some((record_type, data)) = Data::declared(&record.data).filter(|_| apex.is_around(name.octets())) else {
                tracing::warn!(name = record.name, "a declared record is left out because it is not of the zone or cannot be written");
                continue;
            };
            let ttl_s = u32::try_from(record.ttl.as_secs()).unwrap_or(u32::MAX).min(TTL_MAX_S);
            let is_address = matches!(record_type, Type::A | Type::AAAA);
            let is_taken = is_address && taken.contains(&name);
            let owned = self.enter(apex, name);
            let fits = if record_type == Type::CNAME { owned.is_empty() && !owned.is_reserved } else { owned.alias.is_none() && !is_taken };
            match (fits, data) {
                (false, _) => {
                    tracing::warn!(name = record.name, "a declared record is left out because the CDN has records of its own at that name");
                }
                (true, Data { mut names, .. }) if record_type == Type::CNAME => {
                    owned.alias = names.pop().map(|target| Alias { target, ttl_s });
                }
                (true, data) => records::add(&mut owned.sets, record_type, ttl_s, data),
            }
        }
    }

    fn hosts(&mut self, apex: &Name, state: &State) {
        for site in &state.sites {
            let Some(target) = below(apex, &site.name) else { continue };
            let Some(addresses) = self.sites.get(&target).copied() else { continue };
            for host in site.hosts.iter().filter(|host| *host != "*") {
                let suffix = host.strip_prefix("*.");
                let Some(name) = domain_name(suffix.unwrap_or(host)).filter(|name| apex.is_around(name.octets())) else { continue };
                let is_apex = name == *apex;
                if suffix.is_some() {
                    self.around_octets_max = self.around_octets_max.max(name.octets().len());
                    self.enter(apex, name.clone());
                    self.wildcards.entry(name).or_insert_with(|| target.clone());
                    continue;
                }
                let owned = self.enter(apex, name);
                if owned.is_reserved {
                    continue;
                }
                if owned.is_empty() && !is_apex {
                    owned.alias = Some(Alias { target: target.clone(), ttl_s: STEADY_TTL_S });
                } else {
                    // A name with records beside it cannot be another one's alias (RFC 1034 section 3.6.2): it has the addresses itself.
                    owned.steer(addresses);
                }
            }
        }
    }

    fn glue(&mut self, state: &State) {
        for name in state.nameservers.iter().filter_map(|(text, _)| Name::from_text(text)) {
            let Some(owned) = self.owned.get(&name) else { continue };
            let sets = owned.sets.iter().filter(|set| matches!(set.record_type, Type::A | Type::AAAA));
            self.glue.push((name, sets.cloned().collect()));
        }
    }

    /// What a name owns; it exists from now on, and so do the names between it and the apex.
    fn enter(&mut self, apex: &Name, name: Name) -> &mut Owned {
        let mut above = name.parent();
        while let Some(parent) = above.filter(|parent| apex.is_around(parent.octets()) && !self.owned.contains_key(parent)) {
            above = parent.parent();
            self.owned.insert(parent, Owned::default());
        }
        self.owned.entry(name).or_default()
    }
}

impl Owned {
    fn has_addresses(&self) -> bool {
        self.addresses.is_some() || self.set(Type::A).is_some() || self.set(Type::AAAA).is_some()
    }

    /// Gives it addresses, unless it has some or is an alias.
    fn steer(&mut self, addresses: Addresses) {
        if !self.has_addresses() && self.alias.is_none() {
            self.addresses = Some(addresses);
        }
    }
}

fn add_address(owned: &mut Owned, address: std::net::IpAddr) {
    let record_type = if address.is_ipv4() { Type::A } else { Type::AAAA };
    records::add(&mut owned.sets, record_type, STEADY_TTL_S, Data::address(address));
}

/// The name of `label` below `parent`.
fn below(parent: &Name, label: &str) -> Option<Name> {
    let name = parent.below(label);
    if name.is_none() {
        tracing::warn!(label, zone = %parent, "a name is left out of the zone because it is no label of at most 63 octets");
    }
    name
}

fn domain_name(text: &str) -> Option<Name> {
    let name = Name::from_text(text);
    if name.is_none() {
        tracing::warn!(name = text, "a name is left out of the zone because it is no domain name");
    }
    name
}
