//! Reading what operators send: a site or a document, checked, with all faults at their paths.

use skerry_config::check::{Fault, Faults};
use skerry_config::site::Site;
use skerry_config::snapshot::Document;

/// The formats a site may be sent in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// `application/json`.
    Json,
    /// `application/toml`.
    Toml,
    /// `application/yaml`.
    Yaml,
}

/// Reads a site.
pub(crate) fn site(text: &[u8], format: Format) -> Result<Site, Faults> {
    let text = std::str::from_utf8(text).map_err(|error| fault(format!("the text is not UTF-8: {error}")))?;
    match format {
        Format::Json => serde_json::from_str(text).map_err(|error| fault(format!("not a site: {error}"))),
        Format::Toml | Format::Yaml => Err(fault("only JSON can be read".to_owned())),
    }
}

/// Checks a site on its own.
pub(crate) fn check_site(site: &Site) -> Result<(), Faults> {
    let alone = Document { version: 0, sites: vec![site.clone()], shields: Vec::new() };
    skerry_config::check::document(&alone).map_err(|mut faults| {
        for fault in &mut faults.0 {
            if let Some(path) = fault.path.strip_prefix("sites[0].") {
                fault.path = path.to_owned();
            }
        }
        faults
    })
}

fn fault(says: String) -> Faults {
    Faults(vec![Fault { file: None, at: None, path: String::new(), says }])
}
