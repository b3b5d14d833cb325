//! What a node knows of the origin servers it asks, from one configuration to the next: how much each is asked at this moment, and how it fared.
//!
//! [`Origins`] keeps a `pool` for each site of the configuration in force and nothing beyond: what is gone from it goes. A server that stays, by
//! site and URL, keeps what is known of it. Of a server there is `limit`, how much it is asked at once, `breaker`, whether it is left alone,
//! and `health`, whether another one is better asked, by its requests and by `check`; of a site `budget`, how often its requests may be repeated.
//!
//! The table is swapped whole. The lock covers its making.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use http::{HeaderMap, StatusCode, header};
use parking_lot::Mutex;
use rpds::HashTrieMapSync;
use skerry_config::site::{Breaker as Settings, Ejection, OriginLimits, Retries, Site};
use skerry_config::snapshot::Snapshot;
use skerry_config::units::Period;
use tokio::sync::Semaphore;

use crate::target::Target;
use crate::upstream::{Client, Outgoing, UpstreamError, UpstreamErrorKind};

mod breaker;
mod budget;
mod check;
mod figures;
mod health;
mod limit;
mod pool;

use breaker::{Breaker, Change, Heard, Leave};
use budget::Budget;
use figures::{Counters, Turn};
use health::Health;
use limit::{Full, Limit, Place};
use pool::Pool;

pub use figures::register;

/// When to ask again what was refused because a queue was full, in seconds.
pub const QUEUE_RETRY_AFTER: u32 = 1;

/// Failures in a row to reach a shield after which it is left alone.
const SHIELD_ERRORS: u32 = 2;
/// How long it is at first.
const SHIELD_OPEN: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub struct Origins {
    pools: ArcSwap<HashTrieMapSync<String, Arc<Pool>>>,
    /// Of the shields, by name.
    shields: ArcSwap<HashMap<String, Arc<Guard>>>,
    /// Bounds the checks of all servers at once.
    checks: Semaphore,
    /// The number of the configuration in force.
    making: Mutex<u64>,
}

/// What is known of one server of one site.
#[derive(Debug)]
pub struct Guard {
    /// Its site and its URL, for those who look.
    site: String,
    url: String,
    limit: Arc<Limit>,
    breaker: Breaker,
    health: Arc<Health>,
    counters: Counters,
    /// What it has in common with the other servers of its site.
    shared: Arc<Shared>,
    /// Whether it is a shield: what it answers is another server's word.
    is_shield: bool,
}

/// What the servers of one site have in common.
#[derive(Debug)]
pub struct Shared {
    budget: Budget,
    /// Of all of them. The lock is held while one is taken out.
    healths: Mutex<Vec<Arc<Health>>>,
}

/// Leave to ask a server: it counts as asked until this is dropped.
#[derive(Debug)]
pub struct Permit {
    guard: Arc<Guard>,
    _place: Place,
    /// Whether the request tries for all others if the server is well again.
    is_try: bool,
    /// Whether it is known how the request fared.
    is_heard: AtomicBool,
}

impl Default for Origins {
    fn default() -> Self {
        Self { pools: ArcSwap::default(), shields: ArcSwap::default(), checks: Semaphore::new(check::CHECKS_MAX), making: Mutex::default() }
    }
}

impl Origins {
    /// Puts a configuration in force, for the servers that `client` asks.
    pub(crate) fn configure(&self, snapshot: &Snapshot, client: &Arc<Client>) {
        let mut number = self.making.lock();
        let before = self.pools.load();
        let pool_of = |site: &Site| {
            let mut pool = Pool::new(site, before.get(&site.name).map(Arc::as_ref));
            pool.check(client);
            Arc::new(pool)
        };
        let pools = match snapshot.changed_since(*number) {
            Some(changed) => {
                let mut pools = HashTrieMapSync::clone(&before);
                for name in changed {
                    match snapshot.site(name) {
                        Some(served) => pools.insert_mut(name.clone(), pool_of(served.site())),
                        None => drop(pools.remove_mut(name)),
                    }
                }
                pools
            }
            None => snapshot.sites().map(|served| (served.site().name.clone(), pool_of(served.site()))).collect(),
        };
        self.pools.store(Arc::new(pools));
        *number = snapshot.version();
        let before = self.shields.load();
        let shields = snapshot.shields().iter().map(|shield| {
            let known = before.get(&shield.name).cloned();
            (shield.name.clone(), known.unwrap_or_else(|| Arc::new(Guard::of_shield(&shield.name))))
        });
        self.shields.store(Arc::new(shields.collect()));
    }

    /// What is known of a shield: whether it can be reached.
    #[must_use]
    pub fn shield(&self, name: &str) -> Option<Arc<Guard>> {
        self.shields.load().get(name).cloned()
    }

    /// What the servers of a site have in common.
    #[must_use]
    pub fn shared(&self, site: &Site) -> Option<Arc<Shared>> {
        self.pools.load().get(&site.name).map(|pool| pool.shared())
    }

    pub(crate) fn checks(&self) -> &Semaphore {
        &self.checks
    }

    /// The servers of a site in the order in which to ask them. Those of a site that is gone, which a request under way may still need, have nothing
    /// in common with any other request's.
    #[must_use]
    pub fn targets(&self, site: &Site) -> Vec<Target> {
        match self.pools.load().get(&site.name) {
            Some(pool) => pool.order(),
            None => Pool::new(site, None).order(),
        }
    }

    /// Takes note of a request of a site that is about to go upstream, so that a share of them may be repeated.
    pub fn goes_up(&self, site: &Site) {
        if let Some(pool) = self.pools.load().get(&site.name) {
            pool.goes_up();
        }
    }

    /// Whether a request of a site may be repeated; that is counted then.
    #[must_use]
    pub fn may_repeat(&self, site: &Site) -> bool {
        self.pools.load().get(&site.name).is_none_or(|pool| pool.may_repeat())
    }
}

impl Shared {
    fn new(site: &Site) -> Arc<Self> {
        Arc::new(Self { budget: Budget::new(site.origin.retries.clone(), Instant::now()), healths: Mutex::default() })
    }

    /// Whether a request of the site may be repeated; that is counted then.
    pub(crate) fn may_repeat(&self) -> bool {
        self.budget.take(Instant::now())
    }

    /// Takes a server out, unless fewer than half of them would be left.
    fn eject(&self, health: &Health, now: Instant) -> Option<Duration> {
        let healths = self.healths.lock();
        let out = healths.iter().filter(|health| health.is_out(now)).count();
        ((out + 1) * 2 <= healths.len()).then(|| health.eject(now))
    }
}

impl Guard {
    fn new(site: &Site, url: &str, shared: &Arc<Shared>) -> Self {
        let origin = &site.origin;
        Self {
            site: site.name.clone(),
            url: url.to_owned(),
            limit: Limit::new(origin.limits.clone()),
            breaker: Breaker::new(origin.breaker.clone()),
            health: Arc::new(Health::new(origin.ejection.clone(), Instant::now())),
            counters: Counters::default(),
            shared: Arc::clone(shared),
            is_shield: false,
        }
    }

    /// Of a shield: left alone while it cannot be reached, asked as much as there is to ask.
    fn of_shield(name: &str) -> Self {
        let shared = Shared { budget: Budget::new(Retries::default(), Instant::now()), healths: Mutex::default() };
        let open = Period(SHIELD_OPEN);
        Self {
            site: String::new(),
            url: name.to_owned(),
            limit: Limit::new(OriginLimits { concurrent: u32::MAX, ..OriginLimits::default() }),
            breaker: Breaker::new(Settings { errors: SHIELD_ERRORS, open, retry_after_max: Period::default() }),
            health: Arc::new(Health::new(Ejection { errors: 0, percent: 0, ..Ejection::default() }, Instant::now())),
            counters: Counters::default(),
            shared: Arc::new(shared),
            is_shield: true,
        }
    }

    /// How many requests had leave to ask it.
    fn requests(&self) -> u64 {
        self.counters.requests.load(Ordering::Relaxed)
    }

    fn set(&self, site: &Site) {
        self.limit.set(site.origin.limits.clone());
        self.breaker.set(site.origin.breaker.clone());
        self.health.set(site.origin.ejection.clone());
    }

    /// Leave to ask the server, as soon as it may be asked. `key` says which requests take turns.
    ///
    /// # Errors
    /// When it is left alone, or is asked as much as it may be.
    pub(crate) async fn enter(self: &Arc<Self>, key: u64) -> Result<Permit, UpstreamError> {
        let entered = self.enter_uncounted(key).await;
        match &entered {
            Ok(_) => {
                self.counters.requests.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => self.counters.failed(error.kind),
        }
        entered
    }

    async fn enter_uncounted(self: &Arc<Self>, key: u64) -> Result<Permit, UpstreamError> {
        if let Some(wait) = self.breaker.waits(Instant::now()) {
            return Err(self.left_alone(wait));
        }
        let place = self.limit.enter(key).await.map_err(|full| self.full(full))?;
        let is_try = match self.breaker.ask(Instant::now()) {
            Leave::Ask => false,
            Leave::Try => true,
            Leave::Wait(wait) => return Err(self.left_alone(wait)),
        };
        Ok(Permit { guard: Arc::clone(self), _place: place, is_try, is_heard: AtomicBool::new(false) })
    }

    fn left_alone(&self, wait: Duration) -> UpstreamError {
        let seconds = u32::try_from(wait.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX).max(1);
        let detail = format!("{} is left alone for {seconds} s", self.label());
        UpstreamError { kind: UpstreamErrorKind::BreakerOpen, detail, retry_after: Some(seconds) }
    }

    /// What it is, for errors.
    fn label(&self) -> String {
        if self.is_shield { format!("shield {}", self.url) } else { format!("{} of {}", self.url, self.site) }
    }

    fn full(&self, full: Full) -> UpstreamError {
        let (kind, why) = match full {
            Full::Queue => (UpstreamErrorKind::QueueFull, "as many requests wait for it as may"),
            Full::Time => (UpstreamErrorKind::QueueTime, "no request to it ended in time"),
        };
        let detail = format!("{} is not asked: {why}", self.label());
        UpstreamError { kind, detail, retry_after: Some(QUEUE_RETRY_AFTER) }
    }

    fn heard(&self, heard: Heard, is_try: bool) {
        let now = Instant::now();
        if self.health.heard(heard == Heard::Error, now)
            && let Some(time) = self.shared.eject(&self.health, now)
        {
            tracing::warn!(site = self.site, origin = self.url, seconds = time.as_secs_f64(), "origin taken out");
            self.counters.turned(Turn::TakenOut);
        }
        match self.breaker.heard(heard, is_try, now) {
            Some(Change::Opened(wait)) => {
                tracing::warn!(server = self.label(), ?heard, seconds = wait.as_secs_f64(), "left alone");
                self.counters.turned(Turn::LeftAlone);
            }
            Some(Change::Closed) => {
                tracing::info!(server = self.label(), "asked again");
                self.counters.turned(Turn::AskedAgain);
            }
            None => {}
        }
    }

    /// What its checks say of it changed.
    fn turned(&self, turn: Turn) {
        tracing::warn!(site = self.site, origin = self.url, ?turn, "checks of the origin say another thing");
        self.counters.turned(turn);
    }
}

impl Permit {
    /// The head of an answer came. What a request was told that was passed through for one client, 429 says nothing about others.
    pub(crate) fn answered(&self, status: StatusCode, headers: &HeaderMap, is_passed: bool) {
        if self.guard.is_shield {
            return self.hear(Heard::Fine);
        }
        let wait = || retry_after(headers);
        let heard = match status.as_u16() {
            503 => wait().map_or(Heard::Error, Heard::Unavailable),
            429 if !is_passed => wait().map_or(Heard::Fine, Heard::Busy),
            500 | 502 | 504 => Heard::Error,
            _ => Heard::Fine,
        };
        if heard == Heard::Error || matches!(heard, Heard::Unavailable(_)) {
            self.guard.counters.error_answers.fetch_add(1, Ordering::Relaxed);
        }
        self.hear(heard);
    }

    /// Bytes of a body came.
    pub(crate) fn received(&self, bytes: usize) {
        self.guard.counters.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// A body ended early: it counts, but says nothing of the server that its head has not said.
    pub(crate) fn broke_off(&self, kind: UpstreamErrorKind) {
        self.guard.counters.failed(kind);
    }

    /// No answer came.
    pub(crate) fn failed(&self, kind: UpstreamErrorKind) {
        self.guard.counters.failed(kind);
        let counts = if self.guard.is_shield { kind.is_unreachable() } else { kind.is_of_server() };
        self.hear(if counts { Heard::Error } else { Heard::Fine });
    }

    fn hear(&self, heard: Heard) {
        self.is_heard.store(true, Ordering::Relaxed);
        self.guard.heard(heard, self.is_try);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.is_try && !self.is_heard.load(Ordering::Relaxed) {
            self.guard.breaker.untried();
        }
    }
}

/// For how long an answer asks to be left alone (RFC 9110 section 10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::from(u32::MAX))));
    }
    let at = httpdate::parse_http_date(text).ok()?;
    Some(at.duration_since(SystemTime::now()).unwrap_or_default())
}

/// Which requests take turns where there is a queue: those for one path of one host are one.
pub(crate) fn turn(authority: &str, path_and_query: &str) -> u64 {
    let path = path_and_query.split_once('?').map_or(path_and_query, |(path, _)| path);
    let mut hasher = DefaultHasher::new();
    (authority, path).hash(&mut hasher);
    hasher.finish()
}

impl Outgoing {
    /// Which requests it takes turns with.
    pub(crate) fn turn(&self) -> u64 {
        turn(&self.authority, &self.path_and_query)
    }
}

#[cfg(test)]
mod tests;
