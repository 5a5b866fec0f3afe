use std::path::PathBuf;

use super::{Failure, colour, node};
use crate::kafka::client::check_properties;
use crate::manifest;

/// Check a manifest without a broker.
///
/// Prints every problem with its place and what to write instead. The exit code is 2 if there is one.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  tidegate check\n  tidegate check --schema > tidegate.schema.json")]
pub(super) struct Arguments {
    /// The manifest.
    #[arg(long, value_name = "FILE", default_value = "tidegate.toml")]
    manifest: PathBuf,

    /// Print the JSON schema of manifests instead.
    #[arg(long)]
    schema: bool,
}

pub(super) fn main(arguments: &Arguments) -> Result<(), Failure> {
    if arguments.schema {
        println!("{:#}", manifest::json_schema());
        return Ok(());
    }
    let manifest = load(&arguments.manifest)?;
    println!(
        "{} is good: {} functions, {} triggers",
        arguments.manifest.display(),
        manifest.functions.len(),
        manifest.triggers.len()
    );
    Ok(())
}

/// Reads a manifest, and checks also what only the Kafka client knows.
pub(super) fn load(path: &std::path::Path) -> Result<manifest::Manifest, Failure> {
    let manifest =
        manifest::load(path, &node::environment).map_err(|errors| Failure::Usage(errors.render(colour())))?;
    for cluster in manifest.clusters.values() {
        check_properties(cluster).map_err(|error| {
            Failure::Usage(format!("error: [cluster.{}] in {}: {}", cluster.name, path.display(), error.reason))
        })?;
    }
    Ok(manifest)
}
