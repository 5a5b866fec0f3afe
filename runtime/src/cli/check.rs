use std::path::{Path, PathBuf};

use super::node;
use crate::counted::counted;
use crate::kafka::check_properties;
use crate::manifest::{self, Cluster, Errors, Manifest};
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
    if let Err(errors) = manifest.check_runs() {
        // Functions alone can be tried and tested.
        if manifest.functions.is_empty() {
            return Err(usage(errors));
        }
        eprintln!("warning: it declares no trigger, so no node takes it: `tidegate run` refuses it");
    }
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
pub(super) fn load(path: &Path) -> Result<Manifest, Failure> {
    let accepts = |cluster: &Cluster| check_properties(cluster).map_err(|error| error.reason);
    manifest::load_checked(path, &node::environment, &accepts).map_err(usage)
}

/// Reads a manifest for a node to run.
pub(super) fn load_to_run(path: &Path) -> Result<Manifest, Failure> {
    let manifest = load(path)?;
    manifest.check_runs().map_err(usage)?;
    Ok(manifest)
}

fn usage(errors: Errors) -> Failure {
    Failure::Usage(errors.render(colours(&std::io::stderr())))
}
