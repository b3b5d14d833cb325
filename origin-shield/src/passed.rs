//! What is passed through to the origin by Pingora: all but GET and HEAD without body.
//!
//! A session begins at `request_filter`, which says where the request goes; the filters after it hold it to its bounds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{HeaderMap, VIA};
use http::{Method, StatusCode, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::{FailToProxy, ProxyHttp, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType};
use skerry_agent::figures::Outcome;
use skerry_cache::answer::{CacheStatus, Forwarded};
use skerry_cache::request::Request;
use skerry_config::snapshot::Served;
use skerry_transport::accept::KEEPALIVE_SECONDS;
use skerry_transport::gate::Permit;
use skerry_transport::head::Head;
use skerry_transport::hygiene::{self, CACHE_STATUS, FAULT, SAID_BY_EDGES, SCHEME};
use skerry_transport::interim::{self, Arrived, INTERIM};
use skerry_transport::pass::{self, Kind, Watch, Way};
use skerry_transport::session::{self, is_interim};
use skerry_transport::sound;
use skerry_transport::upstream::PassFailure;

use crate::fault::{self, Fault};
use crate::request::{Asked, Ended, Shield};

/// The shield as Pingora calls it.
pub(crate) struct Sessions(pub(crate) Arc<Shield>);

impl std::ops::Deref for Sessions {
    type Target = Shield;

    fn deref(&self) -> &Shield {
        &self.0
    }
}

/// What is known of a request while it runs.
pub(crate) struct Context {
    started: Instant,
    head: Option<Head>,
    served: Option<Arc<Served>>,
    way: Way,
    /// Over what is passed through.
    watch: Option<Watch>,
    /// Interim answers to a request that is passed through.
    interim: Arrived,
    status_of_cache: CacheStatus,
    outcome: Outcome,
    bytes: u64,
    /// The status of an answer that could not be given: nobody was there.
    untold: StatusCode,
    /// From its head to that of the answer.
    to_head: Option<Duration>,
    /// Whether the answer was cut off because the origin ended early.
    is_cut: bool,
    /// Counts the request among those that run.
    permit: Option<Permit>,
}

impl Shield {
    /// The head of a session's request, and its site.
    fn route_session(&self, session: &Session) -> Result<(Head, Arc<Served>), Fault> {
        let https = session.get_header(&SCHEME).is_some_and(|scheme| scheme == "https");
        let head = Head::read(session.req_header(), https).map_err(|_| Fault::Head)?;
        let served = self.route(&head, session::client(session).as_deref())?;
        Ok((head, served))
    }

    async fn refuse(&self, session: &mut Session, context: &mut Context, fault: Fault) -> pingora::Result<bool> {
        context.outcome = Outcome::Error;
        context.status_of_cache.detail = Some(fault.detail());
        let (headers, text) = self.refusal(&context.status_of_cache, fault);
        if !session.as_mut().is_body_empty() {
            session.set_keepalive(None);
        }
        let head_only = session.req_header().method == Method::HEAD;
        match session::send(session, fault.status(), &headers, text, head_only).await {
            Ok(sent) => {
                context.bytes = sent;
                Ok(true)
            }
            Err(_) => Error::e_explain(ErrorType::ConnectionClosed, "the edge left").map_err(|error| error.into_down()),
        }
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
            watch: None,
            interim: Arrived::default(),
            status_of_cache: CacheStatus::default(),
            outcome: Outcome::Error,
            bytes: 0,
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
            return self.refuse(session, context, Fault::Busy).await;
        };
        context.permit = Some(permit);
        let (head, served) = match self.route_session(session) {
            Ok(routed) => routed,
            Err(fault) => return self.refuse(session, context, fault).await,
        };
        let safe = head.method == Method::GET || head.method == Method::HEAD;
        context.way = Way::new(self.origins.client().origins().targets(served.site()), &head);
        context.watch = Watch::begin(session, &head, served.site(), Duration::ZERO, 0);
        context.outcome = Outcome::Pass;
        context.status_of_cache =
            CacheStatus { fwd: Some(if safe { Forwarded::Bypass } else { Forwarded::Method }), ..CacheStatus::default() };
        let kind = Kind::of(&head);
        context.head = Some(head);
        context.served = Some(served);
        pass::both_ways(kind, self, self.origins.client(), session, context).await
    }

    async fn upstream_peer(&self, _session: &mut Session, context: &mut Context) -> pingora::Result<Box<HttpPeer>> {
        let Some(watch) = &context.watch else { return Err(Error::new(ErrorType::InternalError)) };
        context.way.peer(self.origins.client(), watch).await
    }

    fn fail_to_connect(&self, _session: &mut Session, peer: &HttpPeer, context: &mut Context, error: Box<Error>) -> Box<Error> {
        context.way.unreachable(peer, error)
    }

    fn error_while_proxy(
        &self,
        peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        _context: &mut Context,
        reused: bool,
    ) -> Box<Error> {
        pass::may_try_again(session, error.more_context(format!("upstream {}", peer._address)), reused, false)
    }

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        upstream: &mut RequestHeader,
        context: &mut Context,
    ) -> pingora::Result<()> {
        context.interim = Arrived::default();
        let (Some(head), Some(watch)) = (&context.head, &context.watch) else { return Ok(()) };
        let mut signed = head.headers.clone();
        SAID_BY_EDGES.iter().for_each(|name| drop(signed.remove(name)));
        self.origins.sign(&mut signed);
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
        _session: &mut Session,
        answer: &mut ResponseHeader,
        context: &mut Context,
    ) -> pingora::Result<()> {
        if let Some(head) = &context.head {
            sound::check_passed(answer, head)?;
        }
        answer.remove_header(&FAULT);
        hygiene::strip_passed(answer);
        Ok(())
    }

    async fn response_filter(&self, session: &mut Session, answer: &mut ResponseHeader, context: &mut Context) -> pingora::Result<()> {
        if is_interim(answer.status) {
            if session.req_header().version == Version::HTTP_2 {
                context.interim.add(answer.status, answer.headers.clone());
            } else {
                hygiene::strip_interim(answer);
                answer.remove_header(&INTERIM);
            }
            return Ok(());
        }
        context.to_head = Some(context.started.elapsed());
        context.status_of_cache.fwd_status = Some(answer.status.as_u16());
        answer.insert_header(CACHE_STATUS, context.status_of_cache.render(&self.name))?;
        answer.append_header(VIA, format!("1.1 {}", self.name))?;
        answer.remove_header(&INTERIM);
        let mut headers = answer.headers.clone();
        interim::carry(&mut headers, &std::mem::take(&mut context.interim).into_heads());
        for value in headers.get_all(INTERIM) {
            answer.append_header(INTERIM, value.clone())?;
        }
        session::keep_date(session, answer);
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

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, context: &mut Context) -> FailToProxy {
        let failure = context.watch.as_ref().map_or_else(|| PassFailure::of(error), |watch| watch.failure(error));
        let fault = session::refusal(session).map(|_| Fault::Head).or_else(|| Fault::of(failure));
        if let PassFailure::Upstream(kind) = failure {
            context.way.failed(kind);
            context.is_cut = context.to_head.is_some();
        }
        let code = fault.map_or(0, |fault| fault.status().as_u16());
        if let Some(fault) = fault
            && session.response_written().is_none()
        {
            // Pingora ends the connection after a failure, so that the edge is told, and does not ask on it once more.
            session.set_keepalive(None);
            let _ = self.refuse(session, context, fault).await;
        }
        context.untold = fault.map_or_else(fault::of_nobody, Fault::status);
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
        let status = session.response_written().map_or(context.untold, |head| head.status);
        let bytes = context.bytes.max(session.body_bytes_sent() as u64);
        let uri = session.req_header().uri.to_string();
        let asked = Asked { method: &session.req_header().method, uri: Some(&uri), started: context.started };
        let error = error.map(|error| error.to_string().into());
        let head = context.to_head.unwrap_or_else(|| context.started.elapsed());
        let (outcome, is_cut, reason) = (context.outcome, context.is_cut, context.status_of_cache.detail);
        self.close(&asked, context.served.as_deref(), &Ended { status, outcome, bytes, head, is_cut, reason, error });
    }
}
