//! The differences between the expected and the actual result of a record.

use super::Answer;
use super::expectation::{self, is_same};
use crate::record::outcome::{Fault, Timestamp};
use crate::tools::ndjson::{Message, RecordLine};

/// One difference.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    /// The part that differs, such as "value".
    pub(super) about: String,
    pub(super) sides: Sides,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sides {
    /// Two values of which the place is shown where they part.
    Values { expected: Vec<u8>, came: Vec<u8> },
    /// Two descriptions. `None`: this side has nothing.
    Words { expected: Option<String>, came: Option<String> },
}

fn values(about: impl Into<String>, expected: impl Into<Vec<u8>>, came: impl Into<Vec<u8>>) -> Difference {
    Difference { about: about.into(), sides: Sides::Values { expected: expected.into(), came: came.into() } }
}

fn words(about: impl Into<String>, expected: impl Into<Option<String>>, came: impl Into<Option<String>>) -> Difference {
    Difference { about: about.into(), sides: Sides::Words { expected: expected.into(), came: came.into() } }
}

/// All differences, at least one if the answer does not meet the expectation.
pub(super) fn between(record: &RecordLine, expected: &Answer, came: &Answer) -> Vec<Difference> {
    match (expected, came) {
        (Ok(expected), Ok(came)) => messages(record, expected, came),
        (Err(expected), Err(came)) if is_same(expected, came) => Vec::new(),
        (Err(expected), Err(came)) if expected.cause == came.cause => {
            vec![values(format!("reason of the {}", came.cause), expected.reason.as_str(), came.reason.as_str())]
        }
        (expected, came) => vec![words("outcome", described(record, expected), described(record, came))],
    }
}

fn described(record: &RecordLine, answer: &Answer) -> String {
    match answer {
        Err(Fault { cause, reason }) if reason.is_empty() => cause.to_string(),
        Err(Fault { cause, reason }) => format!("{cause}: {reason}"),
        Ok(messages) => match messages.as_slice() {
            [] => "no message".to_owned(),
            [message] => format!("1 message: {}", expectation::message(record, message)),
            [first, ..] => format!("{} messages, first {}", messages.len(), expectation::message(record, first)),
        },
    }
}

/// Compares only the part between the common beginning and the common end of both lists, so that one message more
/// does not shift all that follow.
fn messages(record: &RecordLine, expected: &[Message], came: &[Message]) -> Vec<Difference> {
    let start = expected.iter().zip(came).take_while(|(one, other)| one == other).count();
    let (expected_rest, came_rest) = (&expected[start..], &came[start..]);
    let same_end = expected_rest.iter().rev().zip(came_rest.iter().rev()).take_while(|(one, other)| one == other);
    let end = same_end.count();
    let expected_rest = &expected_rest[..expected_rest.len() - end];
    let came_rest = &came_rest[..came_rest.len() - end];
    let is_only = expected.len() == 1 && came.len() == 1;
    let mut differences = Vec::new();
    for index in 0..expected_rest.len().max(came_rest.len()) {
        let number = start + index + 1;
        let shown = |message: &Message| expectation::message(record, message);
        match (expected_rest.get(index), came_rest.get(index)) {
            (Some(expected), Some(came)) => {
                let about = if is_only { String::new() } else { format!("message {number}, ") };
                differences.extend(fields(&about, expected, came));
            }
            (expected, came) => {
                let what = if came.is_none() { "is missing" } else { "was not expected" };
                differences.push(words(format!("message {number} {what}"), expected.map(shown), came.map(shown)));
            }
        }
    }
    differences
}

fn fields(message: &str, expected: &Message, came: &Message) -> Vec<Difference> {
    let about = |field: &str| format!("{message}{field}");
    let mut differences = Vec::new();
    let mut word = |field: &str, of: fn(&Message) -> String, is_same: bool| {
        if !is_same {
            differences.push(words(about(field), of(expected), of(came)));
        }
    };
    word("topic", topic, expected.topic == came.topic);
    word("partition", partition, expected.partition == came.partition);
    word("timestamp", timestamp, expected.timestamp == came.timestamp);
    for (field, expected, came) in [("key", &expected.key, &came.key), ("value", &expected.value, &came.value)] {
        match (expected, came) {
            (expected, came) if expected == came => {}
            (Some(expected), Some(came)) => differences.push(values(about(field), expected.clone(), came.clone())),
            (expected, came) => differences.push(words(about(field), bytes(expected), bytes(came))),
        }
    }
    if expected.headers != came.headers {
        let (expected, came) = (expectation::headers(&expected.headers), expectation::headers(&came.headers));
        differences.push(values(about("headers"), expected, came));
    }
    differences
}

fn topic(message: &Message) -> String {
    message.topic.clone().unwrap_or_else(|| "(the trigger's output)".to_owned())
}

fn partition(message: &Message) -> String {
    message.partition.map_or_else(|| "(by key)".to_owned(), |partition| partition.to_string())
}

fn timestamp(message: &Message) -> String {
    match message.timestamp {
        Timestamp::AsInSource => "(that of the record, which has none)".to_owned(),
        Timestamp::Now => "(the time of producing)".to_owned(),
        Timestamp::Milliseconds(milliseconds) => milliseconds.to_string(),
    }
}

fn bytes(bytes: &Option<Vec<u8>>) -> String {
    match bytes.as_deref() {
        None => "(null)".to_owned(),
        Some([]) => "(empty)".to_owned(),
        Some(bytes) => String::from_utf8_lossy(bytes).into_owned(),
    }
}
