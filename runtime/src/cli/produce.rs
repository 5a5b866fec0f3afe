use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;

use super::connect::ConnectArguments;
use super::{node, value};
use crate::tools::Failure;
use crate::tools::produce::{Ahead, Draft, NO_ZERO, Plan, Settings, Supply, produce};
use crate::tools::traffic::{MAX_KEYS, Numbers, Size};

const HELP: &str = r#"Lines of --file are those that `tidegate record`, `consume --json` and `invoke` write and read,
every field optional:
  {"timestamp": 1700000000000, "key": "k", "value": "v", "headers": [["name", "value"]]}
  A key, value, or header value is a string, null, {"json": {"id": 5}} for a JSON text, or
  {"base64": "/wA="} for bytes that are no text. Topic and offset of a line are not looked at.

Numbered records are what `tidegate consume --verify` checks for loss, repeats and order. Their
keys, key-0 to key-99 if --keys is not given, take turns. Each carries its number twice:
  in the header  numbered-record: run=3kf90a2m number=20342 keys=100 count=50000
  in the value   {"run":"3kf90a2m","number":20342,"keys":100,"count":50000,"filler":"…"}
So functions that keep the headers or the value can be checked. Record n has the key n mod keys, and
is the (n div keys)-th of it. A value of less than 128 bytes is filler alone.

A record is done when all replicas have it; the client sends again without repeating. After 1,000
refused in a row it gives up, unless that is about the records themselves, such as their size.

Exit code 1: the topic is not there, or some records were refused, and which is said. 2: a line or
flag is wrong; what stood before it is produced.

Examples:
  tidegate produce orders --value '{"id": 5}' --key 5 --header trace=abc
  tidegate produce orders --file orders.ndjson
  tidegate produce orders --count 20000 --keys 100 --rate 1000 --size 100B..1KiB
  tidegate produce load --create 12 --rate 5000
  tidegate produce shout-in --value hello --brokers 127.0.0.1:35000  # as `tidegate dev` printed"#;

/// Produce records: one from flags, those of a file, or numbered ones.
///
/// Ctrl-C ends it: what is under way is finished, and the summary is written. A second one, half a
/// second later or more, gives up what is under way.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Arguments {
    /// The topic.
    topic: String,

    /// Records as lines of JSON. "-" is standard input.
    #[arg(long, short, value_name = "FILE", visible_alias = "input", visible_short_alias = 'i')]
    file: Option<PathBuf>,

    /// Records a second, evenly. As fast as it goes, if it is not given.
    #[arg(long, value_name = "RECORDS", conflicts_with_all = ["value", "null_value", "key", "header", "timestamp"])]
    rate: Option<NonZeroU32>,

    /// The partition. By key, if it is not given; those without a key anywhere.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,

    /// Create the topic with so many partitions, unless it is there.
    #[arg(long, value_name = "PARTITIONS", value_parser = clap::value_parser!(i32).range(1..=10_000))]
    create: Option<i32>,

    /// Each line into the partition that it names.
    #[arg(long, requires = "file", conflicts_with = "partition")]
    keep_partitions: bool,

    /// Lines get the time of producing, whatever they say: a broker deletes old records soon.
    #[arg(long, requires = "file")]
    now: bool,

    #[command(flatten)]
    one: OneArguments,

    #[command(flatten)]
    numbered: NumberedArguments,

    #[command(flatten)]
    connect: ConnectArguments,
}

#[derive(clap::Args)]
#[command(next_help_heading = "One record")]
struct OneArguments {
    /// The value. Empty, if a key or header is given and it is not.
    #[arg(long, value_name = "TEXT", conflicts_with = "file")]
    value: Option<String>,

    /// No value: what deletes the key from a compacted topic.
    #[arg(long, conflicts_with_all = ["value", "file"])]
    null_value: bool,

    /// The key. None, if it is not given.
    #[arg(long, value_name = "TEXT", conflicts_with = "file")]
    key: Option<String>,

    /// A header. May be given several times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = value::pair, conflicts_with = "file")]
    header: Vec<(String, String)>,

    /// The timestamp, such as "2026-11-24T10:00:00Z" or "1790000000000ms". Now, if it is not given.
    #[arg(long, value_name = "TIME", value_parser = timestamp, conflicts_with = "file")]
    timestamp: Option<i64>,
}

impl OneArguments {
    fn is_given(&self) -> bool {
        self.value.is_some()
            || self.null_value
            || self.key.is_some()
            || !self.header.is_empty()
            || self.timestamp.is_some()
    }

    fn record(&self, partition: Option<i32>) -> Draft {
        let bytes = |text: &String| text.clone().into_bytes();
        Draft {
            number: 1,
            partition,
            timestamp_ms: self.timestamp,
            key: self.key.as_ref().map(bytes),
            value: (!self.null_value).then(|| self.value.as_ref().map(bytes).unwrap_or_default()),
            headers: self.header.iter().map(|(name, value)| (bytes(name), Some(bytes(value)))).collect(),
        }
    }
}

#[derive(clap::Args)]
#[command(next_help_heading = "Numbered records")]
struct NumberedArguments {
    /// How many. Until Ctrl-C, if --rate, --keys or --size is given and it is not.
    #[arg(long, short = 'n', value_name = "RECORDS", conflicts_with_all = ["file", "value", "null_value", "key", "header", "timestamp"])]
    count: Option<NonZeroU64>,

    /// How many different keys, 100 if it is not given.
    #[arg(long, conflicts_with_all = ["file", "value", "null_value", "key", "header", "timestamp"], value_parser = keys)]
    keys: Option<NonZeroU32>,

    /// The size of a value, or the smallest and the largest one. 128B, if it is not given.
    #[arg(long, value_name = "SIZE[..SIZE]", conflicts_with_all = ["file", "value", "null_value", "key", "header", "timestamp"], value_parser = value::size)]
    size: Option<Size>,
}

fn timestamp(text: &str) -> Result<i64, String> {
    let milliseconds = value::timestamp(text)?;
    if milliseconds == 0 { Err(NO_ZERO.to_owned()) } else { Ok(milliseconds) }
}

fn keys(text: &str) -> Result<NonZeroU32, String> {
    let keys = text.parse::<NonZeroU32>().ok().filter(|keys| keys.get() <= MAX_KEYS);
    keys.ok_or_else(|| format!("expected a number from 1 to {MAX_KEYS}"))
}

const DEFAULT_KEYS: NonZeroU32 = NonZeroU32::new(100).expect("not zero");
const DEFAULT_SIZE: Size = Size { min: 128, max: 128 };

pub(super) fn main(arguments: &Arguments) -> Result<(), Failure> {
    let supply = supply(arguments)?;
    let plan = Plan {
        cluster: arguments.connect.cluster()?,
        topic: arguments.topic.clone(),
        create: arguments.create,
        partition: arguments.partition,
        rate: arguments.rate,
    };
    let runtime = node::runtime()?;
    let result = runtime.block_on(produce(&plan, supply));
    // Do not wait for the thread that waits for standard input.
    runtime.shutdown_background();
    result
}

/// Where the records come from: the flags, a file, or a run of numbered records.
fn supply(arguments: &Arguments) -> Result<Supply, Failure> {
    let NumberedArguments { count, keys, size } = arguments.numbered;
    if let Some(path) = &arguments.file {
        return Ok(Supply::Lines(Ahead::open(
            path,
            Settings {
                partition: arguments.partition,
                keep_partitions: arguments.keep_partitions,
                keep_timestamps: !arguments.now,
            },
        )?));
    }
    if arguments.one.is_given() {
        return Ok(Supply::One(Some(arguments.one.record(arguments.partition))));
    }
    if count.is_none() && keys.is_none() && size.is_none() && arguments.rate.is_none() {
        return Err(Failure::usage(
            "which records? --value TEXT for one, --file FILE for those of a file (\"-\" is standard \
             input), --count N for numbered ones",
        ));
    }
    let rng = fastrand::Rng::new();
    let numbers =
        Numbers::new(keys.unwrap_or(DEFAULT_KEYS), size.unwrap_or(DEFAULT_SIZE), count.map(NonZeroU64::get), rng);
    Ok(Supply::Numbered { numbers, partition: arguments.partition })
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
        let all = ["produce", "orders"].iter().chain(flags);
        Flags::try_parse_from(all).unwrap_or_else(|error| panic!("{error}")).arguments
    }

    /// `tidegate invoke` has the same test.
    #[test]
    fn a_value_that_is_left_out_is_empty_and_null_if_asked_for() {
        let value = |flags: &[&str]| {
            let one = arguments(flags).one;
            one.is_given().then(|| one.record(None).value)
        };
        assert_eq!(value(&[]), None);
        assert_eq!(value(&["--key", "k"]), Some(Some(Vec::new())));
        assert_eq!(value(&["--header", "a=b"]), Some(Some(Vec::new())));
        assert_eq!(value(&["--value", "v"]), Some(Some(b"v".to_vec())));
        assert_eq!(value(&["--null-value"]), Some(None));
    }

    #[test]
    fn the_lines_of_the_help_are_not_broken_once_more() {
        assert_eq!(HELP.lines().find(|line| line.chars().count() > 100), None);
    }

    #[test]
    fn lines_and_times_are_given_as_to_invoke() {
        for flag in ["--file", "--input", "-f", "-i"] {
            assert_eq!(arguments(&[flag, "a"]).file, Some("a".into()), "{flag}");
        }
        for time in ["1970-01-01T00:00:01.5Z", "1500ms"] {
            assert_eq!(arguments(&["--value", "v", "--timestamp", time]).one.timestamp, Some(1_500), "{time}");
        }
    }
}
