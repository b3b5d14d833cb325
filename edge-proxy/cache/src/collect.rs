//! The cache's figures as Prometheus metrics, read when they are scraped.

use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use crate::exchange::Exchange;
use crate::figures::Figures;

mod disk;

type Reading = fn(&Figures) -> u64;

/// Name, help and source of each counter.
const COUNTERS: [(&str, &str, Reading); 15] = [
    ("skerry_cache_hits_total", "Answers from the store, stale ones among them.", |figures| figures.hits),
    ("skerry_cache_stale_hits_total", "Stale answers from the store.", |figures| figures.stale_hits),
    ("skerry_cache_collapsed_total", "Answers that came out of another request's fetch.", |figures| figures.collapsed),
    ("skerry_cache_stored_total", "Answers stored.", |figures| figures.stored),
    ("skerry_cache_revalidated_total", "Stored answers that upstream confirmed with 304.", |figures| figures.revalidated),
    ("skerry_cache_fetch_failed_total", "Fetches that failed before a head came.", |figures| figures.failed),
    ("skerry_cache_fetch_cut_total", "Bodies that ended early.", |figures| figures.cut),
    ("skerry_cache_fetch_resumed_total", "Bodies that a second fetch completed after the first one ended early.", |figures| {
        figures.resumed
    }),
    ("skerry_cache_sliced_total", "Large bodies of which only what readers want is fetched, in slices.", |figures| figures.sliced),
    ("skerry_cache_completed_total", "Bodies made whole of stored parts and fetched ones.", |figures| figures.completed),
    ("skerry_cache_waits_given_up_total", "Waits for another request's head that took too long.", |figures| figures.waits_given_up),
    ("skerry_cache_windows_total", "Bodies that grew too large to be stored, or came while too many grew.", |figures| figures.windows),
    ("skerry_cache_purged_total", "Lookups that a hard purge turned into a miss.", |figures| figures.purged),
    ("skerry_cache_tags_overflowed_total", "Answers with more tags than are told apart.", |figures| figures.tags_overflowed),
    ("skerry_cache_evictions_total", "Entries evicted for want of room.", |figures| figures.evictions),
];

/// Name, help and source of each gauge.
const GAUGES: [(&str, &str, Reading); 5] = [
    ("skerry_cache_entries", "Entries in the store.", |figures| figures.entries),
    ("skerry_cache_memory_bytes", "Weight of the entries in the store.", |figures| figures.bytes),
    ("skerry_cache_filling_bytes", "Bytes of bodies that are being fetched.", |figures| figures.filling_bytes),
    ("skerry_cache_flights", "Fetches that others can join.", |figures| figures.flights),
    ("skerry_cache_uncacheable_keys", "Keys remembered as uncacheable.", |figures| figures.remembered),
];

struct Scrape {
    exchange: Arc<Exchange>,
    counters: Vec<(IntCounter, Reading)>,
    gauges: Vec<(IntGauge, Reading)>,
    forwarded: IntCounterVec,
    uncacheable: IntCounterVec,
    disk: disk::Disk,
}

/// Registers the figures of `exchange`.
#[expect(clippy::expect_used, reason = "names are constants; a registry refuses only duplicates and malformed names")]
pub fn register(exchange: &Arc<Exchange>, registry: &Registry) {
    let forwarded = Opts::new("skerry_cache_forwarded_total", "Answers for which upstream was asked, by the reason of RFC 9211.");
    let uncacheable = Opts::new("skerry_cache_uncacheable_total", "Answers that may not be stored, by the reason that Cache-Status tells.");
    let scrape = Scrape {
        exchange: Arc::clone(exchange),
        counters: COUNTERS.iter().map(|(name, help, reading)| (IntCounter::new(*name, *help).expect("valid"), *reading)).collect(),
        gauges: GAUGES.iter().map(|(name, help, reading)| (IntGauge::new(*name, *help).expect("valid"), *reading)).collect(),
        forwarded: IntCounterVec::new(forwarded, &["reason"]).expect("valid"),
        uncacheable: IntCounterVec::new(uncacheable, &["reason"]).expect("valid"),
        disk: disk::Disk::new(),
    };
    registry.register(Box::new(scrape)).expect("registered once");
}

impl Collector for Scrape {
    fn desc(&self) -> Vec<&Desc> {
        let counters = self.counters.iter().flat_map(|(counter, _)| counter.desc());
        let gauges = self.gauges.iter().flat_map(|(gauge, _)| gauge.desc());
        counters.chain(gauges).chain(self.forwarded.desc()).chain(self.uncacheable.desc()).chain(self.disk.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let figures = self.exchange.figures();
        for (counter, reading) in &self.counters {
            raise(counter, reading(&figures));
        }
        for (gauge, reading) in &self.gauges {
            gauge.set(i64::try_from(reading(&figures)).unwrap_or(i64::MAX));
        }
        for (reason, count) in &figures.forwarded {
            raise(&self.forwarded.with_label_values(&[reason.as_str()]), *count);
        }
        for (reason, count) in &figures.uncacheable {
            raise(&self.uncacheable.with_label_values(&[reason.as_str()]), *count);
        }
        let counters = self.counters.iter().flat_map(|(counter, _)| counter.collect());
        let gauges = self.gauges.iter().flat_map(|(gauge, _)| gauge.collect());
        let disk = self.disk.collect(figures.disk.as_ref());
        counters.chain(gauges).chain(self.forwarded.collect()).chain(self.uncacheable.collect()).chain(disk).collect()
    }
}

/// Two scrapes at once may both raise it; the difference is gone at the next one.
fn raise(counter: &IntCounter, to: u64) {
    counter.inc_by(to.saturating_sub(counter.get()));
}
