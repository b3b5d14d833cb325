//! Large files, which each client takes in several goes: it breaks off, and asks on another connection for the rest, as long as it is the same
//! version (`Range` with `If-Range`).

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{StatusCode, header};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Context;
use super::account::Account;
use crate::client::Client;
use crate::draw::{Draw, Seen, Wish};
use crate::machine::allow_files;
use crate::object::{Kind, Object};
use crate::report::{Report, Tally};
use crate::results::Round;

/// How long one go may take.
const GO_MAX: Duration = Duration::from_secs(600);

/// The figures that only this scenario has.
pub(super) const FIGURES: &[&str] = &["mib_per_second", "origin_bytes_over_file"];

pub(super) async fn round(context: &Context<'_>) -> Result<Round, String> {
    let download = context.plan.download.ok_or("a download has no table [download]")?;
    let draw = Arc::new(Draw::new(context.plan.draw(context.folder, Kind::Plain, None, context.number)?)?);
    let tally = Arc::new(Mutex::new(Tally::new()?));
    allow_files(download.clients as u64, &format!("{} downloads", download.clients))?;
    let work = async {
        let begun = Instant::now();
        let mut all = JoinSet::new();
        for number in 0..download.clients as u64 {
            let file = context.number * (1 << 32) + number % download.files;
            let object = Object { kind: Kind::Plain, number: file, bytes: download.bytes };
            let client = context.clients[usize::try_from(number).unwrap_or(0) % context.clients.len()].clone();
            let (draw, tally) = (Arc::clone(&draw), Arc::clone(&tally));
            all.spawn(async move {
                match take(&client, &draw, object, u64::from(download.breaks), number).await {
                    Ok((first, last)) => {
                        let mut tally = tally.lock();
                        tally.answer(StatusCode::OK.as_u16(), last, object.bytes, false);
                        tally.first_byte(first, Duration::ZERO);
                    }
                    Err(why) => tally.lock().error(why),
                }
            });
        }
        all.join_all().await;
        let tally = tally.lock().clone();
        Ok::<Report, String>(tally.report(begun.elapsed(), None))
    };
    // A file in several goes is neither a hit nor a miss.
    let mut account = Account::begin(context).await?.without_hits();
    let report = work.await?;
    account.asked()?;
    let mut round = account.settled(report).await?;
    round.further.insert("mib_per_second".to_owned(), round.body_octets as f64 / round.seconds / f64::from(1 << 20));
    let files = download.files.min(download.clients as u64) as f64;
    if let Some(octets) = round.further.get("origin_bytes").copied() {
        round.further.insert("origin_bytes_over_file".to_owned(), octets / (files * download.bytes as f64));
    }
    Ok(round)
}

/// Takes a file in `breaks` + 1 goes; how long it took to its first and last octet.
async fn take(client: &Client, draw: &Draw, object: Object, breaks: u64, seed: u64) -> Result<(Duration, Duration), String> {
    let begun = Instant::now();
    let mut first = None;
    let mut at = 0;
    for go in 0..=breaks {
        // Clients break off at places of their own; the last go is for all that is left.
        let share = (object.bytes / (breaks + 1)).max(1);
        let until = if go == breaks { object.bytes } else { (share * (go + 1) - (seed * 7_919) % share).clamp(at, object.bytes) };
        if until <= at && go < breaks {
            continue;
        }
        let taken = one_go(client, draw, object, at..until, &mut first, begun);
        at = timeout(GO_MAX, taken).await.map_err(|_| format!("{}: not there within {GO_MAX:?}", object.path()))??;
    }
    if at != object.bytes {
        return Err(format!("{}: {at} of {} bytes were taken", object.path(), object.bytes));
    }
    Ok((first.unwrap_or_default(), begun.elapsed()))
}

/// Asks for the file from `range.start` on, and breaks off once `range.end` is reached; how far it came.
async fn one_go(
    client: &Client,
    draw: &Draw,
    object: Object,
    range: Range<u64>,
    first: &mut Option<Duration>,
    begun: Instant,
) -> Result<u64, String> {
    let path = object.path();
    let wish = Wish { range: (range.start > 0).then_some(range.start..object.bytes), ..Wish::whole(object) };
    let mut request = client.request(&path)?;
    wish.write(&mut request);
    if wish.range.is_some() {
        request.headers_mut().insert(header::IF_RANGE, object.validator());
    }
    let mut connection = client.connect().await?;
    let (reached, mut seen) = (Notify::new(), Seen::new(draw, &wish));
    let asking = connection.ask(request, |part| {
        first.get_or_insert_with(|| begun.elapsed());
        seen.take(part);
        if seen.octets >= range.end - range.start {
            reached.notify_one();
        }
    });
    let whole = tokio::select! {
        biased;
        answered = asking => Some(answered.map_err(|error| format!("{path} from byte {} on: {error}", range.start))?),
        () = reached.notified(), if range.end < object.bytes => None,
    };
    match whole {
        Some(head) => seen.answers(head.status, &head.headers).map(|_| object.bytes),
        // What is whole where a range was asked for begins anew.
        None => seen.reached(),
    }
}
