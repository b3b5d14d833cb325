//! What happens around every request: tokens are demanded, writes are recorded, requests are counted.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use axum::RequestExt as _;
use axum::extract::{MatchedPath, RawPathParams, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use skerry_agent::listen::Peer;

use super::Api;
use super::extract::Author;
use super::problem::Problem;
use super::rights::{self, Reach, Right};
use crate::auth::{Grant, Rank};
use crate::clock;
use crate::journal::Line;
use crate::refusal::Refusal;

/// Lets requests through whose token is for them. A write runs to its end and is recorded, refused or not, even when its client leaves; none
/// begins while it could not be recorded.
pub(crate) async fn demand_token(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let Some(grant) = bearer(request.headers()).and_then(|token| api.plane.tokens.grant(token)) else {
        return no_token(&api, &request).into_response();
    };
    let author = grant.name.clone();
    let refused = demand_right(&api, &grant, &mut request).await.err();
    // What needs no more than to look changes nothing, whatever its method.
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) || right(&request).least == Rank::Viewer;
    if !reads && let Err(stuck) = api.plane.journal.ready().await {
        return Problem::from(stuck).into_response();
    }
    let what = (request.method().to_string(), request.uri().path().to_owned());
    let address = client(&request).to_string();
    request.extensions_mut().insert(Author(author.clone()));
    request.extensions_mut().insert(grant);
    let answer = async move {
        match refused {
            Some(refused) => refused.into_response(),
            None => next.run(request).await,
        }
    };
    if reads {
        return answer.await;
    }
    let write = tokio::spawn(async move {
        let response = answer.await;
        let outcome = response.status().as_u16();
        let (method, path) = what;
        api.plane.journal.write(Line { number: 0, time: clock::now(), author, address, method, path, outcome }).await;
        response
    });
    write.await.unwrap_or_else(|error| {
        tracing::error!(%error, "a write failed");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the request failed; the log of the control plane says why").into_response()
    })
}

/// The path of a request as it is routed.
fn route_of(request: &Request) -> &str {
    request.extensions().get::<MatchedPath>().map_or("", |path| path.as_str())
}

/// What a request needs.
fn right(request: &Request) -> Right {
    rights::of(request.method(), route_of(request))
}

/// The answer to a request without a valid token. Requests without any are no attempt, and cost nobody anything.
fn no_token(api: &Api, request: &Request) -> Problem {
    if !request.headers().contains_key(AUTHORIZATION) {
        return Problem::new(StatusCode::UNAUTHORIZED, "a token is needed; send \"Authorization: Bearer TOKEN\"");
    }
    let limited = api.plane.logins.failed(client(request), Instant::now());
    api.plane.figures.logins_failed.with_label_values(&[if limited.is_some() { "limited" } else { "unknown" }]).inc();
    match limited {
        Some(again_in) => {
            let says = "too many tokens from this address were not known here; a valid one is let in at any time";
            Refusal::Limited { says: says.to_owned(), again_in }.into()
        }
        None => Problem::new(
            StatusCode::UNAUTHORIZED,
            "the token is not known here or has expired; send \"Authorization: Bearer TOKEN\" with the one in admin.token or one made from it",
        ),
    }
}

/// Where a request comes from.
fn client(request: &Request) -> IpAddr {
    request.extensions().get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip().to_canonical())
}

/// Demands of a token what its request needs.
async fn demand_right(api: &Api, grant: &Grant, request: &mut Request) -> Result<(), Problem> {
    let route = route_of(request).to_owned();
    let right = rights::of(request.method(), &route);
    let what = format!("{} {route}", request.method());
    grant.demand(right.least, &what)?;
    match right.reach {
        Reach::Own => {}
        Reach::Whole => grant.demand_whole(&what)?,
        Reach::Site => {
            let parts = request.extract_parts::<RawPathParams>().await;
            let parts = parts.map_err(|why| Problem::new(StatusCode::BAD_REQUEST, format!("the path names nothing: {why}")))?;
            let site = parts.iter().find(|(name, _)| *name == "name").map_or("", |(_, site)| site);
            grant.demand_site(site)?;
        }
    }
    let method = if request.method() == Method::HEAD { "GET" } else { request.method().as_str() };
    if request.uri().query().is_some_and(|query| !query.is_empty()) && !api.queried.contains(&(method.to_owned(), route)) {
        return Err(Refusal::Malformed(format!("{what} takes no query; leave out what follows the question mark")).into());
    }
    Ok(())
}

/// Counts requests by route and status.
pub(crate) async fn count(State(api): State<Api>, request: Request, next: Next) -> Response {
    let route = route(request.uri().path());
    let response = next.run(request).await;
    api.plane.figures.api_requests.with_label_values(&[route, response.status().as_str()]).inc();
    response
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The resource of a path: a label that clients cannot make more of.
fn route(path: &str) -> &'static str {
    const ROUTES: &[&str] = &[
        "/v1/sites",
        "/v1/check",
        "/v1/purges",
        "/v1/rollouts",
        "/v1/nodes",
        "/v1/explain",
        "/v1/tokens",
        "/v1/events",
        "/v1/audit",
        "/v1/webhooks",
        "/v1/secrets",
        "/healthz",
        "/metrics",
        "/openapi.json",
        "/docs",
    ];
    let of = |route: &&&str| path.strip_prefix(**route).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    ROUTES.iter().find(of).copied().unwrap_or("other")
}
