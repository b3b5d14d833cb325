//! What this edge would do with a request: routed as `request.rs` routes it, and explained by the cache.

use std::time::SystemTime;

use skerry_agent::question::Explain;
use skerry_cache::exchange::Exchange;
use skerry_cache::explain::Told;
use skerry_cache::request::Request;
use skerry_cache::time::Time;
use skerry_config::snapshot::Snapshot;
use skerry_transport::head::Head;
use skerry_transport::hygiene;

use crate::country::Countries;
use crate::{fields, shields};

/// Tells what is stored for a request of a client, and what the next one would get. Where a client is from is not known here, unless who asks
/// says it in the field that an edge would say it in.
///
/// # Errors
/// One sentence, when no client could send it.
pub(crate) async fn tell(
    snapshot: &Snapshot,
    exchange: &Exchange,
    countries: &Countries,
    asked: &Explain,
) -> Result<serde_json::Value, String> {
    let mut head = Head::of_url(&asked.url, &asked.headers)?;
    let said = head.headers.clone();
    hygiene::strip_own(&mut head.headers);
    let mut told = Told {
        url: format!("{}://{}{}", head.scheme, head.authority, head.path_and_query),
        located: snapshot.locate(head.host(), head.path(), &head.headers),
        explanation: None,
        upstream: Vec::new(),
    };
    if let Some(served) = snapshot.site_for_host(head.host()) {
        let policy = served.policy(head.host(), head.path(), &head.headers);
        fields::prepare(&mut head.headers, &policy.key, || countries.of(None));
        fields::imagine(&mut head.headers, &said);
        let site = served.site();
        let asked_first = shields::ranked(snapshot, site, shields::ranking_host(&policy.key, &head.authority), head.path()).into_iter();
        let origins = if site.shields.may_pass_by() { site.origin.all_servers() } else { Vec::new() };
        told.upstream = asked_first.map(|shield| shield.name.clone()).chain(origins.into_iter().map(|server| server.url)).collect();
        let request = Request {
            head_only: false,
            scheme: head.scheme,
            authority: head.authority,
            path_and_query: head.path_and_query,
            headers: head.headers,
        };
        told.explanation = Some(exchange.explain(&request, policy, Time::from(SystemTime::now())).await);
    }
    serde_json::to_value(told).map_err(|error| format!("the answer cannot be written: {error}"))
}
