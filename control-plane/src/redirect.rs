//! The routing host: sends clients that come over HTTP to an edge of their own, for those who cannot use DNS for that.
//!
//! Chooses as DNS does, from the same state; asks nobody. Never carries content.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Request, State};
use axum::http::header::{CACHE_CONTROL, HOST, LOCATION};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use prometheus::{IntCounterVec, Opts, Registry};
use skerry_agent::listen::{self, Peer};
use skerry_dns::place::Client;
use skerry_dns::state::Site;
use skerry_dns::steer::{Wanted, choose};
use skerry_dns::zone::Addresses;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::api::problem::Problem;
use crate::clock;
use crate::feed::compiled::{Compiled, Compiler};
use crate::refusal::Refusal;

/// What every request needs.
#[derive(Clone)]
struct Routes {
    compiler: Arc<Compiler>,
    answers: IntCounterVec,
}

/// Serves until `stop` says so; as many connections as the listeners of operators take, with the same time for a head.
///
/// # Errors
/// A figure that the registry refuses.
pub(crate) fn serve(
    listener: TcpListener,
    compiler: Arc<Compiler>,
    registry: &Registry,
    stop: watch::Receiver<bool>,
) -> Result<JoinHandle<()>, String> {
    let refused = |error: prometheus::Error| format!("cannot register the figures of the routing host: {error}");
    let help = "Answers of the routing host: redirects by latency or by path, and requests that were refused.";
    let answers = IntCounterVec::new(Opts::new("skerry_route_answers_total", help), &["outcome"]).map_err(refused)?;
    registry.register(Box::new(answers.clone())).map_err(refused)?;
    Ok(listen::serve(listener, Router::new().fallback(answer).with_state(Routes { compiler, answers }), stop))
}

async fn answer(State(routes): State<Routes>, Extension(peer): Extension<Peer>, request: Request) -> Response {
    let found = match routes.compiler.now().await {
        Ok(compiled) => target(&compiled, peer.0.ip(), request.uri(), request.headers()),
        Err(why) => Err(Refusal::Broken(why).into()),
    };
    let outcome = found.as_ref().map_or("refused", |(by, _)| by);
    routes.answers.with_label_values(&[outcome]).inc();
    match found {
        // What a POST has to say goes along with 307 alone (RFC 9110 section 15.4).
        Ok((_, location)) => {
            let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
            let status = if is_read { StatusCode::FOUND } else { StatusCode::TEMPORARY_REDIRECT };
            (status, [(LOCATION, location), (CACHE_CONTROL, HeaderValue::from_static("no-store"))]).into_response()
        }
        Err(problem) => problem.into_response(),
    }
}

/// Where a request is sent, and by what that was chosen.
fn target(compiled: &Compiled, client: IpAddr, uri: &Uri, headers: &HeaderMap) -> Result<(&'static str, HeaderValue), Problem> {
    let host = host(uri, headers)?;
    let path = uri.path_and_query().filter(|path| path.path().starts_with('/'));
    let path =
        path.ok_or_else(|| Problem::new(StatusCode::BAD_REQUEST, "the request has no path; ask for one that begins with a slash"))?;
    let unknown = || Problem::new(StatusCode::MISDIRECTED_REQUEST, format!("no site owns the host {host:?}; ask for a host of a site"));
    let zone = &compiled.zone.state().zone;
    let named = host.strip_suffix(zone.as_str()).and_then(|rest| compiled.site(rest.strip_suffix('.')?));
    let site = named.or_else(|| compiled.owner(&host)).ok_or_else(unknown)?;
    let addresses = compiled.zone.site(&site.name).copied().unwrap_or(Addresses::Steered);
    let (by, node) = match site.redirect.by_path {
        true => ("path", by_path(compiled, &addresses, path.path())),
        false => ("latency", by_latency(compiled, &addresses, client)),
    };
    let nobody = || Refusal::Busy(format!("no edge can be answered with for site {:?}; ask again later", site.name));
    let node = node.ok_or_else(nobody)?;
    let scheme = if site.redirect.cleartext { "http" } else { "https" };
    let edge = format!("{node}.{}.{zone}", site.name);
    demand_owned(compiled, site, &edge)?;
    let location = HeaderValue::try_from(format!("{scheme}://{edge}{path}"));
    Ok((by, location.map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "the path cannot stand in a header field"))?))
}

/// The edge that DNS would answer the client's own address with: one with an address of the family that the client is known to have, if there is one.
fn by_latency<'a>(compiled: &'a Compiled, addresses: &Addresses, client: IpAddr) -> Option<&'a str> {
    let now = clock::unix_time();
    let own = if client.to_canonical().is_ipv4() { Wanted::Ipv4 } else { Wanted::Ipv6 };
    let first = |wanted| choose(&compiled.zone, addresses, &Client::host(client), wanted, now)?.edges.first().copied();
    first(own).or_else(|| first(Wanted::Any)).map(|edge| edge.name.as_str())
}

/// The edge that a path has among all that may be answered with, by rendezvous hash: an edge that comes or goes moves its own paths alone.
fn by_path<'a>(compiled: &'a Compiled, addresses: &Addresses, path: &str) -> Option<&'a str> {
    let edges = compiled.zone.steer(addresses)?.eligible();
    let best = edges.max_by_key(|edge| (xxh3_64_with_seed(path.as_bytes(), edge.seed()), &edge.name));
    best.map(|edge| edge.name.as_str())
}

/// Refuses to send a client where edges would not know the site.
fn demand_owned(compiled: &Compiled, site: &Site, edge: &str) -> Result<(), Problem> {
    if compiled.owner(edge).is_some_and(|owner| owner.name == site.name) {
        return Ok(());
    }
    let (name, zone) = (&site.name, &compiled.zone.state().zone);
    let says = format!("site {name:?} does not own \"*.{name}.{zone}\", where the routing host sends its clients; add that to its hosts");
    Err(Problem::new(StatusCode::NOT_IMPLEMENTED, says))
}

/// The host that a request is for, in lower case, without port and without the dot at its end.
fn host(uri: &Uri, headers: &HeaderMap) -> Result<String, Problem> {
    let said = headers.get_all(HOST).iter().collect::<Vec<_>>();
    let text = match (uri.host(), said.as_slice()) {
        (Some(host), _) => Some(host.to_owned()),
        (None, [host]) => host.to_str().ok().map(|text| text.rsplit_once(':').map_or(text, |(host, _)| host).to_owned()),
        _ => None,
    };
    let host = text.map(|text| text.trim_end_matches('.').to_ascii_lowercase()).filter(|host| !host.is_empty());
    host.ok_or_else(|| Problem::new(StatusCode::BAD_REQUEST, "the request names no host, or more than one; send one Host field"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_for_one_host() {
        let host = |uri: &str, hosts: &[&str]| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(HOST, HeaderValue::from_str(host).unwrap());
            }
            super::host(&uri.parse().unwrap(), &headers).ok()
        };
        assert_eq!(host("/a", &["Shop.test:8080"]).as_deref(), Some("shop.test"));
        assert_eq!(host("/a", &["shop.test."]).as_deref(), Some("shop.test"));
        assert_eq!(host("http://a.test:80/", &["b.test"]).as_deref(), Some("a.test"), "RFC 9112 section 3.2.2");
        for none in [&[][..], &["a.test", "b.test"], &[""], &[":80"]] {
            assert_eq!(host("/a", none), None, "{none:?}");
        }
    }
}
