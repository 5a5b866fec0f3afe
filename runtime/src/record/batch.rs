//! The records of a call, laid out by column.
//!
//! Records are copied here, once, when their call starts; the Kafka client gets its memory back at
//! that moment, while it is still warm. The same columns are what the guest gets, what outcomes
//! refer to, and what dead letters are made of, until the last message is acknowledged.

use std::sync::Arc;

use crate::record::columns::{Column, HeaderColumns, HeaderRun};
use crate::record::{HEADER_OVERHEAD_BYTES, Header, OVERHEAD_BYTES, OwnedRecord, Record};

/// Memory that a batch keeps for its next use. What a large record took is given back.
const MAX_KEPT_BYTES: usize = 1 << 20;

/// Records of one partition, in the order of their offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    topic: Arc<str>,
    partition: i32,
    offsets: Vec<i64>,
    /// Milliseconds since 1970-01-01 UTC; -1: unknown.
    timestamps: Vec<i64>,
    /// The number of this try, from 1.
    attempts: Vec<u32>,
    keys: Column,
    values: Column,
    headers: HeaderColumns,
    /// Where the fields of each record start.
    starts: Vec<Start>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Start {
    key: usize,
    value: usize,
    header: usize,
    header_name: usize,
    header_value: usize,
}

impl Batch {
    pub fn new(topic: Arc<str>, partition: i32) -> Self {
        Self {
            topic,
            partition,
            offsets: Vec::new(),
            timestamps: Vec::new(),
            attempts: Vec::new(),
            keys: Column::default(),
            values: Column::default(),
            headers: HeaderColumns::default(),
            starts: Vec::new(),
        }
    }

    /// An empty batch becomes one of another partition.
    pub fn become_of(&mut self, topic: Arc<str>, partition: i32) {
        debug_assert!(self.is_empty());
        self.topic = topic;
        self.partition = partition;
    }

    /// Bytes of its records' content.
    pub fn bytes(&self) -> usize {
        let HeaderColumns { names, values, .. } = &self.headers;
        [&self.keys, &self.values, names, values].iter().map(|column| column.data.len()).sum()
    }

    /// What its records take, all together, as [`Record::bytes`] counts each. Costs the same however
    /// many there are.
    pub fn record_bytes(&self) -> usize {
        let headers = self.headers.names.lens.len().saturating_mul(HEADER_OVERHEAD_BYTES);
        self.len().saturating_mul(OVERHEAD_BYTES).saturating_add(headers).saturating_add(self.bytes())
    }

    /// Empties it and keeps its memory, up to a limit.
    pub fn clear(&mut self) {
        self.offsets.clear();
        self.timestamps.clear();
        self.attempts.clear();
        self.headers.clear();
        self.starts.clear();
        for column in [&mut self.keys, &mut self.values, &mut self.headers.names, &mut self.headers.values] {
            column.clear();
            column.data.shrink_to(MAX_KEPT_BYTES);
        }
    }

    /// Adds a record that runs for the `attempt`-th time.
    pub fn push(&mut self, record: &impl Record, attempt: u32) {
        self.starts.push(Start {
            key: self.keys.data.len(),
            value: self.values.data.len(),
            header: self.headers.names.lens.len(),
            header_name: self.headers.names.data.len(),
            header_value: self.headers.values.data.len(),
        });
        self.offsets.push(record.offset());
        self.timestamps.push(record.timestamp_ms().unwrap_or(-1));
        self.attempts.push(attempt);
        self.keys.push(record.key());
        self.values.push(record.value());
        self.headers.push(record.headers());
    }

    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    pub fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    pub fn partition(&self) -> i32 {
        self.partition
    }

    pub fn offsets(&self) -> &[i64] {
        &self.offsets
    }

    pub fn timestamps(&self) -> &[i64] {
        &self.timestamps
    }

    pub fn attempts(&self) -> &[u32] {
        &self.attempts
    }

    pub fn keys(&self) -> &Column {
        &self.keys
    }

    pub fn values(&self) -> &Column {
        &self.values
    }

    pub fn headers(&self) -> &HeaderColumns {
        &self.headers
    }

    /// The record at an index.
    pub fn record(&self, index: usize) -> BatchRecord<'_> {
        BatchRecord { batch: self, index, start: self.starts[index] }
    }

    pub fn records(&self) -> impl Iterator<Item = BatchRecord<'_>> {
        (0..self.len()).map(|index| self.record(index))
    }

    /// Counts tries otherwise: `attempt` gives the number of each record's by its offset.
    pub fn renumber(&mut self, attempt: impl Fn(i64) -> u32) {
        self.attempts.iter_mut().zip(&self.offsets).for_each(|(own, &offset)| *own = attempt(offset));
    }
}

/// A record of a batch.
#[derive(Clone, Copy, Debug)]
pub struct BatchRecord<'a> {
    batch: &'a Batch,
    index: usize,
    start: Start,
}

impl<'a> BatchRecord<'a> {
    /// As [`Record::key`], for as long as the batch lives.
    pub fn key(self) -> Option<&'a [u8]> {
        self.batch.keys.value(self.index, self.start.key)
    }

    /// As [`Record::value`], for as long as the batch lives.
    pub fn value(self) -> Option<&'a [u8]> {
        self.batch.values.value(self.index, self.start.value)
    }

    /// As [`Record::headers`], for as long as the batch lives.
    pub fn headers(self) -> HeaderRun<'a> {
        let HeaderColumns { counts, names, values } = &self.batch.headers;
        let range = self.start.header..self.start.header + counts[self.index] as usize;
        HeaderRun {
            name_lens: &names.lens[range.clone()],
            value_lens: &values.lens[range],
            names: &names.data[self.start.header_name..],
            values: &values.data[self.start.header_value..],
        }
    }

    pub fn to_owned(self) -> OwnedRecord {
        OwnedRecord::copy_of(&self)
    }
}

impl Record for BatchRecord<'_> {
    fn offset(&self) -> i64 {
        self.batch.offsets[self.index]
    }

    fn timestamp_ms(&self) -> Option<i64> {
        Some(self.batch.timestamps[self.index]).filter(|&timestamp| timestamp >= 0)
    }

    fn key(&self) -> Option<&[u8]> {
        Self::key(*self)
    }

    fn value(&self) -> Option<&[u8]> {
        Self::value(*self)
    }

    fn header(&self, index: usize) -> Option<Header<'_>> {
        Self::headers(*self).nth(index)
    }

    fn headers(&self) -> impl Iterator<Item = Header<'_>> {
        Self::headers(*self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> Vec<OwnedRecord> {
        let bytes = |text: &str| Some(text.as_bytes().to_vec());
        vec![
            OwnedRecord { offset: 3, timestamp_ms: Some(7), key: bytes("k"), value: bytes("value"), headers: vec![] },
            OwnedRecord { offset: 4, timestamp_ms: None, key: None, value: bytes(""), headers: vec![] },
            OwnedRecord {
                offset: 9,
                timestamp_ms: Some(0),
                key: bytes(""),
                value: None,
                headers: vec![(b"a".to_vec(), None), (vec![0xff], bytes("")), (vec![], bytes("x"))],
            },
            OwnedRecord { headers: vec![(b"last".to_vec(), bytes("y"))], offset: 10, ..OwnedRecord::default() },
        ]
    }

    #[test]
    fn records_come_out_as_they_went_in() {
        let mut batch = Batch::new("t".into(), 1);
        for _ in 0..2 {
            records().iter().for_each(|record| batch.push(record, 2));
            assert_eq!(batch.records().map(BatchRecord::to_owned).collect::<Vec<_>>(), records());
            assert_eq!(batch.record_bytes(), records().iter().map(Record::bytes).sum::<usize>());
            batch.clear();
            batch.become_of("u".into(), 2);
        }
        assert!(batch.is_empty());
    }
}
