//! What the loops of our own have in common: the upstreams of a request, tried as Pingora tries them, and the head of the request for one of them.

use http::Version;
use pingora::http::RequestHeader;
use pingora::protocols::http::client::HttpSession;
use pingora::proxy::{ProxyHttp, Session};
use pingora::upstreams::peer::{HttpPeer, Peer as _};
use pingora::{Error, ErrorType, Result};

use crate::accept::PASS_TRIES_MAX;
use crate::upstream::Client;

/// The tries of one request.
pub(super) struct Tries {
    left: usize,
    last: Box<Error>,
}

/// A connection to an upstream, and whose it is.
pub(super) struct Reached {
    pub(super) connection: HttpSession,
    pub(super) upstream: Upstream,
}

/// An upstream that was reached.
pub(super) struct Upstream {
    pub(super) peer: Box<HttpPeer>,
    is_reused: bool,
}

impl Tries {
    pub(super) fn new() -> Self {
        Self { left: PASS_TRIES_MAX, last: Error::new(ErrorType::InternalError) }
    }

    /// The next upstream that can be reached.
    ///
    /// # Errors
    /// When there is none, or no try is left.
    pub(super) async fn reach<App>(&mut self, app: &App, client: &Client, session: &mut Session, context: &mut App::CTX) -> Result<Reached>
    where
        App: ProxyHttp + Sync,
        App::CTX: Send + Sync,
    {
        while self.left > 0 {
            self.left -= 1;
            let peer = app.upstream_peer(session, context).await?;
            match client.passing().get_http_session(&*peer).await {
                Ok((connection, is_reused)) => return Ok(Reached { connection, upstream: Upstream { peer, is_reused } }),
                Err(error) => self.last = app.fail_to_connect(session, &peer, context, error.into_up()),
            }
            if !self.last.retry() {
                break;
            }
        }
        Err(self.take_last())
    }

    /// Takes note of a try that failed.
    ///
    /// # Errors
    /// When there is not to be another one.
    pub(super) fn failed<App: ProxyHttp>(
        &mut self,
        app: &App,
        session: &mut Session,
        context: &mut App::CTX,
        upstream: &Upstream,
        error: Box<Error>,
    ) -> Result<()> {
        self.last = app.error_while_proxy(&upstream.peer, session, error, context, upstream.is_reused);
        if self.last.retry() && session.response_written().is_none() { Ok(()) } else { Err(self.take_last()) }
    }

    fn take_last(&mut self) -> Box<Error> {
        std::mem::replace(&mut self.last, Error::new(ErrorType::InternalError))
    }
}

impl Upstream {
    /// Gives a connection back, to be used again if it can be.
    pub(super) async fn release(&self, client: &Client, connection: HttpSession) {
        client.passing().release_http_session(connection, &*self.peer, self.peer.idle_timeout()).await;
    }
}

/// The head of a request as it goes upstream, with the fields of the hop that are in `hop`.
pub(super) async fn head<App>(
    app: &App,
    session: &mut Session,
    context: &mut App::CTX,
    version: Version,
    hop: &[(http::HeaderName, &'static str)],
) -> Result<RequestHeader>
where
    App: ProxyHttp + Sync,
    App::CTX: Send + Sync,
{
    let asked = session.req_header();
    let target = asked.uri.path_and_query().map_or("/", |target| target.as_str());
    let mut head = RequestHeader::build(asked.method.clone(), target.as_bytes(), None)?;
    head.set_version(version);
    for (name, value) in hop {
        head.insert_header(name.clone(), *value)?;
    }
    app.upstream_request_filter(session, &mut head, context).await?;
    Ok(head)
}
