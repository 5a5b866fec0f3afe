//! What the commands share that run functions.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::engine::{Engine, Settings};
use crate::kafka::keep_memory;

/// Where compiled components are kept: the user's cache folder.
pub(super) fn cache_folder() -> Option<PathBuf> {
    let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    named("TIDEGATE_CACHE")
        .or_else(|| named("XDG_CACHE_HOME").map(|folder| folder.join("tidegate")))
        .or_else(|| named("HOME").map(|folder| folder.join(".cache").join("tidegate")))
}

pub(super) fn engine() -> anyhow::Result<Engine> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(Engine::new(&Settings { cache: cache_folder(), threads })?)
}

/// The name of this node: the host's, unless told.
pub(super) fn name(given: Option<&str>) -> anyhow::Result<Arc<str>> {
    let name = match given {
        Some(name) => name.to_owned(),
        None => {
            let name = rustix::system::uname();
            name.nodename().to_str().context("the host name is not UTF-8: give --node NAME")?.to_owned()
        }
    };
    anyhow::ensure!(!name.is_empty(), "a node needs a name: give --node NAME");
    Ok(name.into())
}

/// A variable that a manifest substitutes.
pub(super) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The runtime of everything but guests.
pub(super) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    keep_memory();
    raise_open_files();
    tokio::runtime::Builder::new_multi_thread()
        .thread_name("tidegate")
        .enable_all()
        .build()
        .context("cannot start threads")
}

/// Takes as many open files as the system grants: connections of functions are files too, and the
/// 1,024 that many systems begin with are a limit for programs that are older than poll.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!("the limit of open files stays at {:?}: {error}", limit.current);
    }
}

/// How long after a signal another one is the same one: who passes on what a whole group of processes
/// got, as `timeout` does, sends it twice.
const ECHO: Duration = Duration::from_millis(500);

/// Waits for the next signal after one that came just now.
pub(super) async fn further_stop_signal() -> anyhow::Result<&'static str> {
    // Nobody listens meanwhile.
    tokio::time::sleep(ECHO).await;
    stop_signal().await
}

/// Waits for the signal to stop: SIGTERM, SIGINT or, when a terminal is closed, SIGHUP. A process that
/// was started to ignore SIGHUP, as `nohup` does, goes on.
pub(super) async fn stop_signal() -> anyhow::Result<&'static str> {
    use tokio::signal::unix::{SignalKind, signal};
    let ignores_hangup = ignores_hangup();
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let hangup = async {
        if ignores_hangup {
            std::future::pending::<()>().await;
        }
        signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?.recv().await;
        anyhow::Ok(())
    };
    tokio::select! {
        _ = terminate.recv() => Ok("SIGTERM"),
        _ = interrupt.recv() => Ok("SIGINT"),
        hung_up = hangup => hung_up.map(|()| "SIGHUP"),
    }
}

/// Whether SIGHUP was ignored already when this process started. Where there is no `/proc` to tell, it
/// was not.
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
