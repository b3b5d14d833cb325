//! What the shield counts.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use skerry_agent::Load;
use skerry_transport::session;

/// Counters of a shield.
pub(crate) struct Figures {
    requests: IntCounterVec,
    bytes: IntCounter,
    cut: IntCounter,
    seconds: Histogram,
    pub(crate) snapshot: IntGauge,
}

/// How a request was answered, for the `cache` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Hit,
    Miss,
    Pass,
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
    /// Registers the counters.
    #[expect(clippy::expect_used, reason = "names and labels are constants; a registry refuses only duplicates and malformed names")]
    pub(crate) fn new(registry: &Registry) -> Self {
        let figures = Self {
            requests: IntCounterVec::new(
                Opts::new("skerry_shield_requests_total", "Requests answered, by status and by how."),
                &["status", "cache"],
            )
            .expect("valid"),
            bytes: IntCounter::new("skerry_shield_body_bytes_total", "Bytes of bodies sent to edges.").expect("valid"),
            cut: IntCounter::new("skerry_shield_cut_total", "Answers cut off because upstream ended early.").expect("valid"),
            seconds: Histogram::with_opts(
                HistogramOpts::new("skerry_shield_request_seconds", "Time from the head of a request to the end of its answer.")
                    .buckets(prometheus::exponential_buckets(0.0005, 4.0, 9).expect("valid")),
            )
            .expect("valid"),
            snapshot: IntGauge::new("skerry_shield_snapshot_version", "The configuration in force.").expect("valid"),
        };
        let all: [Box<dyn prometheus::core::Collector>; 5] = [
            Box::new(figures.requests.clone()),
            Box::new(figures.bytes.clone()),
            Box::new(figures.cut.clone()),
            Box::new(figures.seconds.clone()),
            Box::new(figures.snapshot.clone()),
        ];
        for collector in all {
            registry.register(collector).expect("registered once");
        }
        figures
    }

    pub(crate) fn answered(&self, status: u16, outcome: Outcome, bytes: u64, seconds: f64) {
        self.requests.with_label_values(&[session::status_label(status), outcome.as_str()]).inc();
        self.bytes.inc_by(bytes);
        self.seconds.observe(seconds);
    }

    pub(crate) fn cut_off(&self) {
        self.cut.inc();
    }

    pub(crate) fn load(&self) -> Load {
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
