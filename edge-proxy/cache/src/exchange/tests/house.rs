//! A scripted upstream and a cache in front of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use parking_lot::Mutex;
use skerry_config::site::{
    Breaker, Cache, Ejection, Forwarding, HttpVersion, Key, Origin as OriginSettings, OriginLimits, Pass, Retries, Route, Rule, Shields,
    Site,
};
use skerry_config::snapshot::{Document, Policy, Snapshot};
use skerry_config::units::Period;
use tokio::sync::Semaphore;

use crate::answer::{Answer, Failed};
use crate::exchange::{Bounds, Exchange};
use crate::fetch::{Body, Fetch, FetchError, FetchErrorKind, Fetched, Forward};
use crate::request::Request;
use crate::time::Time;

/// The moment at which most tests begin: Thu, 01 Jan 2026 00:00:00 GMT.
pub(crate) const START: Time = Time(1_767_225_600_000);

/// One thing a body does.
#[derive(Clone)]
pub(super) enum Step {
    Send(Bytes),
    /// Waits for a permit.
    Gate(Arc<Semaphore>),
    Fail,
}

/// One answer of the upstream.
#[derive(Clone)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    /// The statuses of interim answers, each of which has a `link`.
    pub(super) interim: &'static [u16],
    pub(super) steps: Vec<Step>,
    pub(super) head_gate: Option<Arc<Semaphore>>,
    /// When it was asked for; the moment of the answer where nothing is said.
    pub(super) requested_at: Option<Time>,
    pub(super) responded_at: Time,
    pub(super) error: Option<FetchErrorKind>,
}

impl Reply {
    pub(super) fn new(status: u16, headers: &[(&'static str, &str)], body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let mut headers: Vec<_> = headers.iter().map(|&(name, value)| (name, value.to_owned())).collect();
        if !body.is_empty() {
            headers.push(("content-length", body.len().to_string()));
        }
        let steps = if body.is_empty() { Vec::new() } else { vec![Step::Send(body)] };
        Self { status, headers, interim: &[], steps, head_gate: None, requested_at: None, responded_at: START, error: None }
    }

    pub(super) fn error(kind: FetchErrorKind) -> Self {
        Self { error: Some(kind), ..Self::new(200, &[], "") }
    }

    pub(super) fn after(mut self, interim: &'static [u16]) -> Self {
        self.interim = interim;
        self
    }

    pub(super) fn steps(mut self, steps: Vec<Step>) -> Self {
        self.steps = steps;
        self
    }

    pub(super) fn gated(mut self, gate: &Arc<Semaphore>) -> Self {
        self.head_gate = Some(Arc::clone(gate));
        self
    }

    pub(super) fn at(mut self, time: Time) -> Self {
        self.responded_at = time;
        self
    }

    pub(super) fn asked_at(mut self, time: Time) -> Self {
        self.requested_at = Some(time);
        self
    }
}

type Script = dyn Fn(usize, &Forward) -> Reply + Send + Sync;

/// The upstream: the script answers each call by its number, from 0.
pub(super) struct Upstream {
    script: Box<Script>,
    calls: Mutex<Vec<Forward>>,
    /// Bytes taken out of bodies.
    pub(super) taken: AtomicUsize,
    /// Bodies dropped before their end, or at it.
    pub(super) dropped: AtomicUsize,
    me: std::sync::Weak<Self>,
}

impl Upstream {
    pub(super) fn new(script: impl Fn(usize, &Forward) -> Reply + Send + Sync + 'static) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            script: Box::new(script),
            calls: Mutex::default(),
            taken: AtomicUsize::new(0),
            dropped: AtomicUsize::new(0),
            me: me.clone(),
        })
    }

    pub(super) fn always(reply: Reply) -> Arc<Self> {
        Self::new(move |_, _| reply.clone())
    }

    pub(super) fn calls(&self) -> usize {
        self.calls.lock().len()
    }

    pub(super) fn call(&self, index: usize) -> Forward {
        self.calls.lock()[index].clone()
    }
}

#[async_trait]
impl Fetch for Upstream {
    async fn fetch(&self, request: Forward) -> Result<Fetched, FetchError> {
        let index = {
            let mut calls = self.calls.lock();
            calls.push(request.clone());
            calls.len() - 1
        };
        let reply = (self.script)(index, &request);
        if let Some(gate) = &reply.head_gate {
            gate.acquire().await.unwrap().forget();
        }
        if let Some(kind) = reply.error {
            return Err(FetchError { kind, detail: "scripted".to_owned(), retry_after: None });
        }
        let body = Scripted { steps: reply.steps.into_iter(), upstream: self.me.upgrade().unwrap() };
        Ok(Fetched {
            status: StatusCode::from_u16(reply.status).unwrap(),
            headers: headers(&reply.headers.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>()),
            interim: reply
                .interim
                .iter()
                .map(|status| http::Response::builder().status(*status).header("link", "</a>").body(()).unwrap())
                .collect(),
            body: Box::new(body),
            age: None,
            requested_at: reply.requested_at.unwrap_or(reply.responded_at),
            responded_at: reply.responded_at,
        })
    }
}

struct Scripted {
    steps: std::vec::IntoIter<Step>,
    upstream: Arc<Upstream>,
}

#[async_trait]
impl Body for Scripted {
    async fn chunk(&mut self) -> Result<Option<Bytes>, FetchError> {
        loop {
            match self.steps.next() {
                None => return Ok(None),
                Some(Step::Send(bytes)) => {
                    self.upstream.taken.fetch_add(bytes.len(), Ordering::SeqCst);
                    return Ok(Some(bytes));
                }
                Some(Step::Gate(gate)) => gate.acquire().await.unwrap().forget(),
                Some(Step::Fail) => return Err(FetchError { kind: FetchErrorKind::Cut, detail: "scripted".to_owned(), retry_after: None }),
            }
        }
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.upstream.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

pub(super) fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    map
}

pub(crate) fn get(path: &str) -> Request {
    get_with(path, &[])
}

pub(crate) fn get_with(path: &str, pairs: &[(&str, &str)]) -> Request {
    Request {
        head_only: false,
        scheme: "https",
        authority: "shop.example".to_owned(),
        path_and_query: path.to_owned(),
        headers: headers(pairs),
    }
}

/// The policy of a site that says nothing.
pub(crate) fn policy() -> Policy {
    let cache = Cache::default();
    Policy { site: "shop".into(), deception_guard: cache.deception_guard, hit_for_miss: cache.hit_for_miss, ..Policy::default() }
}

/// The key of a request where the site's key is this.
pub(crate) fn keyed_by(request: &Request, rules: &Key) -> crate::key::Key {
    crate::key::Key::of(request, &Policy { key: rules.clone(), ..policy() })
}

/// A configuration of one site, `shop`, that owns `shop.example` and every other name below `example`, and has this key.
pub(crate) fn snapshot(key: Key) -> Snapshot {
    let origin: OriginSettings = serde_origin();
    let cache = Cache { key, rules: Vec::<Rule>::new(), ..Cache::default() };
    let site = Site {
        name: "shop".to_owned(),
        hosts: vec!["shop.example".to_owned(), "*.example".to_owned()],
        regions: Vec::new(),
        origin,
        shields: Shields::default(),
        cache,
        pass: Pass::default(),
        rate_limits: Vec::new(),
        forwarding: Forwarding::default(),
        route: Route::default(),
    };
    Snapshot::build(Document { version: 1, sites: vec![site], ..Document::default() }).unwrap()
}

fn serde_origin() -> OriginSettings {
    OriginSettings {
        urls: vec!["http://127.0.0.1:1".to_owned()],
        servers: Vec::new(),
        health: None,
        host_header: None,
        server_name: None,
        verify_tls: true,
        http_version: HttpVersion::default(),
        connect_timeout: Period::from_secs(1),
        ca: None,
        client_certificate: None,
        client_key: None,
        tls_timeout: Period::from_secs(1),
        first_byte_timeout: Period::from_secs(1),
        between_bytes_timeout: Period::from_secs(1),
        total_timeout: None,
        limits: OriginLimits::default(),
        breaker: Breaker::default(),
        retries: Retries::default(),
        ejection: Ejection::default(),
    }
}

/// A cache, its upstream and the policy of all requests.
#[derive(Clone)]
pub(super) struct House {
    pub(super) exchange: Arc<Exchange>,
    pub(super) upstream: Arc<Upstream>,
    pub(super) policy: Arc<Policy>,
}

impl House {
    pub(super) fn new(upstream: &Arc<Upstream>) -> Self {
        Self::with(upstream, policy(), Bounds { memory: 64 << 20, object_max: 16 << 20, filling_max: 64 << 20 })
    }

    pub(super) fn with(upstream: &Arc<Upstream>, policy: Policy, bounds: Bounds) -> Self {
        Self { exchange: Exchange::new(bounds), upstream: Arc::clone(upstream), policy: Arc::new(policy) }
    }

    pub(super) async fn run(&self, request: Request, now: Time) -> Result<Answer, Failed> {
        let fetch: Arc<dyn Fetch> = Arc::clone(&self.upstream) as Arc<dyn Fetch>;
        self.exchange.run(request, &self.policy, now, fetch).await
    }

    /// Status, `Cache-Status` and body of a request.
    pub(super) async fn ask(&self, request: Request, now: Time) -> (u16, String, Bytes) {
        let answer = self.run(request, now).await.unwrap_or_else(|failed| panic!("{failed:?}"));
        let status = answer.status_of_cache.render("c").to_str().unwrap().to_owned();
        (answer.status.as_u16(), status, read(answer).await.unwrap())
    }

    /// Waits until nothing is being fetched for others.
    pub(super) async fn settled(&self) {
        until("flights to end", || self.exchange.figures().flights == 0).await;
    }
}

/// The whole body.
pub(super) async fn read(mut answer: Answer) -> Result<Bytes, FetchError> {
    let mut out = Vec::new();
    while let Some(bytes) = answer.body.chunk().await? {
        assert!(!bytes.is_empty(), "an empty piece");
        out.extend_from_slice(&bytes);
    }
    Ok(out.into())
}

/// Waits for a condition, at most ten seconds.
pub(super) async fn until(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(10), wait).await.is_ok(), "waited in vain for {what}");
}

pub(super) fn gate() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(0))
}

pub(crate) fn seconds(seconds: u64) -> Time {
    START.plus(Duration::from_secs(seconds))
}

impl Answer {
    /// The value of a header field.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}
