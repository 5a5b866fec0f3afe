//! What ended a call without an outcome.

use wasmtime::Error;
use wasmtime_wasi::I32Exit;

use super::MAX_OUTCOME_BYTES;
use crate::record::outcome::{Cause, Fault};

/// What wasmtime says of a transfer that took more than the call was granted. The type of this error is
/// private to it, so there is nothing but these words to tell it by.
const TOO_MUCH_CROSSED: &str = "fuel allocated for hostcalls has been exhausted";

/// Names the fault of a call that ended in an error, with what the guest printed. `was_refused_memory`:
/// the guest ever wanted more memory than its limit.
///
/// Only the root cause is put into words. What wasmtime adds to it is a backtrace with names that the
/// component chose, and writing those out may take any time and any memory.
pub(super) fn classify(error: &Error, was_refused_memory: bool, printed: &str) -> Fault {
    let (cause, reason) = if let Some(exit) = error.downcast_ref::<I32Exit>() {
        (Cause::Exit, format!("the function exited with status {}", exit.0))
    } else if was_refused_memory {
        (Cause::Memory, "the function wanted more memory than its limit".to_owned())
    } else if let Some(trap) = error.downcast_ref::<wasmtime::Trap>() {
        (Cause::Trap, trap.to_string())
    } else if is_too_large(error) {
        let most = MAX_OUTCOME_BYTES >> 20;
        (Cause::BadOutcome, format!("more than {most} MiB crossed at once: an outcome, or what it printed"))
    } else {
        (Cause::Trap, error.root_cause().to_string())
    };
    if printed.is_empty() { Fault::new(cause, reason) } else { Fault::new(cause, format!("{reason}: {printed}")) }
}

/// Whether more crossed to the host at once than the call was granted.
pub(super) fn is_too_large(error: &Error) -> bool {
    error.root_cause().to_string().contains(TOO_MUCH_CROSSED)
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    /// Stands for a backtrace whose names take for ever to write out.
    struct Endless;

    impl fmt::Display for Endless {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("nobody needs it written out")
        }
    }

    #[test]
    fn only_the_root_cause_is_put_into_words() {
        let error = || Error::msg("unknown handle index 9999").context(Endless);
        assert_eq!(classify(&error(), false, ""), Fault::new(Cause::Trap, "unknown handle index 9999"));
        assert_eq!(classify(&error(), false, "a"), Fault::new(Cause::Trap, "unknown handle index 9999: a"));
        assert_eq!(classify(&error(), true, "").cause, Cause::Memory);
        let trap = Error::from(wasmtime::Trap::StackOverflow).context(Endless);
        assert_eq!(classify(&trap, false, "").reason, "wasm trap: call stack exhausted");
    }
}
