use clap::Subcommand;

use super::pick::pick;
use super::{node, operate};
use crate::operator::steer;
use crate::tools::Failure;

/// Show the rollout of a function, or end it.
///
/// A rollout gives a new revision some of the records first, as [function.NAME.rollout] of the manifest says. It
/// goes on by itself; `promote` and `abort` end it at once, on all nodes. Needs a [control] in the manifest.
#[derive(clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    after_help = "Examples:
  tidegate rollout enrich
  tidegate rollout promote enrich
  tidegate rollout abort enrich --reason 'too slow in eu'"
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,

    /// The function. Not needed if the manifest declares only one.
    #[arg(value_name = "FUNCTION")]
    function: Option<String>,

    #[command(flatten)]
    manifest: operate::ManifestArguments,
}

#[derive(Subcommand)]
enum Action {
    /// Give the new revision all records now.
    Promote {
        /// The function.
        #[arg(value_name = "FUNCTION")]
        function: String,

        #[command(flatten)]
        manifest: operate::ManifestArguments,
    },
    /// Withdraw the new revision. It is not tried again until it is published anew.
    Abort {
        /// The function.
        #[arg(value_name = "FUNCTION")]
        function: String,

        /// Why. It is shown wherever the revision is.
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,

        #[command(flatten)]
        manifest: operate::ManifestArguments,
    },
}

pub(super) fn main(arguments: &Arguments) -> Result<(), Failure> {
    let person = operate::person();
    match &arguments.action {
        None => {
            let manifest = arguments.manifest.load()?;
            let function = match &arguments.function {
                Some(function) => function.clone(),
                None => pick("function", None, &manifest.functions, &manifest)?.name.to_string(),
            };
            node::run(steer::show(&manifest, &function))
        }
        Some(Action::Promote { function, manifest }) => {
            let manifest = manifest.load()?;
            node::run(steer::promote(&manifest, function, &person))
        }
        Some(Action::Abort { function, reason, manifest }) => {
            let manifest = manifest.load()?;
            node::run(steer::abort(&manifest, function, reason, &person))
        }
    }
}
