//! What the commands that run functions share.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::engine::{Engine, Settings};
use crate::kafka::keep_memory;
use crate::tools::Failure;

/// The folder for compiled components: the user's cache folder.
pub(super) fn cache_folder() -> Option<PathBuf> {
    let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    named("TIDEGATE_CACHE")
        .or_else(|| named("XDG_CACHE_HOME").map(|folder| folder.join("tidegate")))
        .or_else(|| named("HOME").map(|folder| folder.join(".cache").join("tidegate")))
}

/// The folder for components that were downloaded, over a restart.
pub(super) fn kept_folder() -> Option<PathBuf> {
    cache_folder().map(|folder| folder.join("objects"))
}

pub(super) fn engine() -> anyhow::Result<Engine> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(Engine::new(&Settings { cache: cache_folder(), threads })?)
}

/// The name of this node: the given one, or that of the host.
pub(super) fn name(given: Option<&str>) -> anyhow::Result<Arc<str>> {
    let name = match given {
        Some(name) => name.to_owned(),
        None => {
            let name = rustix::system::uname();
            name.nodename().to_str().context("the host name is not UTF-8: give --node NAME")?.to_owned()
        }
    };
    check_name(&name)?;
    Ok(name.into())
}

/// A name that the other nodes can read in the topic of the relay.
fn check_name(name: &str) -> anyhow::Result<()> {
    anyhow::ensure!(!name.is_empty(), "a node needs a name: give --node NAME");
    anyhow::ensure!(!name.contains('/'), "the name of a node has no '/', unlike {name:?}: give --node NAME");
    Ok(())
}

/// Looks up a variable for a manifest.
pub(super) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The tokio runtime of everything except guests.
pub(super) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    keep_memory();
    raise_open_files();
    tokio::runtime::Builder::new_multi_thread()
        .thread_name("tidegate")
        .enable_all()
        .build()
        .context("cannot start threads")
}

/// Runs a command that is not a node to its end.
pub(super) fn run(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = runtime()?;
    let result = runtime.block_on(work);
    // Threads that block in a client need not end first.
    runtime.shutdown_background();
    result
}

/// Raises the limit of open files as far as the system allows. Connections of functions count as files, and the
/// usual 1,024 are a limit for programs that are older than poll.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!("the limit of open files stays at {:?}: {error}", limit.current);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_a_node_is_not_empty_and_has_no_slash() {
        assert!(check_name("node-1.example.com").is_ok());
        for (name, reason) in [("", "needs a name"), ("eu/node-1", "has no '/', unlike \"eu/node-1\"")] {
            let error = check_name(name).expect_err(name);
            assert!(error.to_string().contains(reason), "{error}");
        }
    }
}
