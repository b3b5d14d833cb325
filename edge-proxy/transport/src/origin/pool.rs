//! The servers of one site, and the order in which a request asks them: those that are well first, of these the group before the next one, and in a
//! group by weight, taking turns smoothly. The lock covers whose turn it is.

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use skerry_config::site::{Origin, Site};

use super::check::Checking;
use super::{Guard, Shared};
use crate::target::{self, Target};
use crate::upstream::Client;

/// See the module.
#[derive(Debug)]
pub(super) struct Pool {
    /// What it was made of.
    origin: Origin,
    /// By group.
    members: Vec<Member>,
    shared: Arc<Shared>,
    /// What each member has saved up towards its turn.
    credits: Mutex<Vec<i64>>,
    /// What the site's requests made this node fetch.
    fetches: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Member {
    guard: Arc<Guard>,
    target: Target,
    weight: u32,
    group: u32,
    /// Ends when no pool has it.
    checking: Option<Arc<Checking>>,
}

/// How good it is to ask a server at this moment, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Well,
    /// It failed, or its checks say so.
    Out,
    /// To be left alone; it is asked for the refusal that says how long.
    LeftAlone,
}

impl Pool {
    /// The servers of a site; what is known of those that it had before stays.
    pub(super) fn new(site: &Site, before: Option<&Self>) -> Self {
        let shared = before.map_or_else(|| Shared::new(site), |pool| Arc::clone(&pool.shared));
        shared.budget.set(site.origin.retries.clone());
        let members = target::of_origin(site).into_iter().map(|(server, target)| {
            let url = target.endpoint.url();
            let known = before.and_then(|pool| pool.members.iter().find(|member| member.guard.url == url));
            let guard = match known {
                Some(member) => {
                    member.guard.set(site);
                    Arc::clone(&member.guard)
                }
                None => Arc::new(Guard::new(site, &url, &shared)),
            };
            let same = before.is_some_and(|pool| pool.origin == site.origin);
            let checking = known.filter(|_| same).and_then(|member| member.checking.clone());
            let target = Target { guard: Some(Arc::clone(&guard)), site: Some(Arc::clone(&shared)), ..target };
            Member { target, guard, weight: server.weight, group: server.group, checking }
        });
        let mut members: Vec<Member> = members.collect();
        members.sort_by_key(|member| member.group);
        *shared.healths.lock() = members.iter().map(|member| Arc::clone(&member.guard.health)).collect();
        let credits = Mutex::new(vec![0; members.len()]);
        let fetches = before.map_or_else(Arc::default, |pool| Arc::clone(&pool.fetches));
        Self { origin: site.origin.clone(), members, shared, credits, fetches }
    }

    /// Has the servers checked, where the site wants it and they are not yet.
    pub(super) fn check(&mut self, client: &Arc<Client>) {
        let Some(health) = &self.origin.health else { return };
        for member in self.members.iter_mut().filter(|member| member.checking.is_none()) {
            member.checking = Some(Arc::new(Checking::begin(health.clone(), &member.target, &member.guard, client)));
        }
    }

    /// Takes note of a request that is about to go upstream.
    pub(super) fn goes_up(&self) {
        self.fetches.fetch_add(1, Ordering::Relaxed);
        self.shared.budget.deposit();
    }

    /// Whether a request may be repeated; that is counted then.
    pub(super) fn may_repeat(&self) -> bool {
        self.shared.may_repeat()
    }

    /// What the servers have in common.
    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// What is known of each server.
    pub(super) fn guards(&self) -> impl Iterator<Item = &Guard> {
        self.members.iter().map(|member| &*member.guard)
    }

    /// The fetches so far, and the requests that might not be repeated.
    pub(super) fn counts(&self) -> (u64, (u64, u64)) {
        (self.fetches.load(Ordering::Relaxed), self.shared.budget.counts())
    }

    /// The servers in the order in which to ask them.
    pub(super) fn order(&self) -> Vec<Target> {
        if let [only] = self.members.as_slice() {
            return vec![only.target.clone()];
        }
        let now = Instant::now();
        let ranks: Vec<_> = self.members.iter().map(|member| member.rank(now)).collect();
        let mut order: Vec<usize> = (0..self.members.len()).collect();
        // Sorting is stable: where the rank is the same the order of the site decides, but for whose turn it is.
        order.sort_by_key(|at| ranks[*at]);
        let equal = order.iter().take_while(|at| ranks[**at] == ranks[order[0]]).count();
        if equal > 1 {
            let first = self.turn(&order[..equal]);
            order.sort_by_key(|at| (ranks[*at], Reverse(*at == first)));
        }
        order.into_iter().map(|at| self.members[at].target.clone()).collect()
    }

    /// Whose turn it is among these: each saves up its weight, who has most is next and pays for all.
    fn turn(&self, among: &[usize]) -> usize {
        let mut credits = self.credits.lock();
        let (mut first, mut whole) = (among[0], 0);
        for &at in among {
            let weight = i64::from(self.members[at].weight);
            credits[at] += weight;
            whole += weight;
            if credits[at] > credits[first] {
                first = at;
            }
        }
        credits[first] -= whole;
        first
    }
}

impl Member {
    /// Smaller is better: a server that is well, of the first group, that has room.
    fn rank(&self, now: Instant) -> (Standing, u32, bool) {
        let standing = if self.guard.breaker.waits(now).is_some() {
            Standing::LeftAlone
        } else if self.guard.health.is_out(now) || self.guard.health.is_down() {
            Standing::Out
        } else {
            Standing::Well
        };
        (standing, self.group, !self.guard.limit.has_room())
    }
}
