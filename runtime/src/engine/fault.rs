//! Converts an error of wasmtime to the fault of a call.

use wasmtime::Error;
use wasmtime_wasi::I32Exit;

use super::MAX_OUTCOME_BYTES;
use crate::record::outcome::{Cause, Fault};

/// The text of wasmtime's error if a transfer to the host was larger than the call was granted. The type of
/// this error is private to wasmtime, so only its text identifies it.
const HOSTCALL_FUEL_EXHAUSTED: &str = "fuel allocated for hostcalls has been exhausted";

/// The fault of a call that ended in an error, with what the guest printed. `was_refused_memory`: the
/// instance asked for more memory than its limit, at this call or before.
///
/// Only the root cause is converted to text. Wasmtime adds a backtrace with names that the component chose,
/// and formatting it may take unlimited time and memory.
pub(super) fn classify(error: &Error, was_refused_memory: bool, printed: &str) -> Fault {
    let (cause, reason) = if let Some(exit) = error.downcast_ref::<I32Exit>() {
        (Cause::Exit, format!("the function exited with status {}", exit.0))
    } else if was_refused_memory {
        (Cause::Memory, "the function needed more memory than its limit".to_owned())
    } else if let Some(trap) = error.downcast_ref::<wasmtime::Trap>() {
        (Cause::Trap, trap.to_string())
    } else if is_too_large(error) {
        let most = MAX_OUTCOME_BYTES >> 20;
        let reason = format!("the function returned or printed more than {most} MiB at once");
        (Cause::BadOutcome, reason)
    } else {
        (Cause::Trap, error.root_cause().to_string())
    };
    if printed.is_empty() { Fault::new(cause, reason) } else { Fault::new(cause, format!("{reason}: {printed}")) }
}

/// Whether a transfer to the host was larger than the call was granted.
pub(super) fn is_too_large(error: &Error) -> bool {
    error.root_cause().to_string().contains(HOSTCALL_FUEL_EXHAUSTED)
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    /// Takes the place of a backtrace that is too expensive to format.
    struct Endless;

    impl fmt::Display for Endless {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("the backtrace must not be formatted")
        }
    }

    #[test]
    fn only_the_root_cause_is_formatted() {
        let error = || Error::msg("unknown handle index 9999").context(Endless);
        assert_eq!(classify(&error(), false, ""), Fault::new(Cause::Trap, "unknown handle index 9999"));
        assert_eq!(classify(&error(), false, "a"), Fault::new(Cause::Trap, "unknown handle index 9999: a"));
        assert_eq!(classify(&error(), true, "").cause, Cause::Memory);
        let trap = Error::from(wasmtime::Trap::StackOverflow).context(Endless);
        assert_eq!(classify(&trap, false, "").reason, "wasm trap: call stack exhausted");
    }
}
