//! One request: what it is, what its body must be, and what of it is counted.

use std::sync::atomic::Ordering;
use std::time::Instant;

use http::StatusCode;
use http::header::CONTENT_LENGTH;
use http::response::Parts;
use http::uri::PathAndQuery;
use parking_lot::Mutex;

use super::{Objects, Shared};
use crate::check::{Check, is_hit};
use crate::client::{Connection, Unanswered};
use crate::draw::Seen;
use crate::report::Tally;

/// What one body must be.
enum Due<'a> {
    Same(Check<'a>),
    Drawn(Seen<'a>),
}

impl Due<'_> {
    fn take(&mut self, part: &[u8]) {
        match self {
            Self::Same(check) => check.take(part),
            Self::Drawn(seen) => seen.take(part),
        }
    }

    fn octets(&self) -> u64 {
        match self {
            Self::Same(check) => check.octets(),
            Self::Drawn(seen) => seen.octets,
        }
    }

    fn finish(self, head: &Parts) -> Result<(), String> {
        match self {
            Self::Same(check) if head.status.is_success() => check.finish(),
            Self::Same(_) => Ok(()),
            Self::Drawn(seen) => seen.answers(head.status, &head.headers).map(|_| ()),
        }
    }
}

/// One request, which was due at an instant, and its whole answer.
pub(super) async fn ask(
    shared: &Shared,
    connection: &mut Connection,
    tally: &Mutex<Tally>,
    due: Instant,
    begun: Instant,
) -> Result<(), Unanswered> {
    let wish;
    let (request, mut body) = match (&shared.draw, shared.plan.objects) {
        (Some(draw), _) => {
            wish = draw.next(begun.elapsed());
            let mut request = shared.plan.client.request(&wish.object.path())?;
            wish.write(&mut request);
            (request, Due::Drawn(Seen::new(draw, &wish)))
        }
        (None, Objects::Unseen) => (shared.plan.client.request(&unseen(shared))?, Due::Same(shared.expected.check())),
        (None, _) => (shared.request.clone(), Due::Same(shared.expected.check())),
    };
    let sent = Instant::now();
    let mut first = None;
    let head = connection
        .ask(request, |part| {
            first.get_or_insert_with(Instant::now);
            body.take(part);
        })
        .await?;
    let (ended, octets) = (Instant::now(), body.octets());
    let first = first.unwrap_or(ended);
    let mut tally = tally.lock();
    tally.answer(head.status.as_u16(), ended - due, octets, is_hit(&head.headers));
    tally.asked(ended - sent);
    tally.first_byte(first - due, sent.saturating_duration_since(due));
    let announced = head.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    // A 304 may tell the length of what it has not (RFC 9110 section 8.6).
    let announced = announced.filter(|_| head.status != StatusCode::NOT_MODIFIED);
    if announced.is_some_and(|announced| announced != octets) {
        tally.wrong_body(format!("a body has {octets} octets where Content-Length says {}", announced.unwrap_or_default()));
    } else if let Err(wrong) = body.finish(&head) {
        tally.wrong_body(wrong);
    }
    Ok(())
}

fn unseen(shared: &Shared) -> PathAndQuery {
    shared.plan.client.target().unseen(&shared.mark, shared.unseen.fetch_add(1, Ordering::Relaxed))
}
