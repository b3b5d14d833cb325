//! The client of an HTTP/1.1 connection that waits for an answer: what it sends meanwhile is kept, and the answer leaves in as few writes as its
//! body comes in.

use std::future::poll_fn;
use std::task::Poll;

use async_trait::async_trait;
use bytes::BytesMut;
use futures_util::FutureExt as _;
use http::header::{self, HeaderMap};
use http::{HeaderValue, StatusCode};
use tokio::sync::watch;

use super::batch::Batch;
use super::early::poll_left;
use super::text;
use crate::asker::{Asker, Left, Owed, Pieces, Sent, Unsent, has_body};
use crate::connection::Socket;
use crate::door;
use crate::interim::Interim;
use crate::pace::Pace;

/// See the module.
pub(super) struct Waiting<'a> {
    pub(super) socket: &'a mut Socket,
    /// What it sends meanwhile.
    pub(super) early: &'a mut BytesMut,
    pub(super) stop: &'a watch::Receiver<bool>,
    pub(super) pace: Pace,
    /// Whether it asked with HEAD.
    pub(super) head_only: bool,
    /// Whether it speaks HTTP/1.0.
    pub(super) is_old: bool,
    /// Whether the connection is to end with the answer.
    pub(super) closes: bool,
    /// Whether it has an answer to its end.
    pub(super) is_answered: bool,
}

/// How the end of an answer's body is told (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frame {
    /// There is none.
    Empty,
    Length,
    Chunks,
    /// By the end of the connection.
    Close,
}

/// What a body, or its client, does next.
enum Next {
    Came(Result<Option<bytes::Bytes>, String>),
    Left,
}

impl Waiting<'_> {
    fn frame(&self, status: StatusCode, owed: Owed) -> Frame {
        match () {
            () if !has_body(status, self.head_only) => Frame::Empty,
            () if owed.is_told() => Frame::Length,
            // There are no chunks to end it (RFC 9112 section 6.1).
            () if self.is_old => Frame::Close,
            () => Frame::Chunks,
        }
    }

    fn head(&self, status: StatusCode, headers: &HeaderMap) -> Vec<u8> {
        let mut head = Vec::with_capacity(text::room_for(headers).max(door::COPIED_BYTES_MAX / 2));
        text::put(&mut head, status, headers);
        head.extend_from_slice(match (self.closes, self.is_old) {
            (true, _) => b"Connection: close\r\n\r\n",
            (false, true) => b"Connection: keep-alive\r\n\r\n",
            (false, false) => b"\r\n",
        });
        head
    }

    /// Draws the body into batches and writes them, until its end is written. Whoever has all that the head tells waits for the end all the same: a
    /// request that is sent then finds the answer stored.
    async fn send(&mut self, batch: &mut Batch, frame: Frame, mut owed: Owed, body: &mut dyn Pieces) -> Sent {
        let mut bytes = 0;
        let end = loop {
            if frame == Frame::Empty {
                break Ok(());
            }
            let mut next = body.next();
            let came = match (&mut next).now_or_never() {
                Some(came) => came,
                None => {
                    // A head waits for the first bytes of its body, and nothing else waits for more.
                    if (owed.is_paid() || !batch.is_bodiless()) && !self.write(batch, &mut bytes).await {
                        break Err(Unsent::Client);
                    }
                    let raced = poll_fn(|cx| match next.as_mut().poll(cx) {
                        Poll::Ready(came) => Poll::Ready(Next::Came(came)),
                        Poll::Pending => poll_left(self.socket, self.early, cx).map(|()| Next::Left),
                    });
                    match raced.await {
                        Next::Came(came) => came,
                        // It has all of it.
                        Next::Left if owed.is_paid() => break Ok(()),
                        Next::Left => break Err(Unsent::Client),
                    }
                }
            };
            match owed.take(came) {
                Ok(Some(piece)) if frame == Frame::Chunks => batch.put_chunk(piece),
                Ok(Some(piece)) => batch.put(piece),
                Ok(None) => break Ok(()),
                Err(why) => break Err(Unsent::Body(why)),
            }
            if batch.is_full() && !self.write(batch, &mut bytes).await {
                break Err(Unsent::Client);
            }
        };
        if end == Ok(()) && frame == Frame::Chunks {
            batch.put_last_chunk();
        }
        let is_written = end == Err(Unsent::Client) || self.write(batch, &mut bytes).await;
        Sent { bytes, end: if is_written { end } else { Err(Unsent::Client) } }
    }

    async fn write(&mut self, batch: &mut Batch, bytes: &mut u64) -> bool {
        let (written, is_whole) = batch.write(self.socket, &mut self.pace).await;
        *bytes += written;
        is_whole
    }
}

#[async_trait]
impl Asker for Waiting<'_> {
    async fn gone(&mut self) {
        poll_fn(|cx| poll_left(self.socket, self.early, cx)).await;
    }

    async fn interim(&mut self, interim: Interim) -> Result<(), Left> {
        if self.is_old {
            return Ok(());
        }
        let mut head = Vec::with_capacity(text::room_for(interim.headers()));
        text::put(&mut head, interim.status(), interim.headers());
        head.extend_from_slice(b"\r\n");
        if self.write(&mut Batch::of(head), &mut 0).await { Ok(()) } else { Err(Left) }
    }

    async fn answer(&mut self, status: StatusCode, mut headers: HeaderMap, body: &mut dyn Pieces) -> Sent {
        let owed = Owed::by(&mut headers);
        let frame = self.frame(status, owed);
        if frame == Frame::Chunks {
            headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        door::ensure_date(&mut headers);
        self.closes |= frame == Frame::Close || *self.stop.borrow();
        let mut batch = Batch::of(self.head(status, &headers));
        let sent = self.send(&mut batch, frame, owed, body).await;
        self.is_answered = sent.end.is_ok();
        if frame == Frame::Close && !self.is_answered {
            // An end like any other would make a whole answer of it.
            self.socket.reset_when_dropped();
        }
        sent
    }
}
