//! The client of one stream that waits for an answer: head and body go out as its windows allow, and the end with the last of them.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::StatusCode;
use http::header::{self, HeaderMap};

use super::Going;
use crate::asker::{Asker, Left, Owed, Pieces, Sent, Unsent, has_body};
use crate::door;
use crate::hygiene::strip_http1;
use crate::interim::{INTERIM_MAX, Interim};

/// A piece of a body that is smaller, in bytes, may be held to leave with the end behind it.
const HELD_BYTES_MAX: usize = 16 * 1024;

/// See the module.
pub(crate) struct Waiting<G> {
    going: G,
    /// Whether it asked with HEAD.
    head_only: bool,
    /// Interim heads given.
    interim: usize,
}

impl<G: Going> Waiting<G> {
    pub(crate) fn new(going: G, head_only: bool) -> Self {
        Self { going, head_only, interim: 0 }
    }

    /// Draws the body and sends it, head first, until its end is sent. Whoever has all that the head tells waits for the end all the same: a request that
    /// is sent then finds the answer stored.
    async fn send(&mut self, head: Head, mut owed: Owed, body: &mut dyn Pieces) -> Result<(), Unsent> {
        let mut head = Some(head);
        // Where no length is told, a small piece waits until it is known whether it is the last one.
        let mut held: Option<Bytes> = None;
        if owed.is_paid() {
            self.give(&mut head, Bytes::new(), true).await?;
        }
        loop {
            let mut next = body.next();
            let came = match (&mut next).now_or_never() {
                Some(came) => came,
                None => {
                    if let Some(piece) = held.take() {
                        self.give(&mut head, piece, false).await?;
                    }
                    // A head waits for the first bytes of its body.
                    let mut gone = pin!(self.going.gone());
                    let raced = poll_fn(|cx| match next.as_mut().poll(cx) {
                        Poll::Ready(came) => Poll::Ready(Some(came)),
                        Poll::Pending => gone.as_mut().poll(cx).map(|()| None),
                    });
                    match raced.await {
                        Some(came) => came,
                        // It has all of it.
                        None if owed.is_paid() => return Ok(()),
                        None => return Err(Unsent::Client),
                    }
                }
            };
            match owed.take(came) {
                Ok(Some(piece)) => {
                    if let Some(before) = held.take() {
                        self.give(&mut head, before, false).await?;
                    }
                    if owed.is_told() || piece.len() >= HELD_BYTES_MAX {
                        self.give(&mut head, piece, owed.is_paid()).await?;
                    } else {
                        held = Some(piece);
                    }
                }
                Ok(None) if owed.is_told() => return Ok(()),
                Ok(None) => return self.give(&mut head, held.unwrap_or_default(), true).await,
                Err(why) => {
                    self.give(&mut head, held.unwrap_or_default(), false).await?;
                    return Err(Unsent::Body(why));
                }
            }
        }
    }

    /// Sends a piece, which may be empty, and the head before the first one; `end` says that nothing follows.
    async fn give(&mut self, head: &mut Option<Head>, piece: Bytes, end: bool) -> Result<(), Unsent> {
        if let Some(Head(status, headers)) = head.take() {
            self.going.give_head(status, headers, end && piece.is_empty()).map_err(|_| Unsent::Client)?;
        }
        if !piece.is_empty() {
            self.going.give_data(piece, end);
        }
        self.going.flush().await.map_err(|_| Unsent::Client)?;
        if end { self.going.end().map_err(|_| Unsent::Client) } else { Ok(()) }
    }
}

/// A final head that is still to be sent.
struct Head(StatusCode, HeaderMap);

#[async_trait]
impl<G: Going> Asker for Waiting<G> {
    async fn gone(&mut self) {
        self.going.gone().await;
    }

    /// Heads wait in memory until the client reads them, so that there is a bound on their number.
    async fn interim(&mut self, interim: Interim) -> Result<(), Left> {
        if self.interim == INTERIM_MAX {
            return Ok(());
        }
        self.interim += 1;
        let (head, ()) = interim.into_parts();
        let mut headers = head.headers;
        strip_http1(&mut headers);
        headers.remove(header::CONTENT_LENGTH);
        self.going.give_head(head.status, headers, false).map_err(|_| Left)?;
        self.going.flush().await.map_err(|_| Left)
    }

    async fn answer(&mut self, status: StatusCode, mut headers: HeaderMap, body: &mut dyn Pieces) -> Sent {
        let owed = Owed::by(&mut headers);
        strip_http1(&mut headers);
        door::ensure_date(&mut headers);
        let head = Head(status, headers);
        let end = if has_body(status, self.head_only) {
            self.send(head, owed, body).await
        } else {
            self.give(&mut Some(head), Bytes::new(), true).await
        };
        if end.is_err() {
            self.going.cut(false);
        }
        Sent { bytes: self.going.sent() as u64, end }
    }
}
