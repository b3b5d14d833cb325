//! What comes on a stream behind the head: the body of a request within its bounds, then its trailers.

use bytes::Bytes;
use h2::RecvStream;
use http::header::{self, HeaderMap};
use pingora::http::RequestHeader;
use pingora::{Error, ErrorType};
use skerry_config::process::Limits;

use crate::head::Refusal;
use crate::pace::Pace;
use crate::stream::{self, Unread};

/// See the module.
pub(super) struct Coming {
    stream: RecvStream,
    /// Bytes of the body that were read, and how many it may have.
    read: u64,
    max: u64,
    /// Whether `Content-Length` says that there is no body.
    told_empty: bool,
    pace: Pace,
}

/// Whether no body follows a head, as far as is known.
pub(super) fn is_empty(stream: &RecvStream, headers: &HeaderMap) -> bool {
    stream.is_end_stream() || is_told_empty(headers)
}

fn is_told_empty(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_LENGTH).is_some_and(|length| length == "0")
}

impl Coming {
    pub(super) fn new(stream: RecvStream, request: &RequestHeader, limits: &Limits) -> Self {
        Self {
            stream,
            read: 0,
            max: if limits.body.0 == 0 { u64::MAX } else { limits.body.0 },
            told_empty: is_told_empty(&request.headers),
            pace: Pace::new(limits.rate_min.0),
        }
    }
}

impl stream::Coming for Coming {
    async fn next(&mut self, paced: bool) -> Result<Option<Bytes>, Unread> {
        let reading = self.stream.data();
        let read = if paced { self.pace.wait(reading).await } else { Ok(reading.await) };
        let read = read.map_err(|_| Unread::Refused(Refusal::BodyTime))?;
        let Some(data) = read.transpose().map_err(broken)? else { return Ok(None) };
        self.read += data.len() as u64;
        self.pace.moved(data.len());
        let _ = self.stream.flow_control().release_capacity(data.len());
        if self.read > self.max {
            // Who reads on does so to throw it away.
            self.max = u64::MAX;
            return Err(Unread::Refused(Refusal::BodyLength));
        }
        Ok(Some(data))
    }

    /// They are there when the body has ended.
    async fn trailers(&mut self) -> Result<Option<HeaderMap>, Unread> {
        self.stream.trailers().await.map_err(broken)
    }

    fn is_done(&self) -> bool {
        self.is_empty() || self.stream.is_end_stream()
    }

    fn is_empty(&self) -> bool {
        self.read == 0 && (self.stream.is_end_stream() || self.told_empty)
    }
}

fn broken(error: h2::Error) -> Unread {
    Unread::Broken(Error::because(ErrorType::ReadError, "reading the body of a request", error))
}
