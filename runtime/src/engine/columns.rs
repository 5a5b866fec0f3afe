//! Converts batches to the generated types of the contract, and outcomes back from them. Only this module
//! knows both representations.

use super::bindings::{Batch as Lowered, ColumnParam, ColumnResult, FailureKind, HeadersParam, Outcome as Lifted};
use crate::record::batch::Batch;
use crate::record::columns::{Column, HeaderColumns};
use crate::record::outcome::{Cause, Fault, Outcome};

/// The argument of a call. wasmtime copies each list once, from the batch into the memory of the guest.
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

/// An upper bound of the bytes that all lists of a batch take in the memory of a guest.
pub(super) fn lowered_bytes(batch: &Batch) -> u64 {
    /// Offset, timestamp, attempt, length of the key, length of the value, number of headers.
    const EACH_RECORD: usize = 8 + 8 + 4 + 4 + 4 + 4;
    /// Length of the name and length of the value.
    const EACH_HEADER: usize = 4 + 4;
    /// Up to 7 bytes before each list, because its elements are aligned to at most 8 bytes.
    const ALIGNMENT: usize = 14 * 7;
    let headers = batch.headers().names.lens.len();
    let fixed = batch.topic().len() + batch.len() * EACH_RECORD + headers * EACH_HEADER + ALIGNMENT;
    (batch.bytes() + fixed) as u64
}

/// The size of an outcome as wasmtime counts it while it copies the outcome to the host. It is comparable to
/// [`Call::outcome_bytes`](super::Call::outcome_bytes).
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

/// Converts an outcome from the generated types without copying its lists.
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
