//! How far clients are: the round trips of their connections by prefix, until they are reported.
//!
//! Keeps no address, no prefix longer than the operator allows, and so many prefixes and no more. Time is an argument. The lock covers the table and is
//! held while one measurement is taken in, or one report out.

mod table;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use parking_lot::Mutex;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use skerry_agent::Latency;
use skerry_transport::client::{Client, RoundTrip};

use crate::forwarded::Came;
use table::Table;

/// Time between two samples of one connection, so that one that is busy does not count for more than others.
const SAMPLES_APART: Duration = Duration::from_secs(5);

/// The prefixes that are told apart: a /24 of IPv4, a /48 of IPv6.
const V4_LENGTH: u8 = 24;
const V6_LENGTH: u8 = 48;

/// See the module.
pub(crate) struct RoundTrips {
    began: Instant,
    keep: Duration,
    table: Mutex<Table>,
    figures: Figures,
}

struct Figures {
    samples: IntCounter,
    reported: IntCounter,
    dropped: IntCounterVec,
    prefixes: IntGauge,
}

/// Why measurements are in no report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dropped {
    /// They were not reported in time.
    pub(crate) old: u64,
    /// There was no room, not even in a wider prefix.
    pub(crate) room: u64,
}

impl RoundTrips {
    /// Measurements that wait longer than `keep` for a report are dropped.
    #[expect(clippy::expect_used, reason = "names and labels are constants; a registry refuses only duplicates and malformed names")]
    pub(crate) fn new(keep: Duration, registry: &Registry) -> Arc<Self> {
        let dropped = Opts::new("skerry_edge_round_trips_dropped_total", "Measurements of round trips that were not reported, by why.");
        let figures = Figures {
            samples: IntCounter::new("skerry_edge_round_trips_total", "Measurements of round trips of clients' connections.")
                .expect("valid"),
            reported: IntCounter::new("skerry_edge_round_trips_reported_total", "Measurements of round trips that were reported.")
                .expect("valid"),
            dropped: IntCounterVec::new(dropped, &["reason"]).expect("valid"),
            prefixes: IntGauge::new("skerry_edge_round_trip_prefixes", "Prefixes whose round trips wait to be reported.").expect("valid"),
        };
        let all: [Box<dyn prometheus::core::Collector>; 4] = [
            Box::new(figures.samples.clone()),
            Box::new(figures.reported.clone()),
            Box::new(figures.dropped.clone()),
            Box::new(figures.prefixes.clone()),
        ];
        for collector in all {
            registry.register(collector).expect("registered once");
        }
        for reason in ["old", "room"] {
            figures.dropped.with_label_values(&[reason]);
        }
        Arc::new(Self { began: Instant::now(), keep, table: Mutex::default(), figures })
    }

    /// A request came: samples its connection when that is due, and its peer is the client itself.
    pub(crate) fn sample(&self, client: &Client, came: &Came, now: Instant) {
        if came.is_direct
            && let Some(times) = client.sample(now, SAMPLES_APART)
        {
            self.note(client.ip(), times, now);
        }
    }

    fn note(&self, ip: IpAddr, times: RoundTrip, now: Instant) {
        let mut table = self.table.lock();
        let dropped = table.note(prefix(ip), times, self.at(now));
        let prefixes = table.len();
        drop(table);
        self.figures.samples.inc();
        self.count(dropped, prefixes);
    }

    /// Takes what was measured and not taken yet, of at most `most` prefixes: those first that have waited longest.
    pub(crate) fn take(&self, most: usize, now: Instant) -> Latency {
        let mut table = self.table.lock();
        let dropped = table.forget(self.at(now), self.keep);
        let prefixes = table.take(most, self.at(now));
        let (left, dropped_so_far) = (table.len(), table.dropped());
        drop(table);
        self.count(dropped, left);
        self.figures.reported.inc_by(prefixes.iter().map(|times| u64::from(times.count)).sum());
        Latency { prefixes, dropped: dropped_so_far }
    }

    /// Drops what has waited too long.
    pub(crate) fn forget(&self, now: Instant) {
        let mut table = self.table.lock();
        let dropped = table.forget(self.at(now), self.keep);
        let left = table.len();
        drop(table);
        self.count(dropped, left);
    }

    fn count(&self, dropped: Dropped, prefixes: usize) {
        for (reason, count) in [("old", dropped.old), ("room", dropped.room)] {
            if count > 0 {
                self.figures.dropped.with_label_values(&[reason]).inc_by(count);
            }
        }
        self.figures.prefixes.set(i64::try_from(prefixes).unwrap_or(i64::MAX));
    }

    fn at(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.began)
    }
}

/// Forgets in time what nobody takes, as when the control plane cannot be reached.
pub(crate) async fn forget(round_trips: Arc<RoundTrips>, stop: tokio::sync::watch::Receiver<bool>) {
    const INTERVAL: Duration = Duration::from_secs(5);
    let mut tick = tokio::time::interval(INTERVAL);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let forgetting = async {
        loop {
            tick.tick().await;
            round_trips.forget(Instant::now());
        }
    };
    tokio::select! {
        () = forgetting => {}
        () = skerry_agent::stopped(stop) => {}
    }
}

/// What is kept of an address.
fn prefix(ip: IpAddr) -> IpNet {
    let length = if ip.is_ipv4() { V4_LENGTH } else { V6_LENGTH };
    IpNet::new(ip, length).map_or_else(|_| ip.into(), |prefix| prefix.trunc())
}

#[cfg(test)]
mod tests;
