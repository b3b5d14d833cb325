//! A WebSocket, passed through both ways at once, from a client of HTTP/1.1 to an upstream of HTTP/1.1.
//!
//! Pingora tells the upstream's half of its loop that the request has ended. Where that half comes to hear of it only after the 101 it takes it for the
//! end of the WebSocket: one in thirty on a busy machine. And it writes to one side or reads from the other, one at a time, so that two
//! sides that send more than the buffers on the way hold stand still. Here the request ends before the answer is read, and no direction waits for
//! the other one. What is held is one piece of each direction: what Pingora reads of a client at once (64 KiB), and [`PIECE_BYTES_MAX`] of the
//! upstream, beside what waits in the two sockets.
//!
//! The tier's filters are asked as Pingora asks them. A request that has a body is left to Pingora.

use std::future::{Future, poll_fn};
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use http::header;
use http::{Method, StatusCode, Version};
use pingora::http::ResponseHeader;
use pingora::protocols::Stream;
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::client::HttpSession;
use pingora::protocols::http::v1::client::HttpSession as Http1Session;
use pingora::proxy::{ProxyHttp, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, OrErr as _, Result};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use super::tries::{self, Reached, Tries};
use crate::alarm::{Alarm, Timer};
use crate::session::{self, is_interim};
use crate::upstream::Client;

/// Bytes read of an upstream at once.
const PIECE_BYTES_MAX: usize = 16 * 1024;

/// Passes the request of `session` through, and its answer or the WebSocket back. `false` when that is for Pingora to do.
///
/// # Errors
/// When it did not end properly; the tier is still to be told.
pub(super) async fn pass<App>(app: &App, client: &Client, session: &mut Session, context: &mut App::CTX) -> Result<bool>
where
    App: ProxyHttp + Sync,
    App::CTX: Send + Sync,
{
    if session.downstream_session.as_http1().is_none() || !session.as_mut().is_body_empty() {
        return Ok(false);
    }
    let mut tries = Tries::new();
    loop {
        let Reached { connection, upstream } = tries.reach(app, client, session, context).await?;
        let mut connection = match connection {
            HttpSession::H1(connection) => connection,
            other => {
                upstream.release(client, other).await;
                return Ok(false);
            }
        };
        match Box::pin(ask(app, session, context, &upstream.peer, &mut connection)).await {
            Ok(Answer::Whole) => {
                upstream.release(client, HttpSession::H1(connection)).await;
                return Ok(true);
            }
            Ok(Answer::Switched) => {
                let tunnel = Tunnel::dig(app, session, context, connection).await?;
                return Box::pin(tunnel.run()).await.map(|()| true);
            }
            Err(error) => {
                connection.shutdown().await;
                tries.failed(app, session, context, &upstream, error)?;
            }
        }
    }
}

/// What came of a request.
enum Answer {
    /// An ordinary answer, which the client has.
    Whole,
    /// The protocol of both connections is another one from here on.
    Switched,
}

/// Asks an upstream, and hands on what it answers.
async fn ask<App>(app: &App, session: &mut Session, context: &mut App::CTX, peer: &HttpPeer, upstream: &mut Http1Session) -> Result<Answer>
where
    App: ProxyHttp + Sync,
    App::CTX: Send + Sync,
{
    // Of what the client offers, the one protocol that is taken up.
    let hop = [(header::CONNECTION, "Upgrade"), (header::UPGRADE, "websocket")];
    let head = tries::head(app, session, context, Version::HTTP_11, &hop).await?;
    upstream.write_timeout = peer.options.write_timeout;
    // The alarm of the exchange is in place of a time for each read.
    upstream.read_timeout = None;
    upstream.write_request_header(Box::new(head)).await.map_err(|error| error.into_up())?;
    upstream.finish_body().await.map_err(|error| error.into_up())?;
    app.request_body_filter(session, &mut None, true, context).await?;
    loop {
        let step = tokio::select! {
            // Nothing more is to be read: it notices that the client leaves, and hears the alarm.
            read = session.downstream_session.read_body_or_idle(true) => match read {
                Ok(_) => return Err(Error::new_down(ErrorType::InternalError)),
                Err(error) => return Err(error.into_down()),
            },
            step = upstream.read_response_task() => step.map_err(|error| error.into_up())?,
        };
        let (step, end) = match step {
            HttpTask::Header(mut head, end) => {
                app.upstream_response_filter(session, &mut head, context).await?;
                let end = end && !is_interim(head.status);
                frame(session, &mut head, end)?;
                app.response_filter(session, &mut head, context).await?;
                if head.status == StatusCode::SWITCHING_PROTOCOLS {
                    session.as_mut().write_response_header(head).await.map_err(|error| error.into_down())?;
                    return Ok(Answer::Switched);
                }
                (HttpTask::Header(head, end), end)
            }
            HttpTask::Body(mut data, end) => {
                app.response_body_filter(session, &mut data, end, context)?;
                (HttpTask::Body(data, end), end)
            }
            step => {
                let end = step.is_end();
                (step, end)
            }
        };
        session.write_response_tasks(vec![step]).await?;
        if end {
            return Ok(Answer::Whole);
        }
    }
}

/// Has a body without length be told by chunks, as Pingora does, so that the connection can go on after it.
fn frame(session: &Session, head: &mut ResponseHeader, end: bool) -> Result<()> {
    let is_bodiless = end || session.req_header().method == Method::HEAD || head.status.is_informational();
    let is_framed = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING].iter().any(|name| head.headers.contains_key(name));
    if !is_bodiless && !is_framed {
        head.set_version(Version::HTTP_11);
        head.insert_header(header::TRANSFER_ENCODING, "chunked")?;
    }
    Ok(())
}

/// Two connections that are one now.
struct Tunnel<'a, App: ProxyHttp> {
    app: &'a App,
    /// The client's side. What waits for the client is in it.
    session: &'a mut Session,
    context: &'a mut App::CTX,
    upstream: Stream,
    /// What the upstream said together with its head; nothing when it ended with it.
    ahead: Option<Bytes>,
    /// What waits for the upstream.
    piece: Bytes,
    is_flushed: bool,
    /// Why the upstream takes no more. What it has said by then is still the client's.
    deaf: Option<Box<Error>>,
    /// Rings also while neither side is read from.
    alarm: Option<Arc<Alarm>>,
    timer: Timer,
}

/// What came, from either side or from both.
struct Came {
    /// Of the client: `None` inside is its end.
    asked: Option<Option<Bytes>>,
    /// Of the upstream: nothing is its end.
    answered: Option<Bytes>,
}

impl<'a, App> Tunnel<'a, App>
where
    App: ProxyHttp + Sync,
    App::CTX: Send + Sync,
{
    async fn dig(app: &'a App, session: &'a mut Session, context: &'a mut App::CTX, mut upstream: Http1Session) -> Result<Self> {
        // What came behind the head is read at once, without a look at the socket.
        let ahead = poll_fn(|cx| {
            Poll::Ready(match pin!(upstream.read_body_bytes()).poll(cx) {
                Poll::Ready(read) => Some(read),
                Poll::Pending => None,
            })
        });
        let ahead = ahead.await.transpose().map_err(|error| error.into_up())?.map(Option::unwrap_or_default);
        let alarm = session::alarm(session);
        let upstream = upstream.into_inner();
        let (piece, timer) = (Bytes::new(), Timer::default());
        Ok(Self { app, session, context, upstream, ahead, piece, is_flushed: true, deaf: None, alarm, timer })
    }

    /// Until either side has ended; what it said before is the other side's by then.
    async fn run(mut self) -> Result<()> {
        let ended = loop {
            match poll_fn(|cx| self.poll(cx)).await {
                Ok(came) => match self.take(came).await {
                    Ok(false) => {}
                    Ok(true) => break Ok(()),
                    Err(error) => break Err(error),
                },
                Err(error) => break Err(error),
            }
        };
        // Tells the upstream, if it listens.
        poll_fn(|cx| {
            let _ = Pin::new(&mut self.upstream).poll_shutdown(cx);
            Poll::Ready(())
        })
        .await;
        ended
    }

    /// Takes what came, for the other side each; whether that was the end.
    async fn take(&mut self, Came { asked, answered }: Came) -> Result<bool> {
        let mut is_over = false;
        if let Some(mut data) = asked {
            let end = data.is_none();
            self.app.request_body_filter(self.session, &mut data, end, self.context).await?;
            self.piece = data.unwrap_or_default();
            is_over = end;
        }
        if let Some(data) = answered {
            let end = data.is_empty();
            let mut data = (!end).then_some(data);
            self.app.response_body_filter(self.session, &mut data, end, self.context)?;
            self.session.downstream_session.send_downstream_proxy_task(HttpTask::UpgradedBody(data, false));
            is_over |= end;
        }
        Ok(is_over)
    }

    /// Moves on in both directions, neither of which waits for the other one.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Came>> {
        let answered = self.poll_answered(cx)?;
        let asked = self.poll_asked(cx)?;
        if let (Poll::Pending, Poll::Pending) = (&asked, &answered) {
            // Whoever is read from hears it as well; this one counts where nobody is.
            return match &self.alarm {
                Some(alarm) => alarm.poll(&mut self.timer, cx).map(|()| Err(Error::new_down(ErrorType::ReadTimedout))),
                None => Poll::Pending,
            };
        }
        Poll::Ready(Ok(Came { asked: came(asked), answered: came(answered) }))
    }

    /// Writes to the client what waits for it, and only then reads more of the upstream.
    fn poll_answered(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes>> {
        let client = &mut self.session.downstream_session;
        if client.has_pending_downstream_proxy_tasks() {
            // What is given up in between goes on with the next call.
            ready!(pin!(client.write_downstream_proxy_tasks()).poll(cx)).map_err(|error| error.into_down())?;
        }
        if let Some(ahead) = self.ahead.take() {
            return Poll::Ready(Ok(ahead));
        }
        let mut room = [MaybeUninit::uninit(); PIECE_BYTES_MAX];
        let mut room = ReadBuf::uninit(&mut room);
        let read = ready!(Pin::new(&mut self.upstream).poll_read(cx, &mut room));
        Poll::Ready(match read {
            Ok(()) => Ok(Bytes::copy_from_slice(room.filled())),
            Err(error) => Err(self
                .deaf
                .take()
                .unwrap_or_else(|| Error::because(ErrorType::ReadError, "reading of an upgraded upstream", error))
                .into_up()),
        })
    }

    /// Writes to the upstream what waits for it, and only then reads more of the client.
    fn poll_asked(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        if self.deaf.is_some() {
            return Poll::Pending;
        }
        if let Err(error) = ready!(self.poll_send(cx)).or_err(ErrorType::WriteError, "writing to an upgraded upstream") {
            self.deaf = Some(error);
            return Poll::Pending;
        }
        let client = &mut self.session.downstream_session;
        pin!(client.read_body_or_idle(false)).poll(cx).map_err(|error| error.into_down())
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.piece.is_empty() {
            let written = ready!(Pin::new(&mut self.upstream).poll_write(cx, &self.piece))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.piece.advance(written);
            self.is_flushed = false;
        }
        if !self.is_flushed {
            ready!(Pin::new(&mut self.upstream).poll_flush(cx))?;
            self.is_flushed = true;
        }
        Poll::Ready(Ok(()))
    }
}

fn came<T>(polled: Poll<T>) -> Option<T> {
    match polled {
        Poll::Ready(came) => Some(came),
        Poll::Pending => None,
    }
}
