//! What happens around every request: tokens are demanded, writes are recorded, requests are counted.

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Api;
use super::extract::Author;
use super::problem::Problem;
use crate::clock;
use crate::journal::Line;

/// The one POST that changes nothing.
const CHECK: &str = "/v1/check";

/// Lets requests with an API token through. A write runs to its end and is recorded even when its client leaves.
pub(crate) async fn demand_token(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let Some(author) = bearer(request.headers()).and_then(|token| api.plane.tokens.author(token)) else {
        let says = match request.headers().contains_key(AUTHORIZATION) {
            true => "the token is not known here; send \"Authorization: Bearer TOKEN\" with the one in admin.token or one made from it",
            false => "a token is needed; send \"Authorization: Bearer TOKEN\"",
        };
        return Problem::new(StatusCode::UNAUTHORIZED, says).into_response();
    };
    request.extensions_mut().insert(Author(author.clone()));
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) || request.uri().path() == CHECK;
    if reads {
        return next.run(request).await;
    }
    let (method, path) = (request.method().to_string(), request.uri().to_string());
    let write = tokio::spawn(async move {
        let response = next.run(request).await;
        let outcome = response.status().as_u16();
        api.plane.journal.write(Line { time: clock::now(), author, method, path, outcome }).await;
        response
    });
    write.await.unwrap_or_else(|error| {
        tracing::error!(%error, "a write failed");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the request failed; the log of the control plane says why").into_response()
    })
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
        "/healthz",
        "/metrics",
        "/openapi.json",
        "/docs",
    ];
    let of = |route: &&&str| path.strip_prefix(**route).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    ROUTES.iter().find(of).copied().unwrap_or("other")
}
