//! A function that does what the value of its record says, however bad.
//!
//! The value is `command[:argument][;payload]`, for example `many:3;x`. Whatever is not one of
//! these commands is forwarded as it is, or rebuilt from its fields if the environment says REBUILD.
//!
//! | value | what happens |
//! |---|---|
//! | `copy` | forwarded as it is |
//! | `ok;x` | the value becomes `done:x`; key, headers and timestamp stay |
//! | `drop` | no message |
//! | `many:N;x` | N messages, `x#0` to `x#N-1` |
//! | `retry:N;x` | a retry while the attempt is below N, then `done:x` |
//! | `reject;why` | a reject with that reason |
//! | `trap` | a trap |
//! | `trap:N;x` | a trap up to attempt N, then `done:x` |
//! | `spin` | never returns |
//! | `bomb` | takes memory until there is none |
//! | `overflow` | recurses until the stack ends |
//! | `exit:N` | ends the process with status N |
//! | `sleep:MS;x` | sleeps that many milliseconds, then `done:x` |
//! | `log:text` | the text as a line on standard output and one on standard error; forwarded |
//! | `env:NAME` | the value becomes that of the environment variable; null when there is none |
//! | `to:TOPIC;x` | `x` to that topic |
//! | `part:N;x` | `x` to that partition |
//! | `big:BYTES` | a value of that many bytes, each `x` |
//! | `random` | the value becomes a random number |
//! | `now` | the value becomes the time, in milliseconds since 1970-01-01 UTC |

use std::hash::{BuildHasher as _, RandomState};
use std::hint::black_box;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use tidegate_sdk::{Error, Message, Record, Result};

#[tidegate_sdk::function]
fn obey(record: Record) -> Result<Vec<Message>> {
    let value = record.value().and_then(|value| std::str::from_utf8(value).ok());
    let Some(command) = value.and_then(Command::parse) else {
        return Ok(vec![copied(record)]);
    };
    let done = |payload: &str| Ok(vec![record.with_value(format!("done:{payload}"))]);
    match command {
        Command::Ok { payload } => done(payload),
        Command::Drop => Ok(Vec::new()),
        Command::Many { count, payload } => {
            Ok((0..count).map(|n| record.with_value(format!("{payload}#{n}"))).collect())
        }
        Command::Retry { below, payload } if record.attempt() >= below => done(payload),
        Command::Retry { .. } => Err(Error::retry(format_args!("attempt {}", record.attempt()))),
        Command::Reject { why } => Err(Error::reject(why)),
        Command::Trap { up_to, payload } if record.attempt() > up_to => done(payload),
        Command::Trap { .. } => panic!("told to trap at attempt {}", record.attempt()),
        Command::Spin => spin(),
        Command::Bomb => bomb(),
        Command::Overflow => Ok(vec![record.with_value(overflow(1).to_string())]),
        Command::Exit { status } => std::process::exit(status),
        Command::Sleep { ms, payload } => {
            std::thread::sleep(Duration::from_millis(ms));
            done(payload)
        }
        Command::Log { text } => {
            println!("{text}");
            eprintln!("{text}");
            Ok(vec![copied(record)])
        }
        Command::Env { name } => Ok(vec![record.with_value(std::env::var(name).ok())]),
        Command::To { topic, payload } => Ok(vec![record.with_value(payload).with_topic(topic)]),
        Command::Part { partition, payload } => Ok(vec![record.with_value(payload).with_partition(partition)]),
        Command::Big { bytes } => Ok(vec![record.with_value(vec![b'x'; bytes])]),
        Command::Random => Ok(vec![record.with_value(format!("{:016x}", RandomState::new().hash_one(0)))]),
        Command::Now => {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_err(Error::retry)?;
            Ok(vec![record.with_value(now.as_millis().to_string())])
        }
    }
}

/// What would be forwarded is taken apart and put together again, so that every field crosses in both
/// directions.
static REBUILDS: LazyLock<bool> = LazyLock::new(|| std::env::var_os("REBUILD").is_some_and(|value| !value.is_empty()));

fn copied(record: Record<'_>) -> Message<'_> {
    if *REBUILDS { rebuilt(record) } else { record.forward() }
}

fn rebuilt(record: Record<'_>) -> Message<'_> {
    let headers = record.headers().map(|header| (header.name.to_vec(), header.value.map(<[u8]>::to_vec)));
    let message = Message::new(record.value().map(<[u8]>::to_vec)).with_key(record.key().map(<[u8]>::to_vec));
    let message = message.with_headers(headers);
    match record.timestamp() {
        Some(timestamp) => message.with_timestamp(timestamp),
        None => message.without_timestamp(),
    }
}

#[derive(Debug, PartialEq)]
enum Command<'a> {
    Ok { payload: &'a str },
    Drop,
    Many { count: u32, payload: &'a str },
    Retry { below: u32, payload: &'a str },
    Reject { why: &'a str },
    Trap { up_to: u32, payload: &'a str },
    Spin,
    Bomb,
    Overflow,
    Exit { status: i32 },
    Sleep { ms: u64, payload: &'a str },
    Log { text: &'a str },
    Env { name: &'a str },
    To { topic: &'a str, payload: &'a str },
    Part { partition: i32, payload: &'a str },
    Big { bytes: usize },
    Random,
    Now,
}

impl<'a> Command<'a> {
    /// `None`: no command.
    fn parse(value: &'a str) -> Option<Self> {
        // A text may hold anything, a `;` too.
        if let Some(text) = value.strip_prefix("log:") {
            return Some(Command::Log { text });
        }
        let (head, payload) = value.split_once(';').map_or((value, None), |(head, payload)| (head, Some(payload)));
        let (name, argument) = head.split_once(':').map_or((head, None), |(name, argument)| (name, Some(argument)));
        Some(match (name, argument, payload) {
            ("ok", None, Some(payload)) => Command::Ok { payload },
            ("drop", None, None) => Command::Drop,
            ("many", Some(count), Some(payload)) => Command::Many { count: count.parse().ok()?, payload },
            ("retry", Some(below), Some(payload)) => Command::Retry { below: below.parse().ok()?, payload },
            ("reject", None, Some(why)) => Command::Reject { why },
            ("trap", None, None) => Command::Trap { up_to: u32::MAX, payload: "" },
            ("trap", Some(up_to), Some(payload)) => Command::Trap { up_to: up_to.parse().ok()?, payload },
            ("spin", None, None) => Command::Spin,
            ("bomb", None, None) => Command::Bomb,
            ("overflow", None, None) => Command::Overflow,
            ("exit", Some(status), None) => Command::Exit { status: status.parse().ok()? },
            ("sleep", Some(ms), Some(payload)) => Command::Sleep { ms: ms.parse().ok()?, payload },
            ("env", Some(name), None) => Command::Env { name },
            ("to", Some(topic), Some(payload)) => Command::To { topic, payload },
            ("part", Some(partition), Some(payload)) => Command::Part { partition: partition.parse().ok()?, payload },
            ("big", Some(bytes), None) => Command::Big { bytes: bytes.parse().ok()? },
            ("random", None, None) => Command::Random,
            ("now", None, None) => Command::Now,
            _ => return None,
        })
    }
}

fn spin() -> ! {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

/// Every page is written to, so that it counts wherever pages are counted only when touched.
fn bomb() -> ! {
    let mut hoard = Vec::new();
    loop {
        hoard.push(black_box(vec![1_u8; 1 << 20]));
    }
}

/// Takes a kilobyte of stack each turn. The result depends on the deeper turn, so that the
/// compiler cannot make a loop of it.
#[inline(never)]
fn overflow(depth: u64) -> u64 {
    let frame = black_box([depth; 128]);
    if black_box(depth) == 0 {
        return 0;
    }
    overflow(depth + 1).wrapping_add(black_box(&frame)[64])
}

#[cfg(test)]
mod tests {
    use tidegate_sdk::testing;

    use super::*;

    fn obeyed(value: &str, attempt: u32) -> testing::Outcome {
        let record = testing::Record::new().key("k").header("h", "v").timestamp(7).attempt(attempt).value(value);
        testing::run::<obey>([record])
    }

    #[track_caller]
    fn check(value: &str, attempt: u32, expected: &[&str]) {
        let outcome = obeyed(value, attempt);
        let values: Vec<&str> = outcome.messages.iter().map(testing::Message::value_str).collect();
        assert_eq!(values, expected);
        assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
        for message in &outcome.messages {
            assert_eq!(message.key_str(), "k");
            assert_eq!(message.header("h").and_then(|header| header.value), Some(&b"v"[..]));
            assert_eq!(message.timestamp, Some(7));
        }
    }

    #[track_caller]
    fn check_failed(value: &str, attempt: u32, expected: &Error) {
        let outcome = obeyed(value, attempt);
        assert!(outcome.messages.is_empty());
        assert_eq!(&outcome.failures[0].error, expected);
    }

    #[test]
    fn commands_are_obeyed() {
        check("ok;x", 1, &["done:x"]);
        check("ok;a;b:c", 1, &["done:a;b:c"]);
        check("drop", 1, &[]);
        check("many:3;x", 1, &["x#0", "x#1", "x#2"]);
        check("many:0;x", 1, &[]);
        check("retry:3;x", 3, &["done:x"]);
        check("trap:2;x", 3, &["done:x"]);
        check("sleep:0;x", 1, &["done:x"]);
        check("log:a;b", 1, &["log:a;b"]);
        check("big:3", 1, &["xxx"]);
        check_failed("retry:3;x", 2, &Error::retry("attempt 2"));
        check_failed("reject;not wanted", 1, &Error::reject("not wanted"));
    }

    #[test]
    fn whatever_is_no_command_is_forwarded() {
        for value in ["copy", "", "hello", "ok", "ok:1;x", "many:x;x", "trap:2", "drop;x", "big:-1", "now;x"] {
            check(value, 1, &[value]);
        }
        let binary = testing::Record::new().value(b"\xff\x00");
        assert_eq!(testing::run::<obey>([binary]).messages[0].value.as_deref(), Some(&b"\xff\x00"[..]));
        let null = testing::Record::new();
        assert_eq!(testing::run::<obey>([null]).messages[0].value, None);
    }

    #[test]
    fn topic_partition_and_environment_are_in_the_message() {
        let to = &obeyed("to:other;x", 1).messages[0];
        assert_eq!((to.topic.as_deref(), to.value_str()), (Some("other"), "x"));
        let part = &obeyed("part:4;x", 1).messages[0];
        assert_eq!((part.partition, part.value_str()), (Some(4), "x"));
        let path = std::env::var("PATH").ok();
        assert_eq!(obeyed("env:PATH", 1).messages[0].value, path.map(String::into_bytes));
        assert_eq!(obeyed("env:TIDEGATE_NO_SUCH", 1).messages[0].value, None);
    }

    #[test]
    #[should_panic(expected = "told to trap at attempt 2")]
    fn a_trap_traps_up_to_its_attempt() {
        obeyed("trap:2;x", 2);
    }

    #[test]
    fn a_record_is_the_same_when_it_is_rebuilt() {
        let record = testing::Record::new().key("k").header("h", "v").header("", b"\xff").timestamp(7).value("x");
        let view = record.view();
        let spelled_out = view.with_value("x").with_key("k").with_headers(view.headers()).with_timestamp(7);
        assert_eq!(rebuilt(view), spelled_out);
        let bare = testing::Record::new();
        let view = bare.view();
        let nothing = view.forward().without_value().without_key().without_headers().without_timestamp();
        assert_eq!(rebuilt(view), nothing);
    }

    #[test]
    fn what_never_returns_is_a_command_too() {
        for value in ["spin", "bomb", "overflow", "exit:3", "trap"] {
            assert!(Command::parse(value).is_some(), "{value}");
        }
    }
}
