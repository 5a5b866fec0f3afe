use super::{node, operate};
use crate::operator::steer::{Told, tell};
use crate::tools::Failure;

/// Pause a trigger on all nodes.
///
/// It takes no more records until `tidegate resume`, also on nodes that start meanwhile. Nothing is lost: the
/// records wait in their topics, as long as these keep them. Needs a [control] in the manifest.
#[derive(clap::Args)]
#[command(after_help = "Example:
  tidegate pause enrich --reason 'the customer service is away' --wait")]
pub(super) struct Arguments {
    /// The trigger.
    #[arg(value_name = "TRIGGER")]
    trigger: String,

    /// Why. It is shown wherever the trigger is.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,

    #[command(flatten)]
    manifest: operate::ManifestArguments,

    #[command(flatten)]
    wait: operate::WaitArguments,
}

pub(super) fn main(arguments: &Arguments) -> Result<(), Failure> {
    let manifest = arguments.manifest.load()?;
    let told = Told::Pause { reason: arguments.reason.clone() };
    node::run(tell(&manifest, &arguments.trigger, &told, &operate::person(), arguments.wait.limit()))
}
