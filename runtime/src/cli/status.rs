use super::{node, operate};
use crate::operator::status::show;
use crate::tools::Failure;

/// Show how the nodes of a fleet do.
///
/// Nodes, triggers, functions, and what is wrong, as the nodes said it last. A node says it every ten seconds, and
/// within a second if it changes. Who was not heard of for half a minute counts as gone. Needs a [control] in the
/// manifest, and access to no node.
///
/// The exit code is 0 if all is well, and 1 if something is wrong or the fleet is not known. A trigger that an
/// operator paused is well.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tidegate status
  tidegate status --json | jq -r '.problems[] | .code + \" \" + .reason'")]
pub(super) struct Arguments {
    #[command(flatten)]
    manifest: operate::ManifestArguments,

    /// Write one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn main(arguments: &Arguments) -> Result<(), Failure> {
    let manifest = arguments.manifest.load()?;
    node::run(show(&manifest, arguments.json))
}
