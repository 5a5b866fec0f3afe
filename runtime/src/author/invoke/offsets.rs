//! Offsets of records that may leave theirs out.

use std::collections::HashMap;
use std::sync::Arc;

/// A record at an offset where no broker would deliver it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misplaced {
    #[error("offset {offset} of {topic}/{partition} stands behind {last}: offsets of a partition ascend")]
    Behind { topic: Arc<str>, partition: i32, offset: i64, last: i64 },
    #[error("{topic}/{partition} has no offset {}: the last one is below it", i64::MAX)]
    Beyond { topic: Arc<str>, partition: i32 },
}

/// The last offset of each partition.
#[derive(Debug, Default)]
pub struct Offsets {
    last: HashMap<(Arc<str>, i32), i64>,
}

impl Offsets {
    /// The offset of the next record of a partition: the one `given`, or the one behind the last. `first` is that of
    /// the first record.
    pub fn next(&mut self, topic: &Arc<str>, partition: i32, given: Option<i64>, first: i64) -> Result<i64, Misplaced> {
        let last = self.last.entry((topic.clone(), partition)).or_insert(-1);
        let offset = given.unwrap_or(if *last < 0 { first } else { last.saturating_add(1) });
        if offset == i64::MAX {
            return Err(Misplaced::Beyond { topic: topic.clone(), partition });
        }
        if offset <= *last {
            return Err(Misplaced::Behind { topic: topic.clone(), partition, offset, last: *last });
        }
        *last = offset;
        Ok(offset)
    }
}
