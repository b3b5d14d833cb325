//! GET and HEAD of an edge: catch up with the purges that it knows, have the cache answer, count.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use http::Method;
use skerry_agent::figures::Outcome;
use skerry_cache::answer::{Answer, CacheStatus, Failed, Reader};
use skerry_cache::request::Request;
use skerry_cache::time::Time;
use skerry_config::snapshot::{Policy, Served};
use skerry_transport::aged::Aged;
use skerry_transport::asker::{Asker, Later, Pieces, Sent, Unsent, Whole};
use skerry_transport::client::Client;
use skerry_transport::head::Head;
use skerry_transport::hygiene::SAID_BY_EDGES;
use skerry_transport::interim;

use crate::fault::{self, Fault};
use crate::origin::FromOrigin;
use crate::request::{Asked, Ended, Shield};

/// A request whose answer has to be waited for.
pub(crate) struct Cached {
    pub(crate) shield: Arc<Shield>,
    pub(crate) edge: Arc<Client>,
    pub(crate) started: Instant,
    /// Authority, path and query, where requests are logged.
    pub(crate) uri: Option<String>,
    pub(crate) head: Head,
}

#[async_trait]
impl Later for Cached {
    async fn answer(self: Box<Self>, asker: &mut dyn Asker) {
        let Self { shield, edge, started, uri, head } = *self;
        let method = head.method.clone();
        // Counts the request among those that run.
        let permit = shield.gate.request();
        let site = if permit.is_some() { shield.route(&head, Some(&edge)) } else { Err(Fault::Busy) };
        let of = site.as_ref().ok().cloned();
        // What goes wrong is remembered with it.
        let uri = uri.or_else(|| Some([&*head.authority, &head.path_and_query].concat()));
        let ended = match site {
            Ok(served) => shield.answer(asker, head, &served, started).await,
            Err(fault) => shield.tell(asker, fault, CacheStatus::default(), started).await,
        };
        shield.close(&Asked { method: &method, uri: uri.as_deref(), started }, of.as_deref(), &ended);
    }
}

impl Shield {
    async fn answer(&self, asker: &mut dyn Asker, mut head: Head, served: &Arc<Served>, started: Instant) -> Ended {
        let mut policy = Arc::clone(served.policy(head.host(), head.path(), &head.headers));
        if !self.purged.as_at_edge(&head.headers).await {
            policy = Arc::new(Policy { bypass: true, ..Policy::clone(&policy) });
        }
        SAID_BY_EDGES.iter().for_each(|name| drop(head.headers.remove(name)));
        let fetch = FromOrigin { origins: Arc::clone(&self.origins), served: Arc::clone(served) };
        let Head { method, scheme, authority, path_and_query, headers, .. } = head;
        let request = Request { head_only: method == Method::HEAD, scheme, authority, path_and_query, headers };
        let now = Time::from(SystemTime::now());
        let answered = tokio::select! {
            biased;
            answered = self.exchange.run(request, &policy, now, Arc::new(fetch)) => answered,
            () = asker.gone() => return left(started),
        };
        match answered {
            Ok(answer) => self.send(asker, answer, started).await,
            Err(Failed { error, status_of_cache }) => {
                tracing::warn!(site = served.site().name, error = error.detail, "no answer from the origin");
                self.tell(asker, Fault::origin(error.kind, error.retry_after), status_of_cache, started).await
            }
        }
    }

    async fn send(&self, asker: &mut dyn Asker, answer: Answer, started: Instant) -> Ended {
        let Answer { status, mut headers, interim, body, age, status_of_cache, .. } = answer;
        self.finish(&mut headers, &status_of_cache);
        interim::carry(&mut headers, &interim);
        if let Some(age) = age {
            Aged { age, took: started.elapsed() }.write(&mut headers);
        }
        let head = started.elapsed();
        let Sent { bytes, end } = asker.answer(status, headers, &mut FromCache(body)).await;
        let is_cut = matches!(end, Err(Unsent::Body(_)));
        let outcome = match end {
            Err(_) => Outcome::Error,
            Ok(()) if status_of_cache.hit => Outcome::Hit,
            Ok(()) => Outcome::Miss,
        };
        Ended { status, outcome, bytes, head, is_cut, reason: None, error: end.err().map(why) }
    }

    /// Tells an edge why there is no answer.
    async fn tell(&self, asker: &mut dyn Asker, fault: Fault, mut status_of_cache: CacheStatus, started: Instant) -> Ended {
        status_of_cache.detail = Some(fault.detail());
        let (headers, text) = self.refusal(&status_of_cache, fault);
        let head = started.elapsed();
        let Sent { bytes, end } = asker.answer(fault.status(), headers, &mut Whole(Some(text))).await;
        let (status, reason, error) = (fault.status(), Some(fault.detail()), end.err().map(why));
        Ended { status, outcome: Outcome::Error, bytes, head, is_cut: false, reason, error }
    }
}

/// What is counted of a request whose edge did not wait for the answer.
fn left(started: Instant) -> Ended {
    let (status, outcome, error) = (fault::of_nobody(), Outcome::Error, Some(why(Unsent::Client)));
    Ended { status, outcome, bytes: 0, head: started.elapsed(), is_cut: false, reason: None, error }
}

fn why(unsent: Unsent) -> Cow<'static, str> {
    match unsent {
        Unsent::Client => "the edge left".into(),
        Unsent::Body(why) => why.into(),
    }
}

/// The cache's body as the edge takes it.
struct FromCache(Reader);

#[async_trait]
impl Pieces for FromCache {
    async fn next(&mut self) -> Result<Option<Bytes>, String> {
        self.0.chunk().await.map_err(|error| error.to_string())
    }
}
