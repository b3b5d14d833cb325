//! The REST API: reads requests, asks the parts, writes answers. One file a resource.
//!
//! Decides nothing but statuses: every error is a problem document (RFC 9457).

mod audit;
mod check;
mod diff;
mod events;
mod explain;
mod extract;
mod guard;
mod history;
mod nodes;
mod openapi;
pub(crate) mod problem;
mod purges;
mod questions;
mod rights;
mod rollouts;
mod route;
mod secrets;
mod sites;
mod tokens;
mod webhooks;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use prometheus::Registry;
use tokio::sync::watch;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::plane::Plane;
use problem::Problem;

/// What every handler has.
#[derive(Clone)]
pub(crate) struct Api {
    plane: Arc<Plane>,
    queried: Arc<openapi::Queried>,
    stop: watch::Receiver<bool>,
}

/// All routes.
pub(crate) fn router(plane: Arc<Plane>, registry: Registry, stop: watch::Receiver<bool>) -> Router {
    let (guarded, document) = guarded().split_for_parts();
    let document = openapi::whole(document);
    let api = Api { plane, queried: Arc::new(openapi::queried(&document)), stop };
    let document = Bytes::from(openapi::text(&document));
    let guarded = guarded.route_layer(from_fn_with_state(api.clone(), guard::demand_token));
    let docs: Router<Api> = SwaggerUi::new("/docs").config(Config::from("/openapi.json")).into();
    Router::new()
        .route("/openapi.json", get(move || std::future::ready(([(CONTENT_TYPE, "application/json")], document.clone()))))
        .merge(docs)
        .merge(guarded)
        .merge(skerry_agent::admin::router(registry).with_state(()))
        .fallback(missing)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn(problem::cover))
        .layer(from_fn_with_state(api.clone(), guard::count))
        .with_state(api)
}

/// The routes that need a token, with their description.
fn guarded() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(openapi::head())
        .routes(routes!(sites::list))
        .routes(routes!(sites::put, sites::read, sites::delete))
        .routes(routes!(sites::versions))
        .routes(routes!(sites::version))
        .routes(routes!(sites::rollback))
        .routes(routes!(diff::between, diff::against))
        .routes(routes!(rollouts::list))
        .routes(routes!(rollouts::read))
        .routes(routes!(rollouts::abort))
        .routes(routes!(rollouts::proceed))
        .routes(routes!(check::check))
        .routes(routes!(purges::make, purges::log))
        .routes(routes!(purges::read))
        .routes(routes!(nodes::list))
        .routes(routes!(nodes::read, nodes::remove))
        .routes(routes!(nodes::drain))
        .routes(routes!(nodes::resume))
        .routes(routes!(nodes::steer))
        .routes(routes!(questions::figures))
        .routes(routes!(questions::errors))
        .routes(routes!(history::read))
        .routes(routes!(explain::explain))
        .routes(routes!(route::explain_route))
        .routes(routes!(tokens::list, tokens::make))
        .routes(routes!(tokens::revoke))
        .routes(routes!(events::watch))
        .routes(routes!(secrets::list))
        .routes(routes!(secrets::put, secrets::delete))
        .routes(routes!(webhooks::list))
        .routes(routes!(webhooks::put, webhooks::read, webhooks::delete))
        .routes(routes!(audit::read))
}

/// The API's description, as `/openapi.json` serves it.
#[must_use]
pub fn openapi_document() -> String {
    openapi::text(&openapi::whole(guarded().into_openapi()))
}

async fn missing(State(_): State<Api>, uri: axum::http::Uri) -> Response {
    Problem::new(StatusCode::NOT_FOUND, format!("there is nothing at {}; /docs shows what there is", uri.path())).into_response()
}

async fn wrong_method(method: axum::http::Method, uri: axum::http::Uri) -> Response {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("{} does not take {method}; Allow says what it takes", uri.path())).into_response()
}
