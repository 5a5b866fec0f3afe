use super::{node, operate};
use crate::operator::revisions::show;
use crate::tools::Failure;

/// Show the versions of a function's component.
///
/// The newest one comes first: its age, the beginning of its id, its digest, its size, who published it, and what
/// the fleet makes of it. Who and the digest are known of what `tidegate publish` wrote. Which nodes serve a
/// version is known if the manifest has a [control].
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tidegate revisions enrich
  tidegate revisions enrich --json --limit 100 | jq '.[].digest'")]
pub(super) struct Arguments {
    /// The function.
    #[arg(value_name = "FUNCTION")]
    function: String,

    #[command(flatten)]
    manifest: operate::ManifestArguments,

    /// Write one JSON array.
    #[arg(long)]
    json: bool,

    /// How many versions are shown at most.
    #[arg(long, value_name = "NUMBER", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
}

pub(super) fn main(arguments: &Arguments) -> Result<(), Failure> {
    let manifest = arguments.manifest.load()?;
    node::run(show(&manifest, &arguments.function, usize::from(arguments.limit), arguments.json))
}
