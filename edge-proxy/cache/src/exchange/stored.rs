//! Memory and disk as one store: what is put into both, and what a miss in memory finds on disk.
//!
//! Owns their order. Whoever puts something under a key has its turn, so that nothing that is read from disk, or is written there late, takes
//! the place of what came after it. A turn is never held over a wait.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use skerry_config::process::{self, Memory, Shares};
use skerry_config::snapshot::Policy;
use skerry_config::units::Size;

use super::directives::Directives;
use super::{Bounds, Exchange, search};
use crate::disk::{Settings, State};
use crate::key::Key;
use crate::lookup::{self, Found};
use crate::object::{Filling, Object};
use crate::purge::{Life, Table, Verdict};
use crate::request::Request;
#[cfg(test)]
use crate::store::disk::log::Log;
use crate::store::{Disk, Entry, FromDisk};
use crate::time::Time;

/// The journal of purges in a node's data directory.
const JOURNAL: &str = "purges.journal";
/// Turns; keys share them.
const TURNS: usize = 256;
/// How often a lookup goes on with what the disk had: rules of queries, marker, object.
const LOOKS_MAX: usize = 4;
/// How often changes of the purge table that nobody waits for are brought to the device.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// What a look at the disk is for.
#[derive(Clone, Copy)]
enum Look {
    /// What is found goes into memory.
    Use,
    /// What is found is only told, also what a purge took away.
    Know,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Turns(Box<[Mutex<()>]>);

impl Turns {
    pub(super) fn new() -> Self {
        Self((0..TURNS).map(|_| Mutex::new(())).collect())
    }

    pub(super) fn of(&self, key: &Key) -> MutexGuard<'_, ()> {
        self.0[usize::try_from(key.hash() % TURNS as u128).unwrap_or(0)].lock()
    }
}

impl Exchange {
    /// The cache that settings describe: of memory alone, or with a disk tier. What it keeps for a restart beside that is in `data`; `purge_seq`
    /// is the purge position of the run before. To be called within a runtime.
    ///
    /// # Errors
    /// One sentence for the operator: the directory of the disk tier, or the data directory, cannot be used.
    pub fn open(
        cache: &Memory,
        disk: Option<&process::Disk>,
        limit: Option<Size>,
        data: &Path,
        purge_seq: u64,
    ) -> Result<Arc<Self>, String> {
        let shares = Shares::of(cache, disk, limit);
        let bounds = Bounds { memory: shares.stored, object_max: cache.object_max.0, filling_max: shares.filling };
        let journal = data.join(JOURNAL);
        let exchange = match disk {
            Some(disk) => Self::with_disk(bounds, Settings::of(disk, &shares), &journal)?,
            None => {
                // What a disk tier holds is not told of purges from here on: without the journal it counts for nothing.
                match std::fs::remove_file(&journal) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(format!("{} cannot be removed: {error}", journal.display()));
                    }
                    _ => Self::new(bounds),
                }
            }
        };
        exchange.resume_at(purge_seq);
        Ok(exchange)
    }

    /// A cache that outlives its process: stored answers on disk, and in `journal` the purges that they are compared with. Nothing is served from
    /// disk before [`Exchange::caught_up`] or ten seconds. To be called within a runtime.
    ///
    /// # Errors
    /// One sentence for the operator: the directory or the journal cannot be used.
    pub fn with_disk(bounds: Bounds, settings: Settings, journal: &Path) -> Result<Arc<Self>, String> {
        let exchange = Self::over(bounds, settings, journal, Disk::open)?;
        let weak = Arc::downgrade(&exchange);
        tokio::spawn(async move {
            while let Some(exchange) = weak.upgrade() {
                let _ = tokio::task::spawn_blocking(move || {
                    if exchange.purges.is_behind()
                        && let Err(error) = exchange.purges.sync()
                    {
                        tracing::error!(error, "what was invalidated would not outlive a restart");
                    }
                })
                .await;
                tokio::time::sleep(SYNC_EVERY).await;
            }
        });
        Ok(exchange)
    }

    fn over(
        bounds: Bounds,
        settings: Settings,
        journal: &Path,
        open: impl FnOnce(Settings, Life, Arc<Table>, Arc<AtomicU64>, Arc<Filling>) -> Result<Arc<Disk>, String>,
    ) -> Result<Arc<Self>, String> {
        let (table, life) = Table::open(journal)?;
        let object_max = bounds.object_max.min(settings.size / 4);
        let mut exchange = Self::empty(bounds, Arc::new(table), life.first() + 1);
        exchange.sliced_max = object_max;
        let (table, order, filling) = (Arc::clone(&exchange.purges), Arc::clone(&exchange.order), Arc::clone(&exchange.filling));
        let disk = open(settings, life, table, order, filling)?;
        // Only who has the directory writes.
        exchange.purges.sync()?;
        disk.begin()?;
        exchange.disk = Some(disk);
        Ok(Arc::new(exchange))
    }

    /// The same over a log that the test has.
    #[cfg(test)]
    pub(crate) fn with_log(bounds: Bounds, settings: Settings, journal: &Path, log: Arc<dyn Log>) -> Arc<Self> {
        let open = |settings, life, table, order, filling| {
            let disk = Disk::new(settings, life, table, order, filling, None);
            disk.start(async move { Ok(log) });
            Ok(disk)
        };
        Self::over(bounds, settings, journal, open).unwrap()
    }

    /// The purges that this node missed while it was away are in force: what is on disk may be served.
    pub fn caught_up(&self) {
        if let Some(disk) = &self.disk {
            disk.caught_up();
        }
    }

    /// Brings the purges in force to disk, where there is one. Blocks.
    ///
    /// # Errors
    /// When they would not outlive a restart: they must not be confirmed.
    pub fn sync_purges(&self) -> Result<(), String> {
        self.purges.sync()
    }

    /// Waits until everything that was stored so far is on disk, or the disk takes nothing more.
    pub async fn settled(&self) {
        if let Some(disk) = &self.disk {
            disk.settled().await;
        }
    }

    /// Writes to disk what waits for it, and ends the disk tier in order.
    pub async fn close(&self) {
        let Some(disk) = &self.disk else { return };
        disk.close().await;
        if let Err(error) = self.purges.sync() {
            tracing::error!(error, "the last purges would not outlive a restart");
        }
    }

    /// Stores an entry in memory and on disk. The caller has the key's turn.
    pub(super) fn put(&self, _turn: &MutexGuard<'_, ()>, key: Key, entry: Entry) {
        // In this order: who reads the disk while this happens sees that it has changed.
        if let Some(disk) = &self.disk {
            disk.keep(&key, &entry);
        }
        self.store.insert(key, entry);
    }

    /// Stores an entry in its turn.
    pub(super) fn put_in_turn(&self, key: Key, entry: Entry) {
        let turn = self.turns.of(&key);
        self.put(&turn, key.clone(), entry);
    }

    /// Takes what is stored under a key out of memory and off the disk.
    pub(super) fn take_away(&self, key: &Key) {
        let _turn = self.turns.of(key);
        if let Some(disk) = &self.disk {
            disk.forget(key);
        }
        self.store.remove(key);
    }

    /// Looks a request up, on disk where memory has nothing.
    pub(super) async fn find_stored(&self, primary: &Key, request: &Request, directives: &Directives, now: Time) -> Found {
        let found = self.find(primary, request, directives, now);
        match &self.disk {
            Some(disk) if found.object.is_none() => self.find_on_disk(disk, Look::Use, (primary, request, directives, now)).await.0,
            _ => found,
        }
    }

    /// The same for who only wants to know, with what only the disk has of it.
    pub(super) async fn find_without_use(
        &self,
        primary: &Key,
        request: &Request,
        directives: &Directives,
        now: Time,
    ) -> (Found, Vec<(Key, Entry)>) {
        let found = self.find(primary, request, directives, now);
        match &self.disk {
            Some(disk) if found.object.is_none() => self.find_on_disk(disk, Look::Know, (primary, request, directives, now)).await,
            _ => (found, Vec::new()),
        }
    }

    /// The same as far as nothing has to be waited for.
    pub(super) fn find_now(&self, primary: &Key, request: &Request, directives: &Directives, now: Time) -> Found {
        let mut found = self.find(primary, request, directives, now);
        let Some(disk) = &self.disk else { return found };
        let mut loaded: Vec<(Key, Entry)> = Vec::new();
        // A marker, and what it leads to.
        while found.object.is_none() && loaded.len() < 2 && loaded.iter().all(|(key, _)| *key != found.key) && disk.may_hold(&found.key) {
            let from_disk = disk.load_now(&found.key, now).and_then(|from_disk| self.take_in(disk, &found.key, from_disk));
            let Some(entry) = from_disk else { break };
            loaded.push((found.key.clone(), entry));
            let get =
                |key: &Key| self.store.get(key).or_else(|| loaded.iter().find(|(known, _)| known == key).map(|(_, entry)| entry.clone()));
            found = lookup::find_by(get, &self.purges, primary, request, now);
            directives.apply(&mut found, now);
        }
        found
    }

    async fn find_on_disk(
        &self,
        disk: &Arc<Disk>,
        look: Look,
        (primary, request, directives, now): (&Key, &Request, &Directives, Time),
    ) -> (Found, Vec<(Key, Entry)>) {
        let mut loaded: Vec<(Key, Entry)> = Vec::new();
        let mut tried: Vec<Key> = Vec::new();
        let mut looks = 0;
        let mut found = loop {
            let missing = RefCell::new(Vec::new());
            let get = |key: &Key| {
                let entry = self.store.get(key).or_else(|| loaded.iter().find(|(known, _)| known == key).map(|(_, entry)| entry.clone()));
                if entry.is_none() {
                    missing.borrow_mut().push(key.clone());
                }
                entry
            };
            let mut found = lookup::find_by(get, &self.purges, primary, request, now);
            found.from_disk = !loaded.is_empty();
            let missing = missing.into_inner();
            let count = loaded.len();
            for key in missing.into_iter().filter(|_| found.object.is_none()) {
                if tried.contains(&key) || !disk.may_hold(&key) {
                    continue;
                }
                tried.push(key.clone());
                let entry = match look {
                    Look::Use => self.load(disk, &key, now).await,
                    Look::Know => disk.peek(&key, now).await,
                };
                loaded.extend(entry.map(|entry| (key, entry)));
            }
            looks += 1;
            if loaded.len() == count || looks == LOOKS_MAX {
                break found;
            }
        };
        directives.apply(&mut found, now);
        (found, loaded)
    }

    /// What the disk has under a key. It goes into memory, unless something came there meanwhile or a purge took it out of use.
    async fn load(&self, disk: &Arc<Disk>, key: &Key, now: Time) -> Option<Entry> {
        let from_disk = disk.load(key, now).await?;
        self.take_in(disk, key, from_disk)
    }

    fn take_in(&self, disk: &Arc<Disk>, key: &Key, from_disk: FromDisk) -> Option<Entry> {
        if let Entry::Object(object) = &from_disk.entry
            && self.purges.verdict(&object.identity, &object.mark) == Verdict::Gone
        {
            self.counters.purged.inc();
            disk.is_of_no_use(key);
            return None;
        }
        let _turn = self.turns.of(key);
        if !disk.is_last(&from_disk) {
            return None;
        }
        if let Some(there) = self.store.get(key) {
            return Some(there);
        }
        self.store.insert(key.clone(), from_disk.entry.clone());
        Some(from_disk.entry)
    }

    /// Whether it is known, as far as it ever was, what answers said of the queries of a path.
    pub(super) fn has_search_rules_at_hand(&self, request: &Request, policy: &Policy) -> bool {
        let Some(disk) = self.disk.as_ref().filter(|_| policy.no_vary_search) else { return true };
        let place = search::place(request, policy);
        self.store.get(&place).is_some() || !disk.may_hold(&place)
    }

    /// What the disk has of a key of which memory has nothing.
    pub(super) async fn only_on_disk(&self, key: &Key, now: Time) -> OnDisk {
        let written = self.disk.as_ref().map_or(0, |disk| disk.written(key));
        let in_memory = self.store.get(key).is_some();
        let entry = match &self.disk {
            Some(disk) if !in_memory => disk.peek(key, now).await,
            _ => None,
        };
        OnDisk { in_memory, written, entry }
    }

    /// The same, if it is still so now that memory has nothing. The caller has the key's turn.
    pub(super) fn still_on_disk<'a>(&self, key: &Key, on_disk: &'a OnDisk) -> Option<Option<&'a Entry>> {
        let Some(disk) = &self.disk else { return Some(None) };
        (!on_disk.in_memory && disk.written(key) == on_disk.written).then_some(on_disk.entry.as_ref())
    }

    /// Brings what answers said of the queries of a path from disk, so that the key can be made.
    pub(super) async fn load_search_rules(&self, request: &Request, policy: &Policy, now: Time) {
        let Some(disk) = &self.disk else { return };
        let place = search::place(request, policy);
        if self.store.get(&place).is_none() && disk.may_hold(&place) {
            self.load(disk, &place, now).await;
        }
    }

    /// An answer that was asked for again, which is worth writing if it was not when it came.
    pub(super) fn note_hit(self: &Arc<Self>, object: &Arc<Object>) {
        if let Some(disk) = &self.disk
            && disk.is_on_probation(object)
            && !object.asked_again.swap(true, std::sync::atomic::Ordering::Relaxed)
        {
            if object.body.len() > disk.inline_max() {
                // Once for an object that is in memory, so that there are never more of these than such objects.
                let (exchange, object) = (Arc::clone(self), Arc::clone(object));
                tokio::spawn(async move { exchange.write_behind(&object).await });
                return;
            }
            let _turn = self.turns.of(&object.key);
            if is_at(self.store.get(&object.key).as_ref(), object) {
                disk.keep(&object.key, &Entry::Object(Arc::clone(object)));
            }
        }
    }

    /// Writes the body of a stored object, which is in memory and too large to be kept with its head, slice by slice, and then its head: what is
    /// stored around this body by then, as a 304 may have come meanwhile.
    pub(super) async fn write_behind(&self, object: &Arc<Object>) {
        let Some(disk) = &self.disk else { return };
        let length = object.body.len();
        let is_small = length <= disk.inline_max() || object.part.is_some();
        if is_small || object.body.slices().is_some() || around(self.store.get(&object.key), object).is_none() {
            return;
        }
        let Some(slices) = disk.slices(&object.key, length, false) else { return };
        let mut start = 0;
        let mut number = 0;
        while start < length {
            let stop = (start + slices.slice_bytes).min(length);
            if !slices.store(number, &object.body.pieces(start, stop)).await {
                return;
            }
            (start, number) = (stop, number + 1);
        }
        let _turn = self.turns.of(&object.key);
        if let Some(there) = around(self.store.get(&object.key), object) {
            object.body.put_into(slices);
            disk.keep(&object.key, &Entry::Object(there));
        }
    }

    /// Whether an answer with a body of this length goes to disk, as far as it is up to how often it was asked for.
    pub(super) fn admits_to_disk(&self, object: &Object, length: u64) -> bool {
        self.disk.as_ref().is_none_or(|disk| disk.admits(&object.key, length))
    }

    /// Whether a body that is in memory has to be written in slices, if it is written.
    pub(super) fn is_written_behind(&self, object: &Object) -> bool {
        self.disk.as_ref().is_some_and(|disk| object.body.len() > disk.inline_max()) && object.body.slices().is_none()
    }

    /// The largest body that is stored at the moment, in bytes.
    pub(super) fn object_max(&self) -> u64 {
        match &self.disk {
            Some(disk) if disk.state() == State::Serving => self.sliced_max.max(self.bounds.object_max),
            _ => self.bounds.object_max,
        }
    }

    /// Whether a body of this length goes to disk while it comes.
    pub(super) fn goes_to_disk(&self, object: &Object, length: u64) -> bool {
        let is_whole = object.part.is_none() && !object.head_only && !object.body.is_window();
        is_whole && self.disk.as_ref().is_some_and(|disk| length > disk.resident_max())
    }

    /// Whether a body is on disk, or may be before its readers are through.
    pub(super) fn is_or_goes_to_disk(&self, object: &Object) -> bool {
        let goes = || !object.body.is_whole() && self.goes_to_disk(object, object.body_length().unwrap_or(u64::MAX));
        object.body.slices().is_some() || goes()
    }

    /// Begins to put a body on disk while it comes; whether the disk takes it.
    pub(super) fn put_on_disk(&self, object: &Object) -> bool {
        let slices = self.disk.as_ref().and_then(|disk| disk.slices(&object.key, object.body_length().unwrap_or(0), false));
        let taken = slices.is_some();
        if let Some(slices) = slices {
            object.body.put_into(slices);
        }
        taken
    }
}

/// What only the disk has of a key, as far as a look told.
#[derive(Debug)]
pub(super) struct OnDisk {
    /// Memory had something, so that nobody looked.
    in_memory: bool,
    /// How often the key's slot had been written before the look.
    written: u64,
    entry: Option<Entry>,
}

/// Whether an entry is this very object.
fn is_at(entry: Option<&Entry>, object: &Arc<Object>) -> bool {
    matches!(entry, Some(Entry::Object(there)) if Arc::ptr_eq(there, object))
}

/// What is stored around the body of this object, if it is.
fn around(entry: Option<Entry>, object: &Object) -> Option<Arc<Object>> {
    match entry? {
        Entry::Object(there) if Arc::ptr_eq(&there.body, &object.body) => Some(there),
        _ => None,
    }
}
