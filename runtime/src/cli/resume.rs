use super::{node, operate};
use crate::operator::steer::{Told, tell};
use crate::tools::Failure;

/// Resume a trigger that was paused.
///
/// It goes on where it stopped, on all nodes. Needs a [control] in the manifest.
#[derive(clap::Args)]
#[command(after_help = "Example:
  tidegate resume enrich --wait")]
pub(super) struct Arguments {
    /// The trigger.
    #[arg(value_name = "TRIGGER")]
    trigger: String,

    #[command(flatten)]
    manifest: operate::ManifestArguments,

    #[command(flatten)]
    wait: operate::WaitArguments,
}

pub(super) fn main(arguments: &Arguments) -> Result<(), Failure> {
    let manifest = arguments.manifest.load()?;
    node::run(tell(&manifest, &arguments.trigger, &Told::Resume, &operate::person(), arguments.wait.limit()))
}
