//! Asks upstream: one request, its head, then its body piece by piece. Connections are pooled by Pingora.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use pingora::connectors::ConnectorOptions;
use pingora::connectors::http::Connector;
use pingora::http::RequestHeader;
use pingora::protocols::http::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType};
use skerry_config::snapshot::Snapshot;

use crate::hygiene::{self, FAULT};
use crate::interim::{self, Arrived, Early, INTERIM, INTERIM_MAX, Interim};
use crate::origin::{Origins, Permit};
use crate::pass::is_events;
use crate::resolve::Resolver;
use crate::sound;
use crate::target::Target;

mod failure;

pub use failure::{PassFailure, UpstreamError, UpstreamErrorKind};
use failure::{connect_failure, failure};

/// Idle connections kept for all upstreams together, for what is fetched and for what loops of our own pass each.
const POOL_CONNECTIONS_MAX: usize = 256;
/// Addresses of one target tried for one request.
const ADDRESSES_TRIED_MAX: usize = 3;

/// A request without body.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// GET or HEAD.
    pub method: Method,
    /// Path and query.
    pub path_and_query: String,
    /// The `Host` to send, unless the target has its own.
    pub authority: String,
    /// End-to-end header fields.
    pub headers: HeaderMap,
    /// Where interim answers go as they come; without it, and where it has no room, they come with the final head.
    pub early: Option<Arc<Early>>,
}

/// The head of an answer; the body is read from `body`.
pub struct Incoming {
    /// The final status, between 200 and 599.
    pub status: StatusCode,
    /// End-to-end header fields.
    pub headers: HeaderMap,
    /// The interim answers that came before and did not go ahead, at most [`INTERIM_MAX`].
    pub interim: Vec<Interim>,
    /// The body.
    pub body: IncomingBody,
}

/// Reads a body, and gives the connection back to the pool when it ended properly.
pub struct IncomingBody {
    session: Option<HttpSession>,
    peer: HttpPeer,
    client: Arc<Client>,
    between_bytes: Duration,
    /// When it has to end.
    until: Option<Instant>,
    /// Counts the request among those that its server is asked.
    permit: Option<Permit>,
}

/// Pooled connections to upstreams.
pub struct Client {
    connector: Connector,
    /// Those of gRPC calls and WebSockets: a call that nobody reads holds a part of its connection's window, which is nothing to what is fetched.
    passing: Connector,
    resolver: Resolver,
    origins: Origins,
}

impl Client {
    /// A client with an empty pool.
    #[must_use]
    pub fn new() -> Arc<Self> {
        let connector = || Connector::new(Some(ConnectorOptions::new(POOL_CONNECTIONS_MAX)));
        Arc::new(Self { connector: connector(), passing: connector(), resolver: Resolver::default(), origins: Origins::default() })
    }

    /// Puts a configuration in force for the servers that are asked.
    pub fn configure(self: &Arc<Self>, snapshot: &Snapshot) {
        self.origins.configure(snapshot, self);
    }

    /// What is known of origin servers.
    #[must_use]
    pub fn origins(&self) -> &Origins {
        &self.origins
    }

    /// The connections of gRPC calls and WebSockets.
    pub(crate) fn passing(&self) -> &Connector {
        &self.passing
    }

    /// The addresses of a target.
    ///
    /// # Errors
    /// When its name cannot be resolved.
    pub async fn addresses(&self, target: &Target) -> Result<Vec<SocketAddr>, UpstreamError> {
        let found = self.resolver.addresses(&target.host).await;
        let addresses = found.map_err(|detail| UpstreamError::new(UpstreamErrorKind::Resolve, detail))?;
        Ok(addresses.iter().take(ADDRESSES_TRIED_MAX).map(|ip| SocketAddr::new(*ip, target.port)).collect())
    }

    /// Sends `request` to the first target that can be reached and may be asked. The next one is tried only when nothing was sent, so a request reaches
    /// one upstream at most, and while the retries of the site are not used up.
    ///
    /// # Errors
    /// Of the last target tried.
    pub async fn request(self: &Arc<Self>, targets: &[Target], request: &Outgoing) -> Result<Incoming, UpstreamError> {
        let mut last = UpstreamError::new(UpstreamErrorKind::Connect, "there is no upstream to ask".to_owned());
        let mut asked: Option<&Target> = None;
        for target in targets {
            if asked.is_some_and(|asked| !asked.may_repeat()) {
                break;
            }
            let permit = match &target.guard {
                None => None,
                Some(guard) => match guard.enter(request.turn()).await {
                    Ok(permit) => Some(permit),
                    Err(refused) => {
                        last = refused;
                        continue;
                    }
                },
            };
            asked = Some(target);
            match self.request_of(target, request).await {
                Ok(mut incoming) => {
                    permit.iter().for_each(|permit| permit.answered(incoming.status, &incoming.headers, false));
                    incoming.body.permit = permit.filter(|_| !is_events(&incoming.headers));
                    return Ok(incoming);
                }
                Err(error) => {
                    permit.iter().for_each(|permit| permit.failed(error.kind));
                    if !error.kind.is_unreachable() {
                        return Err(error);
                    }
                    last = error;
                }
            }
        }
        Err(last)
    }

    /// One target, at the first of its addresses that can be reached.
    async fn request_of(self: &Arc<Self>, target: &Target, request: &Outgoing) -> Result<Incoming, UpstreamError> {
        let mut last = UpstreamError::new(UpstreamErrorKind::Resolve, format!("{} has no address", target.label()));
        for address in self.addresses(target).await? {
            match self.request_at(target, address, request).await {
                Err(error) if error.kind.is_unreachable() => last = error,
                other => return other,
            }
        }
        Err(last)
    }

    /// One address; a pooled connection that turns out to be closed is replaced once by a new one.
    async fn request_at(self: &Arc<Self>, target: &Target, address: SocketAddr, request: &Outgoing) -> Result<Incoming, UpstreamError> {
        let mut peer = target.peer(address, false);
        let fails = |error: &Error| failure(target, address, error);
        let (session, reused) = self.connector.get_http_session(&peer).await.map_err(|error| connect_failure(target, address, &error))?;
        match exchange(session, target, request).await {
            Ok((session, interim)) => self.incoming(session, interim, peer, target),
            Err(error) if reused && !matches!(error.etype(), ErrorType::ReadTimedout) && target.may_repeat() => {
                // A group of its own keeps the second try from being given another pooled connection that is as stale.
                peer.group_key ^= u64::MAX;
                let (session, _) =
                    self.connector.get_http_session(&peer).await.map_err(|error| connect_failure(target, address, &error))?;
                let (session, interim) = exchange(session, target, request).await.map_err(|error| fails(&error))?;
                self.incoming(session, interim, target.peer(address, false), target)
            }
            Err(error) => Err(fails(&error)),
        }
    }

    fn incoming(
        self: &Arc<Self>,
        session: HttpSession,
        mut interim: Vec<Interim>,
        peer: HttpPeer,
        target: &Target,
    ) -> Result<Incoming, UpstreamError> {
        let Some((status, mut headers)) = session.response_header().map(|head| (head.status, head.headers.clone())) else {
            let detail = format!("{} at {} answered without a head", target.label(), peer._address);
            return Err(UpstreamError::new(UpstreamErrorKind::BadHead, detail));
        };
        hygiene::strip_hop_by_hop(&mut headers);
        if target.is_own_tier() {
            interim.extend(interim::take(&mut headers));
        } else {
            headers.remove(FAULT);
        }
        headers.remove(INTERIM);
        if let Some(length) = sound::said_again(&headers) {
            headers.insert(header::CONTENT_LENGTH, length);
        }
        let times = &target.times;
        let (between_bytes, until) =
            if is_events(&headers) { (times.events_idle, Some(Instant::now() + times.events)) } else { (times.between_bytes, None) };
        let body = IncomingBody { session: Some(session), peer, client: Arc::clone(self), between_bytes, until, permit: None };
        Ok(Incoming { status, headers, interim, body })
    }
}

impl IncomingBody {
    /// The next piece, never empty; `None` at the proper end.
    ///
    /// # Errors
    /// When the answer ends early or nothing comes in time.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, UpstreamError> {
        let Some(session) = self.session.as_mut() else { return Ok(None) };
        let left = self.until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
        session.set_read_timeout(Some(self.between_bytes.min(left)));
        loop {
            match session.read_response_body().await {
                Ok(Some(piece)) if piece.is_empty() => {}
                Ok(Some(piece)) => {
                    self.permit.iter().for_each(|permit| permit.received(piece.len()));
                    return Ok(Some(piece));
                }
                Ok(None) => break,
                Err(error) => {
                    self.session = None;
                    let kind = match UpstreamErrorKind::of(&error) {
                        kind @ (UpstreamErrorKind::Timeout | UpstreamErrorKind::BadChunk) => kind,
                        _ => UpstreamErrorKind::Cut,
                    };
                    if let Some(permit) = self.permit.take() {
                        permit.broke_off(kind);
                    }
                    return Err(UpstreamError::new(
                        kind,
                        format!("the answer of {} broke off: {}", self.peer._address, error.etype().as_str()),
                    ));
                }
            }
        }
        self.permit = None;
        self.give_back().await;
        Ok(None)
    }

    async fn give_back(&mut self) {
        let Some(mut session) = self.session.take() else { return };
        if let HttpSession::H1(h1) = &mut session {
            h1.respect_keepalive();
        }
        let idle = self.peer.options.idle_timeout;
        self.client.connector.release_http_session(session, &self.peer, idle).await;
    }
}

/// Sends the request and reads heads up to the final one; returns the interim ones.
async fn exchange(mut session: HttpSession, target: &Target, request: &Outgoing) -> Result<(HttpSession, Vec<Interim>), Box<Error>> {
    session.set_read_timeout(Some(target.times.first_byte));
    session.set_write_timeout(Some(target.times.between_bytes));
    let head = request_head(&session, target, request)?;
    if let HttpSession::H2(h2) = &mut session {
        // The end of the stream travels with the head, so that the other side knows at once that there is no body.
        h2.write_request_header(head, true)?;
    } else {
        session.write_request_header(head).await?;
        session.finish_request_body().await?;
    }
    let mut arrived = Arrived::default();
    for _ in 0..=INTERIM_MAX {
        session.read_response_header().await?;
        let Some(head) = session.response_header() else { continue };
        if let Some(h1) = session.as_http1() {
            sound::check_raw(&head.headers, &h1.get_headers_raw_bytes())?;
        }
        sound::check(head, &request.headers, false)?;
        if !head.status.is_informational() {
            return Ok((session, arrived.into_heads()));
        }
        arrived.add(head.status, head.headers.clone());
        if let Some(early) = &request.early {
            arrived.hand_on(early);
        }
    }
    Error::e_explain(ErrorType::InvalidHTTPHeader, "too many informational answers")
}

fn request_head(session: &HttpSession, target: &Target, request: &Outgoing) -> Result<Box<RequestHeader>, Box<Error>> {
    let host = target.host_header.as_deref().unwrap_or(&request.authority);
    let mut head = RequestHeader::build(request.method.clone(), request.path_and_query.as_bytes(), Some(request.headers.len() + 1))?;
    if session.as_http2().is_some() {
        let scheme = if target.tls.is_some() { "https" } else { "http" };
        let uri = http::Uri::builder().scheme(scheme).authority(host).path_and_query(request.path_and_query.as_str()).build();
        head.set_uri(uri.map_err(|error| Error::because(ErrorType::InvalidHTTPHeader, "building the target", error))?);
        head.set_version(http::Version::HTTP_2);
    } else {
        head.insert_header(
            header::HOST,
            HeaderValue::from_str(host).map_err(|error| Error::because(ErrorType::InvalidHTTPHeader, "host", error))?,
        )?;
    }
    for (name, value) in &request.headers {
        let name: HeaderName = name.clone();
        head.append_header(name, value.clone())?;
    }
    Ok(Box::new(head))
}
