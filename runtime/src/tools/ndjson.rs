//! Records and messages as lines of JSON, one object a line: what `tidegate invoke` reads and
//! writes. Nothing is lost on the way: bytes that are no text, null and empty stay what they are.
//!
//! | bytes | JSON |
//! |---|---|
//! | null | `null` |
//! | UTF-8 | a string |
//! | others | `{"base64": "…"}` |
//! | JSON, only read | `{"json": …}`: the text after the colon, exactly as written |
//!
//! Headers are pairs, in order: `[["name", "value"], …]`.
//!
//! The reader of a line has to bound it; see [`MAX_LINE_BYTES`].

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::value::RawValue;

use crate::record::outcome::{Fault, Timestamp};
use crate::record::{self, Header, Record};

/// Longest line that is read. A broker's default limit makes records of 1 MiB.
pub const MAX_LINE_BYTES: usize = 64 << 20;

/// The byte order mark. Some editors put it in front of a text to say that it is UTF-8.
const MARK: &[u8] = "\u{feff}".as_bytes();

/// A line without the byte order mark, which may stand in front of line number 1.
pub(crate) fn without_mark(line: &[u8], number: u64) -> &[u8] {
    line.strip_prefix(MARK).filter(|_| number == 1).unwrap_or(line)
}

/// A line that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {reason}")]
pub struct Malformed {
    /// In bytes, from 1.
    pub column: usize,
    pub reason: String,
}

/// A record as it is written down. The reader fills in the fields that are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RecordLine {
    pub topic: Option<String>,
    pub partition: Option<i32>,
    pub offset: Option<i64>,
    /// Milliseconds since 1970-01-01 UTC.
    pub timestamp: Option<i64>,
    pub key: Bytes,
    pub value: Bytes,
    pub headers: Vec<Pair>,
    /// From 1.
    pub attempt: Option<u32>,
}

impl RecordLine {
    /// Reads a line, with or without the line break at its end.
    pub fn read(line: &[u8]) -> Result<Self, Malformed> {
        let line: Self = object(line, "a record is an object such as {\"key\": \"k\", \"value\": \"v\"}")?;
        line.check().map_err(|reason| malformed(1, reason))?;
        Ok(line)
    }

    fn check(&self) -> Result<(), &'static str> {
        if self.partition.is_some_and(|partition| partition < 0) {
            return Err("a partition is not negative");
        }
        if self.offset.is_some_and(|offset| offset < 0) {
            return Err("an offset is not negative");
        }
        if self.timestamp.is_some_and(|timestamp| timestamp < 0) {
            return Err("a timestamp is not negative; null: unknown");
        }
        if self.attempt == Some(0) {
            return Err("attempts are counted from 1");
        }
        Ok(())
    }
}

/// Reads a line that is one object. If it is not, the error says `expected`.
pub(crate) fn object<'de, T: Deserialize<'de>>(line: &'de [u8], expected: &str) -> Result<T, Malformed> {
    let text = std::str::from_utf8(line)
        .map_err(|error| malformed(error.valid_up_to() + 1, "not UTF-8; bytes are written {\"base64\": \"…\"}"))?;
    // Serde would accept an array of the fields in their order.
    let indent = text.len() - text.trim_start().len();
    if !text[indent..].starts_with('{') {
        return Err(malformed(indent + 1, expected));
    }
    serde_json::from_str(text).map_err(|error| {
        let place = format!(" at line {} column {}", error.line(), error.column());
        let reason = error.to_string();
        malformed(error.column(), reason.strip_suffix(&place).unwrap_or(&reason))
    })
}

fn malformed(column: usize, reason: impl Into<String>) -> Malformed {
    Malformed { column: column.max(1), reason: reason.into() }
}

/// Bytes or null.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bytes(pub Option<Vec<u8>>);

/// A header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    pub name: Vec<u8>,
    pub value: Option<Vec<u8>>,
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BytesVisitor)
    }
}

struct BytesVisitor;

impl<'de> Visitor<'de> for BytesVisitor {
    type Value = Bytes;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a string, null, {\"json\": …} or {\"base64\": \"…\"}")
    }

    fn visit_unit<E>(self) -> Result<Bytes, E> {
        Ok(Bytes(None))
    }

    fn visit_str<E>(self, text: &str) -> Result<Bytes, E> {
        Ok(Bytes(Some(text.as_bytes().to_vec())))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Bytes, A::Error> {
        let bytes = match map.next_key::<String>()?.as_deref() {
            Some("json") => map.next_value::<&RawValue>()?.get().as_bytes().to_vec(),
            Some("base64") => BASE64
                .decode(map.next_value::<String>()?)
                .map_err(|error| A::Error::custom(format_args!("not base64: {error}")))?,
            _ => return Err(A::Error::custom("an object as bytes is written {\"json\": {…}}")),
        };
        if map.next_key::<serde::de::IgnoredAny>()?.is_some() {
            return Err(A::Error::custom("one of \"json\" and \"base64\", and nothing beside it"));
        }
        Ok(Bytes(Some(bytes)))
    }
}

impl<'de> Deserialize<'de> for Pair {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PairVisitor)
    }
}

struct PairVisitor;

impl<'de> Visitor<'de> for PairVisitor {
    type Value = Pair;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a header [\"name\", value]")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut pair: A) -> Result<Pair, A::Error> {
        let short = |length| A::Error::invalid_length(length, &self);
        let Bytes(name) = pair.next_element()?.ok_or_else(|| short(0))?;
        let Bytes(value) = pair.next_element()?.ok_or_else(|| short(1))?;
        if pair.next_element::<serde::de::IgnoredAny>()?.is_some() {
            return Err(short(3));
        }
        let name = name.ok_or_else(|| A::Error::custom("the name of a header is never null"))?;
        Ok(Pair { name, value })
    }
}

/// Writes a record so that [`RecordLine::read`] reads it back. Without a line break.
pub fn record(topic: &str, partition: i32, attempt: u32, record: &impl Record) -> String {
    #[derive(serde::Serialize)]
    struct Line<'a> {
        topic: &'a str,
        partition: i32,
        offset: i64,
        timestamp: Option<i64>,
        key: Shown<'a>,
        value: Shown<'a>,
        headers: Vec<(Shown<'a>, Shown<'a>)>,
        attempt: u32,
    }
    line(&Line {
        topic,
        partition,
        offset: record.offset(),
        timestamp: record.timestamp_ms(),
        key: Shown(record.key()),
        value: Shown(record.value()),
        headers: record.headers().map(|header| (Shown(Some(header.name)), Shown(header.value))).collect(),
        attempt,
    })
}

/// Where a record was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Source<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub offset: i64,
}

/// A complete message.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Message {
    /// `None`: the trigger's output, which has no name here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// `None`: by key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<i32>,
    /// [`Timestamp::AsInSource`] only if the source record has no timestamp. In JSON this and the time of producing
    /// are both null.
    #[serde(serialize_with = "milliseconds")]
    pub timestamp: Timestamp,
    #[serde(serialize_with = "shown")]
    pub key: Option<Vec<u8>>,
    #[serde(serialize_with = "shown")]
    pub value: Option<Vec<u8>>,
    #[serde(serialize_with = "listed")]
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Message {
    /// A message as it is produced. `topic` gives the name of a topic by its place in [`crate::record::Topics`].
    pub fn of(message: &record::Message<'_>, headers: &[Header<'_>], topic: impl Fn(usize) -> Option<String>) -> Self {
        Self {
            topic: topic(message.topic),
            partition: message.partition,
            timestamp: message.timestamp,
            key: message.key.map(<[u8]>::to_vec),
            value: message.value.map(<[u8]>::to_vec),
            headers: headers.iter().map(|header| (header.name.to_vec(), header.value.map(<[u8]>::to_vec))).collect(),
        }
    }
}

/// Writes what became of a record. Without a line break.
pub fn outcome(source: Source<'_>, outcome: Result<&[Message], &Fault>) -> String {
    #[derive(serde::Serialize)]
    struct Handled<'a> {
        source: Source<'a>,
        messages: &'a [Message],
    }
    #[derive(serde::Serialize)]
    struct Failed<'a> {
        source: Source<'a>,
        failure: Failure<'a>,
    }
    #[derive(serde::Serialize)]
    struct Failure<'a> {
        cause: &'static str,
        reason: &'a str,
    }
    match outcome {
        Ok(messages) => line(&Handled { source, messages }),
        Err(fault) => line(&Failed { source, failure: Failure { cause: fault.cause.name(), reason: &fault.reason } }),
    }
}

/// Writing into memory can only fail for maps whose keys are not strings, and there are none here.
fn line(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Bytes or null, to be written.
pub(crate) struct Shown<'a>(pub(crate) Option<&'a [u8]>);

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(bytes) = self.0 else { return serializer.serialize_unit() };
        if let Ok(text) = std::str::from_utf8(bytes) {
            return serializer.serialize_str(text);
        }
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("base64", &BASE64.encode(bytes))?;
        map.end()
    }
}

fn milliseconds<S: Serializer>(timestamp: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    timestamp.milliseconds().serialize(serializer)
}

fn shown<S: Serializer>(bytes: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
    Shown(bytes.as_deref()).serialize(serializer)
}

fn listed<S: Serializer>(headers: &[(Vec<u8>, Option<Vec<u8>>)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(headers.iter().map(|(name, value)| (Shown(Some(name)), Shown(value.as_deref()))))
}

#[cfg(test)]
mod tests;
