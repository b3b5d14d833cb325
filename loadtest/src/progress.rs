//! How far a run is, for whoever looks on: one line on a terminal, written anew every second.

use std::io::{IsTerminal, Write as _};
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

/// How often it is shown, in seconds.
const EVERY_S: u64 = 1;

/// The line; nothing where nobody looks on.
#[derive(Debug)]
pub(crate) struct Progress {
    ticks: Option<Interval>,
    shown: bool,
    before: u64,
}

impl Progress {
    /// A line on standard error, if that is wanted and a terminal.
    pub(crate) fn new(wanted: bool) -> Self {
        let ticks = (wanted && std::io::stderr().is_terminal()).then(|| {
            let mut ticks = interval(Duration::from_secs(EVERY_S));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            ticks
        });
        Self { ticks, shown: false, before: 0 }
    }

    /// Waits until it is time to show it.
    pub(crate) async fn due(&mut self) {
        match &mut self.ticks {
            Some(ticks) => drop(ticks.tick().await),
            None => std::future::pending().await,
        }
    }

    pub(crate) fn show(&mut self, elapsed: Duration, (answers, faults): (u64, u64)) {
        let more = answers - self.before;
        self.before = answers;
        self.shown = true;
        // Whoever closes the terminal does not want the line.
        let _ = write!(
            std::io::stderr(),
            "\r\x1b[K{:.0} s: {answers} answers, {more} in the last second, {faults} faults",
            elapsed.as_secs_f64()
        );
    }

    /// Leaves no line behind.
    pub(crate) fn end(&mut self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
