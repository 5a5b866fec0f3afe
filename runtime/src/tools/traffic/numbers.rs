//! Makes numbered records.

use std::num::NonZeroU32;

use super::{HEADER, NUMBERED_BYTES, Number, Run};

/// The largest value.
pub const MAX_SIZE_BYTES: usize = 64 << 20;

/// Values begin at random places within this much of the filler, so that they differ.
const SPREAD_BYTES: usize = 4 << 10;

/// The size of values in bytes, evenly distributed from `min` to `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub min: usize,
    pub max: usize,
}

/// The records of a run, one after another.
pub struct Numbers {
    next: Number,
    size: Size,
    filler: String,
    rng: fastrand::Rng,
    record: NumberedRecord,
}

/// A record of a run.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct NumberedRecord {
    pub number: u64,
    pub key: String,
    pub value: String,
    /// The value of the header [`HEADER`].
    pub header: String,
}

impl Numbers {
    /// A run of `count` records. `None`: a run without an end.
    pub fn new(keys: NonZeroU32, size: Size, count: Option<u64>, mut rng: fastrand::Rng) -> Self {
        let next = Number { run: Run::random(&mut rng), number: 0, keys: keys.get(), count };
        // Random letters and digits: compression saves a quarter of them, not all.
        let filler = std::iter::repeat_with(|| rng.alphanumeric()).take(size.max + SPREAD_BYTES).collect();
        Self { next, size, filler, rng, record: NumberedRecord::default() }
    }

    /// The name of the run.
    pub fn run(&self) -> Run {
        self.next.run
    }

    /// How many records were made.
    pub fn made(&self) -> u64 {
        self.next.number
    }

    /// Makes the next record. `None`: there were `count`.
    pub fn make(&mut self) -> Option<&NumberedRecord> {
        let number = &self.next;
        if number.count.is_some_and(|count| number.number >= count) {
            return None;
        }
        let size = self.rng.usize(self.size.min..=self.size.max);
        self.record.number = number.number;
        self.record.key = format!("key-{}", number.key());
        self.record.header = number.header();
        let value = &mut self.record.value;
        value.clear();
        let start = self.rng.usize(..SPREAD_BYTES);
        if size < NUMBERED_BYTES {
            value.push_str(&self.filler[start..start + size]);
        } else {
            let Number { run, number, keys, count } = number;
            let count = count.map(|count| format!(",\"count\":{count}")).unwrap_or_default();
            let head = format!("{{\"run\":\"{run}\",\"number\":{number},\"keys\":{keys}{count},\"filler\":\"");
            let tail = "\"}";
            value.push_str(&head);
            value.push_str(&self.filler[start..start + size - head.len() - tail.len()]);
            value.push_str(tail);
        }
        self.next.number += 1;
        Some(&self.record)
    }
}

impl NumberedRecord {
    /// Its headers.
    pub fn headers(&self) -> [crate::record::Header<'_>; 1] {
        [crate::record::Header { name: HEADER.as_bytes(), value: Some(self.header.as_bytes()) }]
    }
}
