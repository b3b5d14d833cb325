//! GET and HEAD that memory does not answer at once: from the disk, from upstream, or with an error.
//!
//! The steps: be admitted; have the cache answer, and send on what comes ahead of that; shape the answer and send it; count.

use std::borrow::Cow;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Instant, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use http::Method;
use http::header::HeaderMap;
use skerry_agent::figures::Outcome;
use skerry_cache::answer::{Answer, CacheStatus, Failed, Reader};
use skerry_cache::request::Request;
use skerry_cache::time::Time;
use skerry_config::snapshot::{Policy, Served};
use skerry_transport::asker::{Asker, Later, Pieces, Sent, Unsent, Whole};
use skerry_transport::client::Client;
use skerry_transport::interim::{Early, Interim};

use crate::fault::{self, Fault};
use crate::fill::Fill;
use crate::forwarded::Came;
use crate::request::{Asked, Edge, Ended};
use crate::{shape, shields};

/// A request whose answer has to be waited for.
pub(crate) struct Cached {
    pub(crate) edge: Arc<Edge>,
    pub(crate) client: Arc<Client>,
    pub(crate) started: Instant,
    pub(crate) method: Method,
    /// Authority, path and query, where requests are logged.
    pub(crate) uri: Option<String>,
    /// What is wanted, or why there is nothing.
    pub(crate) wanted: Result<Wanted, Fault>,
}

/// What is wanted of a site.
pub(crate) struct Wanted {
    /// As the cache sees it.
    pub(crate) request: Request,
    /// The site, with the configuration the request began with.
    pub(crate) served: Arc<Served>,
    pub(crate) policy: Arc<Policy>,
    pub(crate) came: Came,
    /// Path and fields as the client sent them, where limits count by them.
    pub(crate) sent: Option<(String, HeaderMap)>,
}

#[async_trait]
impl Later for Cached {
    async fn answer(self: Box<Self>, asker: &mut dyn Asker) {
        let Self { edge, client, started, method, uri, wanted } = *self;
        let to = To { edge: &edge, client: &client, started };
        let served = wanted.as_ref().ok().map(|wanted| Arc::clone(&wanted.served));
        // What goes wrong is remembered with it.
        let uri =
            uri.or_else(|| wanted.as_ref().ok().map(|Wanted { request, .. }| [&*request.authority, &request.path_and_query].concat()));
        // Counts the request among those that run.
        let permit = edge.gate.request();
        let ended = match (&permit, wanted) {
            (None, _) => to.refuse(asker, &Fault::Busy, CacheStatus::default()).await,
            (Some(_), Err(fault)) => to.refuse(asker, &fault, CacheStatus::default()).await,
            (Some(_), Ok(wanted)) => to.answer(asker, wanted).await,
        };
        edge.close(&Asked { client: Some(&client), method: &method, uri: uri.as_deref(), started }, served.as_deref(), &ended);
    }
}

/// Who answers whom.
struct To<'a> {
    edge: &'a Arc<Edge>,
    client: &'a Client,
    /// When the request's head had been read.
    started: Instant,
}

impl To<'_> {
    async fn answer(&self, asker: &mut dyn Asker, wanted: Wanted) -> Ended {
        let Wanted { request, served, policy, came, sent } = wanted;
        let edge = self.edge;
        if let Some((path, headers)) = sent
            && let Err(over) = edge.admit(&served, &path, &headers, &came)
        {
            return self.refuse(asker, &edge.too_often(&served, over), CacheStatus::default()).await;
        }
        let early = Arc::new(Early::default());
        let fill = Fill {
            early: Arc::clone(&early),
            upstreams: Arc::clone(&edge.upstreams),
            snapshot: edge.current.load_full(),
            served: Arc::clone(&served),
            host: shields::ranking_host(&policy.key, &request.authority).to_owned(),
            came,
        };
        let now = Time::from(SystemTime::now());
        let answering = pin!(edge.exchange.run(request, &policy, now, Arc::new(fill)));
        match ahead_of(answering, asker, &early).await {
            Ok(Ok(answer)) => self.send(asker, answer).await,
            Ok(Err(Failed { error, status_of_cache })) => {
                tracing::warn!(site = served.site().name, error = error.detail, "no answer from upstream");
                self.refuse(asker, &Fault::upstream(error.kind, error.retry_after), status_of_cache).await
            }
            Err(Gone) => self.left(),
        }
    }

    async fn send(&self, asker: &mut dyn Asker, answer: Answer) -> Ended {
        let Answer { status, mut headers, interim, body, status_of_cache, upstream_cache_status, .. } = answer;
        shape::finish(&mut headers, &self.edge.name, &status_of_cache, upstream_cache_status.as_ref());
        shape::announce(&mut headers, self.client.secured.is_some(), &self.edge.announced);
        for interim in interim {
            if send_interim(asker, interim).await.is_err() {
                return self.left();
            }
        }
        let head = Some(self.started.elapsed());
        let Sent { bytes, end } = asker.answer(status, headers, &mut FromCache(body)).await;
        let is_cut = matches!(end, Err(Unsent::Body(_)));
        let outcome = match end {
            Err(_) => Outcome::Error,
            Ok(()) if status_of_cache.hit => Outcome::Hit,
            Ok(()) => Outcome::Miss,
        };
        Ended { status, outcome, bytes, head, is_cut, reason: None, error: end.err().map(why) }
    }

    async fn refuse(&self, asker: &mut dyn Asker, fault: &Fault, mut status_of_cache: CacheStatus) -> Ended {
        status_of_cache.detail = Some(fault.detail());
        let (headers, text) = self.edge.refusal(&status_of_cache, fault, self.client.secured.is_some());
        let head = Some(self.started.elapsed());
        let Sent { bytes, end } = asker.answer(fault.status(), headers, &mut Whole(Some(text))).await;
        let (status, reason, error) = (fault.status(), Some(fault.detail()), end.err().map(why));
        Ended { status, outcome: Outcome::Error, bytes, head, is_cut: false, reason, error }
    }

    /// What is counted of a request whose client did not wait for the answer.
    fn left(&self) -> Ended {
        let (head, error) = (Some(self.started.elapsed()), Some(why(Unsent::Client)));
        Ended { status: fault::of_nobody(), outcome: Outcome::Error, bytes: 0, head, is_cut: false, reason: None, error }
    }
}

/// The client has gone.
struct Gone;

/// Waits for an answer, and sends on what comes ahead of it. Others may wait for the same answer, so that it goes on while the client takes its time
/// with that.
async fn ahead_of<T>(mut answering: Pin<&mut impl Future<Output = T>>, asker: &mut dyn Asker, early: &Early) -> Result<T, Gone> {
    let answered = loop {
        let interim = tokio::select! {
            biased;
            interim = early.next() => interim,
            answered = &mut answering => break answered,
            () = asker.gone() => return Err(Gone),
        };
        let mut answered = None;
        let mut sending = pin!(send_interim(asker, interim));
        poll_fn(|cx| {
            if answered.is_none()
                && let Poll::Ready(answer) = answering.as_mut().poll(cx)
            {
                answered = Some(answer);
            }
            sending.as_mut().poll(cx)
        })
        .await?;
        if let Some(answered) = answered {
            break answered;
        }
    };
    // Some may have come together with it.
    while let Some(interim) = early.take() {
        send_interim(asker, interim).await?;
    }
    Ok(answered)
}

async fn send_interim(asker: &mut dyn Asker, mut interim: Interim) -> Result<(), Gone> {
    shape::strip(interim.headers_mut());
    asker.interim(interim).await.map_err(|_| Gone)
}

fn why(unsent: Unsent) -> Cow<'static, str> {
    match unsent {
        Unsent::Client => "the client left".into(),
        Unsent::Body(why) => why.into(),
    }
}

/// The cache's body as the client takes it.
struct FromCache(Reader);

#[async_trait]
impl Pieces for FromCache {
    async fn next(&mut self) -> Result<Option<Bytes>, String> {
        self.0.chunk().await.map_err(|error| error.to_string())
    }
}
