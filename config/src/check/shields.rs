//! What a site's choice of shields means, by itself and among the shields that there are. Judges typed values; never sees text.

use std::collections::BTreeSet;

use super::fault::{Findings, quoted};
use super::names;
use crate::limits::SHIELDS_NAMED_MAX;
use crate::site::Shields;

/// Shields that are repeated to an operator who named none of them.
const KNOWN_TOLD_MAX: usize = 8;

/// Everything that is wrong with a choice by itself.
pub(crate) fn check(shields: &Shields, findings: &mut Findings) {
    if !shields.names.is_empty() && !shields.regions.is_empty() {
        findings.add("shields.regions", "there are names already; write either names or regions");
    }
    for (field, list, what) in [("names", &shields.names, "a node"), ("regions", &shields.regions, "a region")] {
        if list.len() > SHIELDS_NAMED_MAX {
            findings.add(format!("shields.{field}"), format!("{} {field}; write at most {SHIELDS_NAMED_MAX}", list.len()));
        }
        for (index, name) in list.iter().enumerate().take(SHIELDS_NAMED_MAX) {
            let path = format!("shields.{field}[{index}]");
            if let Err(why) = names::label(name) {
                findings.add(path, format!("{} is not the name of {what}; {why}", quoted(name)));
            } else if let Some(first) = list[..index].iter().position(|other| other == name) {
                findings.add(path, format!("{} is shields.{field}[{first}] already; keep one of them", quoted(name)));
            }
        }
    }
}

/// Names and regions that no shield of `known`, by name and region, has.
pub(crate) fn among(shields: &Shields, known: &[(&str, &str)], findings: &mut Findings) {
    let names: BTreeSet<&str> = known.iter().map(|(name, _)| *name).collect();
    let regions: BTreeSet<&str> = known.iter().map(|(_, region)| *region).collect();
    let unknown = |list: &[String], there: &BTreeSet<&str>| -> Vec<(usize, String)> {
        list.iter().enumerate().filter(|(_, name)| !there.contains(name.as_str())).map(|(index, name)| (index, quoted(name))).collect()
    };
    for (index, name) in unknown(&shields.names, &names) {
        findings.add(format!("shields.names[{index}]"), format!("no shield is called {name}; {}", instead("shield", &names)));
    }
    for (index, region) in unknown(&shields.regions, &regions) {
        findings.add(format!("shields.regions[{index}]"), format!("no shield is in region {region}; {}", instead("shield", &regions)));
    }
}

/// What to do where nothing of the kind is there under a name.
pub(super) fn instead(kind: &str, there: &BTreeSet<&str>) -> String {
    if there.is_empty() {
        return format!("no {kind} has joined yet, so join one first");
    }
    let known: Vec<&str> = there.iter().copied().take(KNOWN_TOLD_MAX).collect();
    let more = if there.len() > known.len() { " or another" } else { "" };
    format!("join it first, or write {}{more}", known.join(", "))
}
