use std::num::NonZeroU64;
use std::time::Duration;

use super::connect::ConnectArguments;
use super::{node, value};
use crate::kafka::scan::Isolation;
use crate::tools::Failure;
use crate::tools::consume::{Check, Filter, Plan, Start, check, show};
use crate::tools::traffic::Run;

const HELP: &str = r#"Where reading begins, in each partition; the nearest there is if that is gone:
  earliest               the first record
  latest                 behind the last one: what comes from now on
  1200                   an offset
  -10                    ten records before the end
  -10m                   what is not older than ten minutes
  2026-11-24T10:00:00Z   what is not older than that; also as 1790000000000ms since 1970
The broker of `tidegate dev` cannot be asked by time: it takes every time as latest.

Lines of --json are those that `tidegate produce --file` and `tidegate invoke --input` read:
  {"topic", "partition", "offset", "timestamp", "key", "value", "headers": [["name", "value"]],
   "attempt": 1}; bytes that are no text are {"base64": "/wA="}.

--verify checks records that `tidegate produce --count` or one of its like numbered, in the topic
they were produced to or behind functions that keep the headers or the value:
  lost          a later number of the same key is there; or the run has it, by --expect or by its
                own count, and all was read with --to-end
  missing       less is there than --expect wants, in a place that is unknown: reading did not begin
                with the first record that ever was there, or nothing of the run was read
  repeated      a number is there once more, which is what "at least once" allows
  out of order  a higher number of the same key stands before it in the same partition
  unknown       a record without a number
With a run's output and dead letters named together, records that were given up are not lost. After
Ctrl-C or --timeout more may come, and only numbers count as lost that were jumped over. Compaction
leaves gaps, so of a compacted topic only repeats and order are checked; to see that it is one needs
the permission to describe its settings. Checking takes 1 bit of memory for each record and 100
bytes for each key, and gives up at some 250 MiB.

Exit code 1: --verify found something, or less came than --count or --expect want, unless Ctrl-C
ended it; or there is no such topic. 2: a flag is wrong.

Examples:
  tidegate consume orders --from -10
  tidegate consume orders --json --key 42 | jq .value
  tidegate consume orders-out --verify --to-end
  tidegate consume orders-out orders-dead --verify --run 3kf90a2m --expect 20000 --timeout 30s
  tidegate consume shout-out --brokers 127.0.0.1:35000    # as `tidegate dev` printed"#;

/// Watch topics, or check the records of `tidegate produce`.
///
/// Reads partitions by itself: it joins no group and commits nothing, so it disturbs nobody. Goes on
/// until Ctrl-C unless one of --count, --to-end, --timeout and --expect ends it. Finds partitions that
/// are added meanwhile within 10 s, or as the property topic.metadata.refresh.interval.ms says.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Arguments {
    /// The topics.
    #[arg(value_name = "TOPIC", required = true)]
    topics: Vec<String>,

    /// Where to begin.
    #[arg(long, value_name = "START", default_value = "earliest", allow_hyphen_values = true, value_parser = value::start)]
    from: Start,

    /// Only this partition.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,

    /// End after so many records.
    #[arg(long, short = 'n', value_name = "RECORDS")]
    count: Option<NonZeroU64>,

    /// End at the end that the partitions have now.
    #[arg(long)]
    to_end: bool,

    /// End when no record came for so long, such as "30s". Those that --key or --header rejects do not
    /// count, unless --to-end is given.
    #[arg(long, value_name = "DURATION", value_parser = value::duration)]
    timeout: Option<Duration>,

    /// Also records of transactions that were aborted or are not committed.
    #[arg(long)]
    uncommitted: bool,

    /// Only records with this key.
    #[arg(long, value_name = "TEXT")]
    key: Option<String>,

    /// Only records with this header. May be given several times: all of them.
    #[arg(long, value_name = "NAME=VALUE", value_parser = value::pair)]
    header: Vec<(String, String)>,

    /// Write one JSON object a line, or with --verify one for all.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    verify: VerifyArguments,

    #[command(flatten)]
    connect: ConnectArguments,
}

#[derive(clap::Args)]
#[command(next_help_heading = "Numbered records")]
struct VerifyArguments {
    /// Look for numbered records that are lost, repeated or out of order.
    #[arg(long, conflicts_with_all = ["count", "key", "header"])]
    verify: bool,

    /// Only this run, by the name that `tidegate produce` printed.
    #[arg(long, value_name = "NAME", requires = "verify", value_parser = run)]
    run: Option<Run>,

    /// The run has so many records, in all partitions together. Ends when all of them were seen, unless
    /// --to-end is given.
    #[arg(long, value_name = "RECORDS", requires_all = ["verify", "run"])]
    expect: Option<NonZeroU64>,
}

fn run(text: &str) -> Result<Run, String> {
    Run::read(text).ok_or_else(|| "expected 8 letters and digits such as \"3kf90a2m\"".to_owned())
}

pub(super) fn main(arguments: &Arguments) -> Result<(), Failure> {
    if let (Some(_), Some(expect)) = (arguments.partition, arguments.verify.expect) {
        return Err(Failure::usage(format!(
            "--expect {expect}: it counts the records of all partitions, so that --partition would never have them all; \
             leave one of the two out"
        )));
    }
    let plan = Plan {
        cluster: arguments.connect.cluster()?,
        topics: distinct(&arguments.topics),
        partition: arguments.partition,
        from: arguments.from,
        isolation: if arguments.uncommitted { Isolation::Uncommitted } else { Isolation::Committed },
        to_end: arguments.to_end,
        timeout: arguments.timeout,
    };
    let runtime = node::runtime()?;
    let VerifyArguments { verify, run, expect } = arguments.verify;
    let result = if verify {
        let wanted = Check { run, expected: expect.map(NonZeroU64::get), json: arguments.json };
        runtime.block_on(check(&plan, &wanted))
    } else {
        let filter = Filter { key: arguments.key.clone(), headers: arguments.header.clone() };
        runtime.block_on(show(&plan, filter, arguments.json, arguments.count.map(NonZeroU64::get)))
    };
    runtime.shutdown_background();
    result
}

/// The topics in the order in which they are named, without repetitions.
fn distinct(topics: &[String]) -> Vec<String> {
    let firsts = topics.iter().enumerate().filter(|(at, topic)| !topics[..*at].contains(topic));
    firsts.map(|(_, topic)| topic.clone()).collect()
}
