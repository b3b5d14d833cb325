//! Fetches again what the disk lost of a stored body, for the one request that needs it.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::HeaderValue;

use super::lead::{open, ranged};
use super::stored::can_be_mended;
use super::{Exchange, Object};
use crate::answer::{Answer, cut_short, too_long};
use crate::conditional::{self, strong_etag};
use crate::fetch::{Fetch, FetchError, Forward};
use crate::request::Request;
use crate::store::Mend;

/// See the module.
struct Mender {
    fetch: Arc<dyn Fetch>,
    template: Request,
    etag: HeaderValue,
    purge_seq: u64,
}

impl Exchange {
    /// Lets an answer get what of the object's body is lost on disk, if upstream can tell that it still has the very same.
    pub(super) fn with_mend(&self, mut answer: Answer, object: &Object, request: &Request, fetch: &Arc<dyn Fetch>) -> Answer {
        if !can_be_mended(object) {
            return answer;
        }
        let Some(etag) = strong_etag(&object.headers) else { return answer };
        let mut template = request.clone();
        conditional::strip(&mut template.headers);
        template.head_only = false;
        template.headers.insert(http::header::IF_RANGE, etag.clone());
        let mender = Mender { fetch: Arc::clone(fetch), template, etag: etag.clone(), purge_seq: self.purges.seq() };
        answer.body.mend_with(&(Arc::new(mender) as Arc<dyn Mend>));
        answer
    }
}

#[async_trait]
impl Mend for Mender {
    async fn bytes(&self, start: u64, end: u64, length: u64) -> Result<Bytes, FetchError> {
        let forward = Forward { request: ranged(&self.template, start, end)?, purge_seq: self.purge_seq };
        let known = (length > 0).then_some(length);
        let mut body = open(Arc::clone(&self.fetch), forward, (start, end), known, self.etag.clone()).await?;
        let owed = usize::try_from(end - start).unwrap_or(usize::MAX);
        let mut bytes = BytesMut::with_capacity(owed);
        while let Some(chunk) = body.chunk().await? {
            if chunk.len() > owed - bytes.len() {
                return Err(too_long());
            }
            bytes.extend_from_slice(&chunk);
        }
        if bytes.len() < owed {
            return Err(cut_short((owed - bytes.len()) as u64));
        }
        Ok(bytes.freeze())
    }
}
