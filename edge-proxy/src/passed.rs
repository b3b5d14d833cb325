//! What is passed through by Pingora: uploads, upgrades, calls, unsafe methods, streams of events.
//!
//! A session begins at `request_filter`, which admits the request and says where it goes; the filters after it hold it to its bounds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::{Method, StatusCode};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::{FailToProxy, ProxyHttp, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType};
use skerry_agent::figures::Outcome;
use skerry_cache::answer::{CacheStatus, Forwarded};
use skerry_cache::fetch::FetchErrorKind;
use skerry_cache::request::Request;
use skerry_config::snapshot::Served;
use skerry_transport::accept::KEEPALIVE_SECONDS;
use skerry_transport::asker::Left;
use skerry_transport::gate::Permit;
use skerry_transport::head::{Head, Refusal};
use skerry_transport::hygiene::{self, CACHE_STATUS};
use skerry_transport::interim::{self, Interim};
use skerry_transport::pass::{self, Kind, Watch, Way};
use skerry_transport::session::{self, is_interim};
use skerry_transport::sound;
use skerry_transport::upstream::PassFailure;

use crate::fault::{self, Fault};
use crate::fill;
use crate::forwarded::Came;
use crate::request::{Asked, Edge, Ended};
use crate::{shape, shields};

/// The edge as Pingora calls it.
pub(crate) struct Sessions(pub(crate) Arc<Edge>);

impl std::ops::Deref for Sessions {
    type Target = Edge;

    fn deref(&self) -> &Edge {
        &self.0
    }
}

/// What is known of a request while it runs.
pub(crate) struct Context {
    started: Instant,
    head: Option<Head>,
    /// The site, with the configuration the request began with.
    served: Option<Arc<Served>>,
    /// Where a request passed through may go: shields first, this many.
    way: Way,
    shields: usize,
    /// Where it came from.
    came: Came,
    /// Over what is passed through.
    watch: Option<Watch>,
    status_of_cache: CacheStatus,
    outcome: Outcome,
    bytes: u64,
    /// Authority, path and query, once the head is known to be valid.
    target: Option<String>,
    /// The status of an answer that could not be given: nobody was there, or the stream was reset.
    untold: StatusCode,
    /// From its head to that of the answer.
    to_head: Option<Duration>,
    /// Whether the answer was cut off because upstream ended early.
    is_cut: bool,
    /// Counts the request among those that run.
    permit: Option<Permit>,
}

impl Context {
    /// Whether the request is passed through a shield, rather than to an origin.
    fn is_at_shield(&self) -> bool {
        self.way.given_up() < self.shields
    }

    /// What a client is told whose request no shield took, where no edge may ask the origin.
    fn without_shield(&self) -> Option<Fault> {
        let site = self.served.as_ref()?.site();
        (!site.shields.may_pass_by() && !self.is_at_shield()).then_some(Fault::Upstream(FetchErrorKind::NoShield))
    }
}

impl Edge {
    /// The head of a session's request, and its site.
    fn route_session(&self, session: &Session, context: &mut Context) -> Result<(Head, Arc<Served>), Fault> {
        let mut head = Head::read(session.req_header(), session::is_tls(session)).map_err(Fault::Head)?;
        context.target = Some([&*head.authority, &head.path_and_query].concat());
        let served = Arc::clone(self.route(&self.current.load(), &mut head)?);
        context.served = Some(Arc::clone(&served));
        context.came = self.came(&mut head, &served, session::client_ip(session));
        if let Some(client) = session::client(session) {
            self.round_trips.sample(&client, &context.came, context.started);
        }
        match self.admit(&served, head.path(), &head.headers, &context.came) {
            Ok(()) => Ok((head, served)),
            Err(over) => Err(self.too_often(&served, over)),
        }
    }

    async fn refuse(&self, session: &mut Session, context: &mut Context, fault: &Fault) -> pingora::Result<bool> {
        if let Fault::Head(refusal) = fault {
            self.figures.refused(*refusal);
        }
        context.outcome = Outcome::Error;
        context.untold = fault.status();
        context.status_of_cache.detail = Some(fault.detail());
        let (headers, text) = self.refusal(&context.status_of_cache, fault, session::is_tls(session));
        let has_body = !session.as_mut().is_body_empty();
        if has_body {
            session.set_keepalive(None);
        }
        let head_only = session.req_header().method == Method::HEAD;
        match session::send(session, fault.status(), &headers, text, head_only).await {
            Ok(sent) => {
                context.bytes = sent;
                if has_body {
                    session::linger(session).await;
                }
                Ok(true)
            }
            Err(_) => Err(left()),
        }
    }

    async fn send_interim(&self, session: &mut Session, mut interim: Vec<Interim>) -> Result<(), Left> {
        interim.iter_mut().for_each(|interim| shape::strip(interim.headers_mut()));
        session::send_interim(session, &interim).await
    }

    /// Prepares a request that is passed through: uploads, upgrades, unsafe methods, streams of events.
    fn pass(&self, session: &mut Session, context: &mut Context, served: &Served, head: &Head) -> Result<(), Fault> {
        let site = served.site();
        let key = &served.policy(head.host(), head.path(), &head.headers).key;
        let host = shields::ranking_host(key, &head.authority);
        let shields = self.upstreams.shields(&self.current.load(), host, head.path(), site);
        let margin = if shields.is_empty() { Duration::ZERO } else { fill::shield_margin(site) };
        context.watch = Some(Watch::begin(session, head, site, margin, self.gate.limits().body.0).ok_or(Fault::TooLarge)?);
        agree(session.req_header_mut(), head.upgrade)?;
        context.shields = shields.len();
        let origins = if site.shields.may_pass_by() { self.upstreams.client().origins().targets(site) } else { Vec::new() };
        context.way = Way::new(shields.into_iter().chain(origins).collect(), head);
        context.outcome = Outcome::Pass;
        let reason = if head.method == Method::GET || head.method == Method::HEAD { Forwarded::Bypass } else { Forwarded::Method };
        context.status_of_cache = CacheStatus { fwd: Some(reason), ..CacheStatus::default() };
        tracing::debug!(client = ?session::client_ip(session), method = %head.method, "passed through");
        Ok(())
    }
}

#[async_trait]
impl ProxyHttp for Sessions {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        Context {
            started: Instant::now(),
            head: None,
            served: None,
            way: Way::default(),
            shields: 0,
            came: Came::default(),
            watch: None,
            status_of_cache: CacheStatus::default(),
            outcome: Outcome::Error,
            bytes: 0,
            target: None,
            untold: StatusCode::BAD_GATEWAY,
            to_head: None,
            is_cut: false,
            permit: None,
        }
    }

    fn init_downstream_modules(&self, _modules: &mut pingora::modules::http::HttpModules) {}

    async fn early_request_filter(&self, session: &mut Session, context: &mut Context) -> pingora::Result<()> {
        context.started = Instant::now();
        // Without this an HTTP/1.1 connection would have no idle limit after its first request.
        if session.get_keepalive().is_some() {
            session.set_keepalive(Some(KEEPALIVE_SECONDS));
        }
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, context: &mut Context) -> pingora::Result<bool> {
        let Some(permit) = self.gate.request() else {
            return self.refuse(session, context, &Fault::Busy).await;
        };
        context.permit = Some(permit);
        let (mut head, served) = match self.route_session(session, context) {
            Ok(routed) => routed,
            Err(fault) => return self.refuse(session, context, &fault).await,
        };
        hygiene::strip_client_claims(&mut head.headers);
        session::refuse_interim_to_old(session);
        if let Err(fault) = self.pass(session, context, &served, &head) {
            return self.refuse(session, context, &fault).await;
        }
        let kind = Kind::of(&head);
        context.head = Some(head);
        pass::both_ways(kind, self, self.upstreams.client(), session, context).await
    }

    async fn upstream_peer(&self, _session: &mut Session, context: &mut Context) -> pingora::Result<Box<HttpPeer>> {
        let Some(watch) = &context.watch else { return Err(Error::new(ErrorType::InternalError)) };
        context.way.peer(self.upstreams.client(), watch).await
    }

    fn fail_to_connect(&self, _session: &mut Session, peer: &HttpPeer, context: &mut Context, error: Box<Error>) -> Box<Error> {
        context.way.unreachable(peer, error)
    }

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        upstream: &mut RequestHeader,
        context: &mut Context,
    ) -> pingora::Result<()> {
        let (Some(head), Some(watch)) = (&context.head, &context.watch) else { return Ok(()) };
        let mut signed = head.headers.clone();
        self.upstreams.sign(&mut signed);
        if let Some(served) = &context.served {
            context.came.tell(&mut signed, &served.site().forwarding.send, head.scheme, &head.authority);
            if context.is_at_shield() {
                self.upstreams.sign_for_shield(&mut signed, served.site(), head.scheme, self.exchange.purge_seq());
            }
        }
        context.way.write_head(upstream, head, &signed, watch)
    }

    async fn request_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_body: bool,
        context: &mut Context,
    ) -> pingora::Result<()> {
        context.watch.as_mut().map_or(Ok(()), |watch| watch.of_request(body, end_of_body))
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        _body: &mut Option<Bytes>,
        end_of_body: bool,
        context: &mut Context,
    ) -> pingora::Result<Option<Duration>> {
        if let Some(watch) = &mut context.watch {
            watch.of_answer(end_of_body);
        }
        Ok(None)
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        answer: &mut ResponseHeader,
        context: &mut Context,
    ) -> pingora::Result<()> {
        // A shield that does not know the site, or has too much to do, has done nothing with the request, so that it can be sent once more if its
        // body is still here.
        let is_refused = fill::is_elsewhere(&answer.headers) || fill::is_overloaded(&answer.headers);
        if context.is_at_shield() && is_refused && !session.as_ref().retry_buffer_truncated() {
            context.way.give_up();
            let mut error = Error::explain(ErrorType::HTTPStatus(answer.status.as_u16()), "the shield refuses the request").into_up();
            error.set_retry(true);
            return Err(error);
        }
        if let Some(head) = &context.head {
            sound::check_passed(answer, head)?;
        }
        hygiene::strip_passed(answer);
        Ok(())
    }

    async fn response_filter(&self, session: &mut Session, answer: &mut ResponseHeader, context: &mut Context) -> pingora::Result<()> {
        if is_interim(answer.status) {
            hygiene::strip_interim(answer);
            for name in &shape::NOT_FOR_CLIENTS {
                answer.remove_header(name);
            }
            return Ok(());
        }
        context.to_head = Some(context.started.elapsed());
        let mut headers = answer.headers.clone();
        if context.is_at_shield() {
            self.send_interim(session, interim::take(&mut headers)).await.map_err(|_| left())?;
        }
        session::keep_date(session, answer);
        let upstream = answer.headers.get(&CACHE_STATUS).cloned();
        context.status_of_cache.fwd_status = Some(answer.status.as_u16());
        shape::finish(&mut headers, &self.name, &context.status_of_cache, upstream.as_ref());
        for name in &shape::NOT_FOR_CLIENTS {
            answer.remove_header(name);
        }
        shape::announce(&mut headers, session::is_tls(session), &self.announced);
        for name in [CACHE_STATUS, header::VIA, header::ALT_SVC] {
            answer.remove_header(&name);
            for value in headers.get_all(&name) {
                answer.append_header(name.clone(), value.clone())?;
            }
        }
        if let (Some(head), Some(served)) = (&context.head, &context.served)
            && !head.method.is_safe()
            && (answer.status.is_success() || answer.status.is_redirection())
        {
            let request = Request {
                head_only: false,
                scheme: head.scheme,
                authority: head.authority.clone(),
                path_and_query: head.path_and_query.clone(),
                headers: HeaderMap::new(),
            };
            self.exchange.invalidate(&request, served.policy(head.host(), head.path(), &head.headers), &answer.headers);
        }
        if let Some(watch) = &mut context.watch {
            watch.of_head(session, answer);
            context.way.answered(watch, answer);
        }
        Ok(())
    }

    /// What a shield refused unseen may be sent again whatever its method.
    fn error_while_proxy(
        &self,
        peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        _context: &mut Context,
        reused: bool,
    ) -> Box<Error> {
        let unseen = matches!(error.etype(), ErrorType::HTTPStatus(_)) && error.retry();
        pass::may_try_again(session, error.more_context(format!("upstream {}", peer._address)), reused, unseen)
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, context: &mut Context) -> FailToProxy {
        let failure = context.watch.as_ref().map_or_else(|| PassFailure::of(error), |watch| watch.failure(error));
        let fault = session::refusal(session).map(Fault::Head).or_else(|| context.without_shield()).or_else(|| Fault::of(failure));
        if let PassFailure::Upstream(kind) = failure {
            context.way.failed(kind);
            context.is_cut = context.to_head.is_some();
        }
        let code = fault.as_ref().map_or(0, |fault| fault.status().as_u16());
        context.untold = fault.as_ref().map_or_else(fault::of_nobody, Fault::status);
        if let Some(fault) = fault
            && session.response_written().is_none_or(|head| is_interim(head.status))
        {
            // Pingora ends the connection after a failure, so that the client is told.
            session.set_keepalive(None);
            let _ = self.refuse(session, context, &fault).await;
        }
        context.outcome = Outcome::Error;
        FailToProxy { error_code: code, can_reuse_downstream: false }
    }

    fn suppress_error_log(&self, _session: &Session, _context: &Context, _error: &Error) -> bool {
        true
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, context: &mut Context) {
        if let Some(watch) = &context.watch {
            watch.end();
        }
        let status = session.response_written().filter(|head| !is_interim(head.status)).map_or(context.untold, |head| head.status);
        let bytes = context.bytes.max(session.body_bytes_sent() as u64);
        let client = session::client(session);
        let uri = context.target.take().unwrap_or_else(|| session.req_header().uri.to_string());
        let method = &session.req_header().method;
        let asked = Asked { client: client.as_deref(), method, uri: Some(&uri), started: context.started };
        let (outcome, is_cut, reason) = (context.outcome, context.is_cut, context.status_of_cache.detail);
        let head = context.to_head.or_else(|| Some(context.started.elapsed()));
        let error = error.map(|error| error.to_string().into());
        self.close(&asked, context.served.as_deref(), &Ended { status, outcome, bytes, head, is_cut, reason, error });
    }
}

/// Leaves of a request's `Connection` and `Upgrade` what was made of them: Pingora has rules of its own for them, by which it would refuse lists of
/// options that the cache's way takes, and ask an origin for an upgrade that `Connection` does not name. What the options name is gone by then.
fn agree(request: &mut RequestHeader, upgrade: bool) -> Result<(), Fault> {
    request.remove_header(&header::CONNECTION);
    if !upgrade {
        request.remove_header(&header::UPGRADE);
        return Ok(());
    }
    request.insert_header(header::CONNECTION, "Upgrade").map_err(|_| Fault::Head(Refusal::Field))
}

fn left() -> Box<Error> {
    Error::explain(ErrorType::ConnectionClosed, "the client left").into_down()
}
