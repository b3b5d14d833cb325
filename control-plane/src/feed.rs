//! The state of the zone as it is handed on: to DNS in this process, to DNS nodes, and to those who ask why.
//!
//! One lock covers the rows of the present state, which are made once for all DNS nodes; the other the order of states. See decision 32 for how rows travel.

pub(crate) mod compiled;
pub(crate) mod pieces;
pub(crate) mod planned;
pub(crate) mod rows;

use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use skerry_dns::cookie::Secrets;
use skerry_dns::plan::Plan;
use skerry_dns::state::State;
use tokio::sync::watch;

use rows::Rows;

/// See the module.
pub(crate) struct Feed {
    state: Arc<ArcSwap<State>>,
    changes: watch::Sender<u64>,
    made: Mutex<Option<Whole>>,
    /// Held while another state is made of the one in force.
    putting: Mutex<()>,
}

/// A state with its rows. Copies share everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Whole {
    /// The state.
    pub(crate) state: Arc<State>,
    /// All of it as rows, but what is planned for prefixes.
    pub(crate) rows: Arc<Rows>,
}

impl Feed {
    /// One that begins with a state.
    pub(crate) fn new(state: State) -> Self {
        Self {
            state: Arc::new(ArcSwap::from_pointee(state)),
            changes: watch::Sender::new(0),
            made: Mutex::default(),
            putting: Mutex::default(),
        }
    }

    /// The state in force, for those who read it at every packet.
    pub(crate) fn state(&self) -> Arc<ArcSwap<State>> {
        Arc::clone(&self.state)
    }

    /// Puts a state in force, with the plan and the secrets that there are.
    pub(crate) fn put(&self, state: State) {
        let _putting = self.putting.lock();
        let now = self.state.load();
        let (plan, cookies) = (Arc::clone(&now.plan), now.cookies.clone());
        self.store(State { plan, cookies, ..state });
    }

    /// Puts a plan in force, with all else as it is.
    pub(crate) fn plan(&self, plan: Arc<Plan>) {
        let _putting = self.putting.lock();
        let now = State::clone(&self.state.load());
        self.store(State { plan, ..now });
    }

    /// Puts the secrets of cookies in force, with all else as it is, where they are other ones.
    pub(crate) fn cookies(&self, cookies: Secrets) {
        let _putting = self.putting.lock();
        let now = self.state.load();
        if now.cookies != cookies {
            self.store(State { cookies, ..State::clone(&now) });
        }
    }

    fn store(&self, state: State) {
        self.state.store(Arc::new(state));
        self.changes.send_modify(|count| *count += 1);
    }

    /// Word of each state.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The state in force with its rows. Takes as long as a look at every site when it is a new one.
    ///
    /// # Errors
    /// One sentence, when it cannot be written as rows.
    pub(crate) fn whole(&self) -> Result<Whole, String> {
        let mut made = self.made.lock();
        let state = self.state.load_full();
        if let Some(made) = made.as_ref().filter(|made| Arc::ptr_eq(&made.state, &state)) {
            return Ok(made.clone());
        }
        let whole = Whole { rows: Arc::new(rows::of_state(&state)?), state };
        *made = Some(whole.clone());
        Ok(whole)
    }
}
