//! What a call ends in, built column by column.
//!
//! Nothing is allocated for a message but the growth of the columns it appears in: a column in
//! which no message differs from its source record stays empty. The way there is inline, since an
//! author's crate is not optimised together with this one: 12 ns for a forwarded record, not 37.

use crate::bindings::tidegate::function::types as wire;
use crate::error::Kind;
use crate::message::{AS_IN_SOURCE, BY_KEY, MessageHeaders, OF_SOURCE};
use crate::{Batch, Error, Field, Message, Record};

/// The messages and failures of a call: what a batch function fills.
///
/// Every record that is not failed counts as handled, whether messages are emitted for it or not.
/// See [`Batch`] for an example, and for what runs again.
///
/// An outcome has at most 1,048,576 messages, and they take at most 64 MiB, what they have of their source
/// records included. One that is larger fails the whole call, as a panic does.
#[derive(Debug)]
pub struct Outcome {
    sources: Vec<u32>,
    topics: FieldColumn,
    partitions: Sparse<i32>,
    timestamps: Sparse<i64>,
    keys: FieldColumn,
    values: FieldColumn,
    header_counts: Sparse<i32>,
    header_names: wire::Column,
    header_values: wire::Column,
    failures: Vec<wire::Failure>,
}

const NULL: i32 = -1;

impl Outcome {
    pub(crate) fn new(batch: Batch<'_>) -> Self {
        let records = batch.len();
        Self {
            sources: Vec::with_capacity(records),
            topics: FieldColumn::new(NULL, records, 0),
            partitions: Sparse::new(BY_KEY, records),
            timestamps: Sparse::new(OF_SOURCE, records),
            keys: FieldColumn::new(AS_IN_SOURCE, records, 0),
            values: FieldColumn::new(AS_IN_SOURCE, records, batch.value_bytes()),
            header_counts: Sparse::new(AS_IN_SOURCE, records),
            header_names: empty_column(),
            header_values: empty_column(),
            failures: Vec::new(),
        }
    }

    /// Emits a message for a record.
    ///
    /// The message is produced when the record was handled: if the record fails, before or after,
    /// its messages are thrown away. The messages of a record are produced in the order in which
    /// they were emitted, those of different records in the order of the records.
    ///
    /// What the message does not set is as in the record it was made from, if it was made from
    /// one, and otherwise as in this one.
    #[inline]
    pub fn emit(&mut self, record: Record<'_>, message: Message<'_>) {
        match message.source {
            Some(source) if !source.is(record) => self.push(record, &message.spelled_out(source)),
            _ => self.push(record, &message),
        }
    }

    /// Fails a record. If a record is failed twice, the first error counts.
    pub fn fail(&mut self, record: Record<'_>, error: impl Into<Error>) {
        let Error { kind, reason } = error.into();
        let kind = match kind {
            Kind::Retry => wire::FailureKind::Retry,
            Kind::Reject => wire::FailureKind::Reject,
        };
        self.failures.push(wire::Failure { source: index(record), kind, reason });
    }

    #[inline]
    fn push(&mut self, record: Record<'_>, message: &Message<'_>) {
        let before = self.sources.len();
        self.sources.push(index(record));
        self.topics.push(before, message.topic.as_ref().map(|topic| Some(topic.as_bytes())));
        self.partitions.push(before, message.partition);
        self.timestamps.push(before, message.timestamp);
        self.keys.push(before, message.key.as_ref().map(bytes));
        self.values.push(before, message.value.as_ref().map(bytes));
        self.push_headers(before, record, &message.headers);
    }

    #[inline]
    fn push_headers(&mut self, before: usize, record: Record<'_>, headers: &MessageHeaders<'_>) {
        if headers.are_as_in_source() {
            return self.header_counts.push(before, AS_IN_SOURCE);
        }
        self.add_headers(before, record, headers);
    }

    fn add_headers(&mut self, before: usize, record: Record<'_>, headers: &MessageHeaders<'_>) {
        let first = self.header_names.lens.len();
        if !headers.replaced {
            for header in record.headers() {
                append(&mut self.header_names, Some(header.name));
                append(&mut self.header_values, header.value);
            }
        }
        for header in &headers.list {
            append(&mut self.header_names, Some(&header.name.0));
            append(&mut self.header_values, bytes(&header.value));
        }
        self.header_counts.push(before, length(self.header_names.lens.len() - first));
    }

    pub(crate) fn finish(mut self) -> wire::Outcome {
        if !self.sources.is_sorted() {
            self.sort_messages();
        }
        self.failures.sort_by_key(|failure| failure.source);
        self.failures.dedup_by_key(|failure| failure.source);
        wire::Outcome {
            sources: self.sources,
            topics: self.topics.finish(),
            partitions: self.partitions.entries,
            timestamps: self.timestamps.entries,
            keys: self.keys.finish(),
            values: self.values.finish(),
            headers: wire::Headers {
                counts: self.header_counts.entries,
                names: self.header_names,
                values: self.header_values,
            },
            failures: self.failures,
        }
    }

    /// Puts the messages in the order of their records, as the contract asks. Only a batch function
    /// that emits out of order pays for this.
    fn sort_messages(&mut self) {
        let mut order: Vec<usize> = (0..self.sources.len()).collect();
        order.sort_by_key(|&message| self.sources[message]);

        let starts = starts(&self.header_counts.entries);
        let headers: Vec<usize> = if starts.is_empty() {
            Vec::new()
        } else {
            let range = |message: usize| starts[message]..starts[message + 1];
            order.iter().flat_map(|&message| range(message)).collect()
        };
        reorder_column(&mut self.header_names, &headers);
        reorder_column(&mut self.header_values, &headers);

        reorder(&mut self.sources, &order);
        reorder(&mut self.partitions.entries, &order);
        reorder(&mut self.timestamps.entries, &order);
        reorder(&mut self.header_counts.entries, &order);
        self.topics.reorder(&order);
        self.keys.reorder(&order);
        self.values.reorder(&order);
    }
}

/// A list with one entry for each message that stays empty while all entries are the default.
#[derive(Debug)]
struct Sparse<T> {
    entries: Vec<T>,
    default: T,
    expected: usize,
}

impl<T: Copy + PartialEq> Sparse<T> {
    fn new(default: T, expected: usize) -> Self {
        Self { entries: Vec::new(), default, expected }
    }

    /// Adds an entry behind `before` others. Inline up to where nothing differs, the common case.
    #[inline]
    fn push(&mut self, before: usize, entry: T) {
        if !self.entries.is_empty() || entry != self.default {
            self.add(before, entry);
        }
    }

    fn add(&mut self, before: usize, entry: T) {
        if self.entries.is_empty() {
            self.entries.reserve(self.expected.max(before + 1));
            self.entries.resize(before, self.default);
        }
        self.entries.push(entry);
    }
}

/// A column of which the lengths are sparse.
#[derive(Debug)]
struct FieldColumn {
    lens: Sparse<i32>,
    data: Vec<u8>,
    expected_bytes: usize,
}

impl FieldColumn {
    fn new(default: i32, expected: usize, expected_bytes: usize) -> Self {
        Self { lens: Sparse::new(default, expected), data: Vec::new(), expected_bytes }
    }

    /// Adds a value behind `before` others: `None` is the default, `Some(None)` null.
    #[inline]
    fn push(&mut self, before: usize, value: Option<Option<&[u8]>>) {
        if !self.lens.entries.is_empty() || value.is_some() {
            self.add(before, value);
        }
    }

    fn add(&mut self, before: usize, value: Option<Option<&[u8]>>) {
        let len = match value {
            None => self.lens.default,
            Some(None) => NULL,
            Some(Some(bytes)) => {
                if self.data.capacity() == 0 {
                    self.data.reserve(self.expected_bytes.max(bytes.len()));
                }
                self.data.extend_from_slice(bytes);
                length(bytes.len())
            }
        };
        self.lens.add(before, len);
    }

    fn reorder(&mut self, order: &[usize]) {
        let mut column =
            wire::Column { lens: std::mem::take(&mut self.lens.entries), data: std::mem::take(&mut self.data) };
        reorder_column(&mut column, order);
        self.lens.entries = column.lens;
        self.data = column.data;
    }

    fn finish(self) -> wire::Column {
        wire::Column { lens: self.lens.entries, data: self.data }
    }
}

fn empty_column() -> wire::Column {
    wire::Column { lens: Vec::new(), data: Vec::new() }
}

fn append(column: &mut wire::Column, value: Option<&[u8]>) {
    column.data.extend_from_slice(value.unwrap_or_default());
    column.lens.push(value.map_or(NULL, |bytes| length(bytes.len())));
}

/// Where each entry starts, and where the last one ends.
fn starts(lens: &[i32]) -> Vec<usize> {
    let mut end = 0;
    let ends = lens.iter().map(|&len| {
        end += usize::try_from(len).unwrap_or(0);
        end
    });
    if lens.is_empty() { Vec::new() } else { std::iter::once(0).chain(ends).collect() }
}

/// Puts a list in another order; one that is empty, because all of it is the default, stays so.
fn reorder<T: Copy>(list: &mut Vec<T>, order: &[usize]) {
    if !list.is_empty() {
        *list = order.iter().map(|&entry| list[entry]).collect();
    }
}

fn reorder_column(column: &mut wire::Column, order: &[usize]) {
    let starts = starts(&column.lens);
    if starts.is_empty() {
        return;
    }
    let range = |entry: usize| starts[entry]..starts[entry + 1];
    column.data = order.iter().flat_map(|&entry| &column.data[range(entry)]).copied().collect();
    reorder(&mut column.lens, order);
}

#[inline]
fn bytes<'f>(field: &'f Field<'_>) -> Option<&'f [u8]> {
    field.0.as_deref()
}

#[inline]
fn index(record: Record<'_>) -> u32 {
    u32::try_from(record.index()).expect("a batch has fewer than 2^32 records")
}

#[inline]
fn length(len: usize) -> i32 {
    i32::try_from(len).expect("a field of a message is smaller than 2 GiB")
}
