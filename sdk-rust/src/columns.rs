//! A batch as it came, plus where each of its values starts, so that any record is found at once.
//!
//! The starts are counted once for each call: one addition for each field. Records are views of
//! this; nothing is copied.

use std::ops::Range;

use crate::bindings::tidegate::function::types as wire;

/// One field of all records.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    lens: Vec<i32>,
    starts: Vec<usize>,
    data: Vec<u8>,
}

impl Column {
    fn new(column: wire::Column) -> Self {
        let mut end = 0;
        let starts = column.lens.iter().map(|&len| advance(&mut end, len)).collect();
        Self { lens: column.lens, starts, data: column.data }
    }

    /// The value at `index`; `None` is null.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> Option<&[u8]> {
        let len = usize::try_from(self.lens[index]).ok()?;
        let start = self.starts[index];
        Some(&self.data[start..start + len])
    }

    /// The bytes of all values together.
    pub(crate) fn bytes(&self) -> usize {
        self.data.len()
    }
}

/// All fields of all records of a call.
#[derive(Clone, Debug)]
pub(crate) struct Columns {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) offsets: Vec<i64>,
    pub(crate) timestamps: Vec<i64>,
    pub(crate) attempts: Vec<u32>,
    pub(crate) keys: Column,
    pub(crate) values: Column,
    pub(crate) header_names: Column,
    pub(crate) header_values: Column,
    header_counts: Vec<i32>,
    /// Empty when no record has a header, which is the common case.
    header_starts: Vec<usize>,
}

impl Columns {
    pub(crate) fn new(batch: wire::Batch) -> Self {
        let wire::Headers { counts, names, values } = batch.headers;
        let mut header_starts = Vec::new();
        if !names.lens.is_empty() {
            let mut end = 0;
            header_starts.extend(counts.iter().map(|&count| advance(&mut end, count)));
        }
        Self {
            topic: batch.topic,
            partition: batch.partition,
            offsets: batch.offsets,
            timestamps: batch.timestamps,
            attempts: batch.attempts,
            keys: Column::new(batch.keys),
            values: Column::new(batch.values),
            header_names: Column::new(names),
            header_values: Column::new(values),
            header_counts: counts,
            header_starts,
        }
    }

    #[inline]
    pub(crate) fn records(&self) -> usize {
        self.offsets.len()
    }

    /// Where the headers of a record lie in the two header columns.
    #[inline]
    pub(crate) fn headers(&self, index: usize) -> Range<usize> {
        let Some(&start) = self.header_starts.get(index) else {
            return 0..0;
        };
        start..start + usize::try_from(self.header_counts[index]).unwrap_or(0)
    }
}

/// Moves `end` past an entry of `len` (nothing, when it is null) and returns where the entry starts.
fn advance(end: &mut usize, len: i32) -> usize {
    let start = *end;
    *end += usize::try_from(len).unwrap_or(0);
    start
}
