//! The open connections to servers: those of HTTP/1.1 that nobody uses at the moment, and those of HTTP/2, which many use at once.
//!
//! Nothing runs beside a connection of HTTP/1.1 that waits. One task looks at all of them now and then, for as long as there are any, and lets go of
//! those that are not to be used any more.
//!
//! The lock covers the map, and is held while a connection is put in, found or taken out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{UpstreamError, http1, http2};
use crate::target::Endpoint;

/// Connections of HTTP/1.1 that wait, of all servers together; beyond it the one that has waited the longest goes.
const IDLE_MAX: usize = 256;
/// Those that wait for one server.
const IDLE_OF_ONE_MAX: usize = 128;
/// Connections of HTTP/2 to one server; beyond it requests wait for a place on one of them.
const SHARED_OF_ONE_MAX: usize = 16;
/// How often those are looked for that are not to be used any more.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Default)]
pub(super) struct Pool(Mutex<State>);

#[derive(Default)]
struct State {
    servers: HashMap<Arc<Endpoint>, Open>,
    idle: usize,
    /// Whether somebody looks after them.
    is_looked_after: bool,
}

/// The connections to one server.
#[derive(Default)]
struct Open {
    /// The longest waiting first.
    idle: Vec<Waiting>,
    shared: Vec<Arc<http2::Connection>>,
    /// Told how it went by the one who opens a connection that many will use.
    opening: Option<watch::Receiver<Option<Opened>>>,
}

/// One that nobody uses; it stays in its place in memory from its handshake to its end.
type Waiting = Box<http1::Connection>;

/// How it went.
type Opened = Result<(), UpstreamError>;

/// A connection to ask over.
pub(super) enum Taken {
    Http1(Box<http1::Connection>),
    Http2(http2::Stream),
}

/// Who opens a connection that many will use.
pub(super) enum Opening {
    /// One's own part, which the others are to be told the outcome of.
    Mine(watch::Sender<Option<Opened>>),
    /// Somebody else's.
    Others(watch::Receiver<Option<Opened>>),
}

impl Pool {
    /// A connection to a server at one of the addresses that `may` be.
    pub(super) fn take(&self, endpoint: &Endpoint, may: impl Fn(IpAddr) -> bool) -> Option<Taken> {
        loop {
            let mut connection = {
                let mut state = self.0.lock();
                let open = state.servers.get_mut(endpoint)?;
                if let Some(connection) = open.shared(&may) {
                    return Some(Taken::Http2(connection.stream()));
                }
                let at = open.idle.iter().rposition(|connection| may(connection.address().ip()))?;
                let connection = open.idle.remove(at);
                state.idle -= 1;
                connection
            };
            if connection.is_fresh() {
                return Some(Taken::Http1(connection));
            }
            connection.close();
        }
    }

    /// Keeps a connection that has been used.
    pub(super) fn put(self: &Arc<Self>, endpoint: &Arc<Endpoint>, mut connection: Box<http1::Connection>) {
        connection.rest();
        let mut state = self.0.lock();
        let open = state.open(endpoint);
        open.idle.push(connection);
        let mut gone = None;
        if open.idle.len() > IDLE_OF_ONE_MAX {
            gone = Some(open.idle.remove(0));
        } else {
            state.idle += 1;
        }
        if state.idle > IDLE_MAX {
            gone = state.take_oldest();
        }
        self.look_after(&mut state);
        drop(state);
        gone.into_iter().for_each(|connection| connection.close());
    }

    /// Keeps a connection that others may use as well.
    pub(super) fn share(self: &Arc<Self>, endpoint: &Arc<Endpoint>, connection: Arc<http2::Connection>) {
        let mut state = self.0.lock();
        state.open(endpoint).shared.push(connection);
        self.look_after(&mut state);
    }

    /// Whether a connection that others may use as well is open to a server.
    pub(super) fn is_shared(&self, endpoint: &Endpoint) -> bool {
        self.0.lock().servers.get(endpoint).is_some_and(|open| open.shared.iter().any(|connection| !connection.is_over()))
    }

    /// Lets go of the connections to a server that others may use as well; what is under way over them goes on.
    pub(super) fn forget(&self, endpoint: &Endpoint) {
        if let Some(open) = self.0.lock().servers.get_mut(endpoint) {
            open.shared.clear();
        }
    }

    /// Has one of those who want a connection that they all can use open it.
    pub(super) fn opening(&self, endpoint: &Arc<Endpoint>) -> Opening {
        let mut state = self.0.lock();
        let open = state.open(endpoint);
        // One who gave up has told nothing and is gone.
        if let Some(others) = open.opening.clone().filter(|others| others.has_changed().is_ok()) {
            return Opening::Others(others);
        }
        let (tell, hear) = watch::channel(None);
        open.opening = Some(hear);
        Opening::Mine(tell)
    }

    fn look_after(self: &Arc<Self>, state: &mut State) {
        if !std::mem::replace(&mut state.is_looked_after, true) {
            tokio::spawn(look(Arc::downgrade(self)));
        }
    }
}

impl Open {
    /// One that others use as well and that has room; where there are as many as may be, the one with the fewest requests.
    fn shared(&self, may: &impl Fn(IpAddr) -> bool) -> Option<&Arc<http2::Connection>> {
        let usable = |connection: &&Arc<http2::Connection>| !connection.is_over() && may(connection.address().ip());
        let all = || self.shared.iter().filter(usable);
        let least = || if all().count() < SHARED_OF_ONE_MAX { None } else { all().min_by_key(|connection| connection.streams()) };
        all().find(|connection| connection.has_room()).or_else(least)
    }
}

impl State {
    fn open(&mut self, endpoint: &Arc<Endpoint>) -> &mut Open {
        // Looked up before anything is made, as it is there but for the first time.
        if !self.servers.contains_key(endpoint) {
            self.servers.insert(Arc::clone(endpoint), Open::default());
        }
        self.servers.entry(Arc::clone(endpoint)).or_default()
    }

    fn take_oldest(&mut self) -> Option<Box<http1::Connection>> {
        let first = |open: &Open| open.idle.first().map(|connection| connection.keep_until());
        let open = self.servers.values_mut().filter(|open| !open.idle.is_empty()).min_by_key(|open| first(open))?;
        self.idle -= 1;
        Some(open.idle.remove(0))
    }

    /// Takes out what is not to be used any more.
    fn sift(&mut self) -> Vec<Waiting> {
        let now = Instant::now();
        let mut gone = Vec::new();
        self.servers.retain(|_, open| {
            gone.extend(open.idle.extract_if(.., |connection| !connection.is_fresh()));
            // One link is kept; those that a crowd needed beside it are not.
            let mut is_one_kept = false;
            open.shared.retain(|connection| {
                let mut stays = || connection.is_kept() && !std::mem::replace(&mut is_one_kept, true);
                !connection.is_over() && (!connection.is_spare(now) || stays())
            });
            let is_opened = open.opening.as_ref().is_some_and(|opening| opening.has_changed().is_ok());
            is_opened || !open.idle.is_empty() || !open.shared.is_empty()
        });
        self.idle -= gone.len();
        gone
    }
}

/// Looks after the connections until there are none.
async fn look(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(pool) = pool.upgrade() else { return };
        let (gone, is_last) = {
            let mut state = pool.0.lock();
            let gone = state.sift();
            state.is_looked_after = !state.servers.is_empty();
            (gone, !state.is_looked_after)
        };
        gone.into_iter().for_each(|connection| connection.close());
        if is_last {
            return;
        }
    }
}
