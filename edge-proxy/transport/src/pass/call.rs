//! A gRPC call, passed through both ways at once.
//!
//! Pingora's proxy writes to one side or reads from the other, one at a time, so that a call stands still once both sides have sent more than the
//! windows between them hold, although each side would read on. Here no direction waits for the other one. What is held of a call is one piece of
//! the request and one step of the answer, a frame each, beside the windows of the two streams.
//!
//! The tier's filters are asked as Pingora asks them. What is not HTTP/2 on both sides (HTTP/3 on the client's) is left to Pingora.

use bytes::Bytes;
use h2::{Reason, SendStream};
use http::header::{self, HeaderMap};
use http::{Uri, Version};
use pingora::http::RequestHeader;
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::client::HttpSession;
use pingora::protocols::http::custom::server::Session as Stream;
use pingora::protocols::http::v2::client::Http2Session;
use pingora::proxy::{ProxyHttp, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, OkOrErr as _, OrErr as _, Result};

use super::tries::{self, Reached, Tries};
use crate::hygiene;
use crate::session::Trailers;
use crate::upstream::Client;

/// Passes the request of `session` through, and its answer back. `false` when that is for Pingora to do.
///
/// # Errors
/// When the call did not end properly; the tier is still to be told.
pub(super) async fn pass<App>(app: &App, client: &Client, session: &mut Session, context: &mut App::CTX) -> Result<bool>
where
    App: ProxyHttp + Sync,
    App::CTX: Send + Sync,
{
    if session.downstream_session.as_custom().is_none() {
        return Ok(false);
    }
    session.downstream_session.enable_retry_buffering();
    let mut tries = Tries::new();
    loop {
        let Reached { connection, upstream } = tries.reach(app, client, session, context).await?;
        let mut connection = match connection {
            HttpSession::H2(connection) => connection,
            other => {
                upstream.release(client, other).await;
                return Ok(false);
            }
        };
        let passed = try_upstream(app, session, context, &upstream.peer, &mut connection).await;
        upstream.release(client, HttpSession::H2(connection)).await;
        let Err(error) = passed else { return Ok(true) };
        tries.failed(app, session, context, &upstream, error)?;
    }
}

async fn try_upstream<App>(
    app: &App,
    session: &mut Session,
    context: &mut App::CTX,
    peer: &HttpPeer,
    upstream: &mut Http2Session,
) -> Result<()>
where
    App: ProxyHttp + Sync,
    App::CTX: Send + Sync,
{
    let head = head(app, session, context, peer.is_tls()).await?;
    let bodiless = session.downstream_session.is_body_empty();
    upstream.write_request_header(Box::new(head), bodiless).map_err(|error| error.into_up())?;
    // The alarm of the exchange is in place of a time for each read.
    upstream.read_timeout = None;
    let writer = upstream.take_request_body_writer().ok_or_else(|| Error::new(ErrorType::InternalError))?;
    let mut call = Call { app, session, context, asked: Asked { writer, piece: None, done: bodiless }, stage: Stage::Head };
    call.send_again().await?;
    let passed = call.run(upstream).await;
    if passed.is_err() {
        call.asked.writer.send_reset(Reason::CANCEL);
    }
    passed
}

/// The head of the request as it goes upstream.
async fn head<App>(app: &App, session: &mut Session, context: &mut App::CTX, tls: bool) -> Result<RequestHeader>
where
    App: ProxyHttp + Sync,
    App::CTX: Send + Sync,
{
    let target = session.req_header().uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let mut head = tries::head(app, session, context, Version::HTTP_2, &[]).await?;
    let host = head.remove_header(&header::HOST).or_err(ErrorType::InvalidHTTPHeader, "a request without a host")?;
    let scheme = if tls { "https" } else { "http" };
    let uri = Uri::builder().scheme(scheme).authority(host.as_bytes()).path_and_query(target).build();
    head.set_uri(uri.or_err(ErrorType::InvalidHTTPHeader, "building the target of a request")?);
    Ok(head)
}

/// One call to one upstream.
struct Call<'a, App: ProxyHttp> {
    app: &'a App,
    session: &'a mut Session,
    context: &'a mut App::CTX,
    asked: Asked,
    stage: Stage,
}

/// The request on its way upstream.
struct Asked {
    writer: SendStream<Bytes>,
    /// What waits for the upstream's windows.
    piece: Option<Piece>,
    /// Whether nothing more is to be read of it.
    done: bool,
}

/// A piece of the request.
struct Piece {
    data: Bytes,
    end: bool,
    /// What the request ends with.
    trailers: Option<HeaderMap>,
}

/// What is due next of an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Head,
    Body,
    Trailers,
    Nothing,
}

impl<App> Call<'_, App>
where
    App: ProxyHttp + Sync,
    App::CTX: Send + Sync,
{
    /// Until the client has the whole answer. A request that goes on then is of no interest to anyone (RFC 9113 section 8.1).
    async fn run(&mut self, upstream: &mut Http2Session) -> Result<()> {
        loop {
            let held = stream(self.session)?.has_pending_proxy_tasks();
            if self.stage == Stage::Nothing && !held {
                return Ok(());
            }
            // The end may have come as an empty piece, or without one.
            if !self.asked.done && self.asked.piece.is_none() && self.session.downstream_session.is_body_done() {
                self.take(None).await?;
            }
            let reads = !self.asked.done && self.asked.piece.is_none();
            let Self { session, asked, stage, .. } = self;
            tokio::select! {
                // Even without a wish to read, it writes what is held, notices that the client leaves, and hears the alarm.
                read = stream(session)?.read_body_or_idle(!reads) => match read.map_err(|error| error.into_down())? {
                    Some(data) if data.is_empty() => {}
                    read => self.take(read).await?,
                },
                sent = asked.send(), if asked.piece.is_some() => {
                    asked.piece = None;
                    if let Err(error) = sent {
                        // What has been answered, if anything, tells the client more than this.
                        tracing::debug!(%error, "no more of a request is taken");
                        asked.done = true;
                    }
                }
                step = next(upstream, stage), if !held && *stage != Stage::Nothing => {
                    let step = step.map_err(|error| error.into_up())?;
                    self.answer(step).await?;
                }
            }
        }
    }

    /// Sends what an upstream was sent before that did not take the request.
    async fn send_again(&mut self) -> Result<()> {
        match self.session.downstream_session.get_retry_buffer() {
            Some(kept) if !self.asked.done => self.take(Some(kept)).await,
            _ => Ok(()),
        }
    }

    /// Takes a piece of the request, or its end.
    async fn take(&mut self, read: Option<Bytes>) -> Result<()> {
        let end = read.is_none() || self.session.downstream_session.is_body_done();
        let mut data = read;
        self.app.request_body_filter(self.session, &mut data, end, self.context).await?;
        let trailers = if end { self.session.req_header().extensions.get::<Trailers>().cloned() } else { None };
        let trailers = trailers.map(|Trailers(mut trailers)| {
            hygiene::strip_trailers(&mut trailers);
            trailers
        });
        self.asked.piece = Some(Piece { data: data.unwrap_or_default(), end, trailers });
        self.asked.done = end;
        Ok(())
    }

    /// Hands a step of the answer to the client's stream.
    async fn answer(&mut self, mut step: HttpTask) -> Result<()> {
        match &mut step {
            HttpTask::Header(head, _) => {
                self.app.upstream_response_filter(self.session, head, self.context).await?;
                self.app.response_filter(self.session, head, self.context).await?;
            }
            HttpTask::Body(data, end) => {
                self.app.response_body_filter(self.session, data, *end, self.context)?;
            }
            _ => {}
        }
        stream(self.session)?.send_proxy_task(step);
        Ok(())
    }
}

impl Asked {
    /// Sends the piece as the upstream's windows allow it. What is given up in between goes on with the next call.
    async fn send(&mut self) -> Result<()> {
        let Self { writer, piece: Some(piece), .. } = self else { return Ok(()) };
        while !piece.data.is_empty() {
            writer.reserve_capacity(piece.data.len());
            let room = match writer.capacity() {
                0 => match std::future::poll_fn(|cx| writer.poll_capacity(cx)).await {
                    Some(room) => room.or_err(ErrorType::H2Error, "waiting for an upstream's window")?,
                    None => return Error::e_explain(ErrorType::H2Error, "the upstream takes no more"),
                },
                room => room,
            };
            let data = piece.data.split_to(room.min(piece.data.len()));
            let last = piece.end && piece.data.is_empty() && piece.trailers.is_none();
            writer.send_data(data, last).or_err(ErrorType::WriteError, "writing the body of a request")?;
            if last {
                return Ok(());
            }
        }
        match piece.trailers.take() {
            Some(trailers) => writer.send_trailers(trailers).or_err(ErrorType::WriteError, "writing the trailers of a request"),
            None if piece.end => writer.send_data(Bytes::new(), true).or_err(ErrorType::WriteError, "ending a request"),
            None => Ok(()),
        }
    }
}

/// The client's side.
fn stream(session: &mut Session) -> Result<&mut Box<dyn Stream>> {
    session.downstream_session.as_custom_mut().ok_or_else(|| Error::new(ErrorType::InternalError))
}

/// The next step of an answer. What is given up in between goes on with the next call.
async fn next(upstream: &mut Http2Session, stage: &mut Stage) -> Result<HttpTask> {
    if *stage == Stage::Head {
        upstream.read_response_header().await?;
        let end = upstream.check_response_end_or_error()?;
        let head = upstream.response_header().ok_or_else(|| Error::new(ErrorType::InternalError))?;
        *stage = if end { Stage::Nothing } else { Stage::Body };
        return Ok(HttpTask::Header(Box::new(head.clone()), end));
    }
    if *stage == Stage::Body {
        if let Some(data) = upstream.read_response_body().await? {
            let end = upstream.check_response_end_or_error()?;
            if end {
                *stage = Stage::Nothing;
            }
            return Ok(HttpTask::Body(Some(data), end));
        }
        *stage = Stage::Trailers;
    }
    let trailers = upstream.read_trailers().await?;
    *stage = Stage::Nothing;
    Ok(trailers.map_or(HttpTask::Done, |trailers| HttpTask::Trailer(Some(Box::new(trailers)))))
}
