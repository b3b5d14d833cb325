//! How much of what the edge can do it does: the highest of its processor time, its connections and, where its bandwidth is known, what it sends.
//!
//! Looks once a second and tells the mean of the last ten, so that one busy moment sends nobody away. What other processes of the machine take it does
//! not see.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use prometheus::{GaugeVec, Opts, Registry};
use skerry_agent::figures::Figures;
use skerry_agent::wire::UTILIZATION_MAX;
use skerry_config::process::Capacity;
use skerry_transport::gate::Gate;

/// Time between two looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// Looks that are remembered.
const LOOKS_MAX: usize = 11;

/// A tick of processor time in milliseconds, as the kernel counts it to programs on every architecture.
const TICK_MILLIS: u64 = 10;

/// The parts, as figures call them.
const PARTS: [&str; 3] = ["cpu", "connections", "bandwidth"];

/// What is told when nothing is known.
const UNKNOWN: u16 = u16::MAX;

/// How much the edge does, as it was last seen.
#[derive(Debug)]
pub(crate) struct Utilization(AtomicU16);

impl Utilization {
    /// Of a thousand.
    pub(crate) fn permille(&self) -> Option<u16> {
        Some(self.0.load(Ordering::Relaxed)).filter(|permille| *permille != UNKNOWN)
    }
}

/// Whoever looks.
pub(crate) struct Watcher {
    told: Arc<Utilization>,
    shown: GaugeVec,
    figures: Arc<Figures>,
    gate: Gate,
    /// Seconds of processor time that it may take in a second.
    cores: f64,
    /// Bytes that it can send in a second.
    bandwidth: Option<f64>,
    looks: VecDeque<Look>,
}

/// What had been used at a moment.
#[derive(Clone, Copy, Debug)]
struct Look {
    at: Instant,
    /// Processor time of the process.
    cpu: Option<Duration>,
    /// Bytes of bodies sent.
    bytes: u64,
}

impl Watcher {
    #[expect(clippy::expect_used, reason = "names and labels are constants; a registry refuses only duplicates and malformed names")]
    pub(crate) fn new(capacity: &Capacity, figures: Arc<Figures>, gate: Gate, registry: &Registry) -> Self {
        let says = "How much of what it can do the edge does, from 0 to 1, by what bounds it. DNS goes by the highest.";
        let shown = GaugeVec::new(Opts::new("skerry_edge_utilization", says), &["part"]).expect("valid");
        registry.register(Box::new(shown.clone())).expect("registered once");
        // What the process is bound to, by affinity or a control group.
        let cores = std::thread::available_parallelism().map_or(1.0, |cores| f64::from(u32::try_from(cores.get()).unwrap_or(u32::MAX)));
        #[expect(clippy::cast_precision_loss, reason = "a bandwidth need not be known to the bit")]
        let bandwidth = capacity.bandwidth.map(|bits| bits.0 as f64 / 8.0);
        Self { told: Arc::new(Utilization(AtomicU16::new(UNKNOWN))), shown, figures, gate, cores, bandwidth, looks: VecDeque::new() }
    }

    /// What it sees.
    pub(crate) fn told(&self) -> Arc<Utilization> {
        Arc::clone(&self.told)
    }

    /// Looks until stopped.
    pub(crate) async fn watch(mut self, stop: tokio::sync::watch::Receiver<bool>) {
        let mut tick = tokio::time::interval(INTERVAL);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let watching = async {
            loop {
                tick.tick().await;
                let look = Look { at: Instant::now(), cpu: processor_time(), bytes: self.figures.bytes() };
                let (open, most) = (self.gate.connections(), self.gate.limits().connections);
                self.see(look, open, most);
            }
        };
        tokio::select! {
            () = watching => {}
            () = skerry_agent::stopped(stop) => {}
        }
    }

    fn see(&mut self, look: Look, open: u64, most: u32) {
        self.looks.push_back(look);
        if self.looks.len() > LOOKS_MAX {
            self.looks.pop_front();
        }
        let Some(first) = self.looks.front() else { return };
        let parts = parts(first, &look, (open, most), (self.cores, self.bandwidth));
        for (name, part) in PARTS.iter().zip(parts) {
            if let Some(part) = part {
                self.shown.with_label_values(&[name]).set(part);
            }
        }
        let highest = parts.into_iter().flatten().reduce(f64::max);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part is from 0 to 1")]
        let permille = highest.map_or(UNKNOWN, |part| (part * f64::from(UTILIZATION_MAX)).round() as u16);
        self.told.0.store(permille, Ordering::Relaxed);
    }
}

/// In the order of [`PARTS`], each from 0 to 1; `None` where it is not known.
fn parts(first: &Look, last: &Look, (open, most): (u64, u32), (cores, bandwidth): (f64, Option<f64>)) -> [Option<f64>; 3] {
    #[expect(clippy::cast_precision_loss, reason = "a part need not be known to the bit")]
    let number = |count: u64| count as f64;
    let seconds = last.at.saturating_duration_since(first.at).as_secs_f64();
    let rate = |used: f64| (seconds > 0.0).then(|| used / seconds);
    let cpu = first.cpu.zip(last.cpu).and_then(|(first, last)| rate(last.saturating_sub(first).as_secs_f64()));
    let sent = rate(number(last.bytes.saturating_sub(first.bytes)));
    [cpu.map(|cpu| cpu / cores), Some(number(open) / f64::from(most.max(1))), bandwidth.zip(sent).map(|(bandwidth, sent)| sent / bandwidth)]
        .map(|part| part.map(|part| part.clamp(0.0, 1.0)))
}

/// What the process has taken since it began; `None` where the system does not say.
fn processor_time() -> Option<Duration> {
    of_stat(&std::fs::read_to_string("/proc/self/stat").ok()?)
}

/// User and system time, the 14th and 15th field. The second, the name, is in parentheses and may hold anything.
fn of_stat(text: &str) -> Option<Duration> {
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some(Duration::from_millis(ticks()?.checked_add(ticks()?)?.checked_mul(TICK_MILLIS)?))
}

#[cfg(test)]
mod tests {
    use skerry_agent::Role;
    use skerry_config::process::Limits;
    use skerry_config::units::BitRate;

    use super::*;

    fn watcher(bandwidth: Option<u64>) -> Watcher {
        let registry = Registry::new();
        let figures = Arc::new(Figures::new(Role::Edge, &registry));
        let capacity = Capacity { bandwidth: bandwidth.map(BitRate) };
        Watcher { cores: 2.0, ..Watcher::new(&capacity, figures, Gate::from(Limits::default()), &registry) }
    }

    fn look(began: Instant, seconds: u64, cpu_millis: u64, bytes: u64) -> Look {
        Look { at: began + Duration::from_secs(seconds), cpu: Some(Duration::from_millis(cpu_millis)), bytes }
    }

    #[test]
    fn the_highest_part_is_told() {
        let began = Instant::now();
        let told = |bandwidth, cpu, bytes, open| {
            let mut watcher = watcher(bandwidth);
            watcher.see(look(began, 0, 0, 0), open, 1_000);
            watcher.see(look(began, 10, cpu, bytes), open, 1_000);
            watcher.told().permille()
        };
        assert_eq!(told(None, 5_000, 0, 100), Some(250), "5 of 20 seconds of two processors");
        assert_eq!(told(None, 1_000, u64::MAX, 300), Some(300), "connections; nobody said how much it can send");
        assert_eq!(told(Some(8_000_000), 1_000, 9_000_000, 300), Some(900), "900 kB of 1 MB in a second");
        assert_eq!(told(Some(8_000_000), 1_000, u64::MAX, 300), Some(1_000), "never more than all");
    }

    #[test]
    fn what_was_used_long_ago_counts_no_more_and_nothing_is_known_at_first() {
        let (began, mut watcher) = (Instant::now(), watcher(None));
        assert_eq!(watcher.told().permille(), None);
        for seconds in 0..=20 {
            watcher.see(look(began, seconds, 2_000 * seconds.min(10), 0), 0, 1_000);
        }
        assert_eq!(watcher.told().permille(), Some(0), "the last ten seconds were idle");
        assert_eq!(watcher.looks.len(), LOOKS_MAX);
    }

    #[test]
    fn processor_time_is_read_whatever_the_process_is_called() {
        let stat = "4711 (a) b) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 1 0 100";
        assert_eq!(of_stat(stat), Some(Duration::from_secs(3)));
        let long = "4711 (a) S 1 2 3 4 5 6 7 8 9 10 4294967296 100 0 0 20 0 1 0 100";
        assert_eq!(of_stat(long).map(|time| time.as_secs()), Some(42_949_673), "64 cores for eight days");
        assert_eq!(of_stat("4711 (a"), None);
        assert!(processor_time().is_some());
    }
}
