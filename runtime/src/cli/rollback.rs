use super::{node, operate};
use crate::operator::rollback::{Order, rollback};
use crate::tools::Failure;

/// Go back to an older version of a function's component.
///
/// S3 copies the older version into a new one, so the history only grows, and the nodes take it on as any other
/// version. Without --to it is the newest older version with other bytes that the fleet did not withdraw. The
/// bucket has to keep versions.
///
/// It needs s3:PutObject, s3:GetObject, s3:GetObjectVersion and s3:ListBucketVersions.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tidegate rollback enrich --wait
  tidegate rollback enrich --to 3sL4kqtJ")]
pub(super) struct Arguments {
    /// The function.
    #[arg(value_name = "FUNCTION")]
    function: String,

    /// The version: its id or its digest, or the beginning of one of them. `tidegate revisions` shows them.
    #[arg(long, value_name = "REVISION")]
    to: Option<String>,

    #[command(flatten)]
    manifest: operate::ManifestArguments,

    #[command(flatten)]
    wait: operate::WaitArguments,

    /// Also to a revision that the fleet withdrew, or if it is not known which ones it withdrew.
    #[arg(long)]
    force: bool,
}

pub(super) fn main(arguments: &Arguments) -> Result<(), Failure> {
    let manifest = arguments.manifest.load()?;
    let order = Order {
        function: arguments.function.clone(),
        to: arguments.to.clone(),
        publisher: operate::person(),
        wait: arguments.wait.limit(),
        force: arguments.force,
    };
    node::run(rollback(&manifest, &order))
}
