//! Checks of what an operator typed: every fault at once, each with its place, what was wrong and what would be right.
//!
//! Owns the order of things: read the text, judge the values, put the faults in their places. Reads files; writes none.

mod cache;
mod clients;
pub(crate) mod fault;
pub(crate) mod names;
mod origin;
mod process;
mod shields;
mod site;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

pub use crate::typed::Format;
pub use fault::{Fault, Faults};

use crate::limits::{FILE_BYTES_MAX, SHIELDS_MAX, SITES_MAX};
use crate::process::Process;
use crate::secret::Reference;
use crate::site::Site;
use crate::snapshot::{Change, Document, Shield};
use crate::typed::{self, Kind, Node, Reader, Typed};
use fault::{Finding, Findings, quoted};

/// What a file holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Checked {
    /// A site.
    Site(Box<Site>),
    /// Process settings.
    Process(Box<Process>),
}

/// Reads and checks the text of a site; `file` is only named in faults. Host names come out in lower case.
///
/// # Errors
/// All faults.
pub fn site_text(text: &str, format: Format, file: Option<&Path>) -> Result<Site, Faults> {
    site_tree(&tree(text, format, file)?, text, file)
}

/// Reads and checks a site file.
///
/// # Errors
/// All faults, or the one that it cannot be read.
pub fn site_file(path: &Path) -> Result<Site, Faults> {
    let (text, format) = text(path)?;
    site_text(&text, format, Some(path))
}

/// Reads and checks the text of process settings; `file` is only named in faults. DNS names come out in lower case, without a dot at their end.
///
/// # Errors
/// All faults.
pub fn process_text(text: &str, format: Format, file: Option<&Path>) -> Result<Process, Faults> {
    process_tree(&tree(text, format, file)?, text, file)
}

/// Reads and checks a file of process settings. Relative paths stay as written: they are relative to the working directory.
///
/// # Errors
/// All faults, or the one that it cannot be read.
pub fn process_file(path: &Path) -> Result<Process, Faults> {
    let (text, format) = text(path)?;
    process_text(&text, format, Some(path))
}

/// Reads and checks a file of either kind: with `role` or `listen` at its top it is process settings, else a site.
///
/// # Errors
/// All faults, or the one that it cannot be read.
pub fn file(path: &Path) -> Result<Checked, Faults> {
    let (text, format) = text(path)?;
    let tree = tree(&text, format, Some(path))?;
    if tree.get("role").is_some() || tree.get("listen").is_some() {
        process_tree(&tree, &text, Some(path)).map(|process| Checked::Process(Box::new(process)))
    } else {
        site_tree(&tree, &text, Some(path)).map(|site| Checked::Site(Box::new(site)))
    }
}

/// Checks a site that is typed already.
///
/// # Errors
/// All faults, without line and column.
pub fn site(site: &Site) -> Result<(), Faults> {
    let mut findings = Findings::default();
    site::check(site, &mut findings);
    Faults::from_findings(findings.list, "", None)
}

/// Checks that a site has its secrets themselves, and not what stands for them.
///
/// # Errors
/// That it has something that stands for one that is not known.
pub fn resolved(site: &Site) -> Result<(), Faults> {
    let mut findings = Findings::default();
    secrets(site, &mut findings);
    Faults::from_findings(findings.list, "", None)
}

fn secrets(site: &Site, findings: &mut Findings) {
    let Some(key) = &site.origin.client_key else { return };
    let shown = quoted(key.reveal());
    let says = match key.reference() {
        None => return,
        Some(Reference::Mark(_)) => format!("{shown} stands for a key that the site does not have; write the PEM text of the key itself"),
        Some(Reference::Named { .. }) => {
            format!("{shown} names a secret that is not there; write it first with skerry secret put, or the PEM text of the key itself")
        }
    };
    findings.add("origin.client_key", says);
}

/// Checks that the shields a site asks for are among `shields`, by name and region, and that there are edges in every region of its fence among
/// `edge_regions`.
///
/// # Errors
/// All faults, without line and column.
pub fn site_among(site: &Site, shields: &[(&str, &str)], edge_regions: &BTreeSet<&str>) -> Result<(), Faults> {
    let mut findings = Findings::default();
    site::fence_among(&site.regions, edge_regions, &mut findings);
    shields::among(&site.shields, shields, &mut findings);
    Faults::from_findings(findings.list, "", None)
}

/// Checks a whole document: every site, names and hosts across sites, shields.
///
/// # Errors
/// All faults, without line and column; paths begin with `sites[N]` or `shields[N]`.
pub fn document(document: &Document) -> Result<(), Faults> {
    let mut findings = Findings::default();
    if document.sites.len() > SITES_MAX {
        findings.add("sites", format!("{} sites; a configuration has at most {SITES_MAX}", document.sites.len()));
    }
    let mut sites = HashMap::new();
    let mut hosts: HashMap<String, (usize, &str)> = HashMap::new();
    for (index, each) in document.sites.iter().enumerate().take(SITES_MAX) {
        site_of_many(index, each, &mut findings);
        if let Some(first) = sites.insert(each.name.as_str(), index) {
            findings.add("name", format!("{} is sites[{first}] already; a name belongs to one site", quoted(&each.name)));
        }
        for (nth, host) in each.hosts.iter().enumerate() {
            match hosts.get(&host.to_ascii_lowercase()) {
                // A host twice in one site is said by the check of that site.
                Some((owner, _)) if *owner == index => {}
                Some((_, owner)) => owned_already(nth, host, each, owner, &mut findings),
                None => {
                    hosts.insert(host.to_ascii_lowercase(), (index, &each.name));
                }
            }
        }
    }
    findings.prefix.clear();
    document_shields(&document.shields, &mut findings);
    Faults::from_findings(findings.list, "", None)
}

/// Checks what a change brings: its sites, and its shields where it has any. `owner` knows whose a host in lower case is among the sites that stay.
///
/// # Errors
/// All faults, without line and column; paths begin with `sites[N]` or `shields[N]` of the change.
pub(crate) fn change<'a>(change: &'a Change, owner: impl Fn(&str) -> Option<&'a str>) -> Result<(), Faults> {
    let mut findings = Findings::default();
    let mut hosts: HashMap<String, &str> = HashMap::new();
    for (index, each) in change.sites.iter().enumerate() {
        site_of_many(index, each, &mut findings);
        for (nth, host) in each.hosts.iter().enumerate() {
            let lower = host.to_ascii_lowercase();
            match hosts.get(&lower).copied().or_else(|| owner(&lower)) {
                Some(owner) if owner == each.name => {}
                Some(owner) => owned_already(nth, host, each, owner, &mut findings),
                None => {
                    hosts.insert(lower, &each.name);
                }
            }
        }
    }
    findings.prefix.clear();
    document_shields(change.shields.as_deref().unwrap_or_default(), &mut findings);
    Faults::from_findings(findings.list, "", None)
}

fn site_of_many(index: usize, site: &Site, findings: &mut Findings) {
    findings.prefix = format!("sites[{index}].");
    site::check(site, findings);
    secrets(site, findings);
}

fn owned_already(nth: usize, host: &str, site: &Site, owner: &str, findings: &mut Findings) {
    let says =
        format!("{} of site {} belongs to site {} already; a host belongs to one site", quoted(host), quoted(&site.name), quoted(owner));
    findings.add(format!("hosts[{nth}]"), says);
}

fn document_shields(shields: &[Shield], findings: &mut Findings) {
    if shields.len() > SHIELDS_MAX {
        findings.add("shields", format!("{} shields; a configuration has at most {SHIELDS_MAX}", shields.len()));
    }
    let mut seen = HashMap::new();
    for (index, shield) in shields.iter().enumerate().take(SHIELDS_MAX) {
        let path = format!("shields[{index}]");
        if let Err(why) = names::label(&shield.name) {
            findings.add(format!("{path}.name"), format!("{} is not the name of a node; {why}", quoted(&shield.name)));
        } else if let Some(first) = seen.insert(&shield.name, index) {
            findings
                .add(format!("{path}.name"), format!("{} is shields[{first}] already; a name belongs to one node", quoted(&shield.name)));
        }
        if shield.address.port() == 0 || shield.address.ip().is_unspecified() {
            let says = format!("\"{}\" cannot be connected to; write the address and port of its tier listener", shield.address);
            findings.add(format!("{path}.address"), says);
        }
    }
}

fn tree(text: &str, format: Format, file: Option<&Path>) -> Result<Node, Faults> {
    typed::tree(text, format).map_err(|findings| match Faults::from_findings(findings, text, file) {
        Err(faults) => faults,
        Ok(()) => Faults::of_file(file, "this text cannot be read".to_owned()),
    })
}

fn site_tree(tree: &Node, text: &str, file: Option<&Path>) -> Result<Site, Faults> {
    let mut reader = Reader::default();
    let mut site = Site::read(tree, "", &mut reader);
    let mut findings = Findings::default();
    if matches!(tree.kind, Kind::Table(_)) {
        site::check(&site, &mut findings);
    }
    Faults::from_findings(merged(reader, findings.list, tree), text, file)?;
    site.normalise();
    Ok(site)
}

fn process_tree(tree: &Node, text: &str, file: Option<&Path>) -> Result<Process, Faults> {
    let mut reader = Reader::default();
    let read = typed::read_process(tree, &mut reader);
    let mut findings = Findings::default();
    let process = read.map(|mut process| {
        process.normalise();
        process::check(&process, &mut findings);
        process
    });
    Faults::from_findings(merged(reader, findings.list, tree), text, file)?;
    process.ok_or_else(|| Faults::of_file(file, "this text holds no process settings".to_owned()))
}

/// Both kinds of findings, each with its place; without those about a value that could not be read, or that was judged by one.
fn merged(read: Reader, judged: Vec<Finding>, tree: &Node) -> Vec<Finding> {
    let within = |inner: &str, outer: &str| inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
    let unread: Vec<&str> = read.findings.iter().map(|fault| &fault.path).chain(&read.absent).map(String::as_str).collect();
    let broken = |path: &str| unread.iter().any(|other| within(path, other) || within(other, path));
    let sound: Vec<Finding> =
        judged.into_iter().filter(|finding| !broken(&finding.path) && !finding.because.iter().any(|path| broken(path))).collect();
    let placed = sound.into_iter().map(|finding| Finding { at: Some(tree.place(&finding.path)), ..finding });
    read.findings.into_iter().chain(placed).collect()
}

/// The text and the format of a file.
fn text(path: &Path) -> Result<(String, Format), Faults> {
    let fault = |says: String| Faults::of_file(Some(path), says);
    let format =
        Format::of(path).ok_or_else(|| fault("the name does not tell the format; let it end in .toml, .yaml, .yml or .json".to_owned()))?;
    let mut bytes = Vec::new();
    let limit = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX);
    File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes)).map_err(|error| fault(unreadable(&error)))?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(fault(format!("the file is larger than {FILE_BYTES_MAX} bytes; nothing an operator writes is")));
    }
    let text = String::from_utf8(bytes)
        .map_err(|error| fault(format!("byte {} is not UTF-8; save the file as UTF-8", error.utf8_error().valid_up_to() + 1)))?;
    Ok((text, format))
}

fn unreadable(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "this process may not read the file; change its mode or owner".to_owned(),
        io::ErrorKind::IsADirectory => "this is a directory; name a file in it".to_owned(),
        _ => format!("cannot be read: {error}"),
    }
}
