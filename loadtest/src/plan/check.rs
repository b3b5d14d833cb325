//! What a plan may say.

use std::path::Path;
use std::time::Duration;

use super::faults::Faults;
use super::{EDGES_MAX, Plan, Purge, ROUNDS_MAX, SHIELDS_MAX, SLOW_GATHER_MAX_S, Scenario, Slow};
use crate::arrivals::Arrivals;
use crate::bound::Bound;
use crate::client::Protocol;
use crate::draw::{BYTES_MAX, OBJECTS_MAX, Sizes};
use crate::drive::{ANSWER_MAX, AT_ONCE_MAX, CONNECTIONS_MAX, STREAMS_MAX};
use crate::peer::Kind;
use crate::results::FIGURES;

/// The longest round, in seconds.
const SECONDS_MAX: f64 = 3_600.0;
/// The steepest popularity.
const ZIPF_MAX: f64 = 10.0;
/// The longest time that an origin waits, in milliseconds.
const DELAY_MAX_MS: u64 = 60_000;
/// The most herds, breaks and the like.
const TIMES_MAX: u32 = 1_000;
/// The most purges a second.
const PURGES_MAX: f64 = 1_000.0;

impl Plan {
    /// Everything that is wrong with it.
    pub(super) fn faults(&self, folder: &Path) -> Faults {
        let mut faults = Faults::default();
        faults.within("rounds", self.rounds, 1, ROUNDS_MAX);
        faults.within("edges", self.edges, 1, EDGES_MAX);
        faults.within("shields", self.shields, 0, SHIELDS_MAX);
        faults.must(!self.what.trim().is_empty(), "what = \"\" tells a reader nothing: write a sentence");
        let delay = self.origin.delay_ms;
        faults.must(delay <= DELAY_MAX_MS, format!("origin.delay_ms = {delay} is more than {DELAY_MAX_MS}"));
        self.bound_faults(&mut faults);
        self.load_faults(&mut faults);
        self.object_faults(folder, &mut faults);
        self.table_faults(&mut faults);
        self.scenario_faults(&mut faults);
        faults
    }

    fn bound_faults(&self, faults: &mut Faults) {
        let known = || FIGURES.iter().map(|figure| figure.name).chain(self.scenario.figures());
        for Bound { figure, against, ratio_max } in &self.bounds {
            let is_one = ratio_max.is_finite() && *ratio_max > 0.0;
            faults.must(is_one, format!("bounds: ratio_max = {ratio_max} of {figure} is not above 0"));
            faults.found(against.parse::<Kind>().map_err(|why| format!("bounds: against = {why}")));
            if !known().any(|name| name == figure) {
                let names: Vec<&str> = known().collect();
                let scenario = self.scenario.name();
                faults.must(false, format!("bounds: figure = `{figure}` is none of {scenario}; these are: {}", names.join(", ")));
            }
        }
    }

    fn load_faults(&self, faults: &mut Faults) {
        let load = &self.load;
        let is_length = load.seconds > 0.0 && load.seconds <= SECONDS_MAX;
        faults.must(is_length, format!("load.seconds = {} is not above 0 and at most {SECONDS_MAX}", load.seconds));
        faults.within("load.answer_s", load.answer_s, 1, ANSWER_MAX.as_secs());
        faults.within("load.connections", load.connections, 1, CONNECTIONS_MAX);
        faults.within("load.streams", load.streams, 1, STREAMS_MAX);
        let at_once = load.connections.saturating_mul(load.streams);
        faults.must(at_once <= AT_ONCE_MAX, format!("load.connections times load.streams is {at_once}, more than {AT_ONCE_MAX}"));
        if let Some(Protocol::H1) = faults.found(self.protocol().map_err(|why| format!("load.protocol: {why}"))) {
            faults.must(load.streams == 1, format!("load.streams = {}: HTTP/1.1 has 1 on a connection", load.streams));
        }
        if let Some(arrivals) = faults.found(self.arrivals()).filter(|_| is_length) {
            faults.found(arrivals.check(Duration::from_secs_f64(load.seconds)).map_err(|why| format!("load.rate: {why}")));
        }
    }

    fn object_faults(&self, folder: &Path, faults: &mut Faults) {
        let objects = &self.objects;
        faults.within("objects.count", objects.count, 1, OBJECTS_MAX);
        faults.within("objects.zipf", objects.zipf, 0.0, ZIPF_MAX);
        for (name, share) in [("ranges", objects.ranges), ("conditional", objects.conditional)] {
            faults.must((0.0..=1.0).contains(&share), format!("objects.{name} = {share} is no share from 0 to 1"));
        }
        faults.must(objects.range_max > 0, "objects.range_max = 0: 1 byte is the shortest range");
        if let Some(lifetime) = objects.lifetime_s {
            faults.must(lifetime > 0.0 && lifetime.is_finite(), format!("objects.lifetime_s = {lifetime} is not above 0"));
        }
        let is_length = |bytes: u64| (1..=BYTES_MAX).contains(&bytes);
        match faults.found(self.sizes(folder)) {
            Some(Sizes::Fixed(bytes)) => faults.within("objects.bytes", bytes, 1, BYTES_MAX),
            Some(Sizes::LogNormal { median, p99, max }) => faults.must(
                is_length(median) && is_length(max) && median < p99 && p99 <= max,
                format!("objects: 1 <= bytes_median {median} < bytes_p99 {p99} <= bytes_max {max} <= {BYTES_MAX} does not hold"),
            ),
            Some(Sizes::Listed(_)) | None => {}
        }
    }

    fn table_faults(&self, faults: &mut Faults) {
        let tables = [
            ("herd", self.herd.is_some(), Scenario::Herd),
            ("live", self.live.is_some(), Scenario::Live),
            ("download", self.download.is_some(), Scenario::Download),
            ("purge", self.purge.is_some(), Scenario::PurgeStorm),
            ("slow", self.slow.is_some(), Scenario::SlowClients),
        ];
        let own = self.scenario.name();
        for (name, is_there, scenario) in tables {
            let is_wanted = scenario == self.scenario;
            faults.must(is_there || !is_wanted, format!("scenario = \"{own}\" needs a table [{name}]"));
            faults.must(!is_there || is_wanted, format!("a table [{name}] is of no use for scenario = \"{own}\""));
        }
    }

    fn scenario_faults(&self, faults: &mut Faults) {
        if let Some(herd) = self.herd {
            faults.within("herd.clients", herd.clients, 1, CONNECTIONS_MAX);
            faults.within("herd.herds", herd.herds, 1, TIMES_MAX);
        }
        if let Some(live) = self.live {
            faults.within("live.viewers", live.viewers, 1, CONNECTIONS_MAX);
            let arrives = live.arrive_s >= 0.0 && live.arrive_s <= self.load.seconds;
            faults.must(arrives, format!("live.arrive_s = {} is not within load.seconds", live.arrive_s));
            faults.within("live.segment_ms", live.segment_ms, 100, 60_000);
            faults.within("live.segment_bytes", live.segment_bytes, 1, BYTES_MAX);
        }
        if let Some(download) = self.download {
            faults.within("download.clients", download.clients, 1, CONNECTIONS_MAX);
            faults.must(download.files > 0, "download.files = 0: 1 is the least");
            faults.within("download.bytes", download.bytes, 1, BYTES_MAX);
            faults.must(download.breaks <= TIMES_MAX, format!("download.breaks = {} is more than {TIMES_MAX}", download.breaks));
        }
        if let Some(Purge { rate }) = self.purge {
            let is_rate = rate > 0.0 && rate <= PURGES_MAX;
            faults.must(is_rate, format!("purge.rate = {rate} is not above 0 and at most {PURGES_MAX}"));
            if let Err(why) = Arrivals::Constant(rate).check(self.length()) {
                faults.must(!is_rate, format!("purge.rate: {why}"));
            }
        }
        if let Some(slow) = self.slow {
            self.slow_faults(slow, faults);
        }
    }

    fn slow_faults(&self, Slow { clients, rate, bytes }: Slow, faults: &mut Faults) {
        faults.within("slow.clients", clients, 1, CONNECTIONS_MAX);
        faults.must(rate > 0, "slow.rate = 0: who reads nothing is cut off");
        faults.within("slow.bytes", bytes, 1, BYTES_MAX);
        let (seconds, rate) = (self.load.seconds, rate as f64);
        let (needed, lasts) = (rate * (seconds + SLOW_GATHER_MAX_S as f64), bytes as f64 / rate);
        faults.must(
            bytes as f64 > needed,
            format!(
                "slow.bytes = {bytes} is read in {lasts:.1} s at slow.rate = {rate}: it must be more than {needed:.0}, so that all read for \
                 {SLOW_GATHER_MAX_S} s of gathering and load.seconds = {seconds}"
            ),
        );
    }
}
