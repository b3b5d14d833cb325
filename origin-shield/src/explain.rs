//! What this shield would do with a request of an edge: routed as `request.rs` routes it, and explained by the cache.

use std::time::SystemTime;

use http::{HeaderName, HeaderValue};
use skerry_agent::question::Explain;
use skerry_cache::exchange::Exchange;
use skerry_cache::explain::Told;
use skerry_cache::key::{COUNTRY, DEVICE};
use skerry_cache::request::Request;
use skerry_cache::time::Time;
use skerry_config::snapshot::{Policy, Snapshot};
use skerry_transport::head::Head;
use skerry_transport::hygiene::{self, X_FORWARDED_HOST, X_FORWARDED_PROTO};

/// Tells what is stored for a request of a client that comes through an edge, and what the next one would get.
///
/// # Errors
/// One sentence, when no client could send it.
pub(crate) async fn tell(snapshot: &Snapshot, exchange: &Exchange, asked: &Explain) -> Result<serde_json::Value, String> {
    let mut head = Head::of_url(&asked.url, &asked.headers)?;
    let mut told = Told {
        url: format!("{}://{}{}", head.scheme, head.authority, head.path_and_query),
        located: snapshot.locate(head.host(), head.path(), &head.headers),
        explanation: None,
        upstream: Vec::new(),
    };
    if let Some(served) = snapshot.site_for_host(head.host()) {
        told.upstream = served.site().origin.all_servers().into_iter().map(|server| server.url).collect();
        let policy = served.policy(head.host(), head.path(), &head.headers);
        as_of_an_edge(&mut head, policy);
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

/// Makes of a client's request what an edge would send. Of what it adds, only the scheme and the host are known here: not the edge, and
/// not the client's address. The class of the device and the country are as who asks says them, in the fields of an edge.
fn as_of_an_edge(head: &mut Head, policy: &Policy) {
    let said = head.headers.clone();
    hygiene::strip_own(&mut head.headers);
    hygiene::strip_unkeyed(&mut head.headers, &policy.key.headers);
    for (counts, name) in [(policy.key.device, DEVICE), (policy.key.country, COUNTRY)] {
        if let Some(value) = said.get(name).filter(|_| counts) {
            head.headers.insert(HeaderName::from_static(name), value.clone());
        }
    }
    head.headers.entry(X_FORWARDED_PROTO).or_insert(HeaderValue::from_static(head.scheme));
    if let Ok(host) = HeaderValue::from_str(&head.authority) {
        head.headers.entry(X_FORWARDED_HOST).or_insert(host);
    }
}
