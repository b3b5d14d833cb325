//! URLs as purges write them, and the names made of them.

use skerry_config::snapshot::Snapshot;
use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_128;

use super::identity::{any_query, url_name};
use crate::key::{canonical, split};

/// The bytes of a name up to which making its hash takes no allocation.
const SHORT_NAME_BYTES: usize = 256;

/// A name of one kind, given in pieces, as a hash.
pub(super) fn hashed(kind: &str, pieces: &[&[u8]]) -> u128 {
    let mut name: SmallVec<[u8; SHORT_NAME_BYTES]> = SmallVec::new();
    name.extend_from_slice(kind.as_bytes());
    name.push(0);
    pieces.iter().for_each(|piece| name.extend_from_slice(piece));
    xxh3_128(&name)
}

/// A host as it is compared: lower case, without a trailing dot, without the port that both schemes' URLs leave out.
pub(super) fn host(authority: &str) -> String {
    let host = authority.trim();
    let host = host.strip_suffix(":80").or_else(|| host.strip_suffix(":443")).unwrap_or(host);
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// The host as it is compared, and every host under which its answers may be stored.
pub(super) fn with_aliases(authority: &str, snapshot: &Snapshot) -> Vec<String> {
    let mut hosts = vec![host(authority)];
    let bare = without_port(&hosts[0]).to_owned();
    if let Some(served) = snapshot.site_for_host(&bare) {
        for alias in served.aliases(&bare).map(host) {
            if !hosts.contains(&alias) {
                hosts.push(alias);
            }
        }
    }
    hosts
}

/// A host without its port.
pub(super) fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => name,
        _ => host,
    }
}

/// Where a URL points, whatever its scheme.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) host: String,
    pub(super) path_and_query: String,
}

impl Location {
    /// Reads `scheme://host/path?query`; the scheme may be missing, a fragment is dropped, what cannot be in a request target is percent-encoded as clients do. `None` without a host.
    pub(super) fn of(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.split_once('#').map_or(text, |(before, _)| before);
        let rest = match text.split_once("//") {
            Some((scheme, rest)) if scheme.is_empty() || scheme.ends_with(':') => rest,
            _ => text,
        };
        let at = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(at);
        let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        if authority.is_empty() {
            return None;
        }
        let slash = if target.starts_with('/') { "" } else { "/" };
        Some(Self { host: host(authority), path_and_query: format!("{slash}{}", encoded(target)) })
    }

    /// The names of the URL: as written, and as the key rules of the site that owns the host see it, under the host that they put into the key.
    pub(super) fn names(&self, snapshot: &Snapshot) -> Vec<u128> {
        let path = split(&self.path_and_query).0;
        let mut names = vec![url_name(&self.host, &self.path_and_query), any_query(&self.host, path)];
        let bare = without_port(&self.host);
        if let Some(served) = snapshot.site_for_host(bare) {
            for policy in served.policies(bare, path) {
                let canonical = canonical(&self.path_and_query, &policy.key);
                names.push(url_name(&self.host, &canonical));
                if let Some(alias) = policy.key.host.as_deref().map(host) {
                    names.extend([url_name(&alias, &canonical), url_name(&alias, &self.path_and_query), any_query(&alias, path)]);
                }
            }
        }
        names
    }
}

fn encoded(target: &str) -> String {
    let mut out = String::with_capacity(target.len());
    for byte in target.bytes() {
        if (0x21..=0x7e).contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
