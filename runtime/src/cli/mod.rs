//! The commands, one module each: flags, help and exit codes. What they do lives below.

mod build;
mod check;
mod completions;
mod connect;
mod consume;
mod dev;
mod inspect;
mod invoke;
mod man;
mod new;
mod node;
mod operate;
mod pause;
mod pick;
mod produce;
mod publish;
mod record;
mod resume;
mod revisions;
mod rollback;
mod rollout;
mod run;
mod status;
mod test;
mod value;
mod variables;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand, ValueEnum};
use tracing::level_filters::LevelFilter;

use crate::author::dev::Short;
use crate::log::{self, Lines};
use crate::tools::Failure;
use crate::tools::display::colours;

/// Serverless functions on Kafka.
///
/// A manifest (tidegate.toml) binds functions, which are WebAssembly components, to topics. Every
/// record of the topics goes through its function, none is lost, and those of one key stay in order.
#[derive(Parser)]
#[command(name = "tidegate", version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,

    /// How log lines are written, to standard error.
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        value_enum,
        default_value_t = LogFormat::Text,
        env = "TIDEGATE_LOG_FORMAT",
        help_heading = LOG
    )]
    log_format: LogFormat,

    /// Which log lines are written: a level, or levels by target such as "info,librdkafka=warn". Those
    /// of "info", if it is not given; then `dev` leaves out what matters to nobody at its terminal, and
    /// commands that ask a fleet write warnings only.
    #[arg(long, global = true, value_name = "FILTER", env = "RUST_LOG", help_heading = LOG)]
    log: Option<String>,
}

/// The filter of log lines for commands that say themselves what is wrong.
const BRIEF: &str = "warn,librdkafka=off";

/// The heading in the help for the flags that all commands have.
const LOG: &str = "Log lines";

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Subcommand)]
enum Command {
    New(new::Arguments),
    Build(build::Arguments),
    Inspect(inspect::Arguments),
    Invoke(Box<invoke::Arguments>),
    Test(test::Arguments),
    Check(check::Arguments),
    Dev(dev::Arguments),
    Run(run::Arguments),
    Publish(publish::Arguments),
    Revisions(revisions::Arguments),
    Rollback(rollback::Arguments),
    Rollout(rollout::Arguments),
    Pause(pause::Arguments),
    Resume(resume::Arguments),
    Status(status::Arguments),
    Produce(Box<produce::Arguments>),
    Consume(Box<consume::Arguments>),
    Record(Box<record::Arguments>),
    Completions(completions::Arguments),
    Man(man::Arguments),
}

/// Runs one command.
pub fn main() -> ExitCode {
    let (arguments, matches) = match variables::parse() {
        Ok(parsed) => parsed,
        Err(error) => return error,
    };
    let filter = arguments.log.as_deref().filter(|filter| !filter.trim().is_empty());
    let is_short = filter.is_none() && matches!(arguments.command, Command::Dev(_));
    let serves = matches!(arguments.command, Command::Dev(_) | Command::Run(_));
    let filter = filter.unwrap_or(if asks_a_fleet(&arguments.command) { BRIEF } else { "info" });
    if let Err(error) = start_logging(arguments.log_format, filter, is_short, Lines::start(serves)) {
        log::tell(&format!("error: {} {filter:?}: {error}", variables::giver(&matches, "log")));
        log::flush();
        return ExitCode::from(2);
    }
    let result = match arguments.command {
        Command::New(arguments) => new::main(&arguments),
        Command::Build(arguments) => build::main(&arguments),
        Command::Inspect(arguments) => inspect::main(&arguments),
        Command::Invoke(arguments) => invoke::main(&arguments),
        Command::Test(arguments) => test::main(&arguments),
        Command::Check(arguments) => check::main(&arguments),
        Command::Dev(arguments) => dev::main(&arguments),
        Command::Run(arguments) => run::main(&arguments),
        Command::Publish(arguments) => publish::main(&arguments),
        Command::Revisions(arguments) => revisions::main(&arguments),
        Command::Rollback(arguments) => rollback::main(&arguments),
        Command::Rollout(arguments) => rollout::main(&arguments),
        Command::Pause(arguments) => pause::main(&arguments),
        Command::Resume(arguments) => resume::main(&arguments),
        Command::Status(arguments) => status::main(&arguments),
        Command::Produce(arguments) => produce::main(&arguments),
        Command::Consume(arguments) => consume::main(&arguments),
        Command::Record(arguments) => record::main(&arguments),
        Command::Completions(arguments) => completions::main(&arguments, Arguments::command()),
        Command::Man(arguments) => man::main(&arguments, Arguments::command()),
    };
    let code = match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Failed(error)) => {
            log::tell(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
        Err(Failure::Usage(text)) => {
            log::tell(text.trim_end());
            ExitCode::from(2)
        }
    };
    log::flush();
    code
}

/// Whether a command asks or tells a fleet. What its clients log, its error says.
fn asks_a_fleet(command: &Command) -> bool {
    use Command::{Check, Pause, Publish, Resume, Revisions, Rollback, Rollout, Status};
    matches!(
        command,
        Check(_) | Pause(_) | Publish(_) | Resume(_) | Revisions(_) | Rollback(_) | Rollout(_) | Status(_)
    )
}

/// Why a filter of log lines is refused.
#[derive(Debug, thiserror::Error)]
enum BadFilter {
    #[error("{0:?} is no level: write off, error, warn, info, debug or trace, or {0}=LEVEL for a target of this name")]
    Word(String),
    #[error(transparent)]
    Syntax(#[from] tracing_subscriber::filter::ParseError),
}

/// A word of a filter that names a target alone, so that only the lines of that target are written. Such a
/// word is usually a level that was misspelled, and its author would see nothing.
fn target_alone(filter: &str) -> Option<&str> {
    // Spans have commas of their own.
    let words = filter.split(',').map(str::trim).filter(|_| !filter.contains('['));
    let mut words = words.filter(|word| !word.is_empty() && !word.contains('='));
    words.find(|word| word.parse::<LevelFilter>().is_err())
}

/// `is_short`: only what matters to the author of a function, in short lines.
fn start_logging(format: LogFormat, filter: &str, is_short: bool, lines: Lines) -> Result<(), BadFilter> {
    if let Some(word) = target_alone(filter) {
        return Err(BadFilter::Word(word.to_owned()));
    }
    let filter = tracing_subscriber::EnvFilter::builder().parse(filter)?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(lines);
    match format {
        LogFormat::Text if is_short => subscriber.with_ansi(colours(&std::io::stderr())).event_format(Short).init(),
        LogFormat::Text => subscriber.with_ansi(colours(&std::io::stderr())).init(),
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_level_is_found() {
        let good = ["info", "WARN", "off", "3", "info,librdkafka=warn", " info , a=b ", "", "a[b{c,d}]=info"];
        assert_eq!(good.map(target_alone), [None; 8]);
        let bad = [("inf", "inf"), ("info,debgu", "debgu"), ("tidegate,info", "tidegate")];
        assert_eq!(bad.map(|(filter, _)| target_alone(filter)), bad.map(|(_, word)| Some(word)));
    }
}
