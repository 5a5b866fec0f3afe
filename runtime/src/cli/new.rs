use std::path::PathBuf;

use super::{Failure, output};
use crate::toolchain::{self, Sdk};

/// Start a project: a function in Rust, with a unit test and a manifest.
///
/// It builds and runs as it is. The SDK is on no public registry yet, so the project points at the
/// checkout that this tidegate was built from.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  tidegate new enrich\n  cd enrich\n  tidegate dev")]
pub(super) struct Arguments {
    /// Name of the function and of its crate.
    name: String,

    /// The folder to make it in, empty or not there yet. The name, if it is not given.
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,

    /// Depend on the released SDK of this version.
    #[arg(long, conflicts_with = "sdk")]
    released: bool,

    /// Depend on the SDK in this folder: `sdk-rust` of a checkout of Tidegate.
    #[arg(long, value_name = "DIR")]
    sdk: Option<PathBuf>,
}

pub(super) fn main(arguments: &Arguments) -> Result<(), Failure> {
    let sdk = match &arguments.sdk {
        _ if arguments.released => Sdk::Released,
        Some(folder) => Sdk::Checkout(folder.clone()),
        None => Sdk::of_this_build(),
    };
    let folder = arguments.path.clone().unwrap_or_else(|| PathBuf::from(&arguments.name));
    toolchain::create(&arguments.name, &folder, &sdk).map_err(|error| match error {
        toolchain::Error::ProjectName { .. } => Failure::Usage(format!("error: {error}")),
        error => Failure::Failed(error.into()),
    })?;
    let shown = folder.display();
    let name = &arguments.name;
    output::print(&format!(
        "made {shown}, the function `{name}`; now:\n\n  cd {shown}\n  tidegate build\n  tidegate invoke --value hello\n  tidegate dev"
    ))?;
    Ok(())
}
