//! Makes a whole body of stored parts and what upstream still has to send (RFC 9111 section 3.4).

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};

use super::super::serve::{refused, sound};
use super::Trip;
use crate::conditional::strong_etag;
use crate::fetch::{Body, Fetch, FetchError, FetchErrorKind, Fetched, Forward};
use crate::object::Parts;
use crate::range::{ContentRange, Wanted, content_range};
use crate::request::Request;

/// With more gaps than this the whole is asked for anew.
const GAPS_MAX: usize = 4;

impl Trip {
    /// The whole, of which only the gaps are fetched; what upstream answers instead when it has another representation by now; `None` when
    /// the parts are no help.
    pub(super) async fn complete(&self, parts: &Arc<Parts>) -> Result<Option<Fetched>, FetchError> {
        let head = parts.head();
        let (Some(length), Some(etag)) = (head.length, strong_etag(&head.headers)) else { return Ok(None) };
        let gaps = parts.gaps(length);
        let Some(&(start, end)) = gaps.first().filter(|_| gaps.len() <= GAPS_MAX) else { return Ok(None) };
        let fetched = match self.fetch(self.bytes_request(start, Some(end), etag)).await {
            Ok(fetched) => fetched,
            // Who had no answer in all that time will have none for the whole either.
            Err(error) if matches!(error.kind, FetchErrorKind::Timeout | FetchErrorKind::TooLong) => return Err(error),
            Err(_) => return Ok(None),
        };
        // None of these is an answer to who asks for the whole; 304 and 412 answer conditions that were not sent.
        if matches!(fetched.status.as_u16(), 304 | 412 | 416) || fetched.status.is_server_error() {
            return Ok(None);
        }
        if fetched.status != StatusCode::PARTIAL_CONTENT {
            return Ok(Some(fetched));
        }
        if !is_gap(&fetched, start, end, Some(length), etag) {
            return Ok(None);
        }
        let mut plan = VecDeque::new();
        let mut gaps: VecDeque<_> = gaps.into();
        for run in parts.runs() {
            while let Some(&(start, end)) = gaps.front().filter(|gap| gap.0 < run.offset()) {
                plan.push_back(Step::Gap(start, end));
                gaps.pop_front();
            }
            plan.extend(run.body.pieces(0, u64::MAX).into_iter().map(Step::Stored));
        }
        plan.extend(gaps.into_iter().map(|(start, end)| Step::Gap(start, end)));
        let template = self.bytes_request(0, None, etag);
        let Fetched { mut headers, interim, body, age, requested_at, responded_at, .. } = fetched;
        headers.remove(header::CONTENT_RANGE);
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        let body = Assembled {
            plan,
            first: Some(body),
            current: None,
            length,
            etag: etag.clone(),
            template,
            fetch: Arc::clone(&self.fetch),
            purge_seq: self.lead.flight.began.seq,
        };
        self.exchange.counters.completed.inc();
        Ok(Some(Fetched { status: StatusCode::OK, headers, interim, body: Box::new(body), age, requested_at, responded_at }))
    }
}

/// Whether a 206 holds the bytes from `start` up to `end` of the representation with this tag, and this length where that is known.
pub(in crate::exchange) fn is_gap(fetched: &Fetched, start: u64, end: u64, length: Option<u64>, etag: &HeaderValue) -> bool {
    fetched.status == StatusCode::PARTIAL_CONTENT
        && strong_etag(&fetched.headers) == Some(etag)
        && content_range(&fetched.headers)
            .is_ok_and(|range| range == ContentRange { start, end, total: if length.is_some() { length } else { range.total } })
}

enum Step {
    Stored(Bytes),
    /// From the first byte up to the second, to be fetched.
    Gap(u64, u64),
}

/// Stored bytes and fetched ones in turn.
struct Assembled {
    plan: VecDeque<Step>,
    /// The body of the first gap, which is open already.
    first: Option<Box<dyn Body>>,
    /// The gap that is being read, and how many bytes it still owes.
    current: Option<(Box<dyn Body>, u64)>,
    length: u64,
    etag: HeaderValue,
    template: Request,
    fetch: Arc<dyn Fetch>,
    purge_seq: u64,
}

#[async_trait]
impl Body for Assembled {
    async fn chunk(&mut self) -> Result<Option<Bytes>, FetchError> {
        loop {
            if let Some((body, owed)) = &mut self.current {
                match body.chunk().await? {
                    Some(bytes) if bytes.len() as u64 <= *owed => {
                        *owed -= bytes.len() as u64;
                        return Ok(Some(bytes));
                    }
                    Some(_) => return Err(crate::answer::too_long()),
                    None if *owed > 0 => return Err(crate::answer::cut_short(*owed)),
                    None => self.current = None,
                }
            }
            match self.plan.pop_front() {
                None => return Ok(None),
                Some(Step::Stored(bytes)) => return Ok(Some(bytes)),
                Some(Step::Gap(start, end)) => {
                    let body = match self.first.take() {
                        Some(first) => first,
                        None => {
                            let forward = Forward { request: ranged(&self.template, start, end)?, purge_seq: self.purge_seq };
                            open(Arc::clone(&self.fetch), forward, (start, end), Some(self.length), self.etag.clone()).await?
                        }
                    };
                    self.current = Some((body, end - start));
                }
            }
        }
    }
}

pub(in crate::exchange) fn ranged(template: &Request, start: u64, end: u64) -> Result<Request, FetchError> {
    let wanted = Wanted::From { first: start, last: Some(end - 1) };
    let range = HeaderValue::from_str(&wanted.to_string()).map_err(|_| refused(FetchErrorKind::WrongRange, "no range"))?;
    let mut request = template.clone();
    request.headers.insert(header::RANGE, range);
    Ok(request)
}

/// The body of a gap.
async fn open(
    fetch: Arc<dyn Fetch>,
    forward: Forward,
    (start, end): (u64, u64),
    length: Option<u64>,
    etag: HeaderValue,
) -> Result<Box<dyn Body>, FetchError> {
    let fetched = fetch.fetch(forward).await.and_then(sound)?;
    if is_gap(&fetched, start, end, length, &etag) {
        return Ok(fetched.body);
    }
    let detail = format!("bytes {start}-{} of what was sent already are gone", end - 1);
    Err(FetchError { kind: FetchErrorKind::Cut, detail, retry_after: None })
}
