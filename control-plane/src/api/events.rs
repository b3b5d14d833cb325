//! `/v1/events`.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::sse::{self, KeepAlive, Sse};
use futures_util::StreamExt as _;
use tokio::sync::broadcast::error::RecvError;

use super::Api;
use crate::events::Event;

/// Time between two comments on a quiet stream, by which either side notices that the other is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What happens, as server-sent events named `site`, `purge`, `node`, and `lagged` when the reader was too slow.
#[utoipa::path(get, path = "/v1/events", tag = "events", responses((status = 200, body = Event, content_type = "text/event-stream")))]
pub(crate) async fn watch(State(api): State<Api>) -> impl IntoResponse {
    let events = futures_util::stream::unfold(api.plane.events.watch(), |mut events| async move {
        let event = match events.recv().await {
            Ok(event) => event,
            Err(RecvError::Lagged(missed)) => Event::Lagged { missed },
            Err(RecvError::Closed) => return None,
        };
        let data = serde_json::to_string(&event).unwrap_or_default();
        Some((Ok::<_, Infallible>(sse::Event::default().event(event.name()).data(data)), events))
    });
    Sse::new(events.take_until(skerry_agent::stopped(api.stop))).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}
