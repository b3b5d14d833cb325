//! Hits while their tags are purged one after another.
//!
//! After each purge is confirmed, every edge is asked for what had the tag, and must have it from the origin anew: the number that the origin gives
//! each answer is above the one that it stood at when the purge was sent.

use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;
use http::{Method, Request, StatusCode, header};
use http_body_util::Full;
use hyper_util::client::legacy::Client as Poster;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use super::{Context, asking};
use crate::draw::{Draw, Wish};
use crate::object::{Kind, Object, TAGS};
use crate::origin::NUMBER;
use crate::results::Round;

/// How long a purge may take.
const PURGE_MAX: Duration = Duration::from_secs(10);
/// The longest purge that is told apart, in microseconds.
const PURGE_MAX_US: u64 = 10_000_000;

/// The figures that only this scenario has.
pub(super) const FIGURES: &[&str] = &["purges", "purge_p50_us", "purge_p99_us"];

pub(super) async fn round(context: &Context<'_>) -> Result<Round, String> {
    let purge = context.plan.purge.ok_or("purges have no table [purge]")?;
    let ready = asking::stored(context, Kind::Tagged).await?;
    let draw = Arc::new(Draw::new(context.plan.draw(context.folder, Kind::Tagged, Some(context.plan.objects.count), 1)?)?);
    let end = Instant::now() + context.plan.length();
    let mut taken = Histogram::<u64>::new_with_bounds(1, PURGE_MAX_US, 3).map_err(|error| error.to_string())?;
    let purging = async {
        let every = Duration::from_secs_f64(1.0 / purge.rate);
        let mut ticks = interval_at(Instant::now() + every, every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut number = 0;
        while Instant::now() < end {
            ticks.tick().await;
            let tag = number % TAGS;
            number += 1;
            let stood = context.origin.figures().await?.requests;
            let spent = send(context, tag).await?;
            taken.saturating_record(u64::try_from(spent.as_micros()).unwrap_or(PURGE_MAX_US).max(1));
            is_gone(context, &draw, tag, stood).await?;
        }
        Ok::<(), String>(())
    };
    let work = async {
        let (report, purged) = tokio::join!(asking::asked(context, &ready), purging);
        purged?;
        report
    };
    let mut round = context.accounted(work).await?;
    round.further.insert("purges".to_owned(), taken.len() as f64);
    round.further.insert("purge_p50_us".to_owned(), taken.value_at_percentile(50.0) as f64);
    round.further.insert("purge_p99_us".to_owned(), taken.value_at_percentile(99.0) as f64);
    Ok(round)
}

/// Sends one, and waits until all nodes have confirmed it; how long that took.
async fn send(context: &Context<'_>, tag: u64) -> Result<Duration, String> {
    let (api, token) = context.server.purges.as_ref().ok_or("it has no purge by tag")?;
    let target = api.target();
    let body = format!("{{\"tags\":[\"tag-{tag}\"]}}");
    let request = Request::builder()
        .method(Method::POST)
        .uri(target.uri(&target.path, false)?)
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::from(body))
        .map_err(|error| error.to_string())?;
    let poster: Poster<HttpConnector, Full<bytes::Bytes>> = Poster::builder(TokioExecutor::new()).build_http();
    let begun = Instant::now();
    let answer = timeout(PURGE_MAX, poster.request(request)).await.map_err(|_| format!("a purge takes more than {PURGE_MAX:?}"))?;
    let answer = answer.map_err(|error| format!("a purge is not taken: {error}"))?;
    let taken = begun.elapsed();
    if answer.status() != StatusCode::ACCEPTED && answer.status() != StatusCode::OK {
        return Err(format!("a purge has status {}", answer.status().as_u16()));
    }
    let body = http_body_util::BodyExt::collect(answer.into_body()).await.map_err(|error| error.to_string())?.to_bytes();
    let said: serde_json::Value = serde_json::from_slice(&body).map_err(|error| format!("a purge is answered with no JSON: {error}"))?;
    match said["nodes"]["pending"].as_array() {
        Some(pending) if pending.is_empty() => Ok(taken),
        _ => Err(format!("a purge is not confirmed by all nodes: {said}")),
    }
}

/// Whether every edge has one object of the tag anew.
async fn is_gone(context: &Context<'_>, draw: &Draw, tag: u64, stood: u64) -> Result<(), String> {
    let tagged = |object: &Object| object.number % TAGS == tag;
    let Some(object) = draw.at_first().find(tagged) else { return Ok(()) };
    for client in context.clients {
        let mut connection = client.connect().await?;
        let (head, ..) = asking::ask(client, &mut connection, draw, &Wish::whole(object)).await?;
        let number = head.headers.get(NUMBER).and_then(|number| number.to_str().ok()?.parse::<u64>().ok());
        let number = number.ok_or_else(|| format!("{} has no {NUMBER}", object.path()))?;
        if number <= stood {
            return Err(format!(
                "{} was purged, and is served as it was: the origin's answer {number}, where it stood at {stood}",
                object.path()
            ));
        }
    }
    Ok(())
}
