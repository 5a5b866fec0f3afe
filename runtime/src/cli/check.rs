use std::path::{Path, PathBuf};

use super::node;
use crate::counted::counted;
use crate::kafka::check_properties;
use crate::manifest::{self, Cluster, Errors, Manifest};
use crate::operator::online::{self, Finding, Level};
use crate::tools::Failure;
use crate::tools::display::colours;
use crate::tools::output;

/// Check a manifest, without a broker unless --online is given.
///
/// Prints every problem with its place and what to write instead. The exit code is 2 if there is one.
/// Folders of functions that are not there are warned of only: it may run on another machine.
///
/// With --online, what the manifest needs of the world is tried too: buckets, objects, the queue, topics, and the
/// rights to use them, with the credentials of whoever runs it. What is missing is named with the command, the
/// statement of a policy or the ACL that grants it. Nothing is changed. The exit code is 1 if something is missing.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  tidegate check\n  tidegate check --online\n  tidegate check --schema > tidegate.schema.json"
)]
pub(super) struct Arguments {
    /// The manifest.
    #[arg(long, value_name = "FILE", default_value = "tidegate.toml")]
    manifest: PathBuf,

    /// Print the JSON schema of manifests instead.
    #[arg(long)]
    schema: bool,

    /// Also try buckets, queue, topics and rights.
    #[arg(long, conflicts_with = "schema")]
    online: bool,
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
            return Err(usage(&errors));
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
    if arguments.online {
        return node::run(check_online(&manifest));
    }
    Ok(())
}

/// Tries what the manifest needs of the world, and says what was found.
async fn check_online(manifest: &Manifest) -> Result<(), Failure> {
    let findings = online::check(manifest).await;
    for line in findings.iter().flat_map(Finding::lines) {
        output::print(&line)?;
    }
    match findings.iter().filter(|finding| finding.level == Level::Wrong).count() {
        0 => Ok(()),
        count => Err(Failure::Failed(anyhow::anyhow!("{}", counted(count, "thing") + " missing or wrong"))),
    }
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
    manifest::load_checked(path, &node::environment, &accepts).map_err(|errors| usage(&errors))
}

/// Reads a manifest for a node to run.
pub(super) fn load_to_run(path: &Path) -> Result<Manifest, Failure> {
    let manifest = load(path)?;
    manifest.check_runs().map_err(|errors| usage(&errors))?;
    Ok(manifest)
}

fn usage(errors: &Errors) -> Failure {
    Failure::Usage(errors.render(colours(&std::io::stderr())))
}
