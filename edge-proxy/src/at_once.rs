//! Answers from memory without a session, and the word to clients whose requests go no further.
//!
//! The same steps as in `passed.rs`: route, prepare the fields, look up; what they find is counted and logged alike. Whatever is not answered
//! here takes the full way, which judges it anew.

use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::Method;
use http::header::{self, HeaderMap, HeaderValue};
use skerry_agent::figures::Outcome;
use skerry_cache::exchange::Hit;
use skerry_cache::request::Request;
use skerry_cache::time::Time;
use skerry_transport::client::Client;
use skerry_transport::door::{self, Behind, Entry, Own, Ready, Told};
use skerry_transport::head::{Head, Refusal};
use skerry_transport::hygiene;
use skerry_transport::pass::Kind;

use crate::fault::Fault;
use crate::passed::Edge;
use crate::{fields, shape};

impl Behind for Edge {
    fn at_once(&self, mut head: Head, client: &Client) -> Option<Ready> {
        let started = Instant::now();
        let safe = head.method == Method::GET || head.method == Method::HEAD;
        if !safe || Kind::of(&head) != Kind::Request || self.upstreams.has_looped(&head.headers) {
            return None;
        }
        hygiene::strip_own(&mut head.headers);
        let current = self.current.load();
        let served = current.site_for_host(head.host())?;
        let came = self.came(&mut head, served, Some(client.ip()));
        let policy = served.policy(head.host(), head.path(), &head.headers);
        // Limits count by the fields that the client sent, as on the full way.
        let sent = (!served.rates().is_empty()).then(|| (head.path().to_owned(), head.headers.clone()));
        fields::prepare(&mut head.headers, &policy.key, || self.countries.of(came.client()));
        let Head { method, scheme, authority, path_and_query, headers, .. } = head;
        let mut request = Request { head_only: method == Method::HEAD, scheme, authority, path_and_query, headers };
        let hit = self.exchange.ready(&mut request, policy, Time::from(SystemTime::now()))?;
        // The full way says no.
        if let Some((path, headers)) = sent {
            self.admit(served, &path, &headers, &came).ok()?;
        }
        self.exchange.hit();
        let announced = client.secured.as_ref().and_then(|_| self.announced.load_full());
        let own = Own { age: hit.age, cache_status: hit.status_of_cache.text(&self.name), alt_svc: announced.as_deref() };
        let (status, body) = (hit.status(), hit.body());
        let head = own.finish(client.protocol, status, &Common { edge: self, hit: &hit }, &body);
        let Request { authority, path_and_query, .. } = request;
        Some(Ready { head, body, entry: Entry { started, method, authority, path_and_query, status } })
    }

    fn ended(&self, entry: &Entry, client: &Client, bytes: u64, whole: bool) {
        let seconds = entry.started.elapsed().as_secs_f64();
        let outcome = if whole { Outcome::Hit } else { Outcome::Error };
        self.figures.answered(entry.status.as_u16(), outcome, bytes, seconds);
        // Asked of the kernel, so only where it is logged.
        let is_logged = tracing::enabled!(target: "skerry::access", tracing::Level::DEBUG);
        let round_trip = is_logged.then(|| client.round_trip()).flatten();
        let uri = is_logged.then(|| format!("{}{}", entry.authority, entry.path_and_query));
        tracing::debug!(
            target: "skerry::access",
            client = %client.ip(),
            method = %entry.method,
            uri = uri.as_deref(),
            status = entry.status.as_u16(),
            bytes,
            seconds,
            cache = ?outcome,
            protocol = client.protocol.as_str(),
            tls = client.security(),
            rtt_us = round_trip.map(|times| times.smoothed.as_micros()),
            rtt_min_us = round_trip.map(|times| times.least.as_micros()),
            "answered"
        );
    }

    fn refused(&self, refusal: Refusal, client: &Client) -> Told {
        let fault = Fault::Head(refusal);
        let status = fault.status();
        self.figures.refused(refusal);
        self.figures.answered(status.as_u16(), Outcome::Error, 0, 0.0);
        tracing::debug!(
            target: "skerry::access", client = %client.ip(), status = status.as_u16(), reason = refusal.as_str(), protocol = client.protocol.as_str(),
            "refused"
        );
        let (mut headers, body) = self.refusal(&fault.status_of_cache(), &fault);
        shape::announce(&mut headers, client.secured.is_some(), &self.announced);
        Told { status, headers, body }
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
