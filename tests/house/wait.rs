//! Waiting for a condition, with a deadline. The one place of the tests that rests.

use std::time::{Duration, Instant};

/// The rest between two looks.
const REST: Duration = Duration::from_millis(20);

/// Looks at `condition` until it gives a value; panics with `what` and the last thing seen when `limit` has passed.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        let seen = match condition() {
            Ok(value) => return value,
            Err(seen) => seen,
        };
        assert!(Instant::now() < deadline, "{what} did not come about within {limit:?}; last seen: {seen}");
        std::thread::sleep(REST);
    }
}

/// Looks at `condition` until it holds.
#[track_caller]
pub(crate) fn wait_until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    wait_for(what, limit, || if condition() { Ok(()) } else { Err("not yet".to_owned()) });
}
