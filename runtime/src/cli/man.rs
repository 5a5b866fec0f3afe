use std::path::PathBuf;

use anyhow::Context as _;

use super::{Failure, output};

/// Write manual pages.
///
/// With a folder one page for each command, without one the page of `tidegate` to standard output.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tidegate man | man -l -
  tidegate man ~/.local/share/man/man1 && man tidegate-produce")]
pub(super) struct Arguments {
    /// The folder to write to. It is made if it is not there.
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

pub(super) fn main(arguments: &Arguments, command: clap::Command) -> Result<(), Failure> {
    let Some(folder) = &arguments.folder else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page).context("cannot write the page")?;
        output::print(String::from_utf8_lossy(&page).trim_end())?;
        return Ok(());
    };
    let cannot = || format!("cannot write to {}", folder.display());
    std::fs::create_dir_all(folder).with_context(cannot)?;
    clap_mangen::generate_to(command, folder).with_context(cannot)?;
    Ok(())
}
