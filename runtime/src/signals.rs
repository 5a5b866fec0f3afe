//! The signals that end this process.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

/// A second signal within this time counts as the same one. `timeout` and its like pass a signal on to a
/// group of processes that got it already, so it arrives twice.
const ECHO: Duration = Duration::from_millis(500);

/// Waits for the signal to stop: SIGTERM, SIGINT or, when a terminal is closed, SIGHUP. Returns its name.
/// A process that was started to ignore SIGHUP, as `nohup` does, goes on.
pub async fn stop() -> io::Result<&'static str> {
    let ignores_hangup = ignores_hangup();
    let listen = |kind: SignalKind, name: &str| {
        signal(kind).map_err(|error| io::Error::new(error.kind(), format!("cannot listen for {name}: {error}")))
    };
    let mut terminate = listen(SignalKind::terminate(), "SIGTERM")?;
    let mut interrupt = listen(SignalKind::interrupt(), "SIGINT")?;
    let hangup = async {
        if ignores_hangup {
            std::future::pending::<()>().await;
        }
        listen(SignalKind::hangup(), "SIGHUP")?.recv().await;
        io::Result::Ok("SIGHUP")
    };
    tokio::select! {
        _ = terminate.recv() => Ok("SIGTERM"),
        _ = interrupt.recv() => Ok("SIGINT"),
        hung_up = hangup => hung_up,
    }
}

/// Waits for the next signal after one that came just now.
pub async fn stop_again() -> io::Result<&'static str> {
    // Nobody listens meanwhile, so an echo is lost.
    tokio::time::sleep(ECHO).await;
    stop().await
}

/// Whether SIGHUP was ignored already when this process started. Without a `/proc` it counts as not ignored.
fn ignores_hangup() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| is_hangup_ignored(&status))
}

/// Reads the mask of ignored signals. Its lowest bit is that of SIGHUP.
fn is_hangup_ignored(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_of_ignored_signals_is_read() {
        assert!(is_hangup_ignored("SigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n"));
        assert!(!is_hangup_ignored("SigBlk:\t0000000000000001\nSigIgn:\t0000000000001000\n"));
        assert!(!is_hangup_ignored(""));
    }
}
