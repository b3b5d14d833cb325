//! `/v1/events`.

use std::collections::{BTreeSet, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use axum::response::sse::{self, KeepAlive, Sse};
use futures_util::StreamExt as _;
use serde::Deserialize;
use utoipa::IntoParams;

use super::Api;
use super::extract::Params;
use super::problem::Problem;
use crate::auth::Grant;
use crate::events::{Event, Reader, Told};
use crate::refusal::Refusal;

/// Time between two comments on a quiet stream, by which either side notices that the other is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Events taken from the kept ones together.
const EVENTS_AT_ONCE_MAX: usize = 64;

/// What is asked for.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// Only these kinds, with commas between: `site,purge`. `lagged` always comes.
    kinds: Option<String>,
}

/// One stream.
struct Watching {
    reader: Reader,
    kinds: Option<BTreeSet<String>>,
    grant: Grant,
    ready: VecDeque<sse::Event>,
}

/// What happens, as server-sent events named by their kind: `site`, `purge`, `node`, `rollout`, `webhook`, `certificate`, and `lagged` when the reader missed some. Each has its number as `id`; with that of the last one in `Last-Event-ID` a reader goes on where it was, as far as the last 4096 events reach back. A token for some sites hears of those. The stream ends when the token expires or is revoked.
#[utoipa::path(get, path = "/v1/events", tag = "events",
    params(Wanted, ("Last-Event-ID" = Option<u64>, Header, description = "The number of the last event that was read")),
    responses((status = 200, body = Told, content_type = "text/event-stream")))]
pub(crate) async fn watch(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    Params(wanted): Params<Wanted>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    let kinds = wanted.kinds.map(|kinds| kinds.split(',').map(|kind| kind.trim().to_owned()).collect::<BTreeSet<_>>());
    if let Some(kinds) = &kinds {
        Event::check_kinds(kinds).map_err(Refusal::Malformed)?;
    }
    let after = last_read(&headers)?;
    let watching = Watching { reader: api.plane.events.read(after), kinds, grant: grant.clone(), ready: VecDeque::new() };
    let events = futures_util::stream::unfold(watching, |mut watching| async move {
        let event = watching.next().await;
        Some((Ok::<_, Infallible>(event), watching))
    });
    let plane = Arc::clone(&api.plane);
    let withdrawn = async move { plane.tokens.withdrawn(&grant).await };
    let events = events.take_until(skerry_agent::stopped(api.stop)).take_until(withdrawn);
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

impl Watching {
    async fn next(&mut self) -> sse::Event {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return event;
            }
            let reading = self.reader.next(EVENTS_AT_ONCE_MAX).await;
            if reading.missed > 0 {
                let lagged = Event::Lagged { missed: reading.missed };
                self.ready.push_back(written(&lagged, &lagged));
            }
            let wanted = |told: &&Arc<Told>| {
                self.kinds.as_ref().is_none_or(|kinds| kinds.contains(told.event.name())) && told.event.is_for(&self.grant)
            };
            let wanted = reading.events.iter().filter(wanted);
            self.ready.extend(wanted.map(|told| written(&told.event, told).id(told.number.to_string())));
        }
    }
}

fn written(event: &Event, data: &impl serde::Serialize) -> sse::Event {
    sse::Event::default().event(event.name()).data(serde_json::to_string(data).unwrap_or_default())
}

fn last_read(headers: &HeaderMap) -> Result<Option<u64>, Refusal> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    let number = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    number
        .map(Some)
        .ok_or_else(|| Refusal::Malformed("Last-Event-ID is not the number of an event; leave it out, or send the last id".to_owned()))
}
