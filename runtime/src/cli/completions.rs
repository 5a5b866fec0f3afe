use clap_complete::Shell;

use crate::tools::Failure;
use crate::tools::output;

/// Write completions for a shell.
///
/// They complete commands, flags and their values.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tidegate completions bash > ~/.local/share/bash-completion/completions/tidegate
  tidegate completions zsh > \"${fpath[1]}/_tidegate\"
  tidegate completions fish > ~/.config/fish/completions/tidegate.fish")]
pub(super) struct Arguments {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn main(arguments: &Arguments, mut command: clap::Command) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, "tidegate", &mut script);
    output::print(String::from_utf8_lossy(&script).trim_end())?;
    Ok(())
}
