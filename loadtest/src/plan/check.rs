//! What a plan may say.

use std::path::Path;
use std::time::Duration;

use super::{EDGES_MAX, Plan, Purge, ROUNDS_MAX, SLOW_GATHER_MAX_S, Scenario, Slow};
use crate::arrivals::Arrivals;
use crate::client::Protocol;
use crate::draw::{BYTES_MAX, OBJECTS_MAX, Sizes};
use crate::drive::{AT_ONCE_MAX, CONNECTIONS_MAX, STREAMS_MAX};

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
    /// Everything that is wrong with it, in sentences.
    pub(super) fn faults(&self, folder: &Path) -> Vec<String> {
        let mut faults = Vec::new();
        let mut must = |holds: bool, fault: String| {
            if !holds {
                faults.push(fault);
            }
        };
        must((1..=ROUNDS_MAX).contains(&self.rounds), format!("rounds = {} is not between 1 and {ROUNDS_MAX}", self.rounds));
        must((1..=EDGES_MAX).contains(&self.edges), format!("edges = {} is not between 1 and {EDGES_MAX}", self.edges));
        must(!self.what.trim().is_empty(), "what = \"\" tells a reader nothing: write a sentence".to_owned());
        let delay = self.origin.delay_ms;
        must(delay <= DELAY_MAX_MS, format!("origin.delay_ms = {delay} is more than {DELAY_MAX_MS}"));
        for bound in &self.bounds {
            let is_one = bound.ratio_max.is_finite() && bound.ratio_max > 0.0;
            must(is_one, format!("bounds: ratio_max = {} of {} is not above 0", bound.ratio_max, bound.figure));
        }
        faults.extend(self.load_faults());
        faults.extend(self.object_faults(folder));
        faults.extend(self.scenario_faults());
        faults
    }

    fn load_faults(&self) -> Vec<String> {
        let (load, mut faults) = (&self.load, Vec::new());
        let mut must = |holds: bool, fault: String| {
            if !holds {
                faults.push(fault);
            }
        };
        let is_length = load.seconds > 0.0 && load.seconds <= SECONDS_MAX;
        must(is_length, format!("load.seconds = {} is not above 0 and at most {SECONDS_MAX}", load.seconds));
        let connections = load.connections;
        must(
            (1..=CONNECTIONS_MAX).contains(&connections),
            format!("load.connections = {connections} is not between 1 and {CONNECTIONS_MAX}"),
        );
        must((1..=STREAMS_MAX).contains(&load.streams), format!("load.streams = {} is not between 1 and {STREAMS_MAX}", load.streams));
        let at_once = connections.saturating_mul(load.streams);
        must(at_once <= AT_ONCE_MAX, format!("load.connections times load.streams is {at_once}, more than {AT_ONCE_MAX}"));
        match self.protocol() {
            Ok(Protocol::H1) => must(load.streams == 1, format!("load.streams = {}: HTTP/1.1 has 1 on a connection", load.streams)),
            Ok(_) => {}
            Err(why) => must(false, format!("load.protocol: {why}")),
        }
        match self.arrivals() {
            Ok(arrivals) if is_length => {
                if let Err(why) = arrivals.check(Duration::from_secs_f64(load.seconds)) {
                    must(false, format!("load.rate: {why}"));
                }
            }
            Ok(_) => {}
            Err(why) => must(false, why),
        }
        faults
    }

    fn object_faults(&self, folder: &Path) -> Vec<String> {
        let (objects, mut faults) = (&self.objects, Vec::new());
        let mut must = |holds: bool, fault: String| {
            if !holds {
                faults.push(fault);
            }
        };
        must((1..=OBJECTS_MAX).contains(&objects.count), format!("objects.count = {} is not between 1 and {OBJECTS_MAX}", objects.count));
        must((0.0..=ZIPF_MAX).contains(&objects.zipf), format!("objects.zipf = {} is not between 0 and {ZIPF_MAX}", objects.zipf));
        for (name, share) in [("ranges", objects.ranges), ("conditional", objects.conditional)] {
            must((0.0..=1.0).contains(&share), format!("objects.{name} = {share} is no share from 0 to 1"));
        }
        must(objects.range_max > 0, "objects.range_max = 0: 1 byte is the shortest range".to_owned());
        if let Some(lifetime) = objects.lifetime_s {
            must(lifetime > 0.0 && lifetime.is_finite(), format!("objects.lifetime_s = {lifetime} is not above 0"));
        }
        let is_length = |bytes: u64| (1..=BYTES_MAX).contains(&bytes);
        match self.sizes(folder) {
            Ok(Sizes::Fixed(bytes)) => must(is_length(bytes), format!("objects.bytes = {bytes} is not between 1 and {BYTES_MAX}")),
            Ok(Sizes::LogNormal { median, p99, max }) => must(
                is_length(median) && is_length(max) && median < p99 && p99 <= max,
                format!("objects: 1 <= bytes_median {median} < bytes_p99 {p99} <= bytes_max {max} <= {BYTES_MAX} does not hold"),
            ),
            Ok(Sizes::Listed(_)) => {}
            Err(why) => must(false, why),
        }
        faults
    }

    fn scenario_faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let tables = [
            ("herd", self.herd.is_some(), Scenario::Herd),
            ("live", self.live.is_some(), Scenario::Live),
            ("download", self.download.is_some(), Scenario::Download),
            ("purge", self.purge.is_some(), Scenario::PurgeStorm),
            ("slow", self.slow.is_some(), Scenario::SlowClients),
        ];
        for (name, is_there, scenario) in tables {
            match (is_there, scenario == self.scenario) {
                (false, true) => faults.push(format!("scenario = \"{}\" needs a table [{name}]", self.scenario.name())),
                (true, false) => faults.push(format!("a table [{name}] is of no use for scenario = \"{}\"", self.scenario.name())),
                _ => {}
            }
        }
        let mut must = |holds: bool, fault: String| {
            if !holds {
                faults.push(fault);
            }
        };
        let crowd = |name: &str, count: usize| {
            ((1..=CONNECTIONS_MAX).contains(&count), format!("{name} = {count} is not between 1 and {CONNECTIONS_MAX}"))
        };
        let length =
            |name: &str, bytes: u64| ((1..=BYTES_MAX).contains(&bytes), format!("{name} = {bytes} is not between 1 and {BYTES_MAX}"));
        let mut both = |(holds, fault): (bool, String)| must(holds, fault);
        if let Some(herd) = self.herd {
            both(crowd("herd.clients", herd.clients));
            both(((1..=TIMES_MAX).contains(&herd.herds), format!("herd.herds = {} is not between 1 and {TIMES_MAX}", herd.herds)));
        }
        if let Some(live) = self.live {
            both(crowd("live.viewers", live.viewers));
            both((
                live.arrive_s >= 0.0 && live.arrive_s <= self.load.seconds,
                format!("live.arrive_s = {} is not within load.seconds", live.arrive_s),
            ));
            both((
                (100..=60_000).contains(&live.segment_ms),
                format!("live.segment_ms = {} is not between 100 and 60000", live.segment_ms),
            ));
            both(length("live.segment_bytes", live.segment_bytes));
        }
        if let Some(download) = self.download {
            both(crowd("download.clients", download.clients));
            both((download.files > 0, "download.files = 0: 1 is the least".to_owned()));
            both(length("download.bytes", download.bytes));
            both((download.breaks <= TIMES_MAX, format!("download.breaks = {} is more than {TIMES_MAX}", download.breaks)));
        }
        faults.extend(self.beside_hits_faults());
        faults
    }

    /// What is wrong with what goes on beside hits: purges, and slow readers.
    fn beside_hits_faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut must = |holds: bool, fault: String| {
            if !holds {
                faults.push(fault);
            }
        };
        if let Some(Purge { rate }) = self.purge {
            let is_rate = rate > 0.0 && rate <= PURGES_MAX;
            must(is_rate, format!("purge.rate = {rate} is not above 0 and at most {PURGES_MAX}"));
            if let Err(why) = Arrivals::Constant(rate).check(self.length()) {
                must(!is_rate, format!("purge.rate: {why}"));
            }
        }
        if let Some(Slow { clients, rate, bytes }) = self.slow {
            must((1..=CONNECTIONS_MAX).contains(&clients), format!("slow.clients = {clients} is not between 1 and {CONNECTIONS_MAX}"));
            must(rate > 0, "slow.rate = 0: who reads nothing is cut off".to_owned());
            must((1..=BYTES_MAX).contains(&bytes), format!("slow.bytes = {bytes} is not between 1 and {BYTES_MAX}"));
            let (seconds, rate) = (self.load.seconds, rate as f64);
            let (needed, lasts) = (rate * (seconds + SLOW_GATHER_MAX_S as f64), bytes as f64 / rate);
            must(
                bytes as f64 > needed,
                format!(
                    "slow.bytes = {bytes} is read in {lasts:.1} s at slow.rate = {rate}: it must be more than {needed:.0}, so that all read for \
                     {SLOW_GATHER_MAX_S} s of gathering and load.seconds = {seconds}"
                ),
            );
        }
        faults
    }
}
