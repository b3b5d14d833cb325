//! Reading what operators send: a site or a whole configuration, checked, with all faults at their paths.

use serde_json::Value;
use skerry_config::check::{self, Fault, Faults, Format};
use skerry_config::site::Site;
use skerry_config::snapshot::{Document, Shield};

/// Reads and checks a site.
pub(crate) fn site(text: &str, format: Format) -> Result<Site, Faults> {
    check::site_text(text, format, None)
}

/// Reads and checks a site inside another JSON text; lines and columns would say nothing there.
pub(crate) fn site_value(value: &Value) -> Result<Site, Faults> {
    site(&value.to_string(), Format::Json).map_err(|mut faults| {
        faults.0.iter_mut().for_each(|fault| fault.at = None);
        faults
    })
}

/// Reads and checks a whole configuration: `{"sites":[..],"shields":[..]}`; shields, and a number, may be left out.
pub(crate) fn document(value: &Value) -> Result<Document, Faults> {
    let Value::Object(members) = value else { return Err(fault("", "is not an object; write {\"sites\":[..],\"shields\":[..]}")) };
    let mut document = Document::default();
    let mut faults = Vec::new();
    for (name, member) in members {
        match (name.as_str(), member) {
            ("sites", Value::Array(sites)) => {
                for (index, value) in sites.iter().enumerate() {
                    match site_value(value) {
                        Ok(site) => document.sites.push(site),
                        Err(found) => faults.extend(found.0.into_iter().map(|fault| below(index, fault))),
                    }
                }
            }
            ("sites", _) => faults.extend(fault("sites", "is not a list of sites").0),
            ("shields", shields) => match serde_json::from_value::<Vec<Shield>>(shields.clone()) {
                Ok(shields) => document.shields = shields,
                Err(error) => faults.extend(fault("shields", &error.to_string()).0),
            },
            ("version", version) => match version.as_u64() {
                Some(version) => document.version = version,
                None => faults.extend(fault("version", "is not a whole number").0),
            },
            (unknown, _) => faults.extend(fault(unknown, "is not known; a configuration has version, sites and shields").0),
        }
    }
    if faults.is_empty() {
        check::document(&document)?;
        return Ok(document);
    }
    Err(Faults(faults))
}

fn below(index: usize, mut fault: Fault) -> Fault {
    let dot = if fault.path.is_empty() { "" } else { "." };
    fault.path = format!("sites[{index}]{dot}{}", fault.path);
    fault
}

fn fault(path: &str, says: &str) -> Faults {
    Faults(vec![Fault { file: None, at: None, path: path.to_owned(), says: says.to_owned() }])
}
