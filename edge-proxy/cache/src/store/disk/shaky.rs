//! A log for tests that does by seed what devices and foyer do: it delays, fails, damages, and remembers after a restart what it was told to
//! forget. The lock covers everything.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use super::log::{Counts, Log, Slot, Trouble};

/// How often what goes wrong, in thousandths.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) delayed: u32,
    pub(crate) read_fails: u32,
    pub(crate) damaged: u32,
    pub(crate) lost: u32,
    pub(crate) write_fails: u32,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Shaky {
    inner: Mutex<Inner>,
    batch_bytes: u64,
}

#[derive(Debug)]
struct Inner {
    /// What the device holds: everything that was ever written, in order.
    device: Vec<(Slot, Bytes)>,
    /// Where the newest of a slot is.
    index: HashMap<Slot, usize>,
    faults: Faults,
    random: u64,
    held: bool,
    loads: usize,
    stores: usize,
    stuck: bool,
}

impl Shaky {
    pub(crate) fn new(seed: u64, faults: Faults) -> Arc<Self> {
        Self::of_batches(seed, faults, 1 << 16)
    }

    pub(crate) fn of_batches(seed: u64, faults: Faults, batch_bytes: u64) -> Arc<Self> {
        let inner =
            Inner { device: Vec::new(), index: HashMap::new(), faults, random: seed | 1, held: false, loads: 0, stores: 0, stuck: false };
        Arc::new(Self { inner: Mutex::new(inner), batch_bytes })
    }

    /// How many values were asked for.
    pub(crate) fn loads(&self) -> usize {
        self.inner.lock().loads
    }

    /// How often something was written.
    pub(crate) fn stores(&self) -> usize {
        self.inner.lock().stores
    }

    /// Goes on at random from here.
    pub(crate) fn reseed(&self, seed: u64) {
        self.inner.lock().random ^= seed | 1;
    }

    /// What a new process finds on the device: also what was only forgotten.
    pub(crate) fn restart(&self) {
        let mut inner = self.inner.lock();
        inner.index = inner.device.iter().enumerate().map(|(at, (slot, _))| (*slot, at)).collect();
    }

    /// Has something in these slots.
    pub(crate) fn fill(&self, slots: impl Iterator<Item = Slot>) {
        let mut inner = self.inner.lock();
        for slot in slots {
            let at = inner.device.len();
            inner.device.push((slot, Bytes::new()));
            inner.index.insert(slot, at);
        }
    }

    /// Writes wait while it is held.
    pub(crate) fn hold(&self, held: bool) {
        self.inner.lock().held = held;
    }

    /// Nothing that is asked of it ends from here on.
    pub(crate) fn stick(&self) {
        self.inner.lock().stuck = true;
    }

    pub(crate) fn set_faults(&self, faults: Faults) {
        self.inner.lock().faults = faults;
    }

    fn happens(&self, of: impl Fn(&Faults) -> u32) -> bool {
        let mut inner = self.inner.lock();
        let thousandths = of(&inner.faults);
        inner.next() % 1_000 < u64::from(thousandths)
    }

    async fn delay(&self) {
        while self.inner.lock().held || self.happens(|faults| faults.delayed) {
            tokio::task::yield_now().await;
        }
    }
}

impl Inner {
    /// xorshift64.
    fn next(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

#[async_trait]
impl Log for Shaky {
    fn may_hold(&self, slot: Slot) -> bool {
        self.inner.lock().index.contains_key(&slot)
    }

    async fn load(&self, slot: Slot) -> Result<Option<Bytes>, Trouble> {
        let found = {
            let mut inner = self.inner.lock();
            inner.loads += 1;
            inner.index.get(&slot).map(|at| inner.device[*at].1.clone())
        };
        self.delay().await;
        if self.inner.lock().stuck {
            std::future::pending::<()>().await;
        }
        if self.happens(|faults| faults.read_fails) {
            return Err(Trouble::Read("by seed".to_owned()));
        }
        let Some(value) = found else { return Ok(None) };
        if self.happens(|faults| faults.lost) {
            return Ok(None);
        }
        if self.happens(|faults| faults.damaged) && !value.is_empty() {
            let mut damaged = value.to_vec();
            let at = usize::try_from(self.inner.lock().next()).unwrap_or(0) % damaged.len();
            damaged[at] ^= 0x55;
            return Ok(Some(damaged.into()));
        }
        Ok(Some(value))
    }

    fn load_now(&self, slot: Slot) -> Option<Bytes> {
        let is_at_hand = !self.inner.lock().held && !self.happens(|faults| faults.delayed + faults.lost + faults.read_fails);
        let value = {
            let inner = self.inner.lock();
            inner.index.get(&slot).filter(|_| is_at_hand && !inner.stuck).map(|at| inner.device[*at].1.clone())
        }?;
        if self.happens(|faults| faults.damaged) {
            let mut damaged = value.to_vec();
            *damaged.last_mut()? ^= 0x55;
            return Some(damaged.into());
        }
        Some(value)
    }

    async fn store(&self, values: &[(Slot, Bytes)]) -> Result<(), Trouble> {
        self.inner.lock().stores += 1;
        self.delay().await;
        if self.inner.lock().stuck {
            std::future::pending::<()>().await;
        }
        if self.happens(|faults| faults.write_fails) {
            return Err(Trouble::Write(values.len()));
        }
        let mut inner = self.inner.lock();
        for (slot, value) in values {
            let at = inner.device.len();
            inner.device.push((*slot, value.clone()));
            inner.index.insert(*slot, at);
        }
        Ok(())
    }

    fn batch_bytes(&self) -> u64 {
        self.batch_bytes
    }

    fn room_of(&self, bytes: usize) -> u64 {
        bytes as u64
    }

    fn remove(&self, slot: Slot) {
        self.inner.lock().index.remove(&slot);
    }

    fn counts(&self) -> Counts {
        Counts { entries: self.inner.lock().index.len() as u64, ..Counts::default() }
    }

    async fn close(&self) {}
}
