//! What runs async functions: one call at a time, and within it some records at a time.

use std::collections::HashMap;

use futures_util::StreamExt as _;
use futures_util::stream;

use crate::{Batch, Record};

/// Runs a future to its end: in a component by `poll` of WASI, in a test on this thread.
#[cfg(not(target_arch = "wasm32"))]
pub use pollster::block_on;
#[cfg(target_arch = "wasm32")]
pub use wstd::runtime::block_on;

/// Handles the records of a batch, at most `limit` at a time: those of one key one after another, in
/// their order, those of different keys and those without a key side by side.
pub async fn overlap<'a>(batch: Batch<'a>, limit: usize, handle: impl AsyncFn(Record<'a>)) {
    let handle = &handle;
    let in_turn = |records: Vec<Record<'a>>| async move {
        for record in records {
            handle(record).await;
        }
    };
    stream::iter(by_key(batch)).for_each_concurrent(limit, in_turn).await;
}

/// The records of each key, in the order of their first ones.
fn by_key(batch: Batch<'_>) -> Vec<Vec<Record<'_>>> {
    let mut groups: Vec<Vec<Record<'_>>> = Vec::new();
    let mut places: HashMap<&[u8], usize> = HashMap::new();
    for record in batch {
        let next = groups.len();
        match record.key().map_or(next, |key| *places.entry(key).or_insert(next)) {
            place if place == next => groups.push(vec![record]),
            place => groups[place].push(record),
        }
    }
    groups
}
