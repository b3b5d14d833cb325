//! What the values of a site mean together; of its cache see [`cache`], of its origin [`origin`]. Judges typed values; never sees text.

use std::collections::{BTreeSet, HashMap};

use super::fault::{Findings, quoted};
use super::{cache, clients, names, origin, shields};
use crate::limits::{FENCE_REGIONS_MAX, HOSTS_MAX};
use crate::site::Site;

/// Everything that is wrong with a site by itself.
pub(crate) fn check(site: &Site, findings: &mut Findings) {
    if let Err(why) = names::label(&site.name) {
        findings.add("name", format!("{} is not the name of a site; {why}", quoted(&site.name)));
    }
    hosts(&site.hosts, findings);
    fence(&site.regions, findings);
    origin::check(&site.origin, findings);
    shields::check(&site.shields, findings);
    cache::check(&site.cache, &site.hosts, findings);
    clients::pass(&site.pass, findings);
    clients::rate_limits(&site.rate_limits, findings);
    clients::forwarding(&site.forwarding, findings);
}

fn hosts(hosts: &[String], findings: &mut Findings) {
    if hosts.is_empty() {
        findings.add("hosts", "the list is empty; write at least one host, such as \"shop.example.com\", or \"*\" for every host");
    }
    if hosts.len() > HOSTS_MAX {
        findings.add("hosts", format!("{} hosts; a site has at most {HOSTS_MAX}", hosts.len()));
    }
    let mut seen = HashMap::new();
    for (index, host) in hosts.iter().enumerate().take(HOSTS_MAX) {
        let path = format!("hosts[{index}]");
        match names::site_host(host) {
            Err(why) => findings.add(path, format!("{} {why}", quoted(host))),
            Ok(()) => {
                if let Some(first) = seen.insert(host.to_ascii_lowercase(), index) {
                    findings.add(path, format!("{} is hosts[{first}] already; keep one of them", quoted(host)));
                }
            }
        }
    }
}

fn fence(regions: &[String], findings: &mut Findings) {
    if regions.len() > FENCE_REGIONS_MAX {
        findings.add("regions", format!("{} regions; write at most {FENCE_REGIONS_MAX}", regions.len()));
    }
    for (index, region) in regions.iter().enumerate().take(FENCE_REGIONS_MAX) {
        let path = format!("regions[{index}]");
        if let Err(why) = names::label(region) {
            findings.add(path, format!("{} is not the name of a region; {why}", quoted(region)));
        } else if let Some(first) = regions[..index].iter().position(|other| other == region) {
            findings.add(path, format!("{} is regions[{first}] already; keep one of them", quoted(region)));
        }
    }
}

/// Regions of a fence in which there is no edge.
pub(super) fn fence_among(regions: &[String], there: &BTreeSet<&str>, findings: &mut Findings) {
    for (index, region) in regions.iter().enumerate().filter(|(_, region)| !there.contains(region.as_str())) {
        findings.add(format!("regions[{index}]"), format!("no edge is in region {}; {}", quoted(region), shields::instead("edge", there)));
    }
}
