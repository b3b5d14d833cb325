//! The zone that a DNS node has: as rows, as the state that is answered from, and on disk.
//!
//! The lock covers the rows, the change that is coming in and the copy; it is held while a change is put in force and written. Who answers never takes it.

use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use prometheus::{IntCounter, IntGauge, Registry};
use skerry_agent::wire::ZonePart;
use skerry_dns::geo::Places;
use skerry_dns::plan::Plan;
use skerry_dns::state::State;
use tokio::sync::watch;

use super::copy::{DiskCopy, Found};
use crate::clock;
use crate::feed::pieces::{Change, Pending};
use crate::feed::planned;
use crate::feed::rows::{self, Digests, Edit, Rows, Said};

/// See the module.
pub(super) struct Held {
    state: Arc<ArcSwap<State>>,
    kept: Mutex<Kept>,
    /// Whether there is a zone to answer from.
    has_zone: watch::Sender<bool>,
    figures: Figures,
}

struct Kept {
    rows: Rows,
    pending: Pending,
    copy: DiskCopy,
    /// Rows of these that cannot be read.
    unread: usize,
}

struct Figures {
    changes: IntCounter,
    changed: IntGauge,
    unwritten: IntCounter,
    unread: IntCounter,
}

impl Held {
    /// What was found on disk. Rows that make no zone, as of a version with another idea of them, count as none.
    pub(super) fn new(mut copy: DiskCopy, found: Found, geo: Option<Arc<dyn Places>>) -> Self {
        let said = rows::to_state(&found.rows).unwrap_or_else(|why| {
            tracing::warn!(why, "the copy of the zone cannot be used");
            None
        });
        let rows = if said.is_some() {
            found.rows
        } else {
            copy.discard();
            Rows::new()
        };
        let (figures, mut unread) = (Figures::new(), 0);
        let found_state = said.map(|said| {
            figures.left_out(&mut unread, &said);
            State { plan: said.beside.around(&Arc::default(), found.planned, Vec::new()), ..said.state }
        });
        if let Some(state) = &found_state {
            tracing::info!(zone = state.zone, serial = state.serial, "answering from the copy on disk");
        }
        Self {
            has_zone: watch::Sender::new(found_state.is_some()),
            state: Arc::new(ArcSwap::from_pointee(State { geo, ..found_state.unwrap_or_default() })),
            kept: Mutex::new(Kept { rows, pending: Pending::default(), copy, unread }),
            figures,
        }
    }

    pub(super) fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.figures.changes.clone()))?;
        registry.register(Box::new(self.figures.changed.clone()))?;
        registry.register(Box::new(self.figures.unread.clone()))?;
        registry.register(Box::new(self.figures.unwritten.clone()))
    }

    /// The state in force.
    pub(super) fn state(&self) -> Arc<ArcSwap<State>> {
        Arc::clone(&self.state)
    }

    /// Waits until there is a zone; false when `stop` came before.
    pub(super) async fn has_zone(&self, stop: watch::Receiver<bool>) -> bool {
        let mut has = self.has_zone.subscribe();
        tokio::select! {
            has = has.wait_for(|has| *has) => has.is_ok(),
            () = skerry_agent::stopped(stop) => false,
        }
    }

    /// What a hello says. A stream begins: what came of a change by the one before counts no more.
    pub(super) fn hello(&self) -> Vec<u8> {
        let mut kept = self.kept.lock();
        kept.pending = Pending::default();
        if kept.rows.is_empty() {
            return Vec::new();
        }
        let mut digests = Digests::default();
        kept.rows.iter().for_each(|(key, value)| digests.add(key, value));
        self.state.load().plan.rows().for_each(|row| digests.add(&planned::key(row.prefix), &planned::value(row)));
        digests.told()
    }

    /// Takes a piece of a change; its number, when the change is whole and in force. Where it cannot be written to disk it is in force nevertheless: after a
    /// restart the node says what it has, and is told the rest.
    pub(super) fn take(&self, part: ZonePart) -> Result<Option<u64>, String> {
        let mut kept = self.kept.lock();
        let kept = &mut *kept;
        let Some(Change { number, dropped, edits, planned, mut unplanned, unread }) = kept.pending.take(part)? else { return Ok(None) };
        let before = self.state.load_full();
        let mut next = kept.rows.clone();
        next.retain(|key, _| !dropped.contains(&rows::block(key)));
        for (key, value) in edits {
            match value {
                Some(value) => drop(next.insert(key, value)),
                None => drop(next.remove(&key)),
            }
        }
        let said = rows::to_state(&next)?.ok_or("the rows that were sent make no zone")?;
        self.figures.left_out(&mut kept.unread, &said);
        self.figures.unread.inc_by(unread as u64);
        let Said { state, beside, .. } = said;
        if !dropped.is_empty() {
            let prefixes = before.plan.rows().map(|row| row.prefix);
            unplanned.extend(prefixes.filter(|prefix| dropped.contains(&rows::block(&planned::key(*prefix)))));
        }
        let also: Vec<Edit> =
            unplanned.iter().map(|prefix| (planned::key(*prefix), None)).chain(planned.iter().map(planned::edit)).collect();
        let state = State { plan: beside.around(&before.plan, planned, unplanned), geo: before.geo.clone(), ..state };
        let plan = Arc::clone(&state.plan);
        tracing::debug!(serial = state.serial, "zone changed");
        self.state.store(Arc::new(state));
        self.has_zone.send_replace(true);
        self.figures.changes.inc();
        self.figures.changed.set(i64::try_from(clock::unix_seconds()).unwrap_or(i64::MAX));
        if let Err(why) = kept.copy.keep(rows::edits(&kept.rows, &next).into_iter().chain(also), || whole(&next, &plan)) {
            self.figures.unwritten.inc();
            tracing::error!(why, "the zone is in force but not on disk");
        }
        kept.rows = next;
        Ok(Some(number))
    }
}

/// All rows.
fn whole<'a>(rows: &'a Rows, plan: &'a Plan) -> impl Iterator<Item = Edit> + 'a {
    let rows = rows.iter().map(|(key, value)| (key.clone(), Some(value.clone())));
    rows.chain(plan.rows().map(planned::edit))
}

impl Figures {
    #[expect(clippy::expect_used, reason = "names are constants; only malformed ones are refused")]
    fn new() -> Self {
        let counter = |name: &str, help: &str| IntCounter::new(name, help).expect("valid");
        Self {
            changes: counter("skerry_dns_zone_changes_total", "Changes of the zone that a DNS node has put in force."),
            changed: IntGauge::new(
                "skerry_dns_zone_changed_timestamp_seconds",
                "When a DNS node put the last change of the zone in force.",
            )
            .expect("valid"),
            unread: counter(
                "skerry_dns_zone_unread_rows_total",
                "Rows of the zone that a DNS node left out because its version cannot read them, counted anew at each change.",
            ),
            unwritten: counter("skerry_dns_zone_unwritten_total", "Changes of the zone that a DNS node could not write to its disk."),
        }
    }
    /// Rows could not be read, after as many as `before` of the state before.
    fn left_out(&self, before: &mut usize, Said { unread, why, .. }: &Said) {
        self.unread.inc_by(*unread as u64);
        if std::mem::replace(before, *unread) != *unread && *unread > 0 {
            tracing::warn!(rows = unread, first = why, "rows of the zone are left out: this version cannot read them");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use skerry_agent::wire::ZoneRow;

    use super::*;

    fn zone(number: u64, rows: &Rows) -> ZonePart {
        let rows = rows.iter().map(|(key, value)| ZoneRow { key: key.clone().into(), value: Some(value.clone().into()) });
        ZonePart { number, dropped: (0..1_024).collect(), rows: rows.collect(), last: true }
    }

    fn held(data: &std::path::Path) -> Held {
        let (copy, found) = DiskCopy::open(data).unwrap();
        Held::new(copy, found, None)
    }

    #[test]
    fn a_copy_that_was_of_no_use_is_replaced_as_a_whole() {
        let data = tempfile::tempdir().unwrap();
        let (mut copy, _) = DiskCopy::open(data.path()).unwrap();
        let useless: Rows = BTreeMap::from([(b"settings".to_vec(), b"?".to_vec()), (b"site/old".to_vec(), b"?".to_vec())]);
        copy.keep(rows::edits(&Rows::new(), &useless).into_iter(), std::iter::empty).unwrap();
        drop(copy);
        let rows = rows::of_state(&State { zone: "cdn.test".to_owned(), ..State::default() }).unwrap();
        let first = held(data.path());
        assert_eq!(first.hello(), Vec::<u8>::new());
        assert_eq!(first.take(zone(1, &rows)), Ok(Some(1)));
        drop(first);
        assert_eq!(DiskCopy::open(data.path()).unwrap().1.rows, rows);
    }

    #[test]
    fn a_row_of_another_version_holds_no_change_up() {
        let data = tempfile::tempdir().unwrap();
        let mut rows = rows::of_state(&State { zone: "cdn.test".to_owned(), ..State::default() }).unwrap();
        rows.insert(b"edge/edge-1".to_vec(), b"?".to_vec());
        let first = held(data.path());
        assert_eq!(first.take(zone(1, &rows)), Ok(Some(1)));
        assert_eq!((first.state().load().zone.as_str(), first.figures.unread.get()), ("cdn.test", 1));
        let told = first.hello();
        drop(first);
        assert_eq!(held(data.path()).hello(), told, "it is kept, so that it is not told again, and read by a later version");
    }
}
