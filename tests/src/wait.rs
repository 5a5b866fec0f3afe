//! Waiting for a condition, in the only place of the tests that sleeps.

use std::thread;
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(10);

/// Returns when `condition` holds. Panics with `what` when it does not within `limit`.
#[track_caller]
pub fn until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    some(what, limit, || condition().then_some(()));
}

/// Returns the first `Some` that `find` gives. Panics with `what` when there is none within `limit`.
#[track_caller]
pub fn some<T>(what: &str, limit: Duration, find: impl FnMut() -> Option<T>) -> T {
    try_some(limit, find).unwrap_or_else(|| panic!("waited {limit:?} in vain: {what}"))
}

/// As [`some`], for callers that know more about the failure than a sentence.
pub fn try_some<T>(limit: Duration, mut find: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = find() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::sleep(PAUSE);
    }
}
