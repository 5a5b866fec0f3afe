//! Records that are called together.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::manifest::BatchLimits;
use crate::record::batch::Batch;
use crate::record::{OwnedRecord, Record as _};

/// The most bytes of records that wait for a full batch, over all partitions.
const MAX_WAITING_BYTES: usize = 64 << 20;

/// A record at an offset where no broker would deliver it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("offset {offset} of {topic}/{partition} stands behind {last}: offsets of a partition ascend")]
pub struct Misplaced {
    topic: Arc<str>,
    partition: i32,
    offset: i64,
    last: i64,
}

/// Puts records into batches of one partition each, as large as the limits allow.
#[derive(Debug)]
pub struct Batcher {
    limits: BatchLimits,
    partitions: BTreeMap<(Arc<str>, i32), Partition>,
    waiting_bytes: usize,
}

#[derive(Debug)]
struct Partition {
    waiting: Batch,
    bytes: usize,
    last: i64,
}

impl Batcher {
    pub fn new(limits: BatchLimits) -> Self {
        Self { limits, partitions: BTreeMap::new(), waiting_bytes: 0 }
    }

    /// The offset after the last one of a partition.
    pub fn next_offset(&self, topic: &Arc<str>, partition: i32) -> Option<i64> {
        self.partitions.get(&(topic.clone(), partition)).map(|partition| partition.last.saturating_add(1))
    }

    /// Adds a record. Returns a batch if one is complete.
    pub fn push(
        &mut self,
        topic: &Arc<str>,
        number: i32,
        record: &OwnedRecord,
        attempt: u32,
    ) -> Result<Option<Batch>, Misplaced> {
        let (bytes, offset) = (record.bytes(), record.offset);
        let partition = self.partitions.entry((topic.clone(), number)).or_insert_with(|| Partition {
            waiting: Batch::new(topic.clone(), number),
            bytes: 0,
            last: -1,
        });
        if offset <= partition.last {
            return Err(Misplaced { topic: topic.clone(), partition: number, offset, last: partition.last });
        }
        partition.last = offset;
        let most_bytes = usize::try_from(self.limits.bytes).unwrap_or(usize::MAX);
        let full = if !partition.waiting.is_empty() && partition.bytes + bytes > most_bytes {
            self.waiting_bytes -= partition.bytes;
            Some(partition.take())
        } else {
            None
        };
        partition.waiting.push(record, attempt);
        partition.bytes += bytes;
        self.waiting_bytes += bytes;
        if partition.waiting.len() >= self.limits.records.get() as usize {
            debug_assert!(full.is_none(), "a batch of one record is never left waiting");
            self.waiting_bytes -= partition.bytes;
            return Ok(Some(partition.take()));
        }
        if full.is_none() && self.waiting_bytes > MAX_WAITING_BYTES {
            return Ok(self.take_largest());
        }
        Ok(full)
    }

    /// Returns the remaining records as batches, partition by partition.
    pub fn finish(&mut self) -> Vec<Batch> {
        self.waiting_bytes = 0;
        self.partitions.values_mut().map(Partition::take).filter(|batch| !batch.is_empty()).collect()
    }

    fn take_largest(&mut self) -> Option<Batch> {
        let largest = self.partitions.values_mut().max_by_key(|partition| partition.bytes)?;
        self.waiting_bytes -= largest.bytes;
        Some(largest.take())
    }
}

impl Partition {
    fn take(&mut self) -> Batch {
        self.bytes = 0;
        let next = Batch::new(self.waiting.topic().clone(), self.waiting.partition());
        std::mem::replace(&mut self.waiting, next)
    }
}
