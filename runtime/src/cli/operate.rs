//! What the commands of authors and operators share.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{check, node, value};
use crate::manifest::Manifest;
use crate::tools::Failure;

/// The manifest that is read if none is named.
pub(super) const MANIFEST: &str = "tidegate.toml";

/// Whether to wait for the fleet, and how long.
#[derive(clap::Args)]
pub(super) struct WaitArguments {
    /// Wait until all live nodes follow, and say so node by node.
    #[arg(long)]
    wait: bool,

    /// How long to wait. The exit code is 1 if it takes longer.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = value::duration, requires = "wait")]
    timeout: Duration,
}

impl WaitArguments {
    pub(super) fn limit(&self) -> Option<Duration> {
        self.wait.then_some(self.timeout)
    }
}

/// The manifest of the nodes.
#[derive(clap::Args)]
pub(super) struct ManifestArguments {
    /// The manifest that the nodes run.
    #[arg(long, value_name = "FILE", default_value = MANIFEST)]
    manifest: PathBuf,
}

impl ManifestArguments {
    pub(super) fn load(&self) -> Result<Manifest, Failure> {
        check::load(&self.manifest)
    }
}

/// The manifest that is named, or the one of this folder if there is one.
pub(super) fn optional_manifest(named: Option<&Path>) -> Result<Option<Manifest>, Failure> {
    match named {
        Some(path) => check::load(path).map(Some),
        None if Path::new(MANIFEST).exists() => check::load(Path::new(MANIFEST)).map(Some),
        None => Ok(None),
    }
}

/// Returns the name of the person that runs the command, such as `ann@laptop`.
pub(super) fn person() -> String {
    let set = |name: &str| node::environment(name).filter(|value| !value.is_empty());
    let user = set("USER").or_else(|| set("LOGNAME")).or_else(|| set("USERNAME"));
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{}@{host}", user.unwrap_or_else(|| "unknown".to_owned()))
}
