//! What ended a call without an outcome.

use wasmtime_wasi::I32Exit;

use super::host::Host;
use crate::record::outcome::{Cause, Fault};

/// Most bytes that cross from a guest to the host in one transfer: an outcome, or what is printed
/// at once.
pub(super) const MAX_TRANSFER_BYTES: usize = 64 << 20;

/// Names the fault of a call that ended in an error, with what the guest printed.
pub(super) fn classify(error: &wasmtime::Error, host: &Host, printed: &str) -> Fault {
    let (cause, reason) = if let Some(exit) = error.downcast_ref::<I32Exit>() {
        (Cause::Exit, format!("the function exited with status {}", exit.0))
    } else if host.limits.refused {
        (Cause::Memory, "the function wanted more memory than its limit".to_owned())
    } else if let Some(trap) = error.downcast_ref::<wasmtime::Trap>() {
        (Cause::Trap, trap.to_string())
    } else if format!("{error:#}").contains("fuel allocated for hostcalls has been exhausted") {
        let most = MAX_TRANSFER_BYTES >> 20;
        (Cause::BadOutcome, format!("more than {most} MiB crossed at once: an outcome, or what it printed"))
    } else {
        (Cause::Trap, error.root_cause().to_string())
    };
    if printed.is_empty() { Fault::new(cause, reason) } else { Fault::new(cause, format!("{reason}: {printed}")) }
}
