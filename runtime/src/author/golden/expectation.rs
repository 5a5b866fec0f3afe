//! Expectations about a record: reading, writing and comparing them.

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::value::RawValue;

use super::Answer;
use crate::record::outcome::{Cause, Fault, Timestamp};
use crate::tools::ndjson::{self, Bytes, Malformed, Message, Pair, RecordLine, Shown};

/// The causes that a record can fail with when there is no broker.
const CAUSES: [Cause; 7] =
    [Cause::Retry, Cause::Reject, Cause::Trap, Cause::Exit, Cause::Deadline, Cause::Memory, Cause::BadOutcome];

/// What is expected of a record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Expectation {
    Messages(Vec<MessageLine>),
    /// The reason is empty if it is not compared.
    Failure(Fault),
}

/// A message as it is written. Fields that are left out are as in the record.
#[derive(Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct MessageLine {
    topic: Option<String>,
    partition: Option<i32>,
    #[serde(deserialize_with = "given")]
    timestamp: Option<Option<i64>>,
    #[serde(deserialize_with = "given")]
    key: Option<Bytes>,
    #[serde(deserialize_with = "given")]
    value: Option<Bytes>,
    headers: Option<Vec<Pair>>,
}

/// A field that is written is `Some`, even if it is null.
pub(super) fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Whether a line is an expectation and not a record. Its first key decides, even if the rest is wrong.
pub(super) fn is_one(line: &[u8]) -> bool {
    let inner = line.trim_ascii_start().strip_prefix(b"{").map(<[u8]>::trim_ascii_start);
    inner.is_some_and(|inner| inner.starts_with(b"\"messages\"") || inner.starts_with(b"\"failure\""))
}

impl Expectation {
    /// Reads a line, with or without the line break at its end.
    pub(super) fn read(line: &[u8]) -> Result<Self, Malformed> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Line {
            messages: Option<Vec<MessageLine>>,
            failure: Option<FailureLine>,
        }
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct FailureLine {
            #[serde(deserialize_with = "cause")]
            cause: Cause,
            reason: Option<String>,
        }
        let wrong = |reason: String| Malformed { column: 1, reason };
        let line: Line = ndjson::object(line, "an expectation is an object such as {\"messages\": []}")?;
        let failure = match (line.messages, line.failure) {
            (Some(messages), None) => return Ok(Self::Messages(messages)),
            (None, Some(failure)) => failure,
            _ => return Err(wrong("a record has messages or a failure, not both".to_owned())),
        };
        match (has_own_words(failure.cause), failure.reason) {
            (true, Some(reason)) => Ok(Self::Failure(Fault::new(failure.cause, reason))),
            (false, None) => Ok(Self::Failure(Fault::new(failure.cause, ""))),
            (true, None) => Err(wrong(format!(
                "the reason of a {} is compared: write \"reason\": \"…\" beside its cause",
                failure.cause
            ))),
            (false, Some(_)) => {
                Err(wrong(format!("only the cause of a {} is compared: leave its reason out", failure.cause)))
            }
        }
    }

    /// The complete expectation. `output` is the topic that a message may leave out.
    pub(super) fn resolved(&self, record: &RecordLine, output: Option<&str>) -> Answer {
        match self {
            Self::Messages(lines) => Ok(lines.iter().map(|line| line.resolved(record, output)).collect()),
            Self::Failure(fault) => Err(fault.clone()),
        }
    }

    pub(super) fn is_met(&self, record: &RecordLine, output: Option<&str>, came: &Answer) -> bool {
        match (self.resolved(record, output), came) {
            (Ok(expected), Ok(came)) => expected == *came,
            (Err(expected), Err(came)) => is_same(&expected, came),
            _ => false,
        }
    }
}

/// Whether two failures are equal in the parts that are compared.
pub(super) fn is_same(expected: &Fault, came: &Fault) -> bool {
    expected.cause == came.cause && (!has_own_words(came.cause) || expected.reason == came.reason)
}

/// Whether the reason is in the function's own words.
pub(super) fn has_own_words(cause: Cause) -> bool {
    matches!(cause, Cause::Retry | Cause::Reject)
}

fn cause<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Cause, D::Error> {
    let name = String::deserialize(deserializer)?;
    CAUSES.into_iter().find(|cause| cause.name() == name).ok_or_else(|| {
        let names = CAUSES.map(Cause::name).join(", ");
        serde::de::Error::custom(format_args!("no cause is called {name}; there are {names}"))
    })
}

impl MessageLine {
    fn resolved(&self, record: &RecordLine, output: Option<&str>) -> Message {
        let bytes = |given: &Option<Bytes>, record: &Bytes| given.as_ref().unwrap_or(record).0.clone();
        Message {
            topic: self.topic.clone().filter(|topic| Some(topic.as_str()) != output),
            partition: self.partition,
            timestamp: match self.timestamp {
                None => Timestamp::of_source(record.timestamp),
                Some(own) => own.map_or(Timestamp::Now, Timestamp::Milliseconds),
            },
            key: bytes(&self.key, &record.key),
            value: bytes(&self.value, &record.value),
            headers: pairs(self.headers.as_ref().unwrap_or(&record.headers)),
        }
    }
}

/// Headers in the form that messages have.
fn pairs(headers: &[Pair]) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    headers.iter().map(|pair| (pair.name.clone(), pair.value.clone())).collect()
}

/// Writes an answer as an expectation that [`Expectation::read`] reads back. Without a line break.
pub(super) fn line(record: &RecordLine, came: &Answer) -> String {
    #[derive(serde::Serialize)]
    struct Messages<'a> {
        messages: Vec<Written<'a>>,
    }
    #[derive(serde::Serialize)]
    struct Failed<'a> {
        failure: Failure<'a>,
    }
    #[derive(serde::Serialize)]
    struct Failure<'a> {
        cause: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'a str>,
    }
    match came {
        Ok(messages) => text(&Messages { messages: messages.iter().map(|message| written(record, message)).collect() }),
        Err(fault) => {
            let reason = has_own_words(fault.cause).then_some(fault.reason.as_str());
            text(&Failed { failure: Failure { cause: fault.cause.name(), reason } })
        }
    }
}

/// Writes a message in the form of an expectation.
pub(super) fn message(record: &RecordLine, message: &Message) -> String {
    text(&written(record, message))
}

/// Writes headers in the form of an expectation.
pub(super) fn headers(headers: &[(Vec<u8>, Option<Vec<u8>>)]) -> String {
    text(&shown(headers))
}

/// Writes values as a list.
pub(super) fn list(values: &[Vec<u8>]) -> String {
    text(&values.iter().map(|value| Shown(Some(value))).collect::<Vec<_>>())
}

/// Writing into memory can only fail for maps whose keys are not strings, and there are none here.
fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

type ShownPairs<'a> = Vec<(Shown<'a>, Shown<'a>)>;

/// The fields of a message that differ from its record.
#[derive(serde::Serialize)]
struct Written<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<Option<i64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Readable<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Readable<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<ShownPairs<'a>>,
}

fn written<'a>(record: &RecordLine, message: &'a Message) -> Written<'a> {
    let differs = |message: &Option<Vec<u8>>, record: &Bytes| *message != record.0;
    Written {
        topic: message.topic.as_deref(),
        partition: message.partition,
        timestamp: (message.timestamp != Timestamp::of_source(record.timestamp))
            .then_some(message.timestamp.milliseconds()),
        key: differs(&message.key, &record.key).then_some(Readable(message.key.as_deref())),
        value: differs(&message.value, &record.value).then_some(Readable(message.value.as_deref())),
        headers: (message.headers != pairs(&record.headers)).then(|| shown(&message.headers)),
    }
}

fn shown(headers: &[(Vec<u8>, Option<Vec<u8>>)]) -> ShownPairs<'_> {
    headers.iter().map(|(name, value)| (Shown(Some(name)), Shown(value.as_deref()))).collect()
}

/// Bytes to be written. An object or array on one line is written as JSON, because a string would be full of
/// backslashes.
struct Readable<'a>(Option<&'a [u8]>);

impl Serialize for Readable<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(json) = self.0.and_then(json) else { return Shown(self.0).serialize(serializer) };
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("json", json)?;
        map.end()
    }
}

fn json(bytes: &[u8]) -> Option<&RawValue> {
    let one_line = matches!(bytes.first(), Some(b'{' | b'[')) && !bytes.contains(&b'\n') && !bytes.contains(&b'\r');
    let json: &RawValue = one_line.then(|| serde_json::from_slice(bytes).ok()).flatten()?;
    (json.get().len() == bytes.len()).then_some(json)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> RecordLine {
        RecordLine::read(br#"{"timestamp": 7, "key": "k", "value": "v", "headers": [["h", "1"]]}"#).expect("good")
    }

    fn as_in_record() -> Message {
        Message {
            topic: None,
            partition: None,
            timestamp: Timestamp::Milliseconds(7),
            key: Some(b"k".to_vec()),
            value: Some(b"v".to_vec()),
            headers: vec![(b"h".to_vec(), Some(b"1".to_vec()))],
        }
    }

    /// What came is written like this, and what is read back is met by it.
    #[track_caller]
    fn check(came: &Answer, expected: &str) {
        let written = line(&record(), came);
        assert_eq!(written, expected);
        let read = Expectation::read(written.as_bytes()).expect(&written);
        assert!(read.is_met(&record(), Some("out"), came), "{written}");
    }

    #[track_caller]
    fn check_message(change: impl FnOnce(&mut Message), expected: &str) {
        let mut message = as_in_record();
        change(&mut message);
        let other = message != as_in_record();
        check(&Ok(vec![message.clone()]), &format!("{{\"messages\":[{expected}]}}"));
        let forwarded = Expectation::read(br#"{"messages": [{}]}"#).expect("good");
        assert_eq!(forwarded.is_met(&record(), Some("out"), &Ok(vec![message])), !other, "{expected}");
    }

    #[test]
    fn only_what_differs_from_the_record_is_written_and_every_field_is_compared() {
        check_message(|_| {}, "{}");
        check_message(|message| message.topic = Some("audit".to_owned()), r#"{"topic":"audit"}"#);
        check_message(|message| message.partition = Some(3), r#"{"partition":3}"#);
        check_message(|message| message.timestamp = Timestamp::Now, r#"{"timestamp":null}"#);
        check_message(|message| message.timestamp = Timestamp::Milliseconds(8), r#"{"timestamp":8}"#);
        check_message(|message| message.key = None, r#"{"key":null}"#);
        check_message(|message| message.value = Some(Vec::new()), r#"{"value":""}"#);
        check_message(|message| message.value = Some(b"\xff".to_vec()), r#"{"value":{"base64":"/w=="}}"#);
        check_message(|message| message.headers.clear(), r#"{"headers":[]}"#);
        check_message(|message| message.headers[0].1 = None, r#"{"headers":[["h",null]]}"#);
        check_message(|message| message.headers[0].0 = b"\xff".to_vec(), r#"{"headers":[[{"base64":"/w=="},"1"]]}"#);
    }

    #[test]
    fn json_on_one_line_is_written_as_it_stands() {
        let check = |value: &str, expected: &str| {
            check_message(|message| message.value = Some(value.into()), &format!("{{\"value\":{expected}}}"));
        };
        check(r#"{"b": 1.0,"a":[]}"#, r#"{"json":{"b": 1.0,"a":[]}}"#);
        check("[1]", r#"{"json":[1]}"#);
        check("{\n}", r#""{\n}""#);
        check(" {}", r#"" {}""#);
        check("{} ", r#""{} ""#);
        check("{}{}", r#""{}{}""#);
        check("{\"a\"}", r#""{\"a\"}""#);
        check("5", r#""5""#);
    }

    #[test]
    fn failures_are_compared_by_cause_and_in_the_functions_own_words() {
        check(&Ok(Vec::new()), r#"{"messages":[]}"#);
        check(&Err(Fault::new(Cause::Reject, "no")), r#"{"failure":{"cause":"reject","reason":"no"}}"#);
        check(&Err(Fault::new(Cause::Retry, "")), r#"{"failure":{"cause":"retry","reason":""}}"#);
        check(&Err(Fault::new(Cause::Trap, "at src/lib.rs:7:5")), r#"{"failure":{"cause":"trap"}}"#);
        check(&Err(Fault::new(Cause::BadOutcome, "topic")), r#"{"failure":{"cause":"bad-outcome"}}"#);

        let expected = Expectation::read(br#"{"failure": {"cause": "reject", "reason": "no"}}"#).expect("good");
        let is_met = |came: Answer| expected.is_met(&record(), None, &came);
        assert!(!is_met(Err(Fault::new(Cause::Reject, "no."))));
        assert!(!is_met(Err(Fault::new(Cause::Retry, "no"))));
        assert!(!is_met(Ok(Vec::new())));
        let long = "x".repeat(2_000);
        let written = line(&record(), &Err(Fault::new(Cause::Reject, long.as_str())));
        assert!(
            Expectation::read(written.as_bytes())
                .is_ok_and(|read| { read.is_met(&record(), None, &Err(Fault::new(Cause::Reject, long.as_str()))) })
        );
    }

    #[test]
    fn the_time_of_producing_is_not_that_of_a_record_without_one() {
        let record = RecordLine::read(b"{}").expect("good");
        let dated = |timestamp| -> Answer {
            Ok(vec![Message { timestamp, key: None, value: None, headers: Vec::new(), ..as_in_record() }])
        };
        let written = [
            (Timestamp::AsInSource, r#"{"messages":[{}]}"#),
            (Timestamp::Now, r#"{"messages":[{"timestamp":null}]}"#),
            (Timestamp::Milliseconds(7), r#"{"messages":[{"timestamp":7}]}"#),
        ];
        for (timestamp, expected) in written {
            assert_eq!(line(&record, &dated(timestamp)), expected);
            let read = Expectation::read(expected.as_bytes()).expect(expected);
            for (came, _) in written {
                assert_eq!(read.is_met(&record, None, &dated(came)), came == timestamp, "{expected}: {came:?}");
            }
        }
    }

    #[test]
    fn the_output_may_be_named() {
        let named = Expectation::read(br#"{"messages": [{"topic": "out"}]}"#).expect("good");
        let came = Ok(vec![as_in_record()]);
        assert!(named.is_met(&record(), Some("out"), &came) && !named.is_met(&record(), None, &came));
    }
}
