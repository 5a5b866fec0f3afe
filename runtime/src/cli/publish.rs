use std::path::PathBuf;

use super::{node, operate};
use crate::operator::publish::{Order, publish};
use crate::tools::Failure;

/// Publish a component to S3.
///
/// It is checked first as a node would: compiled, compared with what the manifest grants the function, and started
/// once. What a node would refuse is not published. Every version of the object is kept, and all nodes whose
/// manifest names the object take on the newest one. If the newest version has the same bytes already, nothing is
/// done.
///
/// Credentials come from the environment, a profile or the machine, as for the AWS CLI. They need s3:PutObject,
/// s3:GetObject and s3:ListBucketVersions.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tidegate publish enrich.wasm enrich
  tidegate publish enrich.wasm enrich --wait
  tidegate publish enrich.wasm s3://functions/eu/enrich.wasm")]
pub(super) struct Arguments {
    /// The component.
    #[arg(value_name = "COMPONENT")]
    component: PathBuf,

    /// Where it goes: a function of the manifest whose component is in S3, or an object.
    #[arg(value_name = "FUNCTION|s3://BUCKET/KEY")]
    target: String,

    /// The manifest that the nodes run. tidegate.toml, if it is there.
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,

    #[command(flatten)]
    wait: operate::WaitArguments,

    /// Publish also if the newest version has the same bytes.
    #[arg(long)]
    force: bool,
}

pub(super) fn main(arguments: &Arguments) -> Result<(), Failure> {
    let manifest = operate::optional_manifest(arguments.manifest.as_deref())?;
    let (object, functions) = Order::target(&arguments.target, manifest.as_ref())?;
    let order = Order {
        component: arguments.component.clone(),
        object,
        functions,
        publisher: operate::person(),
        wait: arguments.wait.limit(),
        force: arguments.force,
    };
    let engine = node::engine()?;
    node::run(publish(&engine, manifest.as_ref(), &order))
}
