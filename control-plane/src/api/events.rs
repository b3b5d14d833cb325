//! `/v1/events`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::sse::{self, KeepAlive, Sse};
use futures_util::StreamExt as _;
use tokio::sync::broadcast::error::RecvError;

use super::Api;
use crate::auth::Grant;
use crate::events::Event;

/// Time between two comments on a quiet stream, by which either side notices that the other is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What happens, as server-sent events named `site`, `purge`, `node`, and `lagged` when the reader was too slow. A token for some sites hears of those. The stream ends when the token expires or is revoked.
#[utoipa::path(get, path = "/v1/events", tag = "events", responses((status = 200, body = Event, content_type = "text/event-stream")))]
pub(crate) async fn watch(State(api): State<Api>, Extension(grant): Extension<Grant>) -> impl IntoResponse {
    let reader = grant.clone();
    let events = futures_util::stream::unfold((api.plane.events.watch(), reader), |(mut events, reader)| async move {
        let event = loop {
            let event = match events.recv().await {
                Ok(event) => event,
                Err(RecvError::Lagged(missed)) => Event::Lagged { missed },
                Err(RecvError::Closed) => return None,
            };
            if event.is_for(&reader) {
                break event;
            }
        };
        let data = serde_json::to_string(&event).unwrap_or_default();
        Some((Ok::<_, Infallible>(sse::Event::default().event(event.name()).data(data)), (events, reader)))
    });
    let plane = Arc::clone(&api.plane);
    let withdrawn = async move { plane.tokens.withdrawn(&grant).await };
    let events = events.take_until(skerry_agent::stopped(api.stop)).take_until(withdrawn);
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}
