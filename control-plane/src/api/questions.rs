//! `/v1/nodes/{name}/figures` and `/v1/nodes/{name}/errors`: what a node says of itself, asked over its own stream.

use std::time::{Duration, UNIX_EPOCH};

use axum::Json as Answer;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use skerry_agent::question::{Figures, Question};
use utoipa::ToSchema;

use super::Api;
use super::extract::{Params, Place};
use super::problem::Problem;
use crate::clock;
use crate::questions::Unanswered;
use crate::refusal::Refusal;

/// Beginnings of names in one question.
const NAMES_MAX: usize = 16;

/// Bytes of one.
const NAME_BYTES_MAX: usize = 128;

/// A node's metrics.
#[derive(Serialize, ToSchema)]
pub(crate) struct FiguresView {
    /// The node.
    node: String,
    /// Prometheus text, as at its admin listener.
    text: String,
    /// Whether there is more than fits into an answer of 64 KiB: ask for some by `metric`.
    cut: bool,
}

/// The last requests that a node answered with an error or cut off.
#[derive(Serialize, ToSchema)]
pub(crate) struct ErrorsView {
    /// The node.
    node: String,
    /// The newest first; at most 100, and 64 KiB.
    errors: Vec<ErrorView>,
}

/// A request that went wrong.
#[derive(Serialize, ToSchema)]
pub(crate) struct ErrorView {
    /// When it ended.
    time: String,
    /// Its site.
    site: String,
    /// Its method.
    method: String,
    /// Host and path, without the query; at most 512 bytes.
    url: String,
    /// The status of the answer.
    status: u16,
    /// Why there was no other answer, or why it was not sent to its end.
    reason: String,
}

/// As a node says it.
#[derive(Deserialize)]
struct Text {
    text: String,
    cut: bool,
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<Failure>,
}

#[derive(Deserialize)]
struct Failure {
    at_ms: u64,
    site: String,
    method: String,
    url: String,
    status: u16,
    reason: String,
}

/// A node's metrics, asked over its own stream: it may be behind an address translation. A node that does not answer within 2 s is a problem.
#[utoipa::path(get, path = "/v1/nodes/{name}/figures", tag = "nodes",
    params(
        ("name" = String, Path, description = "The node's name"),
        ("metric" = Option<Vec<String>>, Query, description = "How the names of the wanted ones begin; may be repeated, at most 16 times; all without it")
    ),
    responses((status = 200, body = FiguresView)))]
pub(crate) async fn figures(
    State(api): State<Api>,
    Place(name): Place<String>,
    Params(params): Params<Vec<(String, String)>>,
) -> Result<Answer<FiguresView>, Problem> {
    if let Some((other, _)) = params.iter().find(|(param, _)| param != "metric") {
        return Err(Refusal::Malformed(format!("{other:?} is not a parameter here; metric is")).into());
    }
    let names: Vec<String> = params.into_iter().map(|(_, value)| value).collect();
    if names.len() > NAMES_MAX || names.iter().any(|name| name.len() > NAME_BYTES_MAX) {
        let says = format!("at most {NAMES_MAX} beginnings of names of {NAME_BYTES_MAX} bytes are taken, not {}", names.len());
        return Err(Refusal::Malformed(says).into());
    }
    let Text { text, cut } = ask(&api, &name, &Question::Figures(Figures { names })).await?;
    Ok(Answer(FiguresView { node: name, text, cut }))
}

/// The last requests that a node answered with status 500 to 599 or cut off, asked over its own stream. A node that does not answer within 2 s is a problem.
#[utoipa::path(get, path = "/v1/nodes/{name}/errors", tag = "nodes", params(("name" = String, Path, description = "The node's name")),
    responses((status = 200, body = ErrorsView)))]
pub(crate) async fn errors(State(api): State<Api>, Place(name): Place<String>) -> Result<Answer<ErrorsView>, Problem> {
    let Errors { errors } = ask(&api, &name, &Question::Errors {}).await?;
    let view = |Failure { at_ms, site, method, url, status, reason }| ErrorView {
        time: clock::text(UNIX_EPOCH.checked_add(Duration::from_millis(at_ms)).unwrap_or(UNIX_EPOCH)),
        site,
        method,
        url,
        status,
        reason,
    };
    Ok(Answer(ErrorsView { node: name, errors: errors.into_iter().map(view).collect() }))
}

async fn ask<T: for<'a> Deserialize<'a>>(api: &Api, name: &str, question: &Question) -> Result<T, Problem> {
    api.plane.intent.node(name)?;
    let told: Value = api.plane.questions.ask(name, question).await.map_err(|why| match why {
        Unanswered::Away => Refusal::Busy(format!("node {name:?} is not connected; it can be asked when it is back")),
        why => Refusal::Busy(format!("node {name:?} gave no answer: {why}")),
    })?;
    serde_json::from_value(told).map_err(|error| Refusal::Busy(format!("node {name:?} said something else than was asked: {error}")).into())
}
