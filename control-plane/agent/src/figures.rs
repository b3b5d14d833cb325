//! What a node counts about the requests it answers, the same for every role.

mod collect;
mod failures;
mod sites;
mod text;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use skerry_config::snapshot::Snapshot;
use skerry_transport::head::Refusal;

pub use failures::Failure;
pub use sites::{HEAD_CLASSES, HEAD_MILLIS, SiteFigures};
pub use text::metrics;

use crate::{Load, Role};

/// The counters of one node; every name says its role.
#[derive(Debug)]
pub struct Figures {
    requests: IntCounterVec,
    /// The most frequent of `requests`, found beforehand.
    hits_ok: IntCounter,
    bytes: IntCounter,
    cut: IntCounter,
    /// Answers that count as errors: each once, cut off or not.
    errors: AtomicU64,
    /// In the order of [`Refusal::ALL`].
    refused: Vec<IntCounter>,
    seconds: Histogram,
    snapshot: IntGauge,
    sites: Arc<sites::Sites>,
    failures: failures::Failures,
}

/// What became of a request.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    /// The slot of its site; `None` where no site was found.
    pub slot: Option<u32>,
    /// The status of the answer, whether or not somebody was there to be told.
    pub status: u16,
    /// How it was answered.
    pub outcome: Outcome,
    /// Whether the answer was cut off because upstream ended early.
    pub is_cut: bool,
    /// Bytes of the body sent.
    pub bytes: u64,
    /// From the head of the request to the head of the answer; `None` for an answer in memory, which is there at once.
    pub head: Option<Duration>,
    /// From the head of the request to the end of the answer, in seconds.
    pub seconds: f64,
}

/// How a request was answered, for the `cache` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// From the store.
    Hit,
    /// Upstream was asked.
    Miss,
    /// Passed through, never kept.
    Pass,
    /// Not answered, or not to the end.
    Error,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Pass => "pass",
            Self::Error => "error",
        }
    }
}

impl Figures {
    /// Registers the counters of a node, once for a registry.
    #[must_use]
    #[expect(clippy::expect_used, reason = "names and labels are constants; a registry refuses only duplicates and malformed names")]
    pub fn new(role: Role, registry: &Registry) -> Self {
        let name = |rest: &str| format!("skerry_{}_{rest}", role.word());
        let clients = match role {
            Role::Edge => "clients",
            Role::Shield => "edges",
            Role::Dns => "resolvers",
        };
        let requests =
            IntCounterVec::new(Opts::new(name("requests_total"), "Requests answered, by status and by how."), &["status", "cache"])
                .expect("valid");
        let refused = IntCounterVec::new(
            Opts::new(name("refused_total"), "Requests that went no further than the front door, by what was wrong with them."),
            &["reason"],
        )
        .expect("valid");
        let figures = Self {
            hits_ok: requests.with_label_values(&["200", Outcome::Hit.as_str()]),
            requests,
            bytes: IntCounter::new(name("body_bytes_total"), format!("Bytes of bodies sent to {clients}.")).expect("valid"),
            cut: IntCounter::new(name("cut_total"), "Answers cut off because upstream ended early.").expect("valid"),
            errors: AtomicU64::new(0),
            refused: Refusal::ALL.iter().map(|reason| refused.with_label_values(&[reason.as_str()])).collect(),
            seconds: Histogram::with_opts(
                HistogramOpts::new(name("request_seconds"), "Time from the head of a request to the end of its answer.")
                    .buckets(prometheus::exponential_buckets(0.0005, 4.0, 9).expect("valid")),
            )
            .expect("valid"),
            snapshot: IntGauge::new(name("snapshot_version"), "The configuration in force.").expect("valid"),
            sites: Arc::default(),
            failures: failures::Failures::default(),
        };
        collect::register(Arc::clone(&figures.sites), role, registry);
        let all: [Box<dyn prometheus::core::Collector>; 6] = [
            Box::new(figures.requests.clone()),
            Box::new(figures.bytes.clone()),
            Box::new(figures.cut.clone()),
            Box::new(refused),
            Box::new(figures.seconds.clone()),
            Box::new(figures.snapshot.clone()),
        ];
        for collector in all {
            registry.register(collector).expect("registered once");
        }
        figures
    }

    /// A request was answered.
    pub fn answered(&self, answered: &Answered) {
        if answered.status == 200 && answered.outcome == Outcome::Hit {
            self.hits_ok.inc();
        } else {
            self.requests.with_label_values(&[status_label(answered.status), answered.outcome.as_str()]).inc();
        }
        self.bytes.inc_by(answered.bytes);
        self.seconds.observe(answered.seconds);
        if answered.is_cut {
            self.cut.inc();
        }
        if answered.is_error() {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(slot) = answered.slot {
            self.sites.answered(slot, answered);
        }
    }

    /// A request was answered with an error, or cut off.
    pub fn failed(&self, failure: &Failure<'_>) {
        self.failures.add(failure);
    }

    /// The last that were, the newest first.
    #[must_use]
    pub fn failures(&self) -> serde_json::Value {
        self.failures.to_json()
    }

    /// A request was refused.
    pub fn refused(&self, reason: Refusal) {
        if let Some(counter) = self.refused.get(reason as usize) {
            counter.inc();
        }
    }

    /// A snapshot is about to be in force. Its sites have their slots afterwards.
    pub fn adopt(&self, snapshot: &Snapshot) {
        self.sites.adopt(snapshot);
        self.snapshot.set(i64::try_from(snapshot.version()).unwrap_or(i64::MAX));
    }

    /// What was done for a site since the process began; `None` for one that was never served here.
    #[must_use]
    pub fn site(&self, name: &str) -> Option<SiteFigures> {
        self.sites.read(name)
    }

    /// What was done for every site that was asked for since the process began.
    #[must_use]
    pub fn sites(&self) -> Vec<(String, SiteFigures)> {
        let all = self.sites.all();
        all.iter().map(|counts| (counts.name.to_string(), counts.read())).filter(|(_, figures)| figures.requests() > 0).collect()
    }

    /// Bytes of bodies sent, in answers that have ended.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// The sums that the node reports. The connections are the caller's to add.
    #[must_use]
    pub fn load(&self) -> Load {
        let mut load = Load { bytes: self.bytes.get(), errors: self.errors.load(Ordering::Relaxed), memory: memory(), ..Load::default() };
        for family in prometheus::core::Collector::collect(&self.requests) {
            for metric in family.get_metric() {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a counter of whole requests below 2^53")]
                let count = metric.get_counter().get_value() as u64;
                load.requests += count;
                if metric.get_label().iter().any(|label| label.name() == "cache" && label.value() == "hit") {
                    load.hits += count;
                }
            }
        }
        load
    }
}

/// The memory that the process has, in bytes; 0 where the system does not say.
#[must_use]
pub fn memory() -> u64 {
    const PAGE_BYTES: u64 = 4_096;
    let pages = std::fs::read_to_string("/proc/self/statm").ok().and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * PAGE_BYTES
}

impl Answered {
    /// Whether it counts as an error.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.is_cut || self.status >= 500
    }
}

/// The status as a label; anything unusual is its class, so that an origin cannot make labels without bound.
fn status_label(status: u16) -> &'static str {
    match status {
        200 => "200",
        204 => "204",
        206 => "206",
        301 => "301",
        302 => "302",
        304 => "304",
        400 => "400",
        403 => "403",
        404 => "404",
        416 => "416",
        421 => "421",
        500 => "500",
        502 => "502",
        503 => "503",
        504 => "504",
        other => match other / 100 {
            1 => "1xx",
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            _ => "5xx",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_is_cut_off_too_counts_once() {
        let figures = Figures::new(Role::Edge, &Registry::new());
        let answered = |status, is_cut| {
            let outcome = Outcome::Error;
            figures.answered(&Answered { slot: None, status, outcome, is_cut, bytes: 0, head: None, seconds: 0.0 });
        };
        answered(502, true);
        answered(503, false);
        answered(200, true);
        answered(404, false);
        assert_eq!((figures.load().requests, figures.load().errors), (4, 3));
    }
}
