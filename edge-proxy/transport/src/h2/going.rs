//! What goes out on a stream: the heads of an answer, its body as the client's windows allow it, its trailers.

use std::future::poll_fn;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::header::HeaderMap;
use http::{Response, StatusCode};
use pingora::{Error, ErrorType, OrErr, Result};

use crate::pace::Pace;
use crate::stream;

/// See the module.
pub(super) struct Going {
    answer: SendResponse<Bytes>,
    /// There once the final head was sent.
    body: Option<SendStream<Bytes>>,
    /// The rest of a piece that waits for the client's windows, and whether the answer ends with it.
    waiting: Option<(Bytes, bool)>,
    /// Bytes of the body sent.
    sent: usize,
    /// Whether the end of the stream was sent.
    ended: bool,
    pace: Pace,
}

impl Going {
    /// An answer of which the client takes at least `rate_min` bytes a second.
    pub(super) fn new(answer: SendResponse<Bytes>, rate_min: u64) -> Self {
        Self { answer, body: None, waiting: None, sent: 0, ended: false, pace: Pace::new(rate_min) }
    }

    fn writer(&mut self) -> Result<&mut SendStream<Bytes>> {
        self.body.as_mut().ok_or_else(|| Error::explain(ErrorType::H2Error, "a body before its head"))
    }
}

impl stream::Going for Going {
    fn give_head(&mut self, status: StatusCode, headers: HeaderMap, end: bool) -> Result<()> {
        let mut message = Response::new(());
        (*message.status_mut(), *message.headers_mut()) = (status, headers);
        if status.is_informational() {
            return self.answer.send_informational(message).or_err(ErrorType::WriteError, "writing an interim head");
        }
        self.body = Some(self.answer.send_response(message, end).or_err(ErrorType::WriteError, "writing the head of an answer")?);
        self.ended = end;
        Ok(())
    }

    fn give_data(&mut self, data: Bytes, end: bool) {
        self.waiting = Some((data, end));
    }

    fn give_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        self.writer()?.send_trailers(trailers).or_err(ErrorType::WriteError, "writing trailers")?;
        self.ended = true;
        Ok(())
    }

    fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    async fn flush(&mut self) -> Result<()> {
        while let Some((data, end)) = &mut self.waiting {
            let Some(writer) = self.body.as_mut() else {
                return Error::e_explain(ErrorType::H2Error, "a body before its head");
            };
            writer.reserve_capacity(data.len());
            let room = match writer.capacity() {
                0 => match self.pace.wait(poll_fn(|cx| writer.poll_capacity(cx))).await {
                    Ok(Some(room)) => room.or_err(ErrorType::WriteError, "writing the body of an answer")?,
                    Ok(None) => return Error::e_explain(ErrorType::ConnectionClosed, "the client gave up"),
                    Err(_) => return Error::e_explain(ErrorType::WriteTimedout, "the client takes the answer too slowly"),
                },
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

    fn end(&mut self) -> Result<()> {
        if !self.ended {
            self.writer()?.send_data(Bytes::new(), true).or_err(ErrorType::WriteError, "ending an answer")?;
            self.ended = true;
        }
        Ok(())
    }

    fn is_ended(&self) -> bool {
        self.ended
    }

    fn cut(&mut self, malformed: bool) {
        if !std::mem::replace(&mut self.ended, true) {
            self.answer.send_reset(if malformed { Reason::PROTOCOL_ERROR } else { Reason::INTERNAL_ERROR });
        }
    }

    async fn gone(&mut self) {
        let Self { answer, body, .. } = self;
        let _ = poll_fn(|cx| match body.as_mut() {
            Some(body) => body.poll_reset(cx),
            None => answer.poll_reset(cx),
        })
        .await;
    }

    fn sent(&self) -> usize {
        self.sent
    }
}
