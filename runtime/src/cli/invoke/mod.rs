//! `tidegate invoke`: its arguments, and the calls that they ask for.

mod source;
mod target;

use std::io::{self, IsTerminal as _};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;

use super::{inspect, node, value};
use crate::author::invoke::{Answer, Session, readable};
use crate::counted::counted;
use crate::manifest::{AllowedHost, Network};
use crate::tools::Failure;
use crate::tools::ndjson;
use crate::tools::output::Output;
use crate::tools::progress::Progress;
use source::Source;
use target::Target;

const HELP: &str = r#"Records, one JSON object a line, every field optional:
  {"topic": "orders", "partition": 0, "offset": 7, "timestamp": 1700000000000, "key": "k",
   "value": "v", "headers": [["name", "value"]], "attempt": 1}
  A key, value, or header value is a string, null, {"json": {"id": 5}} for a JSON text, or
  {"base64": "/wA="} for bytes that are no text. Without an offset a record gets the next one.

Outcomes, one line for each record, in the order of the records:
  {"source": {"topic", "partition", "offset"}, "messages": [{"topic", "partition", "timestamp",
   "key", "value", "headers"}]}
  {"source": {"topic", "partition", "offset"}, "failure": {"cause", "reason"}}
  No topic: the trigger's output. No partition: by key. Timestamp null: the time of producing.
  Causes: retry, reject, trap, exit, deadline, memory, bad-outcome.

What the function prints goes to standard error. Exit code 1: a record failed, or the component
cannot be called. 2: the records or the manifest are wrong.

Examples:
  tidegate invoke enrich.wasm --value hello --key k --header trace=abc
  tidegate invoke --function enrich --input records.ndjson > outcomes.ndjson
  echo '{"value": {"json": {"id": 5}}}' | tidegate invoke enrich.wasm --env MODE=test"#;

/// Call a function with records, without a broker.
///
/// Reads records as lines of JSON, or takes one from --value, --key and --header. They go through
/// the component by the code that does it in a node: batches of one partition, order by key, deadline,
/// memory, all checks. A failed call of several records is split until the record at fault stands
/// alone. Nothing is retried: give --attempt to play a later one.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Arguments {
    /// The component. That of the function in the manifest, if it is not given.
    #[arg(value_name = "FILE")]
    component: Option<PathBuf>,

    /// The function of the manifest that gives environment, secrets, deadline, memory and topics.
    #[arg(long, value_name = "NAME")]
    function: Option<String>,

    /// The manifest. Only read with --function or without a component.
    #[arg(long, value_name = "FILE", default_value = "tidegate.toml")]
    manifest: PathBuf,

    /// A variable of the function's environment. May be given several times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = value::variable)]
    env: Vec<(String, String)>,

    /// How long one call may take, such as "1s".
    #[arg(long, value_name = "DURATION", value_parser = value::deadline)]
    deadline: Option<Duration>,

    /// How much memory the function may use, such as "64MiB".
    #[arg(long, value_name = "SIZE", value_parser = value::memory)]
    memory: Option<u64>,

    /// A further topic that the function may address. May be given several times.
    #[arg(long, value_name = "TOPIC")]
    allow_topic: Vec<String>,

    /// A host that the function may ask by HTTP besides those of the manifest, such as
    /// "https://api.example.com". May be given several times.
    #[arg(long, value_name = "URL")]
    allow_host: Vec<AllowedHost>,

    /// A network that is not public in which such a host may be, such as "10.0.0.0/8". May be given
    /// several times.
    #[arg(long, value_name = "NETWORK")]
    allow_network: Vec<Network>,

    /// The most records of one call. 500, if the trigger does not say otherwise. With 1, each record is called as
    /// soon as it is read.
    #[arg(long, value_name = "RECORDS")]
    batch: Option<NonZeroU32>,

    /// Where the records are. Standard input, if it is not given.
    #[arg(
        long,
        short,
        value_name = "FILE",
        visible_alias = "file",
        visible_short_alias = 'f',
        conflicts_with_all = ["value", "null_value", "key", "header"]
    )]
    input: Option<PathBuf>,

    /// How outcomes are written. For people on a terminal, as NDJSON elsewhere.
    #[arg(long, value_enum)]
    format: Option<Format>,

    #[command(flatten)]
    record: RecordArguments,
}

#[derive(clap::Args)]
#[command(next_help_heading = "One record, or what lines leave out")]
struct RecordArguments {
    /// The value. Empty, if a key or header is given and it is not.
    #[arg(long, value_name = "TEXT")]
    value: Option<String>,

    /// No value: what deletes the key from a compacted topic.
    #[arg(long, conflicts_with = "value")]
    null_value: bool,

    /// The key.
    #[arg(long, value_name = "TEXT")]
    key: Option<String>,

    /// A header. May be given several times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = value::pair)]
    header: Vec<(String, String)>,

    /// The topic. The first one of the function's trigger, or "test". If the function has several
    /// triggers, it is called as by the one that reads this topic; the first, if it is not given.
    #[arg(long)]
    topic: Option<String>,

    /// The partition.
    #[arg(long, value_name = "NUMBER", default_value_t = 0, value_parser = clap::value_parser!(i32).range(0..))]
    partition: i32,

    /// The offset of the first record of a partition.
    #[arg(long, value_name = "NUMBER", default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..))]
    offset: i64,

    /// The timestamp, such as "2026-11-24T10:00:00Z" or "1790000000000ms". Unknown, if it is not given.
    #[arg(long, value_name = "TIME", value_parser = value::timestamp)]
    timestamp: Option<i64>,

    /// The number of the try, from 1.
    #[arg(long, value_name = "NUMBER", default_value_t = NonZeroU32::MIN)]
    attempt: NonZeroU32,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Ndjson,
}

pub(super) fn main(arguments: &Arguments) -> Result<(), Failure> {
    let target = Target::new(arguments)?;
    let source = Source::new(arguments, &target);
    let component = read(&target.component)?;
    let shown = target.component.display().to_string();
    let engine = node::engine()?;
    let runtime = node::runtime()?;
    let setup = target.setup();
    let compiling = format!("compiling {}", setup.function.name);
    let session = Progress::new(false).during(&compiling, Session::start(&engine, component, setup));
    let session = runtime.block_on(session).context(shown)?;
    let format = arguments.format.unwrap_or(if io::stdout().is_terminal() { Format::Text } else { Format::Ndjson });
    let mut calls = Calls { runtime, session, output: Output::new(), format, records: 0, failed: 0 };
    let read = source.run(&mut calls);
    calls.output.flush()?;
    // Do not wait for a guest that waits.
    calls.runtime.shutdown_background();
    read?;
    match calls.failed {
        0 => Ok(()),
        failed => Err(Failure::Failed(anyhow::anyhow!("{failed} of {} failed", counted(calls.records, "record")))),
    }
}

/// Reads a component, and says how to build it if it is missing.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let is_missing = !path.exists();
    let read = inspect::read(path);
    read.map_err(|error| if is_missing { anyhow::anyhow!("{error:#}; `tidegate build` makes it") } else { error })
}

/// The function, and where its answers go.
struct Calls {
    runtime: tokio::runtime::Runtime,
    session: Session,
    output: Output,
    format: Format,
    records: usize,
    failed: usize,
}

impl Calls {
    /// Makes one call, and writes what is known after it. `false`: there is nothing to call any more.
    fn call(&mut self) -> anyhow::Result<bool> {
        let Some(answers) = self.runtime.block_on(self.session.call())? else { return Ok(false) };
        for Answer { topic, partition, offset, result } in answers {
            self.records += 1;
            self.failed += usize::from(result.is_err());
            let source = ndjson::Source { topic: &topic, partition, offset };
            let result = result.as_deref();
            self.output.line(&match self.format {
                Format::Ndjson => ndjson::outcome(source, result),
                Format::Text => readable::outcome(source, result),
            })?;
        }
        self.output.flush()?;
        Ok(true)
    }

    /// Whether nobody reads the answers any more.
    fn is_over(&self) -> bool {
        self.output.is_closed()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Flags {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn arguments(flags: &[&str]) -> Arguments {
        let all = ["invoke"].iter().chain(flags);
        Flags::try_parse_from(all).unwrap_or_else(|error| panic!("{error}")).arguments
    }

    /// `tidegate produce` has the same test.
    #[test]
    fn a_value_that_is_left_out_is_empty_and_null_if_asked_for() {
        let value = |flags: &[&str]| arguments(flags).record.line().map(|line| line.value.0);
        assert_eq!(value(&[]), None);
        assert_eq!(value(&["--key", "k"]), Some(Some(Vec::new())));
        assert_eq!(value(&["--header", "a=b"]), Some(Some(Vec::new())));
        assert_eq!(value(&["--value", "v"]), Some(Some(b"v".to_vec())));
        assert_eq!(value(&["--null-value"]), Some(None));
    }

    #[test]
    fn lines_and_times_are_given_as_to_produce() {
        for flag in ["--file", "--input", "-f", "-i"] {
            assert_eq!(arguments(&[flag, "a"]).input, Some("a".into()), "{flag}");
        }
        for time in ["1970-01-01T00:00:01.5Z", "1500ms"] {
            assert_eq!(arguments(&["--timestamp", time]).record.timestamp, Some(1_500), "{time}");
        }
    }
}
