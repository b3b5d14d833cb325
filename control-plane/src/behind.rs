//! Which nodes are not as they should be, and since when: away, or with a configuration or purges in force that are older than those they should have.
//!
//! Whoever is so for longer than `alarm.behind` is told of once, and once when that is over. The lock covers the table.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use skerry_agent::Role;
use tokio::sync::watch;

use crate::events::Event;
use crate::health::Live;
use crate::plane::Plane;

/// How often nodes are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// See the module.
#[derive(Default)]
pub(crate) struct Behind {
    nodes: Mutex<BTreeMap<String, Late>>,
}

/// What is wrong with a node, and since when.
#[derive(Clone, Debug, Default)]
pub(crate) struct Late {
    away: Option<Instant>,
    snapshot: Option<Lag>,
    purges: Option<Lag>,
    told: bool,
}

/// Something that a node should have.
#[derive(Clone, Copy, Debug)]
struct Lag {
    since: Instant,
    /// The number that it should have had then.
    mark: u64,
}

impl Behind {
    /// What is wrong with a node.
    pub(crate) fn of(&self, node: &str) -> Late {
        self.nodes.lock().get(node).cloned().unwrap_or_default()
    }
}

impl Late {
    /// For how long something has been wrong.
    pub(crate) fn time(&self) -> Option<Duration> {
        let lags = [self.snapshot, self.purges].into_iter().flatten().map(|lag| lag.since);
        lags.chain(self.away).min().map(|since| since.elapsed())
    }

    /// Whether that is longer than it may be.
    pub(crate) fn is_told(&self) -> bool {
        self.told
    }

    fn why(&self) -> String {
        let seconds = |since: Instant| since.elapsed().as_secs();
        let away = self.away.map(|since| format!("away for {} s", seconds(since)));
        let lag = |what: &str, lag: Option<Lag>| lag.map(|lag| format!("without {what} {} for {} s", lag.mark, seconds(lag.since)));
        [away, lag("configuration", self.snapshot), lag("purge", self.purges)].into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// `wanted` are the configuration and the purge that it should have in force, if it is a node that has any.
    fn look(&mut self, live: &Live, wanted: Option<(u64, u64)>, now: Instant) {
        self.away = if live.connected { None } else { self.away.or(Some(now)) };
        let Some((snapshot, purge_seq)) = wanted else { return };
        look(&mut self.snapshot, live.snapshot.unwrap_or(0), snapshot, now);
        look(&mut self.purges, live.purge_seq, purge_seq, now);
    }
}

/// Behind is who does not have what was the newest when it was last known to have all, however much more has come since.
fn look(lag: &mut Option<Lag>, has: u64, wanted: u64, now: Instant) {
    if lag.is_none_or(|lag| has >= lag.mark) {
        *lag = (has < wanted).then_some(Lag { since: now, mark: wanted });
    }
}

/// Looks at the nodes until stopped, and tells of those that are behind for longer than `bound`.
pub(crate) async fn watch(plane: Arc<Plane>, bound: Duration, stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => look_at_all(&plane, bound, Instant::now()),
            () = skerry_agent::stopped(stop.clone()) => return,
        }
    }
}

fn look_at_all(plane: &Plane, bound: Duration, now: Instant) {
    let state = plane.intent.state();
    let purge_seq = plane.purges.head();
    let mut told = Vec::new();
    plane.figures.node_behind.reset();
    let mut nodes = plane.behind.nodes.lock();
    nodes.retain(|name, _| state.nodes.get(name).is_some());
    let mut count = 0;
    for (name, node) in &state.nodes {
        let late = nodes.entry(name.clone()).or_default();
        let live = plane.health.live(name);
        let wanted = state.tracks.target(name, live.snapshot).version;
        late.look(&live, node.role().is_some_and(Role::is_tier).then_some((wanted, purge_seq)), now);
        let time = late.time();
        let is_behind = time.is_some_and(|time| time >= bound);
        if is_behind {
            count += 1;
            let seconds = time.map_or(0, |time| i64::try_from(time.as_secs()).unwrap_or(i64::MAX));
            plane.figures.node_behind.with_label_values(&[name]).set(seconds);
        }
        if is_behind != late.told && (is_behind || time.is_none()) {
            late.told = is_behind;
            told.push((name.clone(), is_behind.then(|| late.why())));
        }
    }
    drop(nodes);
    plane.figures.nodes_behind.set(count);
    for (name, why) in told {
        match &why {
            Some(why) => tracing::warn!(node = name, why, "a node is behind"),
            None => tracing::info!(node = name, "a node has caught up"),
        }
        let what = if why.is_some() { "behind" } else { "caught up" };
        plane.events.tell(Event::Node { name, what: what.to_owned(), snapshot: None, reason: why });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_what_was_newest_then_is_not_behind_however_much_has_come_since() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut late = Late::default();
        let live = |connected, snapshot, purge_seq| Live { connected, snapshot, purge_seq, ..Live::default() };
        late.look(&live(true, Some(4), 10), Some((4, 10)), start);
        assert!(late.time().is_none());
        // It follows purges that come all the time.
        late.look(&live(true, Some(4), 19), Some((4, 20)), after(1));
        late.look(&live(true, Some(4), 29), Some((4, 30)), after(2));
        assert_eq!(late.purges.map(|lag| (lag.since, lag.mark)), Some((after(2), 30)));
        // It stands still.
        late.look(&live(true, Some(4), 29), Some((5, 40)), after(3));
        late.look(&live(true, Some(4), 29), Some((6, 50)), after(4));
        assert_eq!(late.purges.map(|lag| (lag.since, lag.mark)), Some((after(2), 30)));
        assert_eq!(late.snapshot.map(|lag| (lag.since, lag.mark)), Some((after(3), 5)));
        late.look(&live(false, Some(6), 50), Some((6, 50)), after(5));
        assert!(late.purges.is_none() && late.snapshot.is_none() && late.away == Some(after(5)));
        late.look(&live(false, None, 0), Some((6, 50)), after(6));
        assert_eq!((late.away, late.snapshot.map(|lag| lag.mark)), (Some(after(5)), Some(6)));
        late.look(&live(true, Some(6), 50), Some((6, 50)), after(7));
        assert!(late.time().is_none());
        // A DNS node is only ever away.
        late.look(&live(true, None, 0), None, after(8));
        assert!(late.time().is_none());
    }
}
