//! Checks of one server: a request for a path now and then, and how many of them in a row it takes to change what is thought of it.
//!
//! A server is checked while it is asked: what nobody asks has no need to be known, and an edge behind shields has no need to ask origins.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use http::{HeaderMap, Method};
use skerry_config::site::Health as Settings;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use super::Guard;
use super::figures::Turn;
use crate::target::Target;
use crate::upstream::{Client, Outgoing};

/// Checks of all servers at once.
pub(super) const CHECKS_MAX: usize = 64;
/// How long after its last request a server is checked.
const ASKED_LATELY: Duration = Duration::from_secs(300);
/// The bytes of a body that are read, so that the connection can be used again.
const BODY_BYTES_MAX: usize = 64 << 10;

/// The checks of a server, until it is dropped.
#[derive(Debug)]
pub(super) struct Checking(AbortHandle);

/// What checks have said in a row.
#[derive(Debug, Default)]
pub(super) struct Row {
    down: bool,
    /// How many in a row said the other.
    others: u32,
}

impl Row {
    /// Takes a result in; whether the server is thought to be down.
    pub(super) fn add(&mut self, well: bool, rise: u32, fall: u32) -> bool {
        self.others = if well == self.down { self.others + 1 } else { 0 };
        if self.others >= if self.down { rise } else { fall } {
            *self = Self { down: !self.down, others: 0 };
        }
        self.down
    }
}

impl Checking {
    /// Begins to check a server.
    pub(super) fn begin(settings: Settings, target: &Target, guard: &Arc<Guard>, client: &Arc<Client>) -> Self {
        // What holds the task is held by the client.
        let (client, guard) = (Arc::downgrade(client), Arc::downgrade(guard));
        let target = Target { guard: None, ..target.clone() };
        Self(tokio::spawn(run(settings, target, guard, client)).abort_handle())
    }
}

impl Drop for Checking {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn run(settings: Settings, target: Target, guard: Weak<Guard>, client: Weak<Client>) {
    let (mut row, mut seen, mut asked) = (Row::default(), 0, None::<Instant>);
    loop {
        tokio::time::sleep(jittered(settings.interval.0)).await;
        let (Some(guard), Some(client)) = (guard.upgrade(), client.upgrade()) else { return };
        let requests = guard.requests();
        if requests != seen {
            (seen, asked) = (requests, Some(Instant::now()));
        }
        let down = if asked.is_some_and(|at| at.elapsed() < ASKED_LATELY) {
            let well = check(&settings, &target, &client, client.origins().checks()).await;
            row.add(well, settings.rise, settings.fall)
        } else {
            row = Row::default();
            false
        };
        if guard.health.checked(down) {
            guard.turned(if down { Turn::Down } else { Turn::Up });
        }
    }
}

/// Whether the server answers as it should.
async fn check(settings: &Settings, target: &Target, client: &Arc<Client>, checks: &Semaphore) -> bool {
    let Ok(_one) = checks.acquire().await else { return false };
    let request = Outgoing {
        method: Method::GET,
        path_and_query: settings.path.clone(),
        authority: target.host_header.as_deref().map_or_else(|| target.endpoint.authority(), str::to_owned),
        headers: HeaderMap::new(),
        early: None,
    };
    let asking = async {
        let mut incoming = client.request(std::slice::from_ref(target), &request).await.ok()?;
        let is_well = settings.status.iter().any(|pattern| pattern.matches(incoming.status.as_u16()));
        let mut bytes = 0;
        while bytes < BODY_BYTES_MAX
            && let Some(piece) = incoming.body.chunk().await.ok()?
        {
            bytes += piece.len();
        }
        is_well.then_some(())
    };
    tokio::time::timeout(settings.timeout.0, asking).await.is_ok_and(|well| well.is_some())
}

/// A time around `interval`, so that the nodes do not all check at once.
fn jittered(interval: Duration) -> Duration {
    let draw = u32::try_from(RandomState::new().hash_one(()) % 512).unwrap_or_default();
    interval * (768 + draw) / 1_024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_some_in_a_row_to_change_a_mind() {
        let mut row = Row::default();
        let said: Vec<bool> =
            [true, false, false, true, false, false, false, true, false, true, true].map(|well| row.add(well, 2, 3)).to_vec();
        assert_eq!(said, [false, false, false, false, false, false, true, true, true, true, false]);
    }

    #[test]
    fn checks_are_spread() {
        let second = Duration::from_secs(1);
        let times: Vec<Duration> = (0..100).map(|_| jittered(second)).collect();
        assert!(times.iter().all(|time| (second * 3 / 4..second * 5 / 4).contains(time)));
        assert!(times.iter().max() > times.iter().min());
    }
}
