//! Which purges a token for some sites may make and see.
//!
//! The lists of a purge add up, so `sites` narrows none of the others: each entry has to be of the token's sites. A URL, a prefix or a host is of the
//! site that answers for its host. A tag, and `all`, may be of any site.

use std::collections::HashMap;

use http::Uri;
use skerry_config::purge::Targets;
use skerry_config::snapshot::canonical_host;

use super::Grant;
use crate::intent::State;
use crate::refusal::Refusal;

/// Demands that everything a purge names is of the token's sites.
pub(crate) fn demand(grant: &Grant, targets: &Targets, state: &State) -> Result<(), Refusal> {
    if grant.is_whole() {
        return Ok(());
    }
    if targets.all {
        grant.demand_whole("a purge of everything")?;
    }
    if !targets.tags.is_empty() {
        grant.demand_whole("a purge by tag")?;
    }
    targets.sites.iter().try_for_each(|site| grant.demand_site(site))?;
    let owners = Owners::of(state);
    for url in targets.urls.iter().chain(&targets.prefixes) {
        let uri = url.parse::<Uri>().ok();
        let host = uri.as_ref().and_then(Uri::host).unwrap_or_default();
        owners.demand(grant, host, url)?;
    }
    targets.hosts.iter().try_for_each(|host| owners.demand(grant, without_port(host), host))
}

/// Demands that a URL is of the token's sites.
pub(crate) fn demand_url(grant: &Grant, url: &str, state: &State) -> Result<(), Refusal> {
    demand(grant, &Targets { urls: vec![url.to_owned()], ..Targets::default() }, state)
}

/// Who answers for a host, by host in lower case.
struct Owners<'a>(HashMap<String, &'a str>);

impl<'a> Owners<'a> {
    fn of(state: &'a State) -> Self {
        let sites = state.sites.values().filter_map(|version| version.site.as_deref());
        Self(sites.flat_map(|site| site.hosts.iter().map(|host| (host.to_ascii_lowercase(), site.name.as_str()))).collect())
    }

    /// The exact name, else the longest wildcard, else `*`, as nodes have it.
    fn owner(&self, host: &str) -> Option<&'a str> {
        let host = canonical_host(host);
        if let Some(owner) = self.0.get(host.as_ref()) {
            return Some(owner);
        }
        let parents = host.match_indices('.').map(|(at, _)| format!("*{}", &host[at..]));
        parents.chain(["*".to_owned()]).find_map(|pattern| self.0.get(&pattern).copied())
    }

    fn demand(&self, grant: &Grant, host: &str, entry: &str) -> Result<(), Refusal> {
        let owner = self.owner(host);
        if owner.is_some_and(|owner| grant.covers(owner)) {
            return Ok(());
        }
        // Whose it is instead is none of this token's business.
        let says = format!("token {:?} is for {}, and {entry:?} is not of them", grant.name, grant.spoken_scope());
        Err(Refusal::Denied(says))
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') && (name.ends_with(']') || !name.contains(':')) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::Rank;
    use super::super::grant::tests::grant;
    use super::*;
    use crate::intent::SiteVersion;

    fn state() -> State {
        let mut state = State::default();
        for (name, hosts) in [("shop", vec!["shop.test", "*.img.test"]), ("blog", vec!["a.img.test", "Blog.test"]), ("rest", vec!["*"])] {
            let site = serde_json::json!({"name": name, "hosts": hosts, "origin": {"urls": ["http://127.0.0.1:9"]}});
            let version = serde_json::json!({"name": name, "version": 1, "at": "", "author": "", "site": site});
            state.sites.insert_mut(name.to_owned(), Arc::new(serde_json::from_value::<SiteVersion>(version).unwrap()));
        }
        state
    }

    fn may(sites: &[&str], targets: serde_json::Value) -> bool {
        let targets = serde_json::from_value(targets).unwrap();
        demand(&grant(Rank::Purger, Some(sites)), &targets, &state()).is_ok()
    }

    #[test]
    fn every_entry_has_to_be_of_the_sites() {
        for (fine, targets) in [
            (true, r#"{"sites":["shop"]}"#),
            (false, r#"{"sites":["shop","blog"]}"#),
            (false, r#"{"sites":["none"]}"#),
            (true, r#"{"urls":["http://shop.test/a","https://SHOP.test:8443/b","http://b.img.test/"]}"#),
            (false, r#"{"urls":["http://shop.test/a","http://blog.test/b"]}"#),
            (false, r#"{"urls":["http://a.img.test/"]}"#),
            (false, r#"{"urls":["http://img.test/"]}"#),
            (true, r#"{"prefixes":["http://shop.test/a"]}"#),
            (false, r#"{"prefixes":["http://blog.test/"]}"#),
            (true, r#"{"hosts":["shop.test","deep.er.img.test","shop.test:80","shop.test."]}"#),
            (false, r#"{"hosts":["elsewhere.test"]}"#),
            (false, r#"{"hosts":["[::1]:80"]}"#),
            (false, r#"{"tags":["t"]}"#),
            (false, r#"{"all":true}"#),
            // The lists add up: a site beside them narrows nothing.
            (false, r#"{"sites":["shop"],"tags":["t"]}"#),
            (false, r#"{"sites":["shop"],"all":true}"#),
            (false, r#"{"sites":["shop"],"hosts":["blog.test"]}"#),
            (true, r#"{"sites":["shop"],"hosts":["shop.test"],"urls":["http://shop.test/"],"prefixes":["http://shop.test/"],"soft":true}"#),
        ] {
            assert_eq!(may(&["shop"], serde_json::from_str(targets).unwrap()), fine, "{targets}");
        }
        assert!(may(&["shop", "blog"], serde_json::json!({"hosts": ["a.img.test", "b.img.test"], "sites": ["blog"]})));
        assert!(may(&["rest"], serde_json::json!({"hosts": ["elsewhere.test"]})), "whoever has * has what nobody else has");
        let whole = serde_json::from_value(serde_json::json!({"all": true, "tags": ["t"]})).unwrap();
        assert!(demand(&grant(Rank::Purger, None), &whole, &state()).is_ok());
    }
}
