//! What the edge says to its front door: the answer, if it is in memory; that it has to be waited for; or that the request is passed through.
//!
//! Also the word to clients whose requests are none.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::Method;
use http::header::{self, HeaderMap, HeaderValue};
use skerry_agent::figures::{Answered, Outcome};
use skerry_cache::exchange::Hit;
use skerry_cache::request::Request;
use skerry_cache::time::Time;
use skerry_config::snapshot::{Policy, Served};
use skerry_transport::client::Client;
use skerry_transport::door::{self, Behind, Entry, Own, Ready, Reply, Told};
use skerry_transport::head::{Head, Refusal};
use skerry_transport::pass::Kind;

use crate::beacon::Asking;
use crate::cached::{Cached, Wanted};
use crate::fault::Fault;
use crate::forwarded::Came;
use crate::request::{Asked, Edge, Ended, is_logged};
use crate::{fields, shape};

/// The edge as its front door knows it.
pub(crate) struct AtTheDoor(pub(crate) Arc<Edge>);

impl std::ops::Deref for AtTheDoor {
    type Target = Edge;

    fn deref(&self) -> &Edge {
        &self.0
    }
}

impl Behind for AtTheDoor {
    fn ask(&self, mut head: Head, client: &Arc<Client>) -> Reply {
        let started = Instant::now();
        if Kind::of(&head) != Kind::Request {
            return Reply::Pass;
        }
        let later = |method, uri, wanted| {
            Reply::Later(Box::new(Cached { edge: Arc::clone(&self.0), client: Arc::clone(client), started, method, uri, wanted }))
        };
        let uri = is_logged().then(|| [&*head.authority, &head.path_and_query].concat());
        let current = self.current.load();
        let served = match self.route(&current, &mut head) {
            Ok(served) => served,
            Err(fault) => return later(head.method, uri, Err(fault)),
        };
        let came = self.came(&mut head, served, Some(client.ip()));
        self.round_trips.sample(client, &came, started);
        if self.beacon.is_at(head.path()) {
            return Reply::Later(Box::new(Asking { edge: Arc::clone(&self.0), served: Arc::clone(served), came, head }));
        }
        let policy = served.policy(head.host(), head.path(), &head.headers);
        // Limits count by the fields that the client sent.
        let sent = (!served.rates().is_empty()).then(|| (head.path().to_owned(), head.headers.clone()));
        fields::prepare(&mut head.headers, &policy.key, || self.countries.of(came.client()));
        let Head { method, scheme, authority, path_and_query, headers, .. } = head;
        let mut request = Request { head_only: method == Method::HEAD, scheme, authority, path_and_query, headers };
        if let Some(hit) = self.hit(&mut request, (served, policy), sent.as_ref(), &came) {
            return Reply::Ready(self.ready(&hit, request, method, served.slot(), started, client));
        }
        later(method, uri, Ok(Wanted { request, served: Arc::clone(served), policy: Arc::clone(policy), came, sent }))
    }

    fn ended(&self, entry: &Entry, client: &Client, bytes: u64, whole: bool) {
        let uri = is_logged().then(|| [&*entry.authority, &entry.path_and_query].concat());
        let asked = Asked { client: Some(client), method: &entry.method, uri: uri.as_deref(), started: entry.started };
        let outcome = if whole { Outcome::Hit } else { Outcome::Error };
        let ended = Ended { status: entry.status, outcome, bytes, head: None, is_cut: false, reason: None, error: None };
        self.count(&asked, entry.slot, &ended);
    }

    fn refused(&self, refusal: Refusal, client: &Client) -> Told {
        let fault = Fault::Head(refusal);
        let status = fault.status();
        self.figures.refused(refusal);
        let outcome = Outcome::Error;
        self.figures.answered(&Answered {
            slot: None,
            status: status.as_u16(),
            outcome,
            is_cut: false,
            bytes: 0,
            head: None,
            seconds: 0.0,
        });
        tracing::debug!(
            target: "skerry::access", client = %client.ip(), status = status.as_u16(), reason = refusal.as_str(), protocol = client.protocol.as_str(),
            "refused"
        );
        let (headers, body) = self.refusal(&fault.status_of_cache(), &fault, client.secured.is_some());
        Told { status, headers, body }
    }
}

impl Edge {
    /// The answer in memory, if the client may ask for it now.
    fn hit(
        &self,
        request: &mut Request,
        (served, policy): (&Served, &Policy),
        sent: Option<&(String, HeaderMap)>,
        came: &Came,
    ) -> Option<Hit> {
        let hit = self.exchange.ready(request, policy, Time::from(SystemTime::now()))?;
        // Whoever may not is told so on the way of those who wait.
        if let Some((path, headers)) = sent {
            self.admit(served, path, headers, came).ok()?;
        }
        self.exchange.hit();
        Some(hit)
    }

    fn ready(&self, hit: &Hit, request: Request, method: Method, slot: Option<u32>, started: Instant, client: &Client) -> Ready {
        let announced = client.secured.as_ref().and_then(|_| self.announced.load_full());
        let own = Own { age: hit.age, cache_status: hit.status_of_cache.text(&self.name), alt_svc: announced.as_deref() };
        let (status, body) = (hit.status(), hit.body());
        let head = own.finish(client.protocol, status, &Common { edge: self, hit }, &body);
        let Request { authority, path_and_query, .. } = request;
        Ready { head, body, entry: Entry { started, method, authority, path_and_query, status, slot } }
    }
}

/// What of a stored answer's head is the same for everyone.
struct Common<'a> {
    edge: &'a Edge,
    hit: &'a Hit,
}

impl door::Common for Common<'_> {
    fn text(&self) -> Bytes {
        self.hit.text(|| door::text(self.hit.status(), &self.fields()))
    }

    fn section(&self) -> Bytes {
        self.hit.section(|| door::section(self.hit.status(), self.fields()))
    }

    fn fields(&self) -> HeaderMap {
        let mut headers = self.hit.headers().clone();
        shape::strip(&mut headers);
        shape::sign(&mut headers, &self.edge.name);
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(self.hit.length()));
        headers
    }
}
