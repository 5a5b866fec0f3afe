use std::path::PathBuf;

use super::inspect;
use crate::author::toolchain;
use crate::tools::Failure;
use crate::tools::output;

/// Build the component of a project.
///
/// Finds the language by the files of the folder. Rust: runs cargo for the target wasm32-wasip2, which
/// is installed with rustup if it is missing. Go: runs `go build` for wasip1 and makes a component of
/// the module. The component goes into the project's folder as NAME.wasm. It is replaced as a whole
/// and only by a function, so that a node that watches it never sees half of one.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  tidegate build\n  tidegate build functions/enrich --output deploy/enrich.wasm")]
pub(super) struct Arguments {
    /// Folder of the project.
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,

    /// Where the component goes. NAME.wasm in the project's folder, if it is not given.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(super) fn main(arguments: &Arguments) -> Result<(), Failure> {
    let built = toolchain::build(&arguments.folder, arguments.output.as_deref()).map_err(|error| match error {
        toolchain::Error::NoProject(_) => Failure::usage(error),
        error => Failure::Failed(error.into()),
    })?;
    let (path, not) = (built.component.display(), if built.changed { "" } else { ", no different from before" });
    let facts = inspect::Facts::new(built.bytes, built.digest, &built.inspection);
    output::print(&format!("built {path}{not}\n{}", facts.summary()))?;
    facts.warn();
    Ok(())
}
