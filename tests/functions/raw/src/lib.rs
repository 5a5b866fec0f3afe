//! A function that answers with outcomes that no SDK would make.
//!
//! The value of the first record of the batch names the shape: see [`malformed`]. Any other value
//! gives the identity, of which only `sources` is filled. Made without the SDK, on `wit/` itself.

use bindings::exports::tidegate::function::handler::Guest;
use bindings::tidegate::function::types::{Batch, Column, Failure, FailureKind, Headers, Outcome};

#[allow(unsafe_code, unreachable_pub, unused_qualifications, clippy::all)]
mod bindings {
    wit_bindgen::generate!({ path: "../../../wit", world: "function" });

    #[cfg(target_arch = "wasm32")]
    export!(Raw with_types_in self);
    #[cfg(target_arch = "wasm32")]
    use super::Raw;
}

struct Raw;

impl Guest for Raw {
    fn handle(batch: Batch) -> Outcome {
        let records = u32::try_from(batch.offsets.len()).expect("fewer than 2^32 records");
        let end = usize::try_from(batch.values.lens[0]).unwrap_or(0);
        let shape = std::str::from_utf8(&batch.values.data[..end]).unwrap_or_default();
        malformed(shape, records).unwrap_or_else(|| identity(records))
    }
}

/// Every record forwarded as it is.
fn identity(records: u32) -> Outcome {
    let empty = || Column { lens: Vec::new(), data: Vec::new() };
    Outcome {
        sources: (0..records).collect(),
        topics: empty(),
        partitions: Vec::new(),
        timestamps: Vec::new(),
        keys: empty(),
        values: empty(),
        headers: Headers { counts: Vec::new(), names: empty(), values: empty() },
        failures: Vec::new(),
    }
}

/// The identity with one thing wrong, for a batch of any number of records. `None`: no such shape.
fn malformed(shape: &str, records: u32) -> Option<Outcome> {
    let n = records as usize;
    let mut outcome = identity(records);
    let values = &mut outcome.values;
    let headers = &mut outcome.headers;
    match shape {
        // Too few, of twice the messages: one less than one message would be an empty column, which
        // is right.
        "short-lens" => {
            values.lens = vec![-2; n];
            outcome.sources = (0..records).flat_map(|source| [source, source]).collect();
        }
        "long-lens" => values.lens = vec![-2; n + 1],
        "short-data" => *values = column(vec![4; n], 4 * n - 1),
        "long-data" => *values = column(vec![4; n], 4 * n + 1),
        "orphan-data" => values.data = vec![b'x'; 4],
        "negative-len" => values.lens = vec![-3; n],
        "huge-len" => *values = column(vec![i32::MAX; n], 4),
        "source-range" => outcome.sources[n - 1] = records,
        // With one record this is out of range, too.
        "source-order" => outcome.sources = vec![1, 0],
        "bad-topic-utf8" => outcome.topics = repeated(b"\xff\xfe", n),
        "ungranted-topic" => outcome.topics = repeated(b"tidegate-no-such-topic", n),
        "empty-topic" => outcome.topics = repeated(b"", n),
        "long-partitions" => outcome.partitions = vec![0; n + 1],
        "bad-partition" => outcome.partitions = vec![-2; n],
        "long-timestamps" => outcome.timestamps = vec![-2; n + 1],
        "bad-timestamp" => outcome.timestamps = vec![-3; n],
        // One header each, says the count, but there is none.
        "counts" => headers.counts = vec![1; n],
        "long-counts" => headers.counts = vec![0; n + 1],
        "negative-count" => headers.counts = vec![-3; n],
        "huge-count" => headers.counts = vec![i32::MAX; n],
        "orphan-headers" => (headers.names, headers.values) = (repeated(b"h", 1), repeated(b"v", 1)),
        "short-header-values" => (headers.counts, headers.names) = (vec![1; n], repeated(b"h", n)),
        "null-header-name" => {
            (headers.counts, headers.names) = (vec![1; n], column(vec![-1; n], 0));
            headers.values = repeated(b"v", n);
        }
        "source-header-value" => {
            (headers.counts, headers.names) = (vec![1; n], repeated(b"h", n));
            headers.values = column(vec![-2; n], 0);
        }
        "bad-failure-index" => outcome.failures = vec![failure(records, "bad")],
        "duplicate-failure" => outcome.failures = vec![failure(0, "first"), failure(0, "second")],
        // Not malformed: to see that the host cuts it, between two characters.
        "long-reason" => outcome.failures = vec![failure(0, &"€".repeat(1 << 16))],
        _ => return None,
    }
    Some(outcome)
}

fn column(lens: Vec<i32>, bytes: usize) -> Column {
    Column { lens, data: vec![b'x'; bytes] }
}

fn repeated(value: &[u8], times: usize) -> Column {
    let len = i32::try_from(value.len()).expect("a short value");
    Column { lens: vec![len; times], data: value.repeat(times) }
}

fn failure(source: u32, reason: &str) -> Failure {
    Failure { source, kind: FailureKind::Reject, reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(values: &[&str]) -> Batch {
        let n = values.len();
        let lens = values.iter().map(|value| i32::try_from(value.len()).expect("a short value"));
        Batch {
            topic: "test".to_owned(),
            partition: 0,
            offsets: vec![0; n],
            timestamps: vec![-1; n],
            attempts: vec![1; n],
            keys: column(vec![-1; n], 0),
            values: Column { lens: lens.collect(), data: values.concat().into_bytes() },
            headers: Headers { counts: vec![0; n], names: column(Vec::new(), 0), values: column(Vec::new(), 0) },
        }
    }

    #[test]
    fn any_other_value_is_the_identity() {
        let outcome = Raw::handle(batch(&["hello", "negative-len"]));
        assert_eq!(outcome.sources, [0, 1]);
        assert!(outcome.values.lens.is_empty() && outcome.failures.is_empty());
    }

    #[test]
    fn the_first_value_names_the_shape() {
        let outcome = Raw::handle(batch(&["negative-len", "hello"]));
        assert_eq!(outcome.values.lens, [-3, -3]);
        let outcome = Raw::handle(batch(&["source-order"]));
        assert_eq!(outcome.sources, [1, 0]);
        let outcome = Raw::handle(batch(&["short-lens"]));
        assert_eq!((outcome.sources.len(), outcome.values.lens.len()), (2, 1));
    }
}
