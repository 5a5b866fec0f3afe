use std::io;
use std::path::PathBuf;

use anyhow::Context as _;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use crate::tools::Failure;
use crate::tools::output;

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
    let mut command = command.disable_help_subcommand(true);
    // Gives the subcommands their full names and the global flags.
    command.build();
    let Some(folder) = &arguments.folder else {
        let page = page(&command).context("cannot write the page")?;
        output::print(String::from_utf8_lossy(&page).trim_end())?;
        return Ok(());
    };
    let cannot = || format!("cannot write to {}", folder.display());
    std::fs::create_dir_all(folder).with_context(cannot)?;
    for command in with_subcommands(&command) {
        let name = command.get_display_name().unwrap_or_else(|| command.get_name());
        let page = page(command).with_context(cannot)?;
        std::fs::write(folder.join(format!("{name}.1")), page).with_context(cannot)?;
    }
    Ok(())
}

/// A command, and all below it.
fn with_subcommands(command: &clap::Command) -> Vec<&clap::Command> {
    let below = command.get_subcommands().flat_map(with_subcommands);
    std::iter::once(command).chain(below).collect()
}

fn page(command: &clap::Command) -> io::Result<Vec<u8>> {
    let source = concat!("tidegate ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).source(source).manual("Tidegate");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    if let Some(text) = command.get_after_help() {
        after_options(&text.to_string()).to_writer(&mut page)?;
    }
    Ok(page)
}

/// The part of the help that follows the flags. Sentences flow. Indented lines are tables, JSON or commands, and
/// stay as they are.
fn after_options(text: &str) -> Roff {
    let mut roff = Roff::new();
    for (at, paragraph) in text.split("\n\n").enumerate() {
        let mut lines = paragraph.lines().peekable();
        if lines.next_if(|line| matches!(*line, "Example:" | "Examples:")).is_some() {
            roff.control("SH", ["EXAMPLES"]);
        } else if at == 0 {
            roff.control("SH", ["DETAILS"]);
        } else {
            roff.control("PP", []);
        }
        let mut flows = true;
        for line in lines {
            if flows == line.starts_with(' ') {
                flows = !flows;
                roff.control(if flows { "fi" } else { "nf" }, []);
            }
            roff.text([roman(line)]);
        }
        if !flows {
            roff.control("fi", []);
        }
    }
    roff
}
