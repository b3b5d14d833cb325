//! Fetches bytes of a stored body that are not here: what the disk lost, and slices that nobody wanted before.

use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::lead::{is_gap, ranged};
use super::ranges::Ranges;
use super::serve::sound;
use super::{Exchange, Object};
use crate::answer::{Answer, CacheStatus, Failed, Forwarded};
use crate::conditional::{self, strong_etag};
use crate::fetch::{Body, Fetch, FetchError, FetchErrorKind, Forward};
use crate::key::Key;
use crate::request::Request;
use crate::store::{Mend, Missed};

/// See the module.
struct Mender {
    fetch: Arc<dyn Fetch>,
    template: Request,
    /// The object's key.
    key: Key,
    etag: HeaderValue,
    purge_seq: u64,
    ranges: Arc<Ranges>,
}

impl Exchange {
    /// Lets an answer get what of the object's body is not on disk, if upstream can tell that it still has the very same.
    pub(super) fn with_mend(&self, mut answer: Answer, object: &Object, request: &Request, fetch: &Arc<dyn Fetch>) -> Answer {
        if self.is_or_goes_to_disk(object)
            && let Some(mend) = self.mender(&object.key, &object.headers, request, fetch)
        {
            answer.body.mend_with(&mend);
        }
        answer
    }

    /// Gets bytes of what is stored under a key with this head, which takes a strong entity tag.
    pub(super) fn mender(&self, key: &Key, headers: &HeaderMap, request: &Request, fetch: &Arc<dyn Fetch>) -> Option<Arc<dyn Mend>> {
        let etag = strong_etag(headers)?.clone();
        let mut template = request.clone();
        conditional::strip(&mut template.headers);
        template.head_only = false;
        template.headers.insert(http::header::IF_RANGE, etag.clone());
        let (fetch, ranges) = (Arc::clone(fetch), Arc::clone(&self.ranges));
        Some(Arc::new(Mender { fetch, template, key: key.clone(), etag, purge_seq: self.purges.seq(), ranges }))
    }

    /// Waits for the first bytes of an answer whose body is in slices, so that what cannot be had fails before its head is sent.
    ///
    /// # Errors
    /// When they cannot be had.
    pub(super) async fn begun(&self, mut answer: Answer) -> Result<Answer, Failed> {
        match answer.body.begin().await {
            Ok(()) => Ok(answer),
            Err(error) => {
                let status_of_cache = CacheStatus { detail: Some(error.kind.as_str()), ..CacheStatus::forwarded(Forwarded::Partial) };
                Err(Failed { error, status_of_cache })
            }
        }
    }
}

#[async_trait]
impl Mend for Mender {
    fn may_repeat(&self) -> bool {
        self.fetch.may_repeat()
    }

    async fn open(&self, start: u64, end: u64, length: u64) -> Result<Box<dyn Body>, Missed> {
        let request = ranged(&self.template, start, end).map_err(Missed::Failed)?;
        let forward = Forward { request, purge_seq: self.purge_seq };
        let fetched = self.fetch.fetch(forward).await.and_then(sound).map_err(Missed::Failed)?;
        if is_gap(&fetched, start, end, (length > 0).then_some(length), &self.etag) {
            self.ranges.sent(&self.template.authority);
            return Ok(fetched.body);
        }
        let status = fetched.status;
        let bytes = format!("bytes {start}-{}", end - 1);
        // What one client's fields bring about says nothing of what is there for others.
        let is_refused = status.is_client_error() && !matches!(status.as_u16(), 404 | 410 | 416);
        if is_refused || status.is_server_error() {
            let detail = format!("status {} where {bytes} were asked for", status.as_u16());
            let error = FetchError { kind: FetchErrorKind::Cut, detail, retry_after: None };
            return Err(if is_refused { Missed::Refused(error) } else { Missed::Failed(error) });
        }
        let is_same = strong_etag(&fetched.headers) == Some(&self.etag);
        if is_same && matches!(status, StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
            self.ranges.refused(&self.key, &self.template.authority);
        }
        let detail = format!("{bytes} of what was sent already are gone");
        Err(Missed::Gone(FetchError { kind: FetchErrorKind::Cut, detail, retry_after: None }))
    }
}
