//! What goes out on a stream: the heads of an answer, its body as the client's windows allow it, its trailers.

use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::header::{self, HeaderMap};
use http::{Response, StatusCode};
use pingora::http::ResponseHeader;
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::date::get_cached_date;
use pingora::{Error, ErrorType, OrErr, Result};

use super::session::in_time;
use crate::hygiene::strip_http1;
use crate::interim::INTERIM_MAX;
use crate::pace::Pace;

/// See the module.
pub(super) struct Going {
    answer: SendResponse<Bytes>,
    /// Interim heads sent.
    interim: usize,
    head: Option<Box<ResponseHeader>>,
    body: Option<SendStream<Bytes>>,
    /// The rest of a piece that waits for the client's windows, and whether the answer ends with it.
    waiting: Option<(Bytes, bool)>,
    /// Bytes of the body sent.
    sent: usize,
    /// Whether the end of the stream was sent.
    ended: bool,
    pace: Pace,
    /// How long the client may take nothing.
    pub(super) timeout: Option<Duration>,
}

impl Going {
    /// An answer of which the client takes at least `rate_min` bytes a second.
    pub(super) fn new(answer: SendResponse<Bytes>, rate_min: u64) -> Self {
        let pace = Pace::new(rate_min);
        Self { answer, interim: 0, head: None, body: None, waiting: None, sent: 0, ended: false, pace, timeout: None }
    }

    /// The head that was sent.
    pub(super) fn head(&self) -> Option<&ResponseHeader> {
        self.head.as_deref()
    }

    /// Whether the end of the stream was sent.
    pub(super) fn is_ended(&self) -> bool {
        self.ended
    }

    /// Bytes of the body sent.
    pub(super) fn sent(&self) -> usize {
        self.sent
    }

    /// Sends the head, with the `Date` it has.
    pub(super) fn send_head(&mut self, mut head: Box<ResponseHeader>, end: bool) -> Result<()> {
        if self.ended || self.head.is_some() {
            return Ok(());
        }
        if head.status.is_informational() {
            return self.send_interim(head);
        }
        // The first of several, as over HTTP/1.1: an answer has one date (RFC 9110 section 5.3).
        let date = head.headers.get(header::DATE).cloned().unwrap_or_else(get_cached_date);
        head.insert_header(header::DATE, date)?;
        let mut message = Response::from_parts(head.as_owned_parts(), ());
        strip_http1(message.headers_mut());
        let body = self.answer.send_response(message, end).or_err(ErrorType::WriteError, "writing the head of an answer")?;
        self.body = Some(body);
        self.head = Some(head);
        self.ended = end;
        Ok(())
    }

    /// Sends an interim head. There is no 101 in HTTP/2 (RFC 9113 section 8.6). Heads wait in memory until the client reads them, so that there
    /// is a bound on their number.
    fn send_interim(&mut self, head: Box<ResponseHeader>) -> Result<()> {
        if head.status == StatusCode::SWITCHING_PROTOCOLS || self.interim == INTERIM_MAX {
            return Ok(());
        }
        let mut message = Response::from_parts(head.as_owned_parts(), ());
        strip_http1(message.headers_mut());
        message.headers_mut().remove(header::CONTENT_LENGTH);
        self.answer.send_informational(message).or_err(ErrorType::WriteError, "writing an interim head")?;
        self.interim += 1;
        Ok(())
    }

    /// Sends a piece of the body.
    pub(super) async fn send_body(&mut self, data: Bytes, end: bool) -> Result<()> {
        self.give(data, end);
        self.flush().await.map_err(|error| error.into_down())
    }

    fn give(&mut self, data: Bytes, end: bool) {
        if !self.ended {
            self.waiting = Some((data, end));
        }
    }

    pub(super) fn send_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        if self.ended {
            return Ok(());
        }
        let Some(writer) = self.body.as_mut() else {
            return Error::e_explain(ErrorType::H2Error, "trailers before the head");
        };
        writer.send_trailers(trailers).or_err(ErrorType::WriteError, "writing trailers")?;
        self.ended = true;
        Ok(())
    }

    /// Begins with a step of an answer: all of it but the body, which waits for [`Going::flush`]. Whether the answer ends with it.
    pub(super) fn begin(&mut self, task: HttpTask) -> Result<bool> {
        match task {
            HttpTask::Header(head, end) => self.send_head(head, end).map(|()| end),
            HttpTask::Body(Some(data), end) if !data.is_empty() => {
                self.give(data, end);
                Ok(end)
            }
            HttpTask::Body(_, end) => Ok(end),
            HttpTask::UpgradedBody(..) => Error::e_explain(ErrorType::InternalError, "an upgraded body over HTTP/2"),
            HttpTask::Trailer(Some(trailers)) => self.send_trailers(*trailers).map(|()| true),
            HttpTask::Trailer(None) | HttpTask::Done => Ok(true),
            HttpTask::Failed(error) => Err(error),
        }
    }

    /// Whether a piece waits for the client's windows.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Writes what waits as the client's windows allow it. What is given up in between goes on with the next call.
    pub(super) async fn flush(&mut self) -> Result<()> {
        while let Some((data, end)) = &mut self.waiting {
            let Some(writer) = self.body.as_mut() else {
                return Error::e_explain(ErrorType::H2Error, "a body before its head");
            };
            if data.is_empty() {
                if *end {
                    writer.send_data(Bytes::new(), true).or_err(ErrorType::WriteError, "ending an answer")?;
                    self.ended = true;
                }
                self.waiting = None;
                break;
            }
            writer.reserve_capacity(data.len());
            let room = match writer.capacity() {
                0 => {
                    let more = in_time(self.timeout, std::future::poll_fn(|cx| writer.poll_capacity(cx)));
                    match self.pace.wait(more).await {
                        Ok(Some(Some(room))) => room.or_err(ErrorType::WriteError, "writing the body of an answer")?,
                        Ok(Some(None)) => return Error::e_explain(ErrorType::ConnectionClosed, "the client gave up"),
                        Ok(None) | Err(_) => return Error::e_explain(ErrorType::WriteTimedout, "the client takes the body too slowly"),
                    }
                }
                room => room,
            };
            let piece = data.split_to(room.min(data.len()));
            self.pace.moved(piece.len());
            self.sent += piece.len();
            let (whole, last) = (data.is_empty(), *end && data.is_empty());
            writer.send_data(piece, last).or_err(ErrorType::WriteError, "writing the body of an answer")?;
            self.ended = last;
            if whole {
                self.waiting = None;
            }
        }
        Ok(())
    }

    /// Ends the answer properly. One without head is reset when the session is dropped.
    pub(super) fn end(&mut self) -> Result<()> {
        if !self.ended
            && let Some(writer) = self.body.as_mut()
        {
            writer.send_data(Bytes::new(), true).or_err(ErrorType::WriteError, "ending an answer")?;
            self.ended = true;
        }
        Ok(())
    }

    /// Resets the stream, unless the answer is whole.
    pub(super) fn reset(&mut self) {
        if !self.ended {
            self.answer.send_reset(Reason::INTERNAL_ERROR);
        }
    }

    /// Waits until the client gives the stream up.
    pub(super) async fn reset_by_client(&mut self) -> Result<Reason> {
        let (answer, body) = (&mut self.answer, &mut self.body);
        std::future::poll_fn(|cx| match body.as_mut() {
            Some(body) => body.poll_reset(cx),
            None => answer.poll_reset(cx),
        })
        .await
        .or_err(ErrorType::H2Error, "waiting for the client")
    }
}
