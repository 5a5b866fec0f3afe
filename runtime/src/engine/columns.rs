//! Records into columns, and outcomes out of them. The only code that knows both shapes.

use super::bindings::{Batch, ColumnParam, ColumnResult, FailureKind, HeadersParam, Outcome as Lifted};
use crate::outcome::{Cause, Column, Fault, HeaderColumns, Outcome};
use crate::record::Record;

/// The lists of a batch, filled straight from the client's buffers and used again for every call
/// of an instance.
#[derive(Default)]
pub(super) struct Columns {
    offsets: Vec<i64>,
    timestamps: Vec<i64>,
    keys: Column,
    values: Column,
    counts: Vec<i32>,
    names: Column,
    header_values: Column,
}

impl Columns {
    pub(super) fn fill<R: Record>(&mut self, records: &[R]) {
        self.clear();
        for record in records {
            self.offsets.push(record.offset());
            self.timestamps.push(record.timestamp_ms().unwrap_or(-1));
            self.keys.push(record.key());
            self.values.push(record.value());
            let before = self.names.lens.len();
            for header in record.headers() {
                self.names.push(Some(header.name));
                self.header_values.push(header.value);
            }
            self.counts.push(length(self.names.lens.len() - before));
        }
    }

    pub(super) fn batch<'a>(&'a self, topic: &'a str, partition: i32, attempts: &'a [u32]) -> Batch<'a> {
        Batch {
            topic,
            partition,
            offsets: &self.offsets,
            timestamps: &self.timestamps,
            attempts,
            keys: self.keys.param(),
            values: self.values.param(),
            headers: HeadersParam {
                counts: &self.counts,
                names: self.names.param(),
                values: self.header_values.param(),
            },
        }
    }

    fn clear(&mut self) {
        self.offsets.clear();
        self.timestamps.clear();
        self.counts.clear();
        for column in [&mut self.keys, &mut self.values, &mut self.names, &mut self.header_values] {
            column.lens.clear();
            column.data.clear();
        }
    }
}

impl Column {
    fn push(&mut self, value: Option<&[u8]>) {
        match value {
            None => self.lens.push(-1),
            Some(value) => {
                self.lens.push(length(value.len()));
                self.data.extend_from_slice(value);
            }
        }
    }

    fn param(&self) -> ColumnParam<'_> {
        ColumnParam { lens: &self.lens, data: &self.data }
    }
}

/// Kafka counts in signed 32 bits too, so nothing that was read from it is longer.
fn length(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}

/// Moves an outcome out of the generated types.
pub(super) fn outcome(lifted: Lifted) -> Outcome {
    let column = |column: ColumnResult| Column { lens: column.lens, data: column.data };
    Outcome {
        sources: lifted.sources,
        topics: column(lifted.topics),
        partitions: lifted.partitions,
        timestamps: lifted.timestamps,
        keys: column(lifted.keys),
        values: column(lifted.values),
        headers: HeaderColumns {
            counts: lifted.headers.counts,
            names: column(lifted.headers.names),
            values: column(lifted.headers.values),
        },
        failures: lifted
            .failures
            .into_iter()
            .map(|failure| {
                let cause = match failure.kind {
                    FailureKind::Retry => Cause::Retry,
                    FailureKind::Reject => Cause::Reject,
                };
                (failure.source, Fault::new(cause, failure.reason))
            })
            .collect(),
    }
}
