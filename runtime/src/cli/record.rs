use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use super::connect::ConnectArguments;
use super::consume::{Ended, Filter, Lines, Plan, Showing, read};
use super::progress::Progress;
use super::value::{self, Start};
use super::{Failure, node};
use crate::counted::counted;
use crate::kafka::scan::Isolation;

const HELP: &str = r#"Lines are those that `tidegate invoke --input` and `tidegate produce --file` read. Nothing is lost
on the way: null and empty stay apart, and bytes that are no text are {"base64": "/wA="}. A record
with more headers than the Kafka client reads, which are 100,000, is an error. See `tidegate consume
--help` for what --from takes.

Exit code 1: there is no such record or topic, or less came in time than --count wants. 2: a flag is
wrong.

Examples:
  tidegate record orders --from -20 --output orders.ndjson
  tidegate invoke --function enrich --input orders.ndjson
  tidegate record orders --count 1000 | tidegate produce orders-copy --file -"#;

/// Record part of a topic as NDJSON, for tests of functions.
///
/// Ends after --count records, or where the topic ends now. From latest on it waits for records that
/// come. Joins no group and commits nothing.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Arguments {
    /// The topic.
    topic: String,

    /// Where to begin in each partition.
    #[arg(long, value_name = "START", default_value = "earliest", allow_hyphen_values = true, value_parser = Start::read)]
    from: Start,

    /// The most records, 100 if it is not given. Given, it is also a failure if --timeout ends before
    /// there are so many.
    #[arg(long, short = 'n', value_name = "RECORDS")]
    count: Option<NonZeroU64>,

    /// Only this partition.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,

    /// Only records with this key.
    #[arg(long, value_name = "TEXT")]
    key: Option<String>,

    /// How long to wait for a record that comes, such as "30s".
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = value::duration)]
    timeout: Duration,

    /// The file to write, which is replaced as a whole if all went well. Standard output, if it is not given.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,

    #[command(flatten)]
    connect: ConnectArguments,
}

const DEFAULT_COUNT: NonZeroU64 = NonZeroU64::new(100).expect("not zero");

pub(super) fn main(arguments: &Arguments) -> Result<(), Failure> {
    let plan = Plan {
        cluster: arguments.connect.cluster()?,
        topics: vec![arguments.topic.clone()],
        partition: arguments.partition,
        from: arguments.from,
        isolation: Isolation::Committed,
        to_end: arguments.from != Start::Latest,
        timeout: Some(arguments.timeout),
    };
    let runtime = node::runtime()?;
    let result = runtime.block_on(record(&plan, arguments));
    runtime.shutdown_background();
    result
}

async fn record(plan: &Plan, arguments: &Arguments) -> Result<(), Failure> {
    let lines = match &arguments.output {
        Some(path) => Lines::json_to_file(path)?,
        None => Lines::json_to_stdout(),
    };
    let filter = Filter { key: arguments.key.clone(), headers: Vec::new() };
    let count = arguments.count;
    let wanted = count.unwrap_or(DEFAULT_COUNT).get();
    let mut showing = Showing::new(&plan.topics, filter, lines, Some(wanted)).only_whole();
    let progress = Progress::new(arguments.output.is_none());
    let ended = progress.during(&format!("recording {}", arguments.topic), read(plan, &mut showing)).await?;
    let shown = showing.shown();
    // Where the topic ends, less is fine.
    showing.judge(ended, count.map(NonZeroU64::get).filter(|_| ended == Ended::Timeout))?;
    match (shown, ended) {
        (0, Ended::End) => {
            return Err(Failure::Failed(anyhow::anyhow!("there is no such record in {}", arguments.topic)));
        }
        (0, Ended::Timeout) => return Err(Failure::Failed(anyhow::anyhow!("no such record came in time"))),
        _ => {}
    }
    if let Some(path) = &arguments.output {
        match shown {
            0 => eprintln!("no such record came: {} is as it was", path.display()),
            shown => eprintln!("{} in {}", counted(shown, "record"), path.display()),
        }
    }
    Ok(())
}
