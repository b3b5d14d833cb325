//! What may be purged: bounds, and URLs that can be compared with requests.

use http::Uri;
use skerry_config::check::{Fault, Faults};
use skerry_config::limits::PURGE_ENTRIES_MAX;
use skerry_config::purge::Targets;

/// Entries of all lists together.
const ENTRIES_MAX: usize = PURGE_ENTRIES_MAX as usize;

/// Bytes of one entry.
const ENTRY_BYTES_MAX: usize = 4_096;

/// Checks targets.
pub(crate) fn check(targets: &Targets) -> Result<(), Faults> {
    let mut faults = Vec::new();
    let mut fault = |path: String, says: String| faults.push(Fault { file: None, at: None, path, says });
    let lists = [
        ("urls", &targets.urls),
        ("prefixes", &targets.prefixes),
        ("tags", &targets.tags),
        ("hosts", &targets.hosts),
        ("sites", &targets.sites),
    ];
    let entries = targets.entries();
    if entries == 0 {
        fault(String::new(), "nothing is named; give at least one of urls, prefixes, tags, hosts, sites, or all".to_owned());
    }
    if entries > ENTRIES_MAX {
        fault(String::new(), format!("{entries} entries; at most {ENTRIES_MAX} are allowed in one purge, so make several of it"));
    } else {
        for (name, list) in lists {
            for (index, entry) in list.iter().enumerate() {
                if let Err(says) = check_entry(name, entry) {
                    fault(format!("{name}[{index}]"), says);
                }
            }
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(Faults(faults)) }
}

fn check_entry(list: &str, entry: &str) -> Result<(), String> {
    if entry.is_empty() {
        return Err("is empty".to_owned());
    }
    if entry.len() > ENTRY_BYTES_MAX {
        return Err(format!("has {} bytes; at most {ENTRY_BYTES_MAX} are allowed", entry.len()));
    }
    match list {
        "urls" | "prefixes" => check_url(entry, list == "prefixes"),
        "tags" if !entry.bytes().all(|byte| (0x21..=0x7e).contains(&byte) && byte != b',') => {
            Err(format!("{entry:?} is not a tag; tags are visible ASCII without space and comma"))
        }
        "hosts" if !entry.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte)) => {
            Err(format!("{entry:?} is not a host name; write it without scheme and path"))
        }
        "sites" if !entry.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') => {
            Err(format!("{entry:?} is not a site's name"))
        }
        _ => Ok(()),
    }
}

fn check_url(url: &str, prefix: bool) -> Result<(), String> {
    let wrong = || {
        let query = if prefix { "" } else { "?query" };
        format!("{url:?} is not an absolute URL; write http://host/path{query} or https://host/path{query}")
    };
    let uri: Uri = url.parse().map_err(|_| wrong())?;
    let known = matches!(uri.scheme_str(), Some("http" | "https"));
    let host = uri.authority().is_some_and(|authority| !authority.host().is_empty() && !authority.as_str().contains('@'));
    if !known || !host || url.contains('#') || (prefix && uri.query().is_some()) {
        return Err(wrong());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_said_at_its_place() {
        let wrong = Targets {
            urls: ["/a", "ftp://h/", "http:///a", "http://u@h/", "http://h/#f", "", "https://h/a?b"].map(str::to_owned).to_vec(),
            prefixes: vec!["https://h/a?b".to_owned()],
            tags: vec!["a b".to_owned(), "é".to_owned()],
            hosts: vec!["http://h".to_owned()],
            sites: vec!["a/b".to_owned(), "a".repeat(ENTRY_BYTES_MAX + 1)],
            ..Targets::default()
        };
        let paths: Vec<_> = check(&wrong).unwrap_err().0.into_iter().map(|fault| fault.path).collect();
        let wanted = [
            "urls[0]",
            "urls[1]",
            "urls[2]",
            "urls[3]",
            "urls[4]",
            "urls[5]",
            "prefixes[0]",
            "tags[0]",
            "tags[1]",
            "hosts[0]",
            "sites[0]",
            "sites[1]",
        ];
        assert_eq!(paths, wanted);
    }

    #[test]
    fn something_must_be_named_and_not_too_much() {
        assert!(check(&Targets { soft: true, ..Targets::default() }).is_err());
        assert!(check(&Targets { all: true, ..Targets::default() }).is_ok());
        let tags = |count| Targets { tags: vec!["t".to_owned(); count], ..Targets::default() };
        assert!(check(&tags(ENTRIES_MAX)).is_ok());
        assert!(check(&tags(ENTRIES_MAX + 1)).is_err());
    }
}
