//! Variables of the environment that stand in for flags. One that is empty counts as not set, as unit
//! files and Helm charts write those that nobody filled in.

use std::env;
use std::process::ExitCode;

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, CommandFactory as _, FromArgMatches as _};

use super::Arguments;
use crate::log;

/// Reads the command line. If it is wrong, or asks for help, that was told already.
pub(super) fn parse() -> Result<(Arguments, ArgMatches), ExitCode> {
    let mut command = without_empty(Arguments::command());
    let matches = command.try_get_matches_from_mut(env::args_os());
    let parsed = matches.and_then(|matches| Ok((Arguments::from_arg_matches(&matches)?, matches)));
    parsed.map_err(|error| {
        // Nobody may be there to read it.
        drop(error.print());
        if let Some(name) = source_of(&error, &command) {
            log::tell(&format!("note: this is the value of the variable {name}"));
        }
        ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
    })
}

/// What gave a flag of all commands its value: a variable, or else the flag.
pub(super) fn giver(matches: &ArgMatches, flag: &str) -> String {
    let command = Arguments::command();
    let argument = command.get_arguments().find(|argument| argument.get_id() == flag);
    let variable = argument.and_then(|argument| argument.get_env()?.to_str());
    let is_variable = matches.value_source(flag) == Some(ValueSource::EnvVariable);
    variable.filter(|_| is_variable).map_or_else(|| format!("--{flag}"), str::to_owned)
}

/// The command without the variables that are empty.
fn without_empty(command: Command) -> Command {
    let is_empty = |argument: &Arg| argument.get_env().and_then(env::var_os).is_some_and(|value| value.is_empty());
    command
        .mut_args(|argument| if is_empty(&argument) { argument.env(Resettable::Reset) } else { argument })
        .mut_subcommands(without_empty)
}

/// The variable that holds the value which is refused.
fn source_of(error: &clap::Error, command: &Command) -> Option<String> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let (flag, value) = (text(ContextKind::InvalidArg)?, text(ContextKind::InvalidValue)?);
    let long = flag.split(' ').next()?;
    let mut arguments = std::iter::once(command).chain(command.get_subcommands()).flat_map(Command::get_arguments);
    let argument = arguments.find(|argument| argument.get_long() == long.strip_prefix("--"))?;
    let name = argument.get_env()?.to_str()?;
    let is_given = env::args().any(|given| given.split('=').next() == Some(long));
    (!is_given && env::var(name).as_deref() == Ok(value)).then(|| name.to_owned())
}
