//! Invalidation by unsafe methods (RFC 9111 section 4.4).

use http::{HeaderMap, header};
use skerry_config::snapshot::Policy;

use super::{Exchange, identity};
use crate::groups::{CACHE_GROUP_INVALIDATION, groups};
use crate::purge::{Identity, group_name};
use crate::request::Request;

impl Exchange {
    /// Takes out of use what is stored, or being fetched, for the target of an unsafe request that was answered without error, and for
    /// `Location` and `Content-Location` of the same origin: whatever the variant and whatever else is in the key. The same for the cache
    /// groups that the answer names (RFC 9875 section 3).
    ///
    /// `request` is the unsafe request as a GET would be.
    pub fn invalidate(&self, request: &Request, policy: &Policy, response: &HeaderMap) {
        let mut targets = vec![request.path_and_query.clone()];
        for name in [header::LOCATION, header::CONTENT_LOCATION] {
            let value = response.get(name).and_then(|value| value.to_str().ok());
            targets.extend(value.and_then(|value| same_origin_target(value, request)));
        }
        let identity = |path_and_query| identity(&Request { path_and_query, ..request.clone() }, policy);
        let targets: Vec<Identity> = targets.into_iter().map(identity).collect();
        self.purges.invalidate(&targets, &groups_of(request, policy, response, CACHE_GROUP_INVALIDATION));
    }
}

/// The names of the cache groups in a field of the answer to a request.
pub(super) fn groups_of(request: &Request, policy: &Policy, response: &HeaderMap, field: &str) -> Box<[u128]> {
    groups(response, field).iter().map(|group| group_name(request, &policy.key, group)).collect()
}

/// Path and query of a URI reference, resolved against the request; `None` when it is of another origin.
fn same_origin_target(reference: &str, request: &Request) -> Option<String> {
    let reference = reference.split_once('#').map_or(reference, |(before, _)| before).trim();
    let (scheme, rest) = match reference.split_once("://") {
        Some((scheme, rest)) if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => (Some(scheme), Some(rest)),
        _ => (None, reference.strip_prefix("//")),
    };
    if let Some(rest) = rest {
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let same_scheme = scheme.is_none_or(|scheme| scheme.eq_ignore_ascii_case(request.scheme));
        let own_port = if request.scheme == "https" { ":443" } else { ":80" };
        let authority = authority.strip_suffix(own_port).unwrap_or(authority);
        if !same_scheme || !authority.eq_ignore_ascii_case(&request.authority) {
            return None;
        }
        return Some(if target.starts_with('/') { without_dots(target) } else { format!("/{target}") });
    }
    if reference.starts_with('/') {
        return Some(without_dots(reference));
    }
    let path = crate::key::split(&request.path_and_query).0;
    if reference.is_empty() || reference.starts_with('?') {
        return Some(format!("{path}{reference}"));
    }
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    Some(without_dots(&format!("{folder}/{reference}")))
}

/// RFC 3986 section 5.2.4, for a path that starts with `/`; the query is kept.
fn without_dots(path_and_query: &str) -> String {
    let (path, query) = crate::key::split(path_and_query);
    let mut segments: Vec<&str> = Vec::new();
    let mut ends_open = false;
    for segment in path.split('/').skip(1) {
        ends_open = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => {
                segments.pop();
            }
            _ => segments.push(segment),
        }
    }
    let slash = if ends_open && !segments.is_empty() { "/" } else { "" };
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    format!("/{}{slash}{query}", segments.join("/"))
}
