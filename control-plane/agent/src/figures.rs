//! What a node counts about the requests it answers, the same for every role.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use skerry_transport::head::Refusal;

use crate::{Load, Role};

/// The counters of one node; every name says its role.
#[derive(Debug)]
pub struct Figures {
    requests: IntCounterVec,
    /// The most frequent of `requests`, found beforehand.
    hits_ok: IntCounter,
    bytes: IntCounter,
    cut: IntCounter,
    /// In the order of [`Refusal::ALL`].
    refused: Vec<IntCounter>,
    seconds: Histogram,
    snapshot: IntGauge,
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
            refused: Refusal::ALL.iter().map(|reason| refused.with_label_values(&[reason.as_str()])).collect(),
            seconds: Histogram::with_opts(
                HistogramOpts::new(name("request_seconds"), "Time from the head of a request to the end of its answer.")
                    .buckets(prometheus::exponential_buckets(0.0005, 4.0, 9).expect("valid")),
            )
            .expect("valid"),
            snapshot: IntGauge::new(name("snapshot_version"), "The configuration in force.").expect("valid"),
        };
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

    /// A request was answered, with so many bytes of body, in so many seconds.
    pub fn answered(&self, status: u16, outcome: Outcome, bytes: u64, seconds: f64) {
        if status == 200 && outcome == Outcome::Hit {
            self.hits_ok.inc();
        } else {
            self.requests.with_label_values(&[status_label(status), outcome.as_str()]).inc();
        }
        self.bytes.inc_by(bytes);
        self.seconds.observe(seconds);
    }

    /// An answer was cut off because upstream ended early.
    pub fn cut_off(&self) {
        self.cut.inc();
    }

    /// A request was refused.
    pub fn refused(&self, reason: Refusal) {
        if let Some(counter) = self.refused.get(reason as usize) {
            counter.inc();
        }
    }

    /// A snapshot is in force.
    pub fn adopted(&self, version: u64) {
        self.snapshot.set(i64::try_from(version).unwrap_or(i64::MAX));
    }

    /// The sums that the node reports.
    #[must_use]
    pub fn load(&self) -> Load {
        let mut load = Load { bytes: self.bytes.get(), ..Load::default() };
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
