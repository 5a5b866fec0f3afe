use std::path::PathBuf;

use super::node;
use crate::counted::counted;
use crate::kafka::check_properties;
use crate::manifest::{self, Manifest};
use crate::tools::Failure;
use crate::tools::display::colours;

/// Check a manifest without a broker.
///
/// Prints every problem with its place and what to write instead. The exit code is 2 if there is one.
/// Folders of functions that are not there are warned of only: it may run on another machine.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  tidegate check\n  tidegate check --schema > tidegate.schema.json")]
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
    for warning in missing_folders(&manifest) {
        eprintln!("warning: {warning}");
    }
    println!(
        "{} is good: {}, {}",
        arguments.manifest.display(),
        counted(manifest.functions.len(), "function"),
        counted(manifest.triggers.len(), "trigger")
    );
    Ok(())
}

/// A warning for each folder of a function that this machine does not have.
fn missing_folders(manifest: &Manifest) -> Vec<String> {
    let mut missing = Vec::new();
    for function in manifest.functions.values() {
        for (seen, folder) in function.folders.iter().filter(|(_, folder)| !folder.path.is_dir()) {
            let path = folder.path.display();
            missing.push(format!("{path} is no folder here; the function {} sees it as {seen}", function.name));
        }
    }
    missing
}

/// Reads a manifest, and checks the properties that only the Kafka client knows.
pub(super) fn load(path: &std::path::Path) -> Result<Manifest, Failure> {
    let manifest = manifest::load(path, &node::environment)
        .map_err(|errors| Failure::Usage(errors.render(colours(&std::io::stderr()))))?;
    for cluster in manifest.clusters.values() {
        check_properties(cluster).map_err(|error| {
            Failure::usage(format!("[cluster.{}] in {}: {}", cluster.name, path.display(), error.reason))
        })?;
    }
    Ok(manifest)
}
