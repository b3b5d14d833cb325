//! Viewers of a live stream: each takes the playlist, then every segment that it names once, in order, and waits when there is no further one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::account::Account;
use super::{Context, asking};
use crate::client::{Client, Connection};
use crate::draw::{Draw, Wish};
use crate::drive;
use crate::machine::allow_files;
use crate::object::{Kind, Object};
use crate::origin::{Stream, WINDOW};
use crate::report::Tally;
use crate::results::Round;

/// A viewer begins so many segments before the newest (RFC 8216 section 6.3.3).
const BEHIND: usize = 3;
/// A playlist that names no new segment for as long as so many take stands still: it has let go of all that it named before.
const SEGMENTS_MISSED_MAX: u32 = WINDOW;

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
    allow_files(live.viewers as u64, &format!("{} viewers", live.viewers))?;
    let mut account = Account::begin(context).await?;
    let shared = Arc::new(Shared {
        stream: Stream { segment_ms: live.segment_ms, segment_bytes: live.segment_bytes, number: context.number },
        draw: Arc::new(Draw::new(context.plan.draw(context.folder, Kind::Plain, Some(1), 1)?)?),
        tally: Mutex::new(Tally::new()?),
        stalls: AtomicU64::new(0),
        stalled_ms: AtomicU64::new(0),
        end: Instant::now() + context.plan.length(),
    });
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
    let report = shared.tally.lock().clone().report(begun.elapsed(), None);
    account.asked()?;
    let mut round = account.settled(report).await?;
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
    let mut newest = Instant::now();
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
        if !found && newest.elapsed() > segment * SEGMENTS_MISSED_MAX {
            let (waited, named) = (newest.elapsed(), seen.map_or("none".to_owned(), |seen| seen.to_string()));
            return Err(format!("the playlist stands still: for {waited:.1?}, with segments of {segment:?}, none came after {named}"));
        }
        for object in due {
            let (head, first, last) = asking::ask(client, &mut connection, &shared.draw, &Wish::whole(object)).await?;
            count(shared, &head, first, last, object.bytes);
            again(client, &mut connection).await?;
            newest = Instant::now();
            stalled(shared, played, newest);
            played = Some(played.map_or(newest, |ends| ends.max(newest)) + segment);
            seen = Some(object.number);
        }
        // As clients do: a whole segment when there was something, half of one when there was nothing (RFC 8216 section 6.3.4).
        sleep(if found { segment } else { segment / 2 }).await;
    }
    // What should have come by the end and did not has no arrival to count it at.
    stalled(shared, played, shared.end);
    Ok(())
}

/// Counts a stall where what was there had been played before `now`.
fn stalled(shared: &Shared, played: Option<Instant>, now: Instant) {
    if let Some(ends) = played.filter(|ends| *ends < now) {
        shared.stalls.fetch_add(1, Ordering::Relaxed);
        shared.stalled_ms.fetch_add(u64::try_from((now - ends).as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use http_body_util::Full;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;

    use super::*;
    use crate::client::Protocol;
    use crate::plan::Plan;
    use crate::target::Target;

    /// A server whose playlist moves on for so long, and stands still then.
    async fn client(moves: Duration) -> Client {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let begun = Instant::now();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let answer = service_fn(move |request: http::Request<hyper::body::Incoming>| async move {
                    let path = request.uri().path();
                    let body = match (Stream::of(path), Object::of(path)) {
                        (Some(stream), _) => Bytes::from(stream.playlist(begun.elapsed().min(moves))),
                        (None, Some(object)) => Bytes::copy_from_slice(crate::object::Pattern::new().piece(object, &(0..object.bytes))),
                        (None, None) => Bytes::new(),
                    };
                    Ok::<_, Infallible>(http::Response::new(Full::new(body)))
                });
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), answer));
            }
        });
        let target = Target::find(&format!("http://{address}/"), &[]).await.expect("a target");
        Client::new(target, Protocol::H1, None).expect("a client")
    }

    /// What a viewer says who watches for so long, how often it stalled, and for how long.
    async fn viewer(segment_ms: u64, moves: Duration, length: Duration) -> (Result<(), String>, u64, u64) {
        let plan: Plan = toml::from_str("scenario = \"live\"\nwhat = \"A test.\"").expect("a plan");
        let settings = plan.draw(std::path::Path::new("."), Kind::Plain, Some(1), 1).expect("settings");
        let shared = Shared {
            stream: Stream { segment_ms, segment_bytes: 1_000, number: 1 },
            draw: Arc::new(Draw::new(settings).expect("a draw")),
            tally: Mutex::new(Tally::new().expect("a tally")),
            stalls: AtomicU64::new(0),
            stalled_ms: AtomicU64::new(0),
            end: Instant::now() + length,
        };
        let said = watch(&shared, &client(moves).await).await;
        (said, shared.stalls.into_inner(), shared.stalled_ms.into_inner())
    }

    #[tokio::test]
    async fn what_did_not_come_by_the_end_is_a_stall() {
        // Three segments are there at once and one more comes: what there is has been played after 2 of 2.75 s, and nothing arrives then.
        let (said, stalls, stalled_ms) = viewer(500, Duration::from_millis(500), Duration::from_millis(2_750)).await;
        assert_eq!((said, stalls), (Ok(()), 1));
        assert!((500..=750).contains(&stalled_ms), "{stalled_ms}");
        let (said, stalls, _) = viewer(1_000, Duration::MAX, Duration::from_millis(2_500)).await;
        assert_eq!((said, stalls), (Ok(()), 0));
    }

    #[tokio::test]
    async fn a_playlist_that_stands_still_is_no_stream() {
        let why = viewer(100, Duration::ZERO, Duration::from_secs(20)).await.0.expect_err("a playlist that stands still");
        assert!(why.starts_with("the playlist stands still: for ") && why.contains("segments of 100ms, none came after "), "{why}");
    }
}
