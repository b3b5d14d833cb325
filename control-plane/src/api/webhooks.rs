//! `/v1/webhooks`.

use std::collections::BTreeSet;

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::extract::{Json, Place};
use super::problem::Problem;
use super::tokens::is_word;
use crate::refusal::Refusal;
use crate::webhooks::{Shown, Wish};

/// The webhook wanted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WebhookWish {
    /// Where messages are POSTed to: `https://` or `http://`, at most 2048 bytes. An address that is not public needs `webhooks.allow` in the settings of the control plane.
    url: String,
    /// The kinds of events, as `/v1/events` names them; all by default.
    #[schema(value_type = Option<Vec<String>>)]
    kinds: Option<BTreeSet<String>>,
    /// The secret that messages are signed with: `whsec_` and 24 to 64 bytes in base64. Needed once; without it the one before stays. Never shown.
    secret: Option<String>,
}

/// A webhook. What has become of its messages is counted since the control plane started.
#[derive(Serialize, ToSchema)]
pub(crate) struct WebhookView {
    /// Its name.
    name: String,
    /// Where messages go.
    url: String,
    /// The kinds of events it wants; all when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    kinds: Option<BTreeSet<String>>,
    /// A mark of its secret: two secrets have the same only when they are the same.
    secret: String,
    /// Why nothing is sent any more: too many tries failed, or the receiver is gone. Writing the webhook anew enables it.
    #[serde(skip_serializing_if = "Option::is_none")]
    disabled: Option<String>,
    /// Messages that wait, at most 1000.
    waiting: usize,
    /// Messages that arrived.
    delivered: u64,
    /// Tries that failed.
    failed: u64,
    /// Messages that were given up.
    dropped: u64,
    /// When a message arrived last.
    #[serde(skip_serializing_if = "Option::is_none")]
    delivered_at: Option<String>,
    /// What was wrong with the last try that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
}

/// All webhooks.
#[derive(Serialize, ToSchema)]
pub(crate) struct WebhookList {
    /// By name.
    webhooks: Vec<WebhookView>,
}

/// All webhooks.
#[utoipa::path(get, path = "/v1/webhooks", tag = "events", responses((status = 200, body = WebhookList)))]
pub(crate) async fn list(State(api): State<Api>) -> Answer<WebhookList> {
    Answer(WebhookList { webhooks: api.plane.webhooks.list().into_iter().map(WebhookView::from).collect() })
}

/// One webhook.
#[utoipa::path(get, path = "/v1/webhooks/{name}", tag = "events", params(("name" = String, Path, description = "The webhook's name")),
    responses((status = 200, body = WebhookView)))]
pub(crate) async fn read(State(api): State<Api>, Place(name): Place<String>) -> Result<Answer<WebhookView>, Problem> {
    Ok(Answer(api.plane.webhooks.get(&name)?.into()))
}

/// Makes a webhook, or changes it and enables it again. It is sent the events that happen from then on.
#[utoipa::path(put, path = "/v1/webhooks/{name}", tag = "events",
    params(("name" = String, Path, description = "The webhook's name: 1 to 63 characters of `a-z`, `0-9` and `-`")),
    request_body = WebhookWish, responses((status = 200, body = WebhookView), (status = 201, body = WebhookView)))]
pub(crate) async fn put(
    State(api): State<Api>,
    Place(name): Place<String>,
    Json(wish): Json<WebhookWish>,
) -> Result<(StatusCode, Answer<WebhookView>), Problem> {
    if !is_word(&name) {
        let says = format!("{name:?} is not the name of a webhook; write 1 to 63 characters of a-z, 0-9 and -");
        return Err(Refusal::Malformed(says).into());
    }
    let WebhookWish { url, kinds, secret } = wish;
    let (shown, created) = api.plane.webhooks.put(Wish { name, url, kinds, secret }).await?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Answer(shown.into())))
}

/// Deletes a webhook, with what waits for it.
#[utoipa::path(delete, path = "/v1/webhooks/{name}", tag = "events", params(("name" = String, Path, description = "The webhook's name")),
    responses((status = 204, description = "Deleted")))]
pub(crate) async fn delete(State(api): State<Api>, Place(name): Place<String>) -> Result<StatusCode, Problem> {
    api.plane.webhooks.delete(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<Shown> for WebhookView {
    fn from(shown: Shown) -> Self {
        let Shown { name, url, kinds, secret, disabled, waiting, delivered, failed, dropped, delivered_at, last_error } = shown;
        Self { name, url, kinds, secret, disabled, waiting, delivered, failed, dropped, delivered_at, last_error }
    }
}
