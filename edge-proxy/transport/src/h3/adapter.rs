//! The `h3` crate on quinn, as far as it is used: it keeps the control streams, says when to end, and decodes the heads of requests.
//!
//! The streams of requests are not its own: their frames are cut out by [`super::frames`], and a head is given to it whole once it is known to
//! be within its bounds. What a client's control stream says is bounded here before the crate holds it in memory.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use h3::error::Code;
use h3::quic::{self, ConnectionErrorIncoming, StreamErrorIncoming, StreamId, WriteBuf};
use parking_lot::Mutex;
use quinn::{ConnectionError, ReadError, RecvStream, SendStream, VarInt, WriteError};

use super::frames::{self, Fault, Found, Frames, Stream};
use super::priority::Priorities;

/// Frames of a client's control stream that are heeded, priorities of requests not counted; a client that sends more is up to no good.
const CONTROL_FRAMES_MAX: u32 = 1_000;

/// A future of quinn's.
type Pending<T> = Pin<Box<dyn Future<Output = Result<T, ConnectionError>> + Send + Sync>>;

/// A QUIC connection, as `h3` takes it.
pub(super) struct Quic {
    connection: quinn::Connection,
    priorities: Arc<Priorities>,
    requests: Option<Pending<(SendStream, RecvStream)>>,
    others: Option<Pending<RecvStream>>,
    opening: Option<Pending<SendStream>>,
}

impl Quic {
    pub(super) fn new(connection: quinn::Connection, priorities: Arc<Priorities>) -> Self {
        Self { connection, priorities, requests: None, others: None, opening: None }
    }
}

/// A code of RFC 9114 section 8.1, as QUIC carries it.
pub(super) fn code(code: Code) -> VarInt {
    VarInt::from_u64(code.value()).unwrap_or(VarInt::MAX)
}

/// Polls `pending`, made anew if there is none.
fn poll<T>(
    pending: &mut Option<Pending<T>>,
    cx: &mut Context<'_>,
    make: impl FnOnce() -> Pending<T>,
) -> Poll<Result<T, ConnectionErrorIncoming>> {
    let done = ready!(pending.get_or_insert_with(make).as_mut().poll(cx));
    *pending = None;
    Poll::Ready(done.map_err(lost))
}

fn lost(error: ConnectionError) -> ConnectionErrorIncoming {
    match error {
        ConnectionError::ApplicationClosed(closed) => ConnectionErrorIncoming::ApplicationClose { error_code: closed.error_code.into() },
        ConnectionError::TimedOut => ConnectionErrorIncoming::Timeout,
        error => ConnectionErrorIncoming::Undefined(Arc::new(error)),
    }
}

impl quic::Connection<Bytes> for Quic {
    type RecvStream = Control;
    type OpenStreams = Self;

    fn poll_accept_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Control, ConnectionErrorIncoming>> {
        let Self { connection, others, priorities, .. } = self;
        let make = || {
            let connection = connection.clone();
            Box::pin(async move { connection.accept_uni().await }) as Pending<_>
        };
        let stream = ready!(poll(others, cx, make))?;
        Poll::Ready(Ok(Control::new(stream, connection.clone(), Arc::clone(priorities))))
    }

    fn poll_accept_bidi(&mut self, cx: &mut Context<'_>) -> Poll<Result<Request, ConnectionErrorIncoming>> {
        let Self { connection, requests, .. } = self;
        let make = || {
            let connection = connection.clone();
            Box::pin(async move { connection.accept_bi().await }) as Pending<_>
        };
        let (send, receive) = ready!(poll(requests, cx, make))?;
        Poll::Ready(Ok(Request::new(send, receive)))
    }

    fn opener(&self) -> Self {
        Self::new(self.connection.clone(), Arc::clone(&self.priorities))
    }
}

impl quic::OpenStreams<Bytes> for Quic {
    type BidiStream = Request;
    type SendStream = Sending;

    /// Servers open none (RFC 9114 section 6.1).
    fn poll_open_bidi(&mut self, _: &mut Context<'_>) -> Poll<Result<Request, StreamErrorIncoming>> {
        Poll::Ready(Err(StreamErrorIncoming::Unknown("a server opens no request stream".into())))
    }

    fn poll_open_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<Sending, StreamErrorIncoming>> {
        let connection = &self.connection;
        let make = || {
            let connection = connection.clone();
            Box::pin(async move { connection.open_uni().await }) as Pending<_>
        };
        let opened = ready!(poll(&mut self.opening, cx, make));
        Poll::Ready(match opened {
            Ok(stream) => Ok(Sending { stream, unsent: None }),
            Err(connection_error) => Err(StreamErrorIncoming::ConnectionErrorIncoming { connection_error }),
        })
    }

    fn close(&mut self, why: Code, reason: &[u8]) {
        self.connection.close(code(why), reason);
    }
}

/// A stream of a request, of which `h3` sees no more than the head.
pub(super) struct Request {
    id: StreamId,
    halves: Option<(SendStream, RecvStream)>,
    head: Head,
}

/// Where the head of a request is put for `h3` to decode it. The lock is held for the one assignment.
pub(super) type Head = Arc<Mutex<Option<Bytes>>>;

impl Request {
    fn new(send: SendStream, receive: RecvStream) -> Self {
        // A stream's number fits, or QUIC would not have it.
        let id = StreamId::try_from(u64::from(VarInt::from(send.id()))).unwrap_or(StreamId::from(h3::proto::varint::VarInt::MAX));
        Self { id, halves: Some((send, receive)), head: Head::default() }
    }

    /// The stream itself, once.
    pub(super) fn take(&mut self) -> Option<(SendStream, RecvStream)> {
        self.halves.take()
    }

    /// Tells the client that nothing was done with the request, which it may send elsewhere (RFC 9114 section 5.2).
    pub(super) fn refuse(&mut self) {
        if let Some((mut send, mut receive)) = self.take() {
            let _ = receive.stop(code(Code::H3_REQUEST_REJECTED));
            let _ = send.reset(code(Code::H3_REQUEST_REJECTED));
        }
    }

    pub(super) fn head(&self) -> Head {
        Arc::clone(&self.head)
    }
}

impl quic::RecvStream for Request {
    type Buf = Bytes;

    fn poll_data(&mut self, _: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        Poll::Ready(Ok(self.head.lock().take()))
    }

    fn stop_sending(&mut self, error_code: u64) {
        if let Some((_, receive)) = &mut self.halves {
            let _ = receive.stop(VarInt::from_u64(error_code).unwrap_or(VarInt::MAX));
        }
    }

    fn recv_id(&self) -> StreamId {
        self.id
    }
}

/// Nothing that `h3` writes to a request goes out: the answer is written by [`super::answer`].
impl quic::SendStream<Bytes> for Request {
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        Poll::Ready(Ok(()))
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, _: T) -> Result<(), StreamErrorIncoming> {
        Ok(())
    }

    fn poll_finish(&mut self, _: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        Poll::Ready(Ok(()))
    }

    fn reset(&mut self, reset_code: u64) {
        if let Some((send, _)) = &mut self.halves {
            let _ = send.reset(VarInt::from_u64(reset_code).unwrap_or(VarInt::MAX));
        }
    }

    fn send_id(&self) -> StreamId {
        self.id
    }
}

/// A stream of our own: control, and those of QPACK.
pub(super) struct Sending {
    stream: SendStream,
    unsent: Option<WriteBuf<Bytes>>,
}

impl quic::SendStream<Bytes> for Sending {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        while let Some(unsent) = self.unsent.as_mut().filter(|unsent| unsent.has_remaining()) {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, unsent.chunk())).map_err(|error| match error {
                WriteError::Stopped(why) => StreamErrorIncoming::StreamTerminated { error_code: why.into() },
                WriteError::ConnectionLost(error) => StreamErrorIncoming::ConnectionErrorIncoming { connection_error: lost(error) },
                error => StreamErrorIncoming::Unknown(Box::new(error)),
            })?;
            unsent.advance(written);
        }
        self.unsent = None;
        Poll::Ready(Ok(()))
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        if self.unsent.is_some() {
            return Err(StreamErrorIncoming::Unknown("what was given before is not sent".into()));
        }
        self.unsent = Some(data.into());
        Ok(())
    }

    fn poll_finish(&mut self, _: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        Poll::Ready(self.stream.finish().map_err(|error| StreamErrorIncoming::Unknown(Box::new(error))))
    }

    fn reset(&mut self, reset_code: u64) {
        let _ = self.stream.reset(VarInt::from_u64(reset_code).unwrap_or(VarInt::MAX));
    }

    fn send_id(&self) -> StreamId {
        StreamId::try_from(u64::from(VarInt::from(self.stream.id()))).unwrap_or(StreamId::from(h3::proto::varint::VarInt::MAX))
    }
}

/// A one-way stream of a client: its control stream, or one that is not read further than its type.
pub(super) struct Control {
    stream: RecvStream,
    connection: quinn::Connection,
    priorities: Arc<Priorities>,
    kind: Kind,
    /// What came and was not yet looked at.
    input: Bytes,
    frames_heeded: u32,
}

/// What is known of a one-way stream (RFC 9114 section 6.2).
enum Kind {
    /// So much of its type.
    Unknown(BytesMut),
    Control(Frames),
    /// Any other; `h3` stops those it does not know.
    Other,
}

impl Control {
    fn new(stream: RecvStream, connection: quinn::Connection, priorities: Arc<Priorities>) -> Self {
        Self { stream, connection, priorities, kind: Kind::Unknown(BytesMut::new()), input: Bytes::new(), frames_heeded: 0 }
    }

    /// What of the input is for `h3`, if anything is.
    fn sort(&mut self) -> Result<Option<Bytes>, Fault> {
        match &mut self.kind {
            Kind::Unknown(begin) => {
                while !self.input.is_empty() {
                    begin.put_u8(self.input.get_u8());
                    let Some(kind) = frames::varint(&mut &begin[..]) else { continue };
                    let begin = std::mem::take(begin).freeze();
                    self.kind = if kind == 0 { Kind::Control(Frames::of(Stream::Control)) } else { Kind::Other };
                    return Ok(Some(begin));
                }
                Ok(None)
            }
            Kind::Other => Ok(Some(std::mem::take(&mut self.input)).filter(|input| !input.is_empty())),
            Kind::Control(frames) => loop {
                match frames.next(&mut self.input)? {
                    None => return Ok(None),
                    Some(Found::Frame(frames::PRIORITY_UPDATE, payload)) => self.priorities.update(&payload),
                    Some(Found::Frame(kind, payload)) => {
                        self.frames_heeded += 1;
                        if self.frames_heeded > CONTROL_FRAMES_MAX {
                            return Err(Fault::Length(kind));
                        }
                        let mut frame = BytesMut::with_capacity(frames::HEADER_BYTES_MAX + payload.len());
                        frames::put_header(&mut frame, kind, payload.len());
                        frame.put_slice(&payload);
                        return Ok(Some(frame.freeze()));
                    }
                    // There is no DATA on a control stream.
                    Some(Found::Data(_)) => return Err(Fault::Unexpected(frames::DATA)),
                }
            },
        }
    }

    fn fail(&self, fault: Fault) -> StreamErrorIncoming {
        fail(&self.connection, fault);
        StreamErrorIncoming::ConnectionErrorIncoming {
            connection_error: ConnectionErrorIncoming::InternalError(format!("refused: {fault:?}")),
        }
    }
}

/// Closes a connection for what its client sent.
pub(super) fn fail(connection: &quinn::Connection, fault: Fault) {
    let (why, reason) = match fault {
        Fault::Unexpected(_) => (Code::H3_FRAME_UNEXPECTED, "a frame out of place"),
        Fault::Truncated => (Code::H3_FRAME_ERROR, "a frame that breaks off"),
        Fault::HeadLength | Fault::Length(_) => (Code::H3_EXCESSIVE_LOAD, "too long, or too many"),
    };
    connection.close(code(why), reason.as_bytes());
}

impl quic::RecvStream for Control {
    type Buf = Bytes;

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        loop {
            if let Some(found) = self.sort().map_err(|fault| self.fail(fault))? {
                return Poll::Ready(Ok(Some(found)));
            }
            let read = ready!(pin!(self.stream.read_chunk(usize::MAX, true)).poll(cx));
            match read {
                Ok(Some(chunk)) => self.input = chunk.bytes,
                Ok(None) => return Poll::Ready(Ok(None)),
                Err(ReadError::Reset(why)) => return Poll::Ready(Err(StreamErrorIncoming::StreamTerminated { error_code: why.into() })),
                Err(ReadError::ConnectionLost(error)) => {
                    return Poll::Ready(Err(StreamErrorIncoming::ConnectionErrorIncoming { connection_error: lost(error) }));
                }
                Err(error) => return Poll::Ready(Err(StreamErrorIncoming::Unknown(Box::new(error)))),
            }
        }
    }

    fn stop_sending(&mut self, error_code: u64) {
        let _ = self.stream.stop(VarInt::from_u64(error_code).unwrap_or(VarInt::MAX));
    }

    fn recv_id(&self) -> StreamId {
        StreamId::try_from(u64::from(VarInt::from(self.stream.id()))).unwrap_or(StreamId::from(h3::proto::varint::VarInt::MAX))
    }
}
