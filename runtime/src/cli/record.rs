use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use super::connect::ConnectArguments;
use super::{node, value};
use crate::kafka::scan::Isolation;
use crate::tools::Failure;
use crate::tools::consume::{Plan, Start};
use crate::tools::record::{Recording, record};

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
    #[arg(long, value_name = "START", default_value = "earliest", allow_hyphen_values = true, value_parser = value::start)]
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
    let recording = Recording {
        key: arguments.key.clone(),
        count: arguments.count.map(NonZeroU64::get),
        output: arguments.output.clone(),
    };
    let runtime = node::runtime()?;
    let result = runtime.block_on(record(&plan, recording));
    runtime.shutdown_background();
    result
}
