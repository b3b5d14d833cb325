//! Writes the answer to one request: field sections and data as frames, bodies as they are in memory. One that is not whole is reset, so that no
//! client takes it for whole (RFC 9114 section 4.1).

use bytes::{Bytes, BytesMut};
use h3::error::Code;
use http::StatusCode;
use http::header::HeaderMap;
use pingora::{Error, ErrorType, Result};
use quinn::{SendStream, VarInt, WriteError};

use super::adapter::code;
use super::frames::{self, HEADER_BYTES_MAX, put_header};
use super::priority::{Said, of_stream, said};
use super::section;
use crate::door::COPIED_BYTES_MAX;
use crate::pace::{self, Pace};
use crate::priority::Priority;
use crate::stream::Going;

/// Why an answer goes no further.
#[derive(Debug)]
pub(super) enum Unsent {
    /// The client took too little of it in the time it had.
    TooSlow,
    /// The client gave it up, or is gone.
    Left(WriteError),
}

/// The stream of an answer. One that has no end when it is dropped is reset.
pub(super) struct Stream {
    inner: SendStream,
    /// Whether the end of the stream was written, or the stream reset.
    ended: bool,
}

impl Stream {
    fn reset(&mut self, why: Code) {
        if !std::mem::replace(&mut self.ended, true) {
            let _ = self.inner.reset(code(why));
        }
    }

    /// Waits until the client gives the answer up or, if it has ended, has all of it.
    pub(super) fn gone(&self) -> impl Future<Output = ()> + Send + Sync + 'static {
        let stopped = self.inner.stopped();
        async move {
            let _ = stopped.await;
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.reset(Code::H3_INTERNAL_ERROR);
    }
}

/// One answer.
pub(super) struct Answer {
    stream: Stream,
    pace: Pace,
    rate_min: u64,
    /// What the request said, and what was said of it since.
    priority: Priority,
    said: Said,
    /// Bytes of frames written, and bytes of the body given.
    written: u64,
    body: usize,
    /// What is to be written.
    waiting: Vec<Bytes>,
}

impl Answer {
    pub(super) fn new(stream: SendStream, rate_min: u64, said: Said) -> Self {
        let stream = Stream { inner: stream, ended: false };
        let pace = Pace::new(rate_min);
        let answer = Self { stream, pace, rate_min, priority: Priority::default(), said, written: 0, body: 0, waiting: Vec::new() };
        answer.prefer(answer.priority);
        answer
    }

    /// The stream, with what was written to it.
    pub(super) fn into_stream(self) -> Stream {
        self.stream
    }

    /// Has the answer go by this priority.
    pub(super) fn set_priority(&mut self, priority: Priority) {
        self.priority = priority;
        self.prefer(priority);
    }

    fn prefer(&self, priority: Priority) {
        let id = u64::from(VarInt::from(self.stream.inner.id()));
        // Only a stream that has ended has no priority.
        let _ = self.stream.inner.set_priority(of_stream(priority, id));
    }

    /// Heeds what the client has said of this request since.
    fn heed(&mut self) {
        if let Some(priority) = said(&self.said).filter(|priority| *priority != self.priority) {
            self.set_priority(priority);
        }
    }

    /// Bytes of frames written.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Writes a whole answer of this field section, and ends it.
    pub(super) async fn whole(&mut self, section: &[u8], body: Vec<Bytes>) -> Result<(), Unsent> {
        let length: usize = body.iter().map(Bytes::len).sum();
        let small = if length <= COPIED_BYTES_MAX { length } else { 0 };
        let mut head = BytesMut::with_capacity(HEADER_BYTES_MAX * 2 + section.len() + small);
        put_header(&mut head, frames::HEADERS, section.len());
        head.extend_from_slice(section);
        if length > 0 {
            put_header(&mut head, frames::DATA, length);
        }
        if small > 0 {
            body.iter().for_each(|piece| head.extend_from_slice(piece));
            self.give([head.freeze()]);
        } else {
            self.give([head.freeze()].into_iter().chain(body));
        }
        self.write().await?;
        self.finish();
        Ok(())
    }

    fn finish(&mut self) {
        if !std::mem::replace(&mut self.stream.ended, true) {
            // It is not ended, so that it can only be that the client stopped it.
            let _ = self.stream.inner.finish();
        }
    }

    /// Cuts the answer off, unless it is whole.
    pub(super) fn reset(&mut self, why: Code) {
        self.stream.reset(why);
    }

    /// See [`Stream::gone`].
    pub(super) fn taken(&self) -> impl Future<Output = ()> + Send + Sync + 'static {
        self.stream.gone()
    }

    /// The longest the client may take for what it does not have yet, of which at most `window` bytes wait to be sent.
    pub(super) fn time_left(&self, window: u64) -> std::time::Duration {
        pace::time_for(self.rate_min, self.written.min(window))
    }

    fn give(&mut self, pieces: impl IntoIterator<Item = Bytes>) {
        self.heed();
        self.waiting.extend(pieces);
    }

    /// Writes what waits, as the client takes it. What is given up in between goes on with the next call.
    async fn write(&mut self) -> Result<(), Unsent> {
        while !self.waiting.is_empty() {
            let moved = match self.pace.wait(self.stream.inner.write_chunks(&mut self.waiting)).await {
                Ok(Ok(moved)) => moved,
                Ok(Err(error)) => {
                    self.reset(Code::H3_REQUEST_CANCELLED);
                    return Err(Unsent::Left(error));
                }
                Err(_) => {
                    self.reset(Code::H3_REQUEST_CANCELLED);
                    return Err(Unsent::TooSlow);
                }
            };
            self.pace.moved(moved.bytes);
            self.written += moved.bytes as u64;
            self.waiting.drain(..moved.chunks);
        }
        Ok(())
    }
}

impl Going for Answer {
    /// Its end is a word of its own.
    fn give_head(&mut self, status: StatusCode, headers: HeaderMap, _end: bool) -> Result<()> {
        self.give([head_of(status, &headers)]);
        Ok(())
    }

    fn give_data(&mut self, data: Bytes, _end: bool) {
        self.body += data.len();
        self.give([header_of(frames::DATA, data.len()), data]);
    }

    fn give_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        let section = section::encode_trailers(&trailers);
        self.give([header_of(frames::HEADERS, section.len()), section]);
        Ok(())
    }

    fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    async fn flush(&mut self) -> Result<()> {
        self.write().await.map_err(|why| match why {
            Unsent::TooSlow => Error::explain(ErrorType::WriteTimedout, "the client takes the answer too slowly"),
            Unsent::Left(error) => Error::because(ErrorType::WriteError, "writing an answer", error),
        })
    }

    fn end(&mut self) -> Result<()> {
        self.finish();
        Ok(())
    }

    fn is_ended(&self) -> bool {
        self.stream.ended
    }

    fn cut(&mut self, malformed: bool) {
        self.reset(if malformed { Code::H3_MESSAGE_ERROR } else { Code::H3_INTERNAL_ERROR });
    }

    fn gone(&mut self) -> impl Future<Output = ()> + Send {
        self.taken()
    }

    fn sent(&self) -> usize {
        self.body
    }
}

fn head_of(status: StatusCode, headers: &HeaderMap) -> Bytes {
    let section = section::encode(status, headers);
    let mut frame = BytesMut::with_capacity(HEADER_BYTES_MAX + section.len());
    put_header(&mut frame, frames::HEADERS, section.len());
    frame.extend_from_slice(&section);
    frame.freeze()
}

fn header_of(kind: u64, length: usize) -> Bytes {
    let mut header = BytesMut::with_capacity(HEADER_BYTES_MAX);
    put_header(&mut header, kind, length);
    header.freeze()
}
