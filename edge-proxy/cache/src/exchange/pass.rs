//! The way past the store: the client's own request goes upstream unchanged, and the answer comes back as it is.

use std::sync::Arc;

use http::HeaderMap;

use super::{Asked, Exchange, serve};
use crate::answer::{Answer, CacheStatus, Failed};
use crate::cacheable::{self, Question, Response};
use crate::conditional;
use crate::fetch::{Fetch, FetchError, Forward};
use crate::key::split;
use crate::request::Request;
use crate::time::Time;

impl Exchange {
    /// Steps 8 and 10: the client's own request, unchanged. A whole answer that could be stored ends the memory of its key.
    pub(super) async fn pass_remembered(self: &Arc<Self>, asked: Asked<'_>, status: CacheStatus) -> Result<Answer, Failed> {
        let authorized = asked.is_authorized();
        let plain = !asked.request.head_only && !conditional::OURS.iter().any(|name| asked.request.headers.contains_key(name));
        let request_headers = if plain { asked.request.headers.clone() } else { HeaderMap::new() };
        let path = split(&asked.request.path_and_query).0.to_owned();
        let (answer, times) = self.pass(Arc::unwrap_or_clone(asked.request), &asked.fetch, status).await?;
        if plain {
            let response =
                Response { status: answer.status, headers: &answer.headers, age: None, requested_at: times.0, responded_at: times.1 };
            let fits = serve::content_length(&answer.headers).is_ok_and(|length| length.is_none_or(|length| length <= self.object_max()));
            let question = Question { path: &path, headers: &request_headers, ranged: false };
            if fits && cacheable::judge(question, response, asked.policy).is_ok() {
                self.remembered.forget(&asked.primary, authorized);
            }
        }
        Ok(answer)
    }

    /// Sends the client's own request and hands its answer through; also when it was sent and when its head came.
    pub(super) async fn pass(
        self: &Arc<Self>,
        request: Request,
        fetch: &Arc<dyn Fetch>,
        status: CacheStatus,
    ) -> Result<(Answer, (Time, Time)), Failed> {
        if let Some(reason) = status.fwd {
            self.counters.forwarded[reason.index()].inc();
        }
        let forward = Forward { request: request.clone(), purge_seq: self.purges.seq() };
        match fetch.fetch(forward).await.and_then(serve::sound) {
            Ok(fetched) => {
                let times = (fetched.requested_at, fetched.responded_at);
                Ok((serve::direct(fetched, &request, status), times))
            }
            Err(error) => {
                self.counters.failed.inc();
                Err(failed(error, status))
            }
        }
    }
}

pub(super) fn failed(error: FetchError, mut status: CacheStatus) -> Failed {
    status.detail = Some(error.kind.as_str());
    Failed { error, status_of_cache: status }
}
