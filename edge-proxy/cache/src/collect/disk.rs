//! The figures of the disk tier as Prometheus metrics. Where there is no disk tier they are all 0.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, IntCounter, IntGauge, IntGaugeVec, Opts};

use super::raise;
use crate::disk::{DiskFigures, State};

type Reading = fn(&DiskFigures) -> u64;

/// Name, help and source of each counter.
const COUNTERS: [(&str, &str, Reading); 13] = [
    ("skerry_disk_hits_total", "Lookups that memory could not answer and the disk could.", |figures| figures.hits),
    ("skerry_disk_misses_total", "Lookups that the disk was asked for in vain.", |figures| figures.misses),
    ("skerry_disk_written_total", "Records written to the disk: answers, slices of them, and what leads to them.", |figures| {
        figures.written
    }),
    ("skerry_disk_dropped_total", "Records not written: too many waited, or the device took none.", |figures| figures.dropped),
    ("skerry_disk_skipped_total", "Answers not written because nobody had asked for them twice.", |figures| figures.skipped),
    ("skerry_disk_damaged_total", "Records that were read and were not as they had been written.", |figures| figures.damaged),
    ("skerry_disk_lost_slices_total", "Slices that were gone when a reader needed them.", |figures| figures.lost),
    ("skerry_disk_mended_slices_total", "Slices that were gone and fetched again.", |figures| figures.mended),
    ("skerry_disk_fetched_slices_total", "Slices of large answers that were fetched when a reader first wanted them.", |figures| {
        figures.fetched
    }),
    ("skerry_disk_read_errors_total", "Reads that the device failed.", |figures| figures.read_errors),
    ("skerry_disk_evicted_total", "Records that left to make room.", |figures| figures.evicted),
    ("skerry_disk_written_bytes_total", "Bytes written to the device.", |figures| figures.written_bytes),
    ("skerry_disk_read_bytes_total", "Bytes read from the device.", |figures| figures.read_bytes),
];

/// Name, help and source of each gauge.
const GAUGES: [(&str, &str, Reading); 4] = [
    (
        "skerry_disk_records",
        "Records on disk, displaced ones among them; kept over restarts, but for the last seconds before a crash.",
        |figures| figures.entries,
    ),
    ("skerry_disk_bytes", "Bytes that the records take on disk.", |figures| figures.bytes),
    ("skerry_disk_queue_bytes", "Bytes that wait to be written.", |figures| figures.waiting_bytes),
    ("skerry_disk_eviction_age_seconds", "How long ago what left last to make room had been written.", |figures| {
        figures.eviction_age_seconds
    }),
];

/// Times in microseconds, told in seconds.
const SECONDS: [(&str, &str, Reading); 2] = [
    ("skerry_disk_read_seconds_total", "Time that reads took, waits among them; divide by their number.", |figures| figures.read_micros),
    ("skerry_disk_write_seconds_total", "Time that writes of batches took.", |figures| figures.write_micros),
];

/// See the module.
pub(super) struct Disk {
    counters: Vec<(IntCounter, Reading)>,
    gauges: Vec<(IntGauge, Reading)>,
    seconds: Vec<(Counter, Reading)>,
    opened: prometheus::Gauge,
    recovered: prometheus::Gauge,
    state: IntGaugeVec,
}

impl Disk {
    #[expect(clippy::expect_used, reason = "names and labels are constants; nothing else makes these fail")]
    pub(super) fn new() -> Self {
        let state = Opts::new("skerry_disk_state", "1 for what the disk tier does: opening, serving, out (its device failed), closed.");
        let opened = "How long it took at the start to find out what the disk holds; 0 until then.";
        let recovered = "The part of the disk that was looked through since the start to find out what it holds; 1 when it is open.";
        Self {
            counters: COUNTERS.iter().map(|(name, help, reading)| (IntCounter::new(*name, *help).expect("valid"), *reading)).collect(),
            gauges: GAUGES.iter().map(|(name, help, reading)| (IntGauge::new(*name, *help).expect("valid"), *reading)).collect(),
            seconds: SECONDS.iter().map(|(name, help, reading)| (Counter::new(*name, *help).expect("valid"), *reading)).collect(),
            opened: prometheus::Gauge::new("skerry_disk_open_seconds", opened).expect("valid"),
            recovered: prometheus::Gauge::new("skerry_disk_recovered_ratio", recovered).expect("valid"),
            state: IntGaugeVec::new(state, &["state"]).expect("valid"),
        }
    }

    pub(super) fn desc(&self) -> Vec<&Desc> {
        let counters = self.counters.iter().flat_map(|(counter, _)| counter.desc());
        let gauges = self.gauges.iter().flat_map(|(gauge, _)| gauge.desc());
        let seconds = self.seconds.iter().flat_map(|(counter, _)| counter.desc());
        counters.chain(gauges).chain(seconds).chain(self.opened.desc()).chain(self.recovered.desc()).chain(self.state.desc()).collect()
    }

    pub(super) fn collect(&self, figures: Option<&DiskFigures>) -> Vec<MetricFamily> {
        let none = DiskFigures::default();
        let known = figures.unwrap_or(&none);
        for (counter, reading) in &self.counters {
            raise(counter, reading(known));
        }
        for (gauge, reading) in &self.gauges {
            gauge.set(i64::try_from(reading(known)).unwrap_or(i64::MAX));
        }
        for (counter, reading) in &self.seconds {
            let seconds = std::time::Duration::from_micros(reading(known)).as_secs_f64();
            counter.inc_by((seconds - counter.get()).max(0.0));
        }
        self.opened.set(std::time::Duration::from_millis(known.opened_in_ms).as_secs_f64());
        self.recovered.set(known.recovered_permille as f64 / 1_000.0);
        for state in State::ALL {
            let is_it = figures.is_some_and(|figures| figures.state == state);
            self.state.with_label_values(&[state.as_str()]).set(i64::from(is_it));
        }
        let counters = self.counters.iter().flat_map(|(counter, _)| counter.collect());
        let gauges = self.gauges.iter().flat_map(|(gauge, _)| gauge.collect());
        let seconds = self.seconds.iter().flat_map(|(counter, _)| counter.collect());
        counters
            .chain(gauges)
            .chain(seconds)
            .chain(self.opened.collect())
            .chain(self.recovered.collect())
            .chain(self.state.collect())
            .collect()
    }
}
