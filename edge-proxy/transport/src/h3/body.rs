//! What comes on a request's stream: its head, then its body within its bounds.

use std::sync::Arc;

use bytes::Bytes;
use h3::error::Code;
use http::HeaderMap;
use pingora::{Error, ErrorType};
use quinn::{ReadError, RecvStream};

use super::adapter::{code, fail};
use super::frames::{self, Fault, Found, Frames, Stream};
use super::section;
use crate::head::Refusal;
use crate::pace::Pace;
use crate::stream;

/// Why no more of a request is read.
#[derive(Debug)]
pub(super) enum Unread {
    /// The client gave it up, or is gone.
    Left(ReadError),
    /// The client sent too little in the time it had.
    TooSlow,
    /// The body is longer than it may be.
    TooLong,
    /// Body and `Content-Length` differ, or the trailers are none (RFC 9114 section 4.1.2).
    Malformed,
    /// What the stream has is not HTTP/3; the connection is closed.
    Frames(Fault),
    /// The stream ended before a head.
    NoHead,
}

impl From<Unread> for stream::Unread {
    fn from(why: Unread) -> Self {
        match why {
            Unread::TooSlow => Self::Refused(Refusal::BodyTime),
            Unread::TooLong => Self::Refused(Refusal::BodyLength),
            Unread::Malformed | Unread::NoHead => Self::Refused(Refusal::Field),
            Unread::Left(error) => Self::Broken(Error::because(ErrorType::ReadError, "reading the body of a request", error)),
            // The connection is closed, and counted.
            Unread::Frames(fault) => {
                Self::Broken(Error::explain(ErrorType::ReadError, format!("the frames of a request are wrong: {fault:?}")))
            }
        }
    }
}

/// The bytes of one request.
pub(super) struct Incoming {
    stream: RecvStream,
    connection: Arc<quinn::Connection>,
    frames: Frames,
    input: Bytes,
    pace: Pace,
    /// What was read ahead of need.
    ahead: Option<Bytes>,
    /// Bytes of the body that were read, and how many it may have.
    read: u64,
    max: u64,
    /// What `Content-Length` says.
    told: Option<u64>,
    ended: bool,
    /// Whether the trailers have come.
    trailed: bool,
}

impl Incoming {
    /// With heads of at most `head_max` bytes and bodies of `body_max`, if that is not 0.
    pub(super) fn new(stream: RecvStream, connection: Arc<quinn::Connection>, head_max: u64, body_max: u64, rate_min: u64) -> Self {
        Self {
            stream,
            connection,
            frames: Frames::of(Stream::Request { head: head_max }),
            input: Bytes::new(),
            pace: Pace::new(rate_min),
            ahead: None,
            read: 0,
            max: if body_max == 0 { u64::MAX } else { body_max },
            told: None,
            ended: false,
            trailed: false,
        }
    }

    /// The encoded field section of the head. The time for it is the caller's to bound.
    pub(super) async fn head(&mut self) -> Result<Bytes, Unread> {
        loop {
            match self.frames.next(&mut self.input) {
                Ok(Some(Found::Frame(_, section))) => return Ok(section),
                Ok(Some(Found::Data(_))) => return Err(self.broken(Fault::Unexpected(frames::DATA))),
                Ok(None) => match self.stream.read_chunk(usize::MAX, true).await {
                    Ok(Some(chunk)) => self.input = chunk.bytes,
                    Ok(None) => {
                        self.ended = true;
                        return Err(self.frames.end().map_or_else(|fault| self.broken(fault), |()| Unread::NoHead));
                    }
                    Err(error) => return Err(self.left(error)),
                },
                // Answered with a status, not with the end of the connection.
                Err(Fault::HeadLength) => return Err(Unread::Frames(Fault::HeadLength)),
                Err(fault) => return Err(self.broken(fault)),
            }
        }
    }

    /// Says how long the body is to be.
    pub(super) fn tell(&mut self, length: Option<u64>) {
        self.told = length;
    }

    /// Reads on until it is known whether there is a body, which [`Incoming::is_known_empty`] then says. The time for it is the caller's to bound.
    pub(super) async fn look_ahead(&mut self) -> Result<(), Unread> {
        if self.read == 0 && self.ahead.is_none() {
            self.ahead = self.piece(false).await?;
        }
        Ok(())
    }

    /// Whether there was no body, as far as is known.
    pub(super) fn is_known_empty(&self) -> bool {
        (self.ended || self.told == Some(0)) && self.read == 0
    }

    /// Has the client send no more.
    pub(super) fn stop(&mut self, why: Code) {
        if !std::mem::replace(&mut self.ended, true) {
            // What the client has ended itself need not be stopped.
            let _ = self.stream.stop(code(why));
        }
    }

    /// Closes the connection for what this request has.
    pub(super) fn close(&mut self, why: Code) {
        self.ended = true;
        self.connection.close(code(why), b"a field section that cannot be read");
    }

    async fn piece(&mut self, paced: bool) -> Result<Option<Bytes>, Unread> {
        while !self.ended {
            match self.frames.next(&mut self.input) {
                Ok(Some(Found::Data(piece))) if !self.trailed => return self.count(piece).map(Some),
                // Trailers of requests go nowhere.
                Ok(Some(Found::Frame(_, section))) if !self.trailed => {
                    self.trailed = true;
                    if !section::is_trailer(&section) {
                        return Err(self.malformed());
                    }
                }
                Ok(Some(Found::Data(_))) => return Err(self.broken(Fault::Unexpected(frames::DATA))),
                Ok(Some(Found::Frame(kind, _))) => return Err(self.broken(Fault::Unexpected(kind))),
                Ok(None) => self.fill(paced).await?,
                Err(fault) => return Err(self.broken(fault)),
            }
        }
        Ok(None)
    }

    async fn fill(&mut self, paced: bool) -> Result<(), Unread> {
        let reading = self.stream.read_chunk(usize::MAX, true);
        let read = if paced { self.pace.wait(reading).await } else { Ok(reading.await) };
        match read {
            Ok(Ok(Some(chunk))) => self.input = chunk.bytes,
            Ok(Ok(None)) => {
                self.ended = true;
                self.frames.end().map_err(|fault| self.broken(fault))?;
                if self.told.is_some_and(|told| told != self.read) {
                    return Err(self.malformed());
                }
            }
            Ok(Err(error)) => return Err(self.left(error)),
            Err(_) => {
                self.stop(Code::H3_REQUEST_CANCELLED);
                return Err(Unread::TooSlow);
            }
        }
        Ok(())
    }

    fn count(&mut self, piece: Bytes) -> Result<Bytes, Unread> {
        self.read += piece.len() as u64;
        self.pace.moved(piece.len());
        if self.told.is_some_and(|told| self.read > told) {
            return Err(self.malformed());
        }
        if self.read > self.max {
            self.stop(Code::H3_NO_ERROR);
            return Err(Unread::TooLong);
        }
        Ok(piece)
    }

    fn malformed(&mut self) -> Unread {
        self.stop(Code::H3_MESSAGE_ERROR);
        Unread::Malformed
    }

    fn left(&mut self, error: ReadError) -> Unread {
        self.ended = true;
        Unread::Left(error)
    }

    fn broken(&mut self, fault: Fault) -> Unread {
        self.ended = true;
        fail(&self.connection, fault);
        Unread::Frames(fault)
    }
}

impl stream::Coming for Incoming {
    async fn next(&mut self, paced: bool) -> Result<Option<Bytes>, stream::Unread> {
        match self.ahead.take() {
            Some(piece) => Ok(Some(piece)),
            None => Ok(self.piece(paced).await?),
        }
    }

    /// Trailers of requests go nowhere.
    async fn trailers(&mut self) -> Result<Option<HeaderMap>, stream::Unread> {
        Ok(None)
    }

    fn is_done(&self) -> bool {
        self.is_empty() || (self.ended && self.ahead.is_none())
    }

    fn is_empty(&self) -> bool {
        self.is_known_empty()
    }
}

impl Drop for Incoming {
    /// An answer that does not need the rest of its request is as good as any (RFC 9114 section 4.1).
    fn drop(&mut self) {
        self.stop(Code::H3_NO_ERROR);
    }
}
