//! The servers of one site, and the order in which a request asks them.

use std::sync::Arc;
use std::time::Instant;

use skerry_config::site::Site;

use super::{Guard, Shared};
use crate::target::{self, Target};

/// See the module.
#[derive(Debug)]
pub(super) struct Pool {
    members: Vec<Member>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Member {
    guard: Arc<Guard>,
    target: Target,
}

/// How good it is to ask a server at this moment, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Well,
    /// Taken out because it failed.
    Out,
    /// To be left alone; it is asked for the refusal that says how long.
    LeftAlone,
}

impl Pool {
    /// The servers of a site; what is known of those that it had before stays.
    pub(super) fn new(site: &Site, before: Option<&Self>) -> Self {
        let shared = before.map_or_else(|| Shared::new(site), |pool| Arc::clone(&pool.shared));
        shared.budget.set(site.origin.retries.clone());
        let members = target::of_origin(site).into_iter().map(|target| {
            let url = target.url();
            let known = before.and_then(|pool| pool.members.iter().find(|member| member.guard.url == url));
            let guard = match known {
                Some(member) => {
                    member.guard.set(site);
                    Arc::clone(&member.guard)
                }
                None => Arc::new(Guard::new(site, &url, &shared)),
            };
            Member { target: Target { guard: Some(Arc::clone(&guard)), ..target }, guard }
        });
        let members: Vec<Member> = members.collect();
        *shared.healths.lock() = members.iter().map(|member| Arc::clone(&member.guard.health)).collect();
        Self { members, shared }
    }

    /// Takes note of a request that is about to go upstream.
    pub(super) fn goes_up(&self) {
        self.shared.budget.deposit();
    }

    /// Whether a request may be repeated; that is counted then.
    pub(super) fn may_repeat(&self) -> bool {
        self.shared.budget.take(Instant::now())
    }

    /// The servers in the order in which to ask them: as the site has them, but those first that are well.
    pub(super) fn order(&self) -> Vec<Target> {
        if let [only] = self.members.as_slice() {
            return vec![only.target.clone()];
        }
        let now = Instant::now();
        let mut members: Vec<(Standing, &Member)> = self.members.iter().map(|member| (member.standing(now), member)).collect();
        members.sort_by_key(|(standing, _)| *standing);
        members.into_iter().map(|(_, member)| member.target.clone()).collect()
    }
}

impl Member {
    fn standing(&self, now: Instant) -> Standing {
        if self.guard.breaker.waits(now).is_some() {
            Standing::LeftAlone
        } else if self.guard.health.is_out(now) {
            Standing::Out
        } else {
            Standing::Well
        }
    }
}
