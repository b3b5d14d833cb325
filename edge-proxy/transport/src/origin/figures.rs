//! What is counted of origin servers, and its way into Prometheus: read when it is scraped, by the sites and servers of the configuration in force.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

use super::Guard;
use crate::upstream::{Client, UpstreamErrorKind};

/// What is counted of one server.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(super) requests: AtomicU64,
    pub(super) bytes: AtomicU64,
    /// By [`UpstreamErrorKind::ALL`].
    errors: [AtomicU64; UpstreamErrorKind::ALL.len()],
    /// Answers that say that something is wrong.
    pub(super) error_answers: AtomicU64,
    /// By [`Turn::ALL`].
    turns: [AtomicU64; Turn::ALL.len()],
}

/// A change of what is thought of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It is left alone.
    LeftAlone,
    /// It is asked again.
    AskedAgain,
    /// It was taken out because it failed.
    TakenOut,
    /// Its checks say that it is down.
    Down,
    /// Its checks say that it is well again.
    Up,
}

impl Turn {
    const ALL: [Self; 5] = [Self::LeftAlone, Self::AskedAgain, Self::TakenOut, Self::Down, Self::Up];

    fn as_str(self) -> &'static str {
        match self {
            Self::LeftAlone => "left-alone",
            Self::AskedAgain => "asked-again",
            Self::TakenOut => "taken-out",
            Self::Down => "down",
            Self::Up => "up",
        }
    }
}

impl Counters {
    pub(super) fn failed(&self, kind: UpstreamErrorKind) {
        if let Some(at) = UpstreamErrorKind::ALL.iter().position(|known| *known == kind) {
            self.errors[at].fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn turned(&self, turn: Turn) {
        self.turns[turn as usize].fetch_add(1, Ordering::Relaxed);
    }
}

struct Scrape {
    client: Arc<Client>,
    descs: Vec<Desc>,
}

/// The metrics, empty.
struct Metrics {
    requests: IntCounterVec,
    bytes: IntCounterVec,
    errors: IntCounterVec,
    turns: IntCounterVec,
    running: IntGaugeVec,
    waiting: IntGaugeVec,
    left_alone: IntGaugeVec,
    out: IntGaugeVec,
    sent: IntCounterVec,
    retries: IntCounterVec,
    retries_refused: IntCounterVec,
    link_requests: IntCounterVec,
    link_bytes: IntCounterVec,
    link_errors: IntCounterVec,
    link_left_alone: IntGaugeVec,
}

impl Metrics {
    #[expect(clippy::expect_used, reason = "names and labels are constants")]
    fn new() -> Self {
        const SERVER: [&str; 2] = ["site", "origin"];
        let counter = |name: &str, help: &str, more: &[&str]| {
            IntCounterVec::new(Opts::new(format!("skerry_origin_{name}"), help), &[&SERVER[..], more].concat()).expect("valid")
        };
        let gauge = |name: &str, help: &str| IntGaugeVec::new(Opts::new(format!("skerry_origin_{name}"), help), &SERVER).expect("valid");
        let site = |name: &str, help: &str| IntCounterVec::new(Opts::new(format!("skerry_origin_{name}"), help), &["site"]).expect("valid");
        let link = |name: &str, help: &str, more: &[&str]| {
            IntCounterVec::new(Opts::new(format!("skerry_link_{name}"), help), &[&["shield"][..], more].concat()).expect("valid")
        };
        Self {
            requests: counter("requests_total", "Requests that had leave to ask an origin server.", &[]),
            bytes: counter("body_bytes_total", "Bytes of the bodies of its answers that were fetched.", &[]),
            errors: counter(
                "errors_total",
                "Requests that it did not answer, or with 500, 502, 503 or 504 (`answer`), by the kind.",
                &["kind"],
            ),
            turns: counter("health_changes_total", "Changes of what is thought of it.", &["change"]),
            running: gauge("running", "Requests that it is asked at this moment."),
            waiting: gauge("waiting", "Requests that wait for one of those to end."),
            left_alone: gauge("left_alone", "1 while nothing is asked of it."),
            out: gauge("out", "1 while it is behind the other servers because it failed, or its checks do."),
            sent: site("site_fetches_total", "What a site's requests made this node fetch, from a shield or an origin."),
            retries: site("retries_total", "Requests of a site that were repeated."),
            link_requests: link("requests_total", "Requests that had leave to ask a shield.", &[]),
            link_bytes: link("body_bytes_total", "Bytes of the bodies of its answers that were fetched.", &[]),
            link_errors: link("errors_total", "Requests that it did not answer, by the kind.", &["kind"]),
            link_left_alone: IntGaugeVec::new(Opts::new("skerry_link_left_alone", "1 while nothing is asked of the shield."), &["shield"])
                .expect("valid"),
            retries_refused: site("retries_refused_total", "Requests of a site that were not repeated, because its retries were used up."),
        }
    }

    fn add(&self, guard: &Guard, now: Instant) {
        let labels = [guard.site.as_str(), guard.url.as_str()];
        let with = |more: &'static str| [labels[0], labels[1], more];
        let counters = &guard.counters;
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        self.requests.with_label_values(&labels).inc_by(get(&counters.requests));
        self.bytes.with_label_values(&labels).inc_by(get(&counters.bytes));
        for (kind, count) in UpstreamErrorKind::ALL.iter().zip(&counters.errors) {
            if get(count) > 0 {
                self.errors.with_label_values(&with(kind.as_str())).inc_by(get(count));
            }
        }
        self.errors.with_label_values(&with("answer")).inc_by(get(&counters.error_answers));
        for (turn, count) in Turn::ALL.iter().zip(&counters.turns) {
            self.turns.with_label_values(&with(turn.as_str())).inc_by(get(count));
        }
        let (running, waiting) = guard.limit.counts();
        self.running.with_label_values(&labels).set(running.into());
        self.waiting.with_label_values(&labels).set(waiting.into());
        self.left_alone.with_label_values(&labels).set(guard.breaker.waits(now).is_some().into());
        self.out.with_label_values(&labels).set((guard.health.is_out(now) || guard.health.is_down()).into());
    }

    fn add_link(&self, guard: &Guard, now: Instant) {
        let shield = guard.url.as_str();
        let counters = &guard.counters;
        self.link_requests.with_label_values(&[shield]).inc_by(counters.requests.load(Ordering::Relaxed));
        self.link_bytes.with_label_values(&[shield]).inc_by(counters.bytes.load(Ordering::Relaxed));
        for (kind, count) in UpstreamErrorKind::ALL.iter().zip(&counters.errors) {
            let count = count.load(Ordering::Relaxed);
            if count > 0 {
                self.link_errors.with_label_values(&[shield, kind.as_str()]).inc_by(count);
            }
        }
        self.link_left_alone.with_label_values(&[shield]).set(guard.breaker.waits(now).is_some().into());
    }

    fn parts(&self) -> [&dyn Collector; 15] {
        [
            &self.requests,
            &self.bytes,
            &self.errors,
            &self.turns,
            &self.running,
            &self.waiting,
            &self.left_alone,
            &self.out,
            &self.sent,
            &self.retries,
            &self.retries_refused,
            &self.link_requests,
            &self.link_bytes,
            &self.link_errors,
            &self.link_left_alone,
        ]
    }
}

impl Collector for Scrape {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let (metrics, now) = (Metrics::new(), Instant::now());
        for (site, pool) in self.client.origins().pools.load().iter() {
            pool.guards().for_each(|guard| metrics.add(guard, now));
            let (sent, (retries, refused)) = pool.counts();
            metrics.sent.with_label_values(&[site]).inc_by(sent);
            metrics.retries.with_label_values(&[site]).inc_by(retries);
            metrics.retries_refused.with_label_values(&[site]).inc_by(refused);
        }
        self.client.origins().shields.load().values().for_each(|guard| metrics.add_link(guard, now));
        metrics.parts().into_iter().flat_map(|part| part.collect()).collect()
    }
}

/// Registers the figures of a client's origins, once for a registry.
#[expect(clippy::expect_used, reason = "a registry refuses only duplicates and malformed names")]
pub fn register(client: &Arc<Client>, registry: &Registry) {
    let descs = Metrics::new().parts().into_iter().flat_map(|part| part.desc().into_iter().cloned().collect::<Vec<_>>()).collect();
    registry.register(Box::new(Scrape { client: Arc::clone(client), descs })).expect("registered once");
}
