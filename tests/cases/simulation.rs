//! Publishing and purging while connections are cut in the middle of messages, delayed, held and outrun by newer ones, nodes restart, and the control
//! plane restarts or is killed. A seed draws the faults; a checker says that no node ever serves, above its purge number, what was purged, that no
//! number goes backwards, and that all converge when the faults end.
//!
//! Real are the control plane (a process), the agents with their files, their streams over real sockets, and the caches. The nodes ask an origin
//! that is a table of versions.

mod chance;
mod lossy;
mod node;
mod plane;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// The seeds that are run, from 1.
const SEEDS: u64 = 10;
/// Those that run at the same time: they wait most of it.
const AT_ONCE: usize = 3;

#[test]
fn no_node_serves_what_was_purged_whatever_happens_on_the_way() {
    let alone = std::env::var("SKERRY_SEED").ok().map(|seed| seed.parse().expect("SKERRY_SEED is a number"));
    let (first, last) = alone.map_or((1, SEEDS), |seed| (seed, seed));
    let next = AtomicU64::new(first);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > last {
                        return;
                    }
                    match world::run(seed) {
                        Ok(told) => println!("seed {seed}: {told}"),
                        Err(why) => failures.lock().unwrap().push(format!("seed {seed}: {why}")),
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "run one alone with SKERRY_SEED=N:\n{}", failures.join("\n"));
}
