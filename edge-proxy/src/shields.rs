//! Which shields are asked for a resource, and in which order: those of its site by rendezvous hash over host and path, so that all edges agree and
//! a lost shield moves only its own share; before them the one that leads the site, where the control plane chooses it.

use skerry_config::site::{Key, Lead, Site};
use skerry_config::snapshot::{Shield, Snapshot};

/// Sites of one configuration whose lack of shields is told.
const SITES_TOLD_MAX: usize = 16;

/// The shields of a site in the order in which they serve a resource.
pub(crate) fn ranked<'a>(snapshot: &'a Snapshot, site: &Site, host: &str, path: &str) -> Vec<&'a Shield> {
    let own = snapshot.shields().iter().filter(|shield| site.shields.are(&shield.name, &shield.region));
    let mut ranked: Vec<(u64, &Shield)> = own.map(|shield| (weight(&shield.name, host, path), shield)).collect();
    let lead = if site.shields.lead == Lead::Auto { snapshot.lead(&site.name) } else { None };
    let leads = |shield: &Shield| Some(shield.name.as_str()) == lead;
    ranked.sort_by(|a, b| leads(b.1).cmp(&leads(a.1)).then(b.0.cmp(&a.0)).then_with(|| a.1.name.cmp(&b.1.name)));
    ranked.into_iter().map(|(_, shield)| shield).collect()
}

/// The host by which a request's shields are ranked. Hosts that share their answers share their shields too, or an unsafe request of one would
/// leave the others' answers at another shield.
pub(crate) fn ranking_host<'a>(key: &'a Key, authority: &'a str) -> &'a str {
    key.host.as_deref().unwrap_or(authority)
}

/// The rendezvous weight of a shield for a resource.
fn weight(shield: &str, host: &str, path: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64([shield, host, path].join("\0").as_bytes())
}

/// Tells the operator of sites that ask for shields of which there is none in this configuration, where that differs from the one before.
pub(crate) fn warn_of_missing(snapshot: &Snapshot, before: &Snapshot) {
    let changed = snapshot.changed_since(before.version()).filter(|_| snapshot.shields() == before.shields());
    let sites: Vec<&Site> = match changed {
        Some(changed) => changed.iter().filter_map(|name| snapshot.site(name)).map(|served| served.site()).collect(),
        None => snapshot.sites().map(|served| served.site()).collect(),
    };
    let missing = sites.into_iter().filter(|site| {
        let chosen = &site.shields;
        let asks = !chosen.names.is_empty() || !chosen.regions.is_empty();
        asks && !snapshot.shields().iter().any(|shield| chosen.are(&shield.name, &shield.region))
    });
    for site in missing.take(SITES_TOLD_MAX) {
        let (names, regions, fallback) = (&site.shields.names, &site.shields.regions, site.shields.fallback);
        tracing::warn!(site = site.name, ?names, ?regions, ?fallback, "there is none of the shields that the site asks for");
    }
}

#[cfg(test)]
mod tests;
