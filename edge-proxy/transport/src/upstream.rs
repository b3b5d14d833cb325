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
use skerry_config::process;
use skerry_config::snapshot::Snapshot;

use crate::allowed::Allowed;
use crate::connect::{self, Race, Winners};
use crate::hygiene::{self, FAULT};
use crate::interim::{self, Arrived, Early, INTERIM, INTERIM_MAX, Interim};
use crate::origin::{Origins, Permit};
use crate::pass::is_events;
use crate::resolve::Resolver;
use crate::sound;
use crate::target::{Target, Times};

mod failure;

pub use failure::{PassFailure, UpstreamError, UpstreamErrorKind};
use failure::{address_refused, connect_failure, failure};

/// Idle connections kept for all upstreams together, for what is fetched and for what loops of our own pass each.
const POOL_CONNECTIONS_MAX: usize = 256;

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
    /// When it has to end, and what it is called when it has not.
    until: Option<(Instant, UpstreamErrorKind)>,
    /// Counts the request among those that its server is asked.
    permit: Option<Permit>,
}

/// Pooled connections to upstreams.
pub struct Client {
    connector: Connector,
    /// Those of gRPC calls and WebSockets: a call that nobody reads holds a part of its connection's window, which is nothing to what is fetched.
    passing: Connector,
    resolver: Resolver,
    /// What addresses origins may have.
    allowed: Allowed,
    winners: Arc<Winners>,
    origins: Origins,
}

impl Client {
    /// A client with an empty pool, which reaches origins as the settings of the process say.
    #[must_use]
    pub fn new(origins: &process::Origins) -> Arc<Self> {
        let connector = || Connector::new(Some(ConnectorOptions::new(POOL_CONNECTIONS_MAX)));
        Arc::new(Self {
            connector: connector(),
            passing: connector(),
            resolver: Resolver::new(&origins.resolvers),
            allowed: Allowed::new(&origins.allow),
            winners: Arc::default(),
            origins: Origins::default(),
        })
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

    /// Which address of a server won the last race to it.
    pub(crate) fn winners(&self) -> &Arc<Winners> {
        &self.winners
    }

    /// The addresses of a target; of an origin only those that it may have.
    ///
    /// # Errors
    /// When its name cannot be resolved, or leads to none that is allowed.
    pub async fn addresses(&self, target: &Target) -> Result<Vec<SocketAddr>, UpstreamError> {
        let endpoint = &target.endpoint;
        let found = match endpoint.ip() {
            Some(ip) => Ok(Arc::from([ip])),
            None => self.resolver.addresses(endpoint.host()).await,
        };
        let addresses = found.map_err(|detail| UpstreamError::new(UpstreamErrorKind::Resolve, detail))?;
        let (mut may, mut refused) = (Vec::new(), None);
        for ip in addresses.iter() {
            match self.allowed.may_connect(*ip) {
                Err(what) if !target.is_own_tier() => refused = Some((*ip, what)),
                _ => may.push(SocketAddr::new(*ip, endpoint.port())),
            }
        }
        match refused {
            Some((ip, what)) if may.is_empty() => Err(address_refused(target, ip, what)),
            _ => Ok(may),
        }
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

    /// One server, at the first of its addresses that can be connected to; one that fails at TLS is left out of a further race.
    async fn request_of(self: &Arc<Self>, target: &Target, request: &Outgoing) -> Result<Incoming, UpstreamError> {
        let mut addresses = self.addresses(target).await?;
        let mut last = UpstreamError::new(UpstreamErrorKind::Resolve, format!("{} has no address", target.label()));
        while let Some(first) = addresses.first() {
            let mut peer = HttpPeer::new(*first, false, String::new());
            match self.request_at(target, &addresses, &mut peer, request).await {
                Err(error) if error.kind == UpstreamErrorKind::Tls => {
                    addresses.retain(|address| Some(address) != peer._address.as_inet());
                    last = error;
                }
                other => return other,
            }
        }
        Err(last)
    }

    /// One race; a pooled connection that turns out to be closed is replaced once by a new one. `peer` is then who was connected to.
    async fn request_at(
        self: &Arc<Self>,
        target: &Target,
        addresses: &[SocketAddr],
        peer: &mut HttpPeer,
        request: &Outgoing,
    ) -> Result<Incoming, UpstreamError> {
        let began = Instant::now();
        let (session, reused) = self.session(target, addresses, peer, 0).await?;
        match exchange(session, target, request, began).await {
            Ok((session, interim)) => self.incoming(session, interim, peer.clone(), target, began),
            Err(error) if reused && !is_over(&error) && target.may_repeat() => {
                // A group of its own keeps the second try from being given another pooled connection that is as stale.
                let (session, _) = self.session(target, addresses, peer, u64::MAX).await?;
                let (session, interim) = exchange(session, target, request, began).await.map_err(|error| failure(target, peer, &error))?;
                peer.group_key ^= u64::MAX;
                self.incoming(session, interim, peer.clone(), target, began)
            }
            Err(error) => Err(failure(target, peer, &error)),
        }
    }

    /// A connection to one of the addresses, from the pool or by a race, and whether it was used before. `peer` becomes who it is to.
    async fn session(
        &self,
        target: &Target,
        addresses: &[SocketAddr],
        peer: &mut HttpPeer,
        group: u64,
    ) -> Result<(HttpSession, bool), UpstreamError> {
        let race = Race::new(target, addresses, &self.winners);
        let of_race = || {
            let mut peer = race.peer(target, false);
            peer.group_key ^= group;
            peer
        };
        *peer = of_race();
        let mut connected = self.connector.get_http_session(&*peer).await;
        if connected.as_ref().is_err_and(|error| connect::is_elsewhere(error)) {
            *peer = of_race();
            connected = self.connector.get_http_session(&*peer).await;
        }
        // What it may hold still is nobody's.
        peer.options.custom_l4 = None;
        connected.map_err(|error| connect_failure(target, peer, &error))
    }

    fn incoming(
        self: &Arc<Self>,
        session: HttpSession,
        mut interim: Vec<Interim>,
        peer: HttpPeer,
        target: &Target,
        began: Instant,
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
        let (between_bytes, until) = if is_events(&headers) {
            (times.events_idle, Some((Instant::now() + times.events, UpstreamErrorKind::Timeout)))
        } else {
            (times.between_bytes, times.total.map(|total| (began + total, UpstreamErrorKind::TooLong)))
        };
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
        let left = self.until.map_or(Duration::MAX, |(until, _)| until.saturating_duration_since(Instant::now()));
        if left.is_zero() {
            return Err(self.over());
        }
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
                    if self.until.is_some_and(|(until, _)| Instant::now() >= until) {
                        return Err(self.over());
                    }
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

    /// The time for the whole is over.
    fn over(&mut self) -> UpstreamError {
        self.session = None;
        let kind = self.until.map_or(UpstreamErrorKind::Timeout, |(_, kind)| kind);
        if let Some(permit) = self.permit.take() {
            permit.broke_off(kind);
        }
        UpstreamError::new(kind, format!("the answer of {} was not complete in its time", self.peer._address))
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

/// Whether a time was over, so that asking again would take as long.
fn is_over(error: &Error) -> bool {
    matches!(error.etype(), ErrorType::ReadTimedout | ErrorType::Custom(failure::TOO_LONG))
}

/// Sends the request and reads heads up to the final one; returns the interim ones. The final one has to be whole in time, however it comes.
async fn exchange(
    mut session: HttpSession,
    target: &Target,
    request: &Outgoing,
    began: Instant,
) -> Result<(HttpSession, Vec<Interim>), Box<Error>> {
    let Times { first_byte, between_bytes, total, .. } = target.times;
    session.set_read_timeout(Some(first_byte));
    session.set_write_timeout(Some(between_bytes));
    let head = request_head(&session, target, request)?;
    if let HttpSession::H2(h2) = &mut session {
        // The end of the stream travels with the head, so that the other side knows at once that there is no body.
        h2.write_request_header(head, true)?;
    } else {
        session.write_request_header(head).await?;
        session.finish_request_body().await?;
    }
    let left = total.map(|total| total.saturating_sub(began.elapsed()));
    let time = left.unwrap_or(Duration::MAX).min(first_byte);
    match tokio::time::timeout(time, heads(session, request)).await {
        Ok(read) => read,
        Err(_) if time < first_byte => Error::e_explain(ErrorType::Custom(failure::TOO_LONG), "the answer was not complete in its time"),
        Err(_) => Error::e_explain(ErrorType::ReadTimedout, format!("its head was not complete in {first_byte:?}")),
    }
}

/// Reads heads up to the final one.
async fn heads(mut session: HttpSession, request: &Outgoing) -> Result<(HttpSession, Vec<Interim>), Box<Error>> {
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
        let scheme = if target.endpoint.tls().is_some() { "https" } else { "http" };
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
