//! The comparison of one object with the purges in force, entry by entry: for people. Requests need only what comes of it.

use http::HeaderMap;

use super::tags::each;
use super::url::hashed;
use super::{Identity, Mark, Named, Table, Verdict, judged};

/// A purge number that an object was compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Compared {
    /// `all`, `site`, `host`, `url`, `prefix` or `tag`.
    pub(crate) kind: &'static str,
    /// The host, prefix or tag; site and URL are the object's own.
    pub(crate) name: Option<String>,
    /// The number of the last hard purge of it; 0 when there is none.
    pub(crate) hard: u64,
    /// The same, soft.
    pub(crate) soft: u64,
    /// What the two alone make of the object.
    pub(crate) verdict: Verdict,
}

impl Table {
    /// Everything an object was or would be compared with. `headers` are the object's: its tags have their names there.
    pub(crate) fn compared(&self, identity: &Identity, mark: &Mark, headers: &HeaderMap) -> Vec<Compared> {
        let mut found = Vec::new();
        let mut note = |named: Named<'_>, epoch: super::Epoch| {
            let (kind, name) = match named {
                Named::All => ("all", None),
                Named::Site => ("site", None),
                Named::Host(host) => ("host", Some(host.to_owned())),
                Named::Url => ("url", None),
                Named::Prefix(host, prefix) => ("prefix", Some(format!("{host}{prefix}"))),
                Named::Tag(hash) => ("tag", each(headers).find(|tag| hashed("tag", &[tag]) == hash).map(text)),
                Named::AnyTag => ("tag", Some("any, as not all tags are kept".to_owned())),
            };
            if epoch.newest() > 0 {
                let verdict = judged(epoch, mark.stamp());
                found.push(Compared { kind, name, hard: epoch.hard, soft: epoch.soft, verdict });
            }
        };
        self.epochs.read().each(identity, &mark.tags, &mut note);
        found.dedup();
        found
    }
}

fn text(tag: &[u8]) -> String {
    String::from_utf8_lossy(tag).into_owned()
}
