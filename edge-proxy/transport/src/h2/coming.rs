//! What comes on a stream behind the head: the body of a request within its bounds, then its trailers.

use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use http::header::{self, HeaderMap};
use pingora::http::RequestHeader;
use pingora::protocols::http::body_buffer::FixedBuffer;
use skerry_config::process::Limits;

use super::session::in_time;
use crate::head::Refusal;
use crate::pace::Pace;

/// The bytes of a request's body kept to send it to another upstream.
const RETRY_BYTES_MAX: usize = 64 * 1024;

/// How long a client may send nothing of a body while it is waited for.
pub(super) const BODY_TIME_MAX: Duration = Duration::from_secs(60);

/// Why no more of a request is read.
pub(super) enum Unread {
    /// It breaks a bound.
    Refused(Refusal),
    /// The client gave it up, or what it sends is none.
    Broken(h2::Error),
}

/// See the module.
pub(super) struct Coming {
    stream: RecvStream,
    /// Bytes of the body that were read, and how many it may have.
    read: usize,
    max: u64,
    /// What `Content-Length` says, as far as it matters here.
    told: bool,
    told_empty: bool,
    pace: Pace,
    /// How long the next piece is waited for; `None` where the tier has times of its own.
    pub(super) timeout: Option<Duration>,
    /// What was read, for another try.
    retry: Option<FixedBuffer>,
}

impl Coming {
    pub(super) fn new(stream: RecvStream, request: &RequestHeader, limits: &Limits) -> Self {
        let told = request.headers.get(header::CONTENT_LENGTH);
        Self {
            stream,
            read: 0,
            max: if limits.body.0 == 0 { u64::MAX } else { limits.body.0 },
            told: told.is_some(),
            told_empty: told.is_some_and(|length| length == "0"),
            pace: Pace::new(limits.rate_min.0),
            timeout: Some(BODY_TIME_MAX),
            retry: None,
        }
    }

    /// The next piece of the body; `None` at its end. What was not waited for to the end is not lost.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Unread> {
        let Some(data) = self.wait().await? else { return Ok(None) };
        let data = data.map_err(Unread::Broken)?;
        self.read += data.len();
        self.pace.moved(data.len());
        if self.read as u64 > self.max {
            return Err(Unread::Refused(Refusal::BodyLength));
        }
        if let Some(retry) = &mut self.retry {
            retry.write_to_buffer(&data);
        }
        let _ = self.stream.flow_control().release_capacity(data.len());
        Ok(Some(data))
    }

    /// The trailers, once the body has ended. They are there by then.
    pub(super) async fn trailers(&mut self) -> Result<Option<HeaderMap>, Unread> {
        self.stream.trailers().await.map_err(Unread::Broken)
    }

    /// A body of unknown length, as those of calls both ways, has no least rate where the tier has times of its own for it.
    async fn wait(&mut self) -> Result<Option<Result<Bytes, h2::Error>>, Unread> {
        if self.timeout.is_none() && !self.told {
            return Ok(self.stream.data().await);
        }
        match self.pace.wait(in_time(self.timeout, self.stream.data())).await {
            Ok(Some(data)) => Ok(data),
            Ok(None) | Err(_) => Err(Unread::Refused(Refusal::BodyTime)),
        }
    }

    /// Whether nothing more comes.
    pub(super) fn is_done(&self) -> bool {
        self.is_empty() || self.stream.is_end_stream()
    }

    /// Whether there is no body, as far as is known.
    pub(super) fn is_empty(&self) -> bool {
        self.read == 0 && (self.stream.is_end_stream() || self.told_empty)
    }

    /// Bytes of the body that were read.
    pub(super) fn read(&self) -> usize {
        self.read
    }

    /// Keeps what is read from here on, up to [`RETRY_BYTES_MAX`].
    pub(super) fn keep(&mut self) {
        self.retry.get_or_insert_with(|| FixedBuffer::new(RETRY_BYTES_MAX));
    }

    /// Whether more was read than is kept.
    pub(super) fn outgrew(&self) -> bool {
        self.retry.as_ref().is_some_and(FixedBuffer::is_truncated)
    }

    /// What was kept, if that is all.
    pub(super) fn kept(&self) -> Option<Bytes> {
        self.retry.as_ref().filter(|retry| !retry.is_truncated())?.get_buffer()
    }
}
