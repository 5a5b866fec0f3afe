//! Batches into the lists of the contract, and outcomes out of them. The only code that knows both
//! shapes.

use super::bindings::{Batch as Lowered, ColumnParam, ColumnResult, FailureKind, HeadersParam, Outcome as Lifted};
use crate::record::batch::Batch;
use crate::record::columns::{Column, HeaderColumns};
use crate::record::outcome::{Cause, Fault, Outcome};

/// What a guest gets: each list crosses in one copy, straight from the batch.
pub(super) fn lower(batch: &Batch) -> Lowered<'_> {
    let headers = batch.headers();
    Lowered {
        topic: batch.topic(),
        partition: batch.partition(),
        offsets: batch.offsets(),
        timestamps: batch.timestamps(),
        attempts: batch.attempts(),
        keys: column(batch.keys()),
        values: column(batch.values()),
        headers: HeadersParam {
            counts: &headers.counts,
            names: column(&headers.names),
            values: column(&headers.values),
        },
    }
}

fn column(column: &Column) -> ColumnParam<'_> {
    ColumnParam { lens: &column.lens, data: &column.data }
}

/// At most so many bytes does a batch take in the memory of a guest, all lists together.
pub(super) fn lowered_bytes(batch: &Batch) -> u64 {
    /// Of a record: offset, timestamp, attempt, the lengths of key and value, the number of headers.
    const EACH_RECORD: usize = 8 + 8 + 4 + 4 + 4 + 4;
    /// The lengths of its name and value.
    const EACH_HEADER: usize = 4 + 4;
    /// Every list may be moved to where its elements want to lie.
    const ALIGNMENT: usize = 14 * 7;
    let headers = batch.headers().names.lens.len();
    let fixed = batch.topic().len() + batch.len() * EACH_RECORD + headers * EACH_HEADER + ALIGNMENT;
    (batch.bytes() + fixed) as u64
}

/// What an outcome took on its way to the host, in the measure in which a call is granted some.
pub(super) fn lifted_bytes(lifted: &Lifted) -> usize {
    let column = |column: &ColumnResult| size_of_val(&*column.lens) + column.data.len();
    let Lifted { sources, topics, partitions, timestamps, keys, values, headers, failures } = lifted;
    size_of_val(&**sources)
        + size_of_val(&**partitions)
        + size_of_val(&**timestamps)
        + size_of_val(&*headers.counts)
        + [topics, keys, values, &headers.names, &headers.values].into_iter().map(column).sum::<usize>()
        + size_of_val(&**failures)
        + failures.iter().map(|failure| failure.reason.len()).sum::<usize>()
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
