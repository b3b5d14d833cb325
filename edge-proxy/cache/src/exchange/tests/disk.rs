//! Answers that outlive memory and the process.

mod large;
mod model;
mod raced;
mod restarts;
mod sliced;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use skerry_config::snapshot::Policy;

use super::house::{House, Upstream, policy, until};
use crate::disk::{Settings, State};
use crate::exchange::{Bounds, Exchange};
use crate::store::disk::shaky::{Faults, Shaky};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

pub(super) fn bounds() -> Bounds {
    Bounds { memory: 4 * MIB, object_max: 64 * MIB, filling_max: MIB }
}

pub(crate) fn settings(path: &Path) -> Settings {
    Settings {
        path: path.to_owned(),
        size: 256 * MIB,
        slice: 64 * KIB,
        waiting_max: 2 * MIB,
        buffer: 4 * MIB,
        reading_max: MIB,
        second_hit_below: 0,
        second_hit_above: u64::MAX,
        resident_max: 256 * KIB,
    }
}

/// A cache whose disk is the test's, and which can die and come back.
pub(super) struct Lasting {
    pub(super) house: House,
    pub(super) log: Arc<Shaky>,
    settings: Settings,
    journal: PathBuf,
    _data: tempfile::TempDir,
}

impl Lasting {
    pub(super) async fn new(upstream: &Arc<Upstream>) -> Self {
        Self::with(upstream, policy(), |_| {}).await
    }

    pub(super) async fn with(upstream: &Arc<Upstream>, policy: Policy, set: impl FnOnce(&mut Settings)) -> Self {
        let data = tempfile::tempdir().unwrap();
        let journal = data.path().join("journal");
        let log = Shaky::of_batches(7, Faults::default(), 4 * MIB);
        let mut settings = settings(data.path());
        set(&mut settings);
        let exchange = Exchange::with_log(bounds(), settings.clone(), &journal, Arc::clone(&log) as _);
        exchange.caught_up();
        let house = House { exchange, upstream: Arc::clone(upstream), policy: Arc::new(policy) };
        let lasting = Self { house, log, settings, journal, _data: data };
        lasting.serving().await;
        lasting
    }

    async fn serving(&self) {
        until("the disk to serve", || self.house.exchange.figures().disk.unwrap().state == State::Serving).await;
    }

    /// All that was stored is on disk.
    pub(super) async fn settled(&self) {
        self.house.settled().await;
        self.house.exchange.settled().await;
    }

    /// Has other settings from the next start on.
    pub(super) fn set(&mut self, set: impl FnOnce(&mut Settings)) {
        set(&mut self.settings);
    }

    /// Dies with what is on disk, and comes back before it has heard of anything.
    pub(super) async fn come_back(&mut self) {
        self.log.restart();
        let exchange = Exchange::with_log(bounds(), self.settings.clone(), &self.journal, Arc::clone(&self.log) as _);
        self.house.exchange = exchange;
        self.serving().await;
    }

    /// The same, and hears that it missed nothing.
    pub(super) async fn restart(&mut self) {
        self.come_back().await;
        self.house.exchange.caught_up();
    }

    /// Forgets what is in memory.
    pub(super) fn forget_memory(&self) {
        self.house.exchange.store.clear();
    }
}
