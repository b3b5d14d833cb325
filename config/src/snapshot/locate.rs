//! Where a request belongs, for people: site, rule, and why none. Requests are routed by [`Snapshot::site_for_host`] and
//! [`Served::policy`], which this asks too.

use http::header::HeaderMap;
use serde::Serialize;

use super::{Served, Snapshot, canonical_host};
use crate::site::Match;

/// Where a request belongs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Located {
    /// The number of the configuration that says so.
    pub snapshot: u64,
    /// The site that owns the host; absent when none does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// The rule that matches; absent when the site's defaults apply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<MatchedRule>,
    /// Why no site owns the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unserved: Option<String>,
}

/// A rule that matches.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MatchedRule {
    /// Its place in `cache.rules`, from 0.
    pub index: usize,
    /// Its condition.
    #[serde(rename = "match")]
    pub matches: Match,
}

impl Snapshot {
    /// Where a request belongs; the arguments are those of [`Self::site_for_host`] and [`Served::policy`].
    #[must_use]
    pub fn locate(&self, host: &str, path: &str, headers: &HeaderMap) -> Located {
        let served = self.site_for_host(host);
        Located {
            snapshot: self.version,
            site: served.map(|served| served.site.name.clone()),
            rule: served.and_then(|served| served.matched(host, path, headers)),
            unserved: served.is_none().then(|| self.why_nobodys(&canonical_host(host))),
        }
    }

    /// Why no site owns a host: the nearest that one does own. Linear in all hosts.
    fn why_nobodys(&self, host: &str) -> String {
        if self.sites.is_empty() {
            return format!("there is no site in configuration {}", self.version);
        }
        if let Some(served) = self.wildcard.get(host) {
            return format!("no site owns {host}: *.{host} of site {} means the names below it", served.site.name);
        }
        // A whole name is nearer than a pattern; between equals the alphabet decides, so that every node says the same.
        let exact = self.exact.iter().map(|(owned, served)| (true, owned.clone(), served));
        let wildcard = self.wildcard.iter().map(|(suffix, served)| (false, format!("*.{suffix}"), served));
        let near = exact.chain(wildcard).map(|(whole, owned, served)| ((shared_labels(host, &owned), whole), owned, served));
        let nearest = near.filter(|((shared, _), ..)| *shared >= 2).max_by(|(a, one, _), (b, other, _)| a.cmp(b).then(other.cmp(one)));
        match nearest {
            Some((_, owned, served)) => format!("no site owns {host}; the nearest is {owned} of site {}", served.site.name),
            None => format!("no site owns {host}, nor anything like it"),
        }
    }
}

impl Served {
    fn matched(&self, host: &str, path: &str, headers: &HeaderMap) -> Option<MatchedRule> {
        let index = self.policy(host, path, headers).rule?;
        self.site.cache.rules.get(index).map(|rule| MatchedRule { index, matches: rule.matches.clone() })
    }
}

/// How many labels two names have in common, from the end.
fn shared_labels(one: &str, other: &str) -> usize {
    one.rsplit('.').zip(other.rsplit('.')).take_while(|(a, b)| a == b).count()
}
