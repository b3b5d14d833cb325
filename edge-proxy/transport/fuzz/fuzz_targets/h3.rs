//! What HTTP/3 clients send: frames are the same however their bytes come, and what our own look at a field section and the decoder of the `h3`
//! crate find in it does not differ.
#![no_main]

use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use futures_util::FutureExt as _;
use h3::error::{Code, StreamError};
use h3::frame::FrameStream;
use h3::quic::{self, ConnectionErrorIncoming, StreamErrorIncoming, StreamId, WriteBuf};
use h3::server;
use h3::stream::BufRecvStream;
use libfuzzer_sys::fuzz_target;
use skerry_transport::h3::frames::{self, Fault, Found, Frames, Stream};
use skerry_transport::h3::priority::of_stream;
use skerry_transport::h3::section::{self, Malformed};
use skerry_transport::priority::Priority;

/// The longest section that is decoded, and the most lines it may have.
const HEAD_BYTES_MAX: u64 = 48 << 10;
const LINES_MAX: usize = 132;

/// A connection on which nothing happens, and a stream that has one piece.
struct Nothing;
struct Head(Option<Bytes>);

impl quic::Connection<Bytes> for Nothing {
    type RecvStream = Head;
    type OpenStreams = Self;

    fn poll_accept_recv(&mut self, _: &mut Context<'_>) -> Poll<Result<Head, ConnectionErrorIncoming>> {
        Poll::Pending
    }

    fn poll_accept_bidi(&mut self, _: &mut Context<'_>) -> Poll<Result<Head, ConnectionErrorIncoming>> {
        Poll::Pending
    }

    fn opener(&self) -> Self {
        Self
    }
}

impl quic::OpenStreams<Bytes> for Nothing {
    type BidiStream = Head;
    type SendStream = Head;

    fn poll_open_bidi(&mut self, _: &mut Context<'_>) -> Poll<Result<Head, StreamErrorIncoming>> {
        Poll::Ready(Ok(Head(None)))
    }

    fn poll_open_send(&mut self, _: &mut Context<'_>) -> Poll<Result<Head, StreamErrorIncoming>> {
        Poll::Ready(Ok(Head(None)))
    }

    fn close(&mut self, _: Code, _: &[u8]) {}
}

fn first() -> StreamId {
    StreamId::try_from(0).unwrap()
}

impl quic::SendStream<Bytes> for Head {
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        Poll::Ready(Ok(()))
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, _: T) -> Result<(), StreamErrorIncoming> {
        Ok(())
    }

    fn poll_finish(&mut self, _: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        Poll::Ready(Ok(()))
    }

    fn reset(&mut self, _: u64) {}

    fn send_id(&self) -> StreamId {
        first()
    }
}

impl quic::RecvStream for Head {
    type Buf = Bytes;

    fn poll_data(&mut self, _: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        Poll::Ready(Ok(self.0.take()))
    }

    fn stop_sending(&mut self, _: u64) {}

    fn recv_id(&self) -> StreamId {
        first()
    }
}

/// What `h3` makes of a section.
fn decoded(section: &[u8]) -> Result<http::Request<()>, StreamError> {
    let mut frame = bytes::BytesMut::new();
    frames::put_header(&mut frame, frames::HEADERS, section.len());
    frame.extend_from_slice(section);
    let mut settings = server::builder();
    settings.max_field_section_size(HEAD_BYTES_MAX).send_grease(false);
    let connection = settings.build(Nothing).now_or_never().expect("at once").ok().expect("open");
    let stream = FrameStream::new(BufRecvStream::new(Head(Some(frame.freeze()))));
    connection.create_resolver(stream).resolve_request().now_or_never().expect("at once").map(|(request, _)| request)
}

/// All that is found in the bytes when they come in pieces of `size`, or where they go wrong.
fn found(stream: Stream, bytes: &[u8], size: usize) -> (Vec<Found>, Result<(), Fault>) {
    let (mut frames, mut all) = (Frames::of(stream), Vec::new());
    for piece in bytes.chunks(size.max(1)) {
        let mut input = Bytes::copy_from_slice(piece);
        loop {
            match frames.next(&mut input) {
                Err(fault) => return (all, Err(fault)),
                Ok(None) => break,
                Ok(Some(Found::Data(more))) => {
                    assert!(more.has_remaining(), "data without a byte");
                    match all.last_mut() {
                        Some(Found::Data(before)) => *before = [&before[..], &more[..]].concat().into(),
                        _ => all.push(Found::Data(more)),
                    }
                }
                Ok(Some(frame)) => all.push(frame),
            }
        }
        assert!(input.is_empty(), "bytes left over");
    }
    (all, frames.end())
}

fuzz_target!(|data: &[u8]| {
    let size = data.first().map_or(1, |byte| usize::from(*byte));
    for stream in [Stream::Request { head: 100 }, Stream::Control] {
        let whole = found(stream, data, usize::MAX);
        assert_eq!(whole, found(stream, data, 1));
        assert_eq!(whole, found(stream, data, size));
        for found in &whole.0 {
            if let Found::Frame(_, payload) = found {
                assert!(payload.len() <= frames::CONTROL_BYTES_MAX as usize);
            }
        }
    }
    let priority = Priority::read(data);
    assert!(priority.urgency <= 7 && of_stream(priority, data.len() as u64) < 0);

    let ours = section::inspect(data, LINES_MAX);
    assert!(ours.is_ok_and(|lines| (3..=LINES_MAX).contains(&lines)) || ours.is_err());
    // As the front does, which gives `h3` nothing with more lines.
    if matches!(ours, Err(Malformed::Many)) {
        return;
    }
    if let Ok(request) = decoded(data) {
        let pseudo = [request.uri().scheme().is_some(), request.uri().path_and_query().is_some()];
        match ours {
            Ok(_) => assert!(pseudo.iter().all(|there| *there), "{request:?}"),
            // What is encoded in a way that needs a dynamic table is no request here, though `h3` may make something of it.
            Err(Malformed::Encoding) => assert_ne!(data.first(), Some(&0), "{request:?}"),
            Err(_) => {}
        }
    }
});
