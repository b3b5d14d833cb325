//! Viewers of a live stream: each takes the playlist, then every segment that it names once, in order, and waits when there is no further one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::{Context, asking};
use crate::client::{Client, Connection};
use crate::draw::{Draw, Wish};
use crate::drive;
use crate::object::{Kind, Object};
use crate::origin::Stream;
use crate::report::Tally;
use crate::results::Round;

/// A viewer begins so many segments before the newest (RFC 8216 section 6.3.3).
const BEHIND: usize = 3;

struct Shared {
    stream: Stream,
    draw: Arc<Draw>,
    tally: Mutex<Tally>,
    stalls: AtomicU64,
    stalled_ms: AtomicU64,
    end: Instant,
}

/// The figures that only this scenario has.
pub(super) const FIGURES: &[&str] = &["stalls_per_viewer", "stalled_ms_per_viewer"];

pub(super) async fn round(context: &Context<'_>) -> Result<Round, String> {
    let live = context.plan.live.ok_or("a live stream has no table [live]")?;
    let shared = Arc::new(Shared {
        stream: Stream { segment_ms: live.segment_ms, segment_bytes: live.segment_bytes, number: context.number },
        draw: Arc::new(Draw::new(context.plan.draw(context.folder, Kind::Plain, Some(1), 1)?)?),
        tally: Mutex::new(Tally::new()?),
        stalls: AtomicU64::new(0),
        stalled_ms: AtomicU64::new(0),
        end: Instant::now() + context.plan.length(),
    });
    let work = async {
        let begun = Instant::now();
        let mut all = JoinSet::new();
        for viewer in 0..live.viewers {
            let after = Duration::from_secs_f64(live.arrive_s * viewer as f64 / live.viewers as f64);
            let client = context.clients[viewer % context.clients.len()].clone();
            let shared = Arc::clone(&shared);
            all.spawn(async move {
                sleep(after).await;
                if let Err(why) = watch(&shared, &client).await {
                    shared.tally.lock().error(why);
                }
            });
        }
        all.join_all().await;
        let tally = shared.tally.lock().clone();
        Ok(tally.report(begun.elapsed(), None))
    };
    let mut round = context.accounted(work).await?;
    let viewers = live.viewers as f64;
    round.further.insert("stalls_per_viewer".to_owned(), shared.stalls.load(Ordering::Relaxed) as f64 / viewers);
    round.further.insert("stalled_ms_per_viewer".to_owned(), shared.stalled_ms.load(Ordering::Relaxed) as f64 / viewers);
    Ok(round)
}

/// Watches to the end.
async fn watch(shared: &Shared, client: &Client) -> Result<(), String> {
    let segment = Duration::from_millis(shared.stream.segment_ms);
    let mut connection = client.connect().await?;
    let mut seen: Option<u64> = None;
    // When what is there will have been played.
    let mut played: Option<Instant> = None;
    while Instant::now() < shared.end {
        let segments = playlist(shared, client, &mut connection).await?;
        let unseen = |object: &&Object| seen.is_none_or(|seen| object.number > seen);
        let mut due: Vec<Object> = segments.iter().filter(unseen).copied().collect();
        if seen.is_none() {
            due.drain(..due.len().saturating_sub(BEHIND));
        }
        if let (Some(seen), Some(next)) = (seen, due.first())
            && next.number != seen + 1
        {
            return Err(format!("the playlist goes from segment {seen} on to {}: a viewer missed some", next.number));
        }
        let found = !due.is_empty();
        for object in due {
            let (head, first, last) = asking::ask(client, &mut connection, &shared.draw, &Wish::whole(object)).await?;
            count(shared, &head, first, last, object.bytes);
            again(client, &mut connection).await?;
            let now = Instant::now();
            if let Some(ends) = played.filter(|ends| *ends < now) {
                shared.stalls.fetch_add(1, Ordering::Relaxed);
                let late = u64::try_from((now - ends).as_millis()).unwrap_or(u64::MAX);
                shared.stalled_ms.fetch_add(late, Ordering::Relaxed);
            }
            played = Some(played.map_or(now, |ends| ends.max(now)) + segment);
            seen = Some(object.number);
        }
        // As clients do: a whole segment when there was something, half of one when there was nothing (RFC 8216 section 6.3.4).
        sleep(if found { segment } else { segment / 2 }).await;
    }
    Ok(())
}

async fn playlist(shared: &Shared, client: &Client, connection: &mut Connection) -> Result<Vec<Object>, String> {
    let path = shared.stream.path().parse().map_err(|error| format!("no path of a playlist: {error}"))?;
    let begun = Instant::now();
    let mut body = Vec::new();
    let asking = connection.ask(client.request(&path)?, |part| body.extend_from_slice(part));
    let head = timeout(drive::ANSWER_TIMEOUT, asking).await.map_err(|_| "no playlist in time".to_owned())?;
    let head = head.map_err(|error| format!("the playlist: {error}"))?;
    if head.status != StatusCode::OK {
        return Err(format!("the playlist has status {}", head.status.as_u16()));
    }
    let taken = begun.elapsed();
    count(shared, &head, taken, taken, body.len() as u64);
    again(client, connection).await?;
    let text = String::from_utf8(body).map_err(|_| "the playlist is no text".to_owned())?;
    if !text.starts_with("#EXTM3U\n") {
        return Err("the playlist is none".to_owned());
    }
    Ok(text.lines().filter_map(Object::of).collect())
}

fn count(shared: &Shared, head: &http::response::Parts, first: Duration, last: Duration, octets: u64) {
    let mut tally = shared.tally.lock();
    tally.answer(head.status.as_u16(), last, octets, crate::check::is_hit(&head.headers));
    tally.first_byte(first, Duration::ZERO);
}

/// Another connection where this one cannot be asked again.
async fn again(client: &Client, connection: &mut Connection) -> Result<(), String> {
    if !connection.is_ready().await {
        *connection = client.connect().await?;
    }
    Ok(())
}
