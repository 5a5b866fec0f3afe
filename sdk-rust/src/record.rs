//! Records and batches as a function sees them: views of the columns that came with the call.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::columns::Columns;
use crate::{Error, Field, Message, Result};

/// A record read from Kafka.
///
/// A view: copying it is free, and the bytes it gives out live as long as the call. What has no
/// value in Kafka is `None` and not empty.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    columns: &'a Columns,
    index: usize,
}

impl<'a> Record<'a> {
    /// Its place in the batch, from 0.
    #[inline]
    pub fn index(self) -> usize {
        self.index
    }

    /// Name of the topic it was read from.
    pub fn topic(self) -> &'a str {
        &self.columns.topic
    }

    /// Number of the partition it was read from, from 0.
    pub fn partition(self) -> i32 {
        self.columns.partition
    }

    /// Its offset in the partition.
    pub fn offset(self) -> i64 {
        self.columns.offsets[self.index]
    }

    /// Its timestamp in milliseconds since 1970-01-01 UTC; `None` when it has none.
    pub fn timestamp(self) -> Option<i64> {
        Some(self.columns.timestamps[self.index]).filter(|&timestamp| timestamp >= 0)
    }

    /// How often it has been tried, this time included: 1 on the first try.
    pub fn attempt(self) -> u32 {
        self.columns.attempts[self.index]
    }

    /// Its key; `None` when it has none.
    #[inline]
    pub fn key(self) -> Option<&'a [u8]> {
        self.columns.keys.get(self.index)
    }

    /// Its value; `None` for a tombstone.
    #[inline]
    pub fn value(self) -> Option<&'a [u8]> {
        self.columns.values.get(self.index)
    }

    /// Its key as text.
    ///
    /// # Errors
    /// A reject when there is no key or it is not UTF-8.
    pub fn key_str(self) -> Result<&'a str> {
        text("key", self.key())
    }

    /// Its value as text.
    ///
    /// # Errors
    /// A reject when the value is null or not UTF-8.
    pub fn value_str(self) -> Result<&'a str> {
        text("value", self.value())
    }

    /// Its value read as JSON. `T` may borrow from the record. A struct is read from an object, and from an
    /// array of its fields in their order as well, as serde does by default. One key twice in an object is a
    /// mistake, and so is half of a surrogate pair.
    ///
    /// # Errors
    /// A reject when the value is null, or not JSON of this shape; the reason says where.
    ///
    /// ```
    /// #[derive(Debug, serde::Deserialize)]
    /// struct Order<'a> { id: &'a str, amount: u32 }
    ///
    /// let record = tidegate_sdk::testing::Record::new().value(r#"{"id": "a1"}"#);
    /// let error = record.view().json::<Order>().unwrap_err();
    /// assert!(error.is_reject());
    /// assert_eq!(error.reason(), "bad JSON in the value: missing field `amount` at line 1 column 12");
    /// ```
    pub fn json<T: Deserialize<'a>>(self) -> Result<T> {
        let value = self.value().ok_or_else(|| Error::reject("the value is null, not JSON"))?;
        serde_json::from_slice(value).map_err(|error| Error::reject(format_args!("bad JSON in the value: {error}")))
    }

    /// Its headers, in their order. Names may repeat.
    #[inline]
    pub fn headers(self) -> Headers<'a> {
        Headers { columns: self.columns, range: self.columns.headers(self.index) }
    }

    /// The first of its headers with this name.
    pub fn header(self, name: impl AsRef<[u8]>) -> Option<Header<'a>> {
        self.headers().find(|header| header.name == name.as_ref())
    }

    /// A message that is this record over again: key, value, headers and timestamp.
    #[inline]
    pub fn forward(self) -> Message<'a> {
        Message::from_record(self)
    }

    /// This record with another value. `None` is null.
    #[inline]
    pub fn with_value(self, value: impl Into<Field<'a>>) -> Message<'a> {
        self.forward().with_value(value)
    }

    /// This record with another value, written as JSON.
    ///
    /// # Errors
    /// A reject when `value` has no form in JSON, as a map whose keys are not strings.
    pub fn with_json(self, value: &(impl Serialize + ?Sized)) -> Result<Message<'a>> {
        self.forward().with_json(value)
    }

    /// This record with another key. `None` is null.
    #[inline]
    pub fn with_key(self, key: impl Into<Field<'a>>) -> Message<'a> {
        self.forward().with_key(key)
    }

    /// Whether this is a view of the same record, and not of one that looks like it.
    #[inline]
    pub(crate) fn is(self, other: Record<'_>) -> bool {
        self.index == other.index && std::ptr::eq(self.columns, other.columns)
    }
}

fn text(field: impl fmt::Display, bytes: Option<&[u8]>) -> Result<&str> {
    let bytes = bytes.ok_or_else(|| Error::reject(format_args!("the {field} is null, not text")))?;
    std::str::from_utf8(bytes).map_err(|error| Error::reject(format_args!("the {field} is not text: {error}")))
}

impl fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("topic", &self.topic())
            .field("partition", &self.partition())
            .field("offset", &self.offset())
            .field("timestamp", &self.timestamp())
            .field("attempt", &self.attempt())
            .field("key", &Escaped(self.key()))
            .field("value", &Escaped(self.value()))
            .field("headers", &self.headers().collect::<Vec<_>>())
            .finish()
    }
}

/// A header of a record.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// Its name: any bytes. Kafka asks for UTF-8 but does not check it.
    pub name: &'a [u8],
    /// Its value; `None` when it has none.
    pub value: Option<&'a [u8]>,
}

impl<'a> Header<'a> {
    /// Its value as text.
    ///
    /// # Errors
    /// A reject when the value is null or not UTF-8.
    pub fn value_str(self) -> Result<&'a str> {
        text(format_args!("header `{}`", self.name.escape_ascii()), self.value)
    }
}

impl fmt::Debug for Header<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {:?}", Escaped(Some(self.name)), Escaped(self.value))
    }
}

/// The headers of a record, in their order.
#[derive(Clone)]
pub struct Headers<'a> {
    columns: &'a Columns,
    range: Range<usize>,
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    #[inline]
    fn next(&mut self) -> Option<Header<'a>> {
        let at = self.range.next()?;
        let name = self.columns.header_names.get(at).unwrap_or_default();
        Some(Header { name, value: self.columns.header_values.get(at) })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.range.size_hint()
    }
}

impl ExactSizeIterator for Headers<'_> {}

/// Records of one partition, in the order of their offsets: at least one, and at most what the
/// trigger's `batch.records` and `batch.bytes` allow.
///
/// A view: copying it is free.
///
/// ```
/// use std::collections::HashSet;
/// use tidegate_sdk::{Batch, Outcome, testing};
///
/// /// Of the records of a key only the last one goes on, and every record without a key: null is no key
/// /// that records share.
/// #[tidegate_sdk::function]
/// fn newest(batch: Batch, outcome: &mut Outcome) {
///     let mut seen = HashSet::new();
///     for record in batch.iter().rev() {
///         if record.key().is_none_or(|key| seen.insert(key)) {
///             outcome.emit(record, record.forward());
///         }
///     }
/// }
///
/// let keys = [Some("a"), None, Some("b"), None, Some("a")];
/// let outcome = testing::run::<newest>(keys.map(|key| testing::Record::new().key(key)));
/// assert_eq!(outcome.messages.iter().map(|message| message.record).collect::<Vec<_>>(), [1, 2, 3, 4]);
/// ```
///
/// # What runs again
///
/// If a record fails, the records behind it that have the same key run again after it, whatever came
/// of them: their messages are thrown away too. With `ordering = "partition"` these are all records
/// behind it; with `ordering = "none"`, and without a key, none.
///
/// The records of a call are done together, when all of its messages have been acknowledged, because
/// a message may stand for more records than the one it was emitted for. A restart or a rebalance
/// before that repeats all of them. So does a call that ends without an outcome, by a panic or at the
/// deadline: then its records run in smaller calls, until the one at fault stands alone.
///
/// A record that runs again may meet others in its batch than before.
#[derive(Clone, Copy)]
pub struct Batch<'a> {
    columns: &'a Columns,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(columns: &'a Columns) -> Self {
        Self { columns }
    }

    /// How many records it has.
    #[expect(clippy::len_without_is_empty, reason = "a batch is never empty")]
    pub fn len(self) -> usize {
        self.columns.records()
    }

    /// Name of the topic that its records were read from.
    pub fn topic(self) -> &'a str {
        &self.columns.topic
    }

    /// Number of the partition that its records were read from, from 0.
    pub fn partition(self) -> i32 {
        self.columns.partition
    }

    /// The record at `index`, from 0.
    pub fn get(self, index: usize) -> Option<Record<'a>> {
        (index < self.len()).then_some(Record { columns: self.columns, index })
    }

    /// Its records, in the order of their offsets.
    #[inline]
    pub fn iter(self) -> Records<'a> {
        Records { columns: self.columns, range: 0..self.len() }
    }

    /// The bytes of all values together.
    pub(crate) fn value_bytes(self) -> usize {
        self.columns.values.bytes()
    }
}

impl<'a> IntoIterator for Batch<'a> {
    type Item = Record<'a>;
    type IntoIter = Records<'a>;

    #[inline]
    fn into_iter(self) -> Records<'a> {
        self.iter()
    }
}

impl fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(*self).finish()
    }
}

/// The records of a batch, in the order of their offsets.
#[derive(Clone)]
pub struct Records<'a> {
    columns: &'a Columns,
    range: Range<usize>,
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    #[inline]
    fn next(&mut self) -> Option<Record<'a>> {
        Some(Record { columns: self.columns, index: self.range.next()? })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.range.size_hint()
    }
}

impl DoubleEndedIterator for Records<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        Some(Record { columns: self.columns, index: self.range.next_back()? })
    }
}

impl ExactSizeIterator for Records<'_> {}

/// Bytes as people read them.
pub(crate) struct Escaped<'a>(pub(crate) Option<&'a [u8]>);

impl fmt::Debug for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(bytes) => write!(f, "\"{}\"", bytes.escape_ascii()),
            None => f.write_str("null"),
        }
    }
}
