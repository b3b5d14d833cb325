//! Which shield leads a site that leaves the choice to us: the one with the lowest measured time to its origin.
//!
//! Shields report their times with their stream. What is chosen is a part of the configuration, so that all edges agree, and know it without us. A leader
//! stays until another one is clearly nearer for a while, or it is gone for a while: each change of it makes the new one fetch anew.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use skerry_agent::Role;
use skerry_config::site::{Lead, Site};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::intent::State;
use crate::plane::Plane;

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// For how long a site without leader waits for all its shields to report.
const FIRST_HOLD: Duration = Duration::from_secs(5);
/// For how long a leader may report no time for an origin.
const LOST_HOLD: Duration = Duration::from_secs(10);
/// For how long another one has to be nearer.
const NEARER_HOLD: Duration = Duration::from_secs(60);
/// By how much: its time is at most this share of the leader's, in percent,
const NEARER_PERCENT: u64 = 80;
/// and less by at least so many microseconds.
const NEARER_MICROS: u64 = 500;

/// Why a site may need another leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// It has none.
    First,
    /// Its leader says nothing of its origin.
    Lost,
    /// Another one is nearer.
    Nearer,
}

/// Since when a site has needed another leader.
#[derive(Debug, Default)]
struct Waiting(Option<(Need, Instant)>);

impl Waiting {
    /// The next leader, when it is time for one. `times` are those of the shields that may lead, in microseconds.
    fn next<'a>(&mut self, leader: Option<&str>, times: &'a [(String, u64)], now: Instant) -> Option<&'a str> {
        let Some((nearest, least)) =
            times.iter().min_by_key(|(name, micros)| (*micros, name)).map(|(name, micros)| (name.as_str(), *micros))
        else {
            // Where nobody has the origin, that the leader has not says nothing of the leader.
            self.0 = None;
            return None;
        };
        let of_leader = leader.and_then(|leader| times.iter().find(|(name, _)| name == leader)).map(|(_, micros)| *micros);
        let is_nearer = |micros: u64| least * 100 <= micros * NEARER_PERCENT && least + NEARER_MICROS <= micros;
        let need = match of_leader {
            Some(micros) if !is_nearer(micros) => {
                self.0 = None;
                return None;
            }
            Some(_) => Need::Nearer,
            None if leader.is_some() => Need::Lost,
            None => Need::First,
        };
        let hold = match need {
            Need::First => FIRST_HOLD,
            Need::Lost => LOST_HOLD,
            Need::Nearer => NEARER_HOLD,
        };
        let since = self.0.filter(|(waiting, _)| *waiting == need).map_or(now, |(_, since)| since);
        self.0 = Some((need, since));
        if now.duration_since(since) < hold {
            return None;
        }
        self.0 = None;
        Some(nearest)
    }
}

/// Keeps the leaders until `stop` says so.
pub(crate) async fn keep(plane: Arc<Plane>, stop: watch::Receiver<bool>) {
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut waiting: BTreeMap<String, Waiting> = BTreeMap::new();
    loop {
        tokio::select! {
            () = skerry_agent::stopped(stop.clone()) => return,
            _ = look.tick() => {}
        }
        let state = plane.intent.state();
        let sites: Vec<&Site> = state.sites.values().filter_map(|version| version.site.as_deref()).filter(|site| is_ours(site)).collect();
        waiting.retain(|name, _| sites.iter().any(|site| site.name == *name));
        let now = Instant::now();
        let mut changes = BTreeMap::new();
        for site in sites {
            let times = times(&plane, &state, site);
            let leader = state.leads.get(&site.name).map(String::as_str);
            if let Some(next) = waiting.entry(site.name.clone()).or_default().next(leader, &times, now) {
                tracing::info!(site = site.name, from = leader, to = next, ?times, "another shield leads the site");
                changes.insert(site.name.clone(), next.to_owned());
            }
        }
        if let Err(refusal) = plane.intent.lead(changes, is_ours).await {
            tracing::error!(why = refusal.says(), "the leaders of sites could not be kept");
        }
    }
}

/// Whether the choice is left to us.
fn is_ours(site: &Site) -> bool {
    site.shields.lead == Lead::Auto
}

/// The times that the shields which may lead a site report, in microseconds.
fn times(plane: &Plane, state: &State, site: &Site) -> Vec<(String, u64)> {
    let shields = state.nodes.values().filter(|node| node.role() == Some(Role::Shield) && !node.drained);
    let own = shields.filter(|node| site.shields.are(&node.name, &node.region));
    own.filter_map(|node| Some((node.name.clone(), plane.health.time_to(&node.name, &site.name)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks once a second; the seconds after which another one led, and who.
    fn run(leader: Option<&str>, seconds: u64, times: impl Fn(u64) -> Vec<(&'static str, u64)>) -> Vec<(u64, String)> {
        let (start, mut waiting, mut leader) = (Instant::now(), Waiting::default(), leader.map(str::to_owned));
        let mut led = Vec::new();
        for second in 0..seconds {
            let times: Vec<(String, u64)> = times(second).into_iter().map(|(name, micros)| (name.to_owned(), micros)).collect();
            if let Some(next) = waiting.next(leader.as_deref(), &times, start + Duration::from_secs(second)) {
                led.push((second, next.to_owned()));
                leader = Some(next.to_owned());
            }
        }
        led
    }

    fn led(second: u64, name: &str) -> (u64, String) {
        (second, name.to_owned())
    }

    #[test]
    fn the_first_leader_is_the_nearest_once_all_had_time_to_report() {
        let late = |second| if second < 3 { vec![("a", 9_000)] } else { vec![("a", 9_000), ("b", 2_000)] };
        assert_eq!(run(None, 100, late), [led(5, "b")]);
        assert_eq!(run(None, 100, |_| Vec::new()), []);
    }

    #[test]
    fn it_stays_while_no_other_is_clearly_nearer() {
        // Each is the nearer one by turns, and one is nearer by little for ever.
        assert_eq!(run(Some("a"), 1_000, |second| vec![("a", 10_000 + second % 7 * 900), ("b", 9_800)]), []);
        // Half the time, but of a time that is nothing.
        assert_eq!(run(Some("a"), 1_000, |_| vec![("a", 400), ("b", 100)]), []);
        // Much nearer, but never for long.
        assert_eq!(run(Some("a"), 1_000, |second| vec![("a", 10_000), ("b", if second % 50 == 0 { 10_000 } else { 1_000 })]), []);
        assert_eq!(run(Some("a"), 1_000, |second| vec![("a", 10_000), ("b", if second < 100 { 20_000 } else { 5_000 })]), [led(160, "b")]);
    }

    #[test]
    fn one_that_is_gone_for_a_while_is_followed_by_the_nearest_and_one_that_is_back_has_to_be_nearer() {
        let gone = |second: u64| match second {
            20..40 => vec![("b", 9_000), ("c", 8_500)],
            _ => vec![("a", 8_000), ("b", 9_000), ("c", 8_500)],
        };
        assert_eq!(run(Some("a"), 1_000, gone), [led(30, "c")]);
        // The origin itself is gone for a while, and others notice its going and its coming at other moments.
        let outage = |second: u64| match second {
            20..22 => vec![("b", 9_000)],
            22..80 => Vec::new(),
            80..83 => vec![("b", 9_000)],
            _ => vec![("a", 8_000), ("b", 9_000)],
        };
        assert_eq!(run(Some("a"), 1_000, outage), []);
        let blinks = |second: u64| if second % 11 < 9 { vec![("b", 1_000)] } else { vec![("a", 1_000), ("b", 1_000)] };
        assert_eq!(run(Some("a"), 1_000, blinks), []);
    }
}
