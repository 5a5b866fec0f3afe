//! Tests of a function on the host: no wasm, no Kafka, no runtime.
//!
//! [`run`] gives a function records and says what comes of them. A function of a record is a plain
//! function too, to be called with a [`view`](Record::view).
//!
//! ```
//! use tidegate_sdk::{Message, Record, Result, testing};
//!
//! #[tidegate_sdk::function]
//! fn enrich(record: Record) -> Result<Message> {
//!     Ok(record.with_value(record.value_str()?.to_uppercase()))
//! }
//!
//! let records = [
//!     testing::Record::new().key("k").value("hello"),
//!     testing::Record::new().key("k"),
//! ];
//! let outcome = testing::run::<enrich>(records);
//!
//! assert_eq!(outcome.messages.len(), 1);
//! assert_eq!(outcome.messages[0].value_str(), "HELLO");
//! assert_eq!(outcome.messages[0].key_str(), "k");
//! assert_eq!(outcome.failures[0].record, 1);
//! assert!(outcome.failures[0].error.is_reject());
//! ```
//!
//! An async function runs here too. With the feature `http`, `testing::http` answers what it asks.
//!
//! What panics here traps in the runtime. What only the runtime knows is not checked: which topics
//! the trigger allows, how many partitions they have, how large a message may be.

#[cfg(all(feature = "http", not(target_arch = "wasm32")))]
pub mod http;

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::tidegate::function::types as wire;
use crate::columns::Columns;
use crate::error::Kind;
use crate::message::{AS_IN_SOURCE, BY_KEY, OF_SOURCE};
use crate::record::Escaped;
use crate::{Batch, Error, Field, Function, Header};

/// Calls a function once, with these records as one batch.
///
/// `F` is the name of a function with the attribute [`function`](macro@crate::function). The records
/// get the offsets 0, 1, 2, … unless they have their own.
///
/// # Panics
/// When there is no record, when the records are of several partitions, or when the function
/// panics.
pub fn run<F: Function>(records: impl IntoIterator<Item = Record>) -> Outcome {
    let records: Vec<Record> = records.into_iter().collect();
    let batch = batch(&records);
    let outcome = crate::function::handle::<F>(batch.clone());
    read(&Columns::new(batch), outcome)
}

/// A record to call a function with: on the topic `test`, partition 0, first attempt, and without
/// key, value, headers and timestamp until they are set.
#[derive(Clone)]
pub struct Record {
    /// Kept as the batch of one record that it is, so that it can be viewed at any time.
    columns: Box<Columns>,
    wire: wire::Batch,
    has_offset: bool,
}

impl Default for Record {
    fn default() -> Self {
        Self::new()
    }
}

impl Record {
    /// A record without key, value, headers and timestamp.
    pub fn new() -> Self {
        let null = wire::Column { lens: vec![-1], data: Vec::new() };
        let none = wire::Column { lens: Vec::new(), data: Vec::new() };
        let wire = wire::Batch {
            topic: "test".to_owned(),
            partition: 0,
            offsets: vec![0],
            timestamps: vec![-1],
            attempts: vec![1],
            keys: null.clone(),
            values: null,
            headers: wire::Headers { counts: vec![0], names: none.clone(), values: none },
        };
        Self { columns: Box::new(Columns::new(wire.clone())), wire, has_offset: false }
    }

    /// It as a function of a record takes it.
    pub fn view(&self) -> crate::Record<'_> {
        Batch::new(&self.columns).get(0).expect("there is one record")
    }

    /// Sets the topic.
    #[must_use]
    pub fn topic(self, topic: impl Into<String>) -> Self {
        self.set(|wire| wire.topic = topic.into())
    }

    /// Sets the partition.
    #[must_use]
    pub fn partition(self, partition: i32) -> Self {
        self.set(|wire| wire.partition = partition)
    }

    /// Sets the offset.
    #[must_use]
    pub fn offset(mut self, offset: i64) -> Self {
        self.has_offset = true;
        self.set(|wire| wire.offsets[0] = offset)
    }

    /// Sets the timestamp, in milliseconds since 1970-01-01 UTC.
    #[must_use]
    pub fn timestamp(self, timestamp_ms: i64) -> Self {
        self.set(|wire| wire.timestamps[0] = timestamp_ms)
    }

    /// Sets how often it has been tried, this time included.
    #[must_use]
    pub fn attempt(self, attempt: u32) -> Self {
        self.set(|wire| wire.attempts[0] = attempt)
    }

    /// Sets the key.
    #[must_use]
    pub fn key<'a>(self, key: impl Into<Field<'a>>) -> Self {
        self.set(|wire| wire.keys = column(&key.into()))
    }

    /// Sets the value.
    #[must_use]
    pub fn value<'a>(self, value: impl Into<Field<'a>>) -> Self {
        self.set(|wire| wire.values = column(&value.into()))
    }

    /// Sets the value to this, written as JSON.
    ///
    /// # Panics
    /// When it has no form in JSON.
    #[must_use]
    pub fn json(self, value: &(impl Serialize + ?Sized)) -> Self {
        self.value(serde_json::to_vec(value).expect("a value with a form in JSON"))
    }

    /// Adds a header. The name may be any bytes.
    #[must_use]
    pub fn header<'a>(self, name: impl AsRef<[u8]>, value: impl Into<Field<'a>>) -> Self {
        self.set(|wire| {
            wire.headers.counts[0] += 1;
            join(&mut wire.headers.names, &column(&name.as_ref().into()));
            join(&mut wire.headers.values, &column(&value.into()));
        })
    }

    fn set(mut self, change: impl FnOnce(&mut wire::Batch)) -> Self {
        change(&mut self.wire);
        *self.columns = Columns::new(self.wire.clone());
        self
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}

/// What a call ended in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The messages, in the order in which they are produced. Those of a record that failed are
    /// left out, as the runtime does.
    pub messages: Vec<Message>,
    /// The records that failed, in their order.
    pub failures: Vec<Failure>,
}

/// A message as it would be produced: what is as in the source record is filled in.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// Index of the record it comes from.
    pub record: usize,
    /// The topic; `None`: the trigger's output.
    pub topic: Option<String>,
    /// The partition; `None`: chosen by its key.
    pub partition: Option<i32>,
    /// The timestamp in milliseconds since 1970-01-01 UTC; `None`: the time of producing.
    pub timestamp: Option<i64>,
    /// The key; `None` is null.
    pub key: Option<Vec<u8>>,
    /// The value; `None` is null.
    pub value: Option<Vec<u8>>,
    /// Names and values of the headers.
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Message {
    /// The key as text.
    ///
    /// # Panics
    /// When it is null or not UTF-8.
    pub fn key_str(&self) -> &str {
        text("key", self.key.as_deref())
    }

    /// The value as text.
    ///
    /// # Panics
    /// When it is null or not UTF-8.
    pub fn value_str(&self) -> &str {
        text("value", self.value.as_deref())
    }

    /// The value read as JSON.
    ///
    /// # Panics
    /// When it is null or not JSON of this shape.
    pub fn json<T: DeserializeOwned>(&self) -> T {
        let value = self.value.as_deref().expect("the value of the message is null");
        serde_json::from_slice(value).unwrap_or_else(|error| panic!("bad JSON in the message: {error}"))
    }

    /// The first of its headers with this name, as [`Record::header`](crate::Record::header) gives it.
    pub fn header(&self, name: impl AsRef<[u8]>) -> Option<Header<'_>> {
        let (name, value) = self.headers.iter().find(|(own, _)| own == name.as_ref())?;
        Some(Header { name, value: value.as_deref() })
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = |(name, value)| (Escaped(Some(name)), Escaped(value));
        let headers = self.headers.iter().map(|(name, value)| header((&name[..], value.as_deref())));
        f.debug_struct("Message")
            .field("record", &self.record)
            .field("topic", &self.topic)
            .field("partition", &self.partition)
            .field("timestamp", &self.timestamp)
            .field("key", &Escaped(self.key.as_deref()))
            .field("value", &Escaped(self.value.as_deref()))
            .field("headers", &headers.collect::<Vec<_>>())
            .finish()
    }
}

/// A record that was not handled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Index of the record.
    pub record: usize,
    /// Why.
    pub error: Error,
}

fn text<'a>(field: &str, bytes: Option<&'a [u8]>) -> &'a str {
    match bytes.map(std::str::from_utf8) {
        Some(Ok(text)) => text,
        _ => panic!("the {field} of the message is not text: {:?}", Escaped(bytes)),
    }
}

fn column(field: &Field<'_>) -> wire::Column {
    let data = field.0.as_deref().unwrap_or_default().to_vec();
    let len = field.0.as_ref().map_or(-1, |bytes| i32::try_from(bytes.len()).expect("under 2 GiB"));
    wire::Column { lens: vec![len], data }
}

fn join(column: &mut wire::Column, next: &wire::Column) {
    column.lens.extend(&next.lens);
    column.data.extend(&next.data);
}

fn batch(records: &[Record]) -> wire::Batch {
    let (first, rest) = records.split_first().expect("a batch has at least one record");
    let mut batch = first.wire.clone();
    for (index, record) in (1..).zip(rest) {
        let next = &record.wire;
        assert_eq!(
            (&next.topic, next.partition),
            (&batch.topic, batch.partition),
            "the records of a batch are of one partition"
        );
        batch.offsets.push(if record.has_offset { next.offsets[0] } else { index });
        batch.timestamps.extend(&next.timestamps);
        batch.attempts.extend(&next.attempts);
        join(&mut batch.keys, &next.keys);
        join(&mut batch.values, &next.values);
        batch.headers.counts.extend(&next.headers.counts);
        join(&mut batch.headers.names, &next.headers.names);
        join(&mut batch.headers.values, &next.headers.values);
    }
    batch
}

/// Reads an outcome by the rules of the contract.
fn read(columns: &Columns, outcome: wire::Outcome) -> Outcome {
    let failures: Vec<Failure> = outcome.failures.into_iter().map(failure).collect();
    let mut topics = Cells::new(outcome.topics);
    let mut keys = Cells::new(outcome.keys);
    let mut values = Cells::new(outcome.values);
    let mut names = Cells::new(outcome.headers.names);
    let mut header_values = Cells::new(outcome.headers.values);
    let mut messages = Vec::new();

    for (at, &source) in outcome.sources.iter().enumerate() {
        let record = source as usize;
        let source = Batch::new(columns).get(record).expect("the source is a record of the batch");
        let or_source = |cell: Cell, own: Option<&[u8]>| match cell {
            Cell::Default => own.map(<[u8]>::to_vec),
            Cell::Set(bytes) => bytes,
        };
        let headers = match outcome.headers.counts.get(at).copied().unwrap_or(AS_IN_SOURCE) {
            AS_IN_SOURCE => source.headers().map(|h| (h.name.to_vec(), h.value.map(<[u8]>::to_vec))).collect(),
            count => (0..count).map(|_| (names.next_set().expect("a name"), header_values.next_set())).collect(),
        };
        messages.push(Message {
            record,
            topic: or_source(topics.next(), None).map(|topic| String::from_utf8(topic).expect("UTF-8")),
            partition: outcome.partitions.get(at).copied().filter(|&partition| partition != BY_KEY),
            timestamp: match outcome.timestamps.get(at).copied() {
                None | Some(OF_SOURCE) => source.timestamp(),
                Some(timestamp) => Some(timestamp).filter(|&timestamp| timestamp >= 0),
            },
            key: or_source(keys.next(), source.key()),
            value: or_source(values.next(), source.value()),
            headers,
        });
    }
    messages.retain(|message| failures.iter().all(|failure| failure.record != message.record));
    Outcome { messages, failures }
}

fn failure(failure: wire::Failure) -> Failure {
    let kind = match failure.kind {
        wire::FailureKind::Retry => Kind::Retry,
        wire::FailureKind::Reject => Kind::Reject,
    };
    Failure { record: failure.source as usize, error: Error { kind, reason: failure.reason } }
}

/// The values of a column of an outcome, one after another.
struct Cells {
    lens: std::vec::IntoIter<i32>,
    data: std::vec::IntoIter<u8>,
}

enum Cell {
    Default,
    Set(Option<Vec<u8>>),
}

impl Cells {
    fn new(column: wire::Column) -> Self {
        Self { lens: column.lens.into_iter(), data: column.data.into_iter() }
    }

    fn next(&mut self) -> Cell {
        match self.lens.next() {
            None | Some(AS_IN_SOURCE) => Cell::Default,
            Some(len) => Cell::Set(usize::try_from(len).ok().map(|len| self.data.by_ref().take(len).collect())),
        }
    }

    fn next_set(&mut self) -> Option<Vec<u8>> {
        match self.next() {
            Cell::Default => panic!("a header of an outcome is spelled out"),
            Cell::Set(bytes) => bytes,
        }
    }
}
