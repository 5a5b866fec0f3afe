//! Topics in memory: partitions with their logs.
//!
//! Modelled: offsets without records (what compaction, transaction markers and aborted transactions
//! leave), a log start that retention moves, partitions that are added, topics that are deleted and
//! made again. Of output topics only the ends are kept: what was appended stands in the
//! [books](super::books). Not modelled: replicas that differ, unclean elections, time-based look-ups
//! beyond record timestamps.

/// A partition of the cluster. The trigger's input topics come first, in its own order, so `topic`
/// is what [`Partition::topic`](crate::kafka::Partition) counts too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub topic: usize,
    pub partition: i32,
}

pub struct Topic {
    pub name: String,
    /// How often it was made. 0: it was never there.
    pub incarnation: u32,
    /// Empty: there is no such topic now.
    pub logs: Vec<Log>,
}

impl Topic {
    pub fn new(name: &str, partitions: usize) -> Self {
        let logs = (0..partitions).map(|_| Log::default()).collect();
        Self { name: name.to_owned(), incarnation: u32::from(partitions > 0), logs }
    }

    pub fn exists(&self) -> bool {
        !self.logs.is_empty()
    }

    pub fn count(&self) -> i32 {
        i32::try_from(self.logs.len()).unwrap_or(i32::MAX)
    }

    pub fn log(&self, partition: i32) -> Option<&Log> {
        self.logs.get(usize::try_from(partition).ok()?)
    }

    pub fn log_mut(&mut self, partition: i32) -> Option<&mut Log> {
        self.logs.get_mut(usize::try_from(partition).ok()?)
    }
}

#[derive(Default)]
pub struct Log {
    /// The first offset that is still there.
    pub start: i64,
    /// The offset of the next record.
    pub end: i64,
    entries: Vec<Entry>,
}

/// A record in a log.
#[derive(Clone, Debug)]
pub struct Entry {
    pub offset: i64,
    pub timestamp_ms: i64,
    /// Number of the record in the load.
    pub id: usize,
}

impl Log {
    pub fn append(&mut self, timestamp_ms: i64, id: usize) -> i64 {
        let offset = self.end;
        self.entries.push(Entry { offset, timestamp_ms, id });
        self.end += 1;
        offset
    }

    /// Uses up offsets without records.
    pub fn skip(&mut self, offsets: i64) {
        self.end += offsets;
    }

    /// Removes everything below an offset, and returns the numbers of the records that were there.
    pub fn remove_below(&mut self, offset: i64) -> Vec<usize> {
        self.start = self.start.max(offset.min(self.end));
        let kept = self.entries.partition_point(|entry| entry.offset < self.start);
        self.entries.drain(..kept).map(|entry| entry.id).collect()
    }

    /// The records from an offset on.
    pub fn from(&self, offset: i64) -> &[Entry] {
        &self.entries[self.entries.partition_point(|entry| entry.offset < offset)..]
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The first offset whose record is not older, or the end.
    pub fn at_time(&self, timestamp_ms: i64) -> i64 {
        let found = self.entries.iter().find(|entry| entry.timestamp_ms >= timestamp_ms);
        found.map_or(self.end, |entry| entry.offset)
    }
}
