//! What of a partition is done, in the form that is committed with its offset.
//!
//! The committed offset is the low watermark: everything below it is done. What was finished ahead
//! of it, and how often the records that wait for a retry have failed, goes into the commit's
//! metadata, so that the next owner of the partition repeats nothing and forgets no attempt.
//!
//! Brokers refuse metadata of more than 4,096 bytes (`offset.metadata.max.bytes`). Keeping to
//! [`MAX_METADATA`] is the sequencer's task; what is too long all the same is cut at its end, which
//! costs repeats after a crash and never a record.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

/// Most characters of one partition's metadata.
pub const MAX_METADATA: usize = 4_000;

/// Version of the metadata's format, its first character.
const VERSION: char = '2';

/// How far one partition is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Low watermark: the offset to commit. Every record below it is done.
    pub low: i64,
    /// Offsets at or above `low` that are done: half-open, ascending, not touching each other.
    /// A range may cover offsets that hold no record.
    pub done: Vec<std::ops::Range<i64>>,
    /// Records at or above `low` that failed and are not done, ascending by offset.
    pub failed: Vec<Failed>,
    /// How many partitions the topic had when the group began with it at its end; 0: it did not.
    /// Those that were added later are read from their beginning.
    pub partitions_at_start: u32,
}

/// The failures of one record so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Offset of the record.
    pub offset: i64,
    /// Attempts that failed and count: none of them does while the breaker is open.
    pub attempts: u32,
    /// When it failed first, in seconds since 1970-01-01 UTC, above 0.
    pub since_unix_s: u64,
    /// When it is to run again, in the same measure. Before `since_unix_s`: at once.
    pub due_unix_s: u64,
}

/// Metadata that cannot be read. Its offset is good all the same; only what was done ahead of it
/// is unknown, and is done again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("it is in format {0:?}, which another version of tidegate wrote, or another program")]
    Version(char),
    #[error("it is damaged")]
    Damaged,
}

impl Progress {
    /// Progress of a partition of which only the offset is known.
    pub fn at(low: i64) -> Self {
        Self { low, ..Self::default() }
    }

    /// Whether the record at `offset`, not below `low`, is done.
    pub fn is_done(&self, offset: i64) -> bool {
        let after = self.done.partition_point(|range| range.end <= offset);
        self.done.get(after).is_some_and(|range| range.contains(&offset))
    }

    /// The failures of the record at `offset`, if it has any.
    pub fn failed(&self, offset: i64) -> Option<Failed> {
        let at = self.failed.binary_search_by_key(&offset, |failed| failed.offset).ok()?;
        Some(self.failed[at])
    }

    /// Forgets what lies below an offset, because the log begins there.
    pub fn forget_below(&mut self, start: i64) {
        self.low = self.low.max(start);
        self.done.retain_mut(|range| {
            range.start = range.start.max(start);
            range.start < range.end
        });
        if self.done.first().is_some_and(|range| range.start == self.low) {
            self.low = self.done.remove(0).end;
        }
        self.failed.retain(|failed| failed.offset >= self.low);
    }

    /// The metadata to commit with `low`: at most `limit` characters, empty where there is nothing to
    /// say.
    pub fn encode(&self, limit: usize) -> String {
        let (mut ranges, mut failed) = (self.done.len(), self.failed.len());
        loop {
            let text = self.encode_first(ranges, failed);
            if text.len() <= limit {
                return text;
            }
            // Attempts go first: forgetting one costs a try, forgetting a range costs its records.
            if failed > 0 {
                failed /= 2;
            } else if ranges > 0 {
                ranges -= ranges.div_ceil(8);
            } else {
                return String::new();
            }
        }
    }

    /// Reads metadata that was committed with offset `low`. Text that is not ours is no progress.
    pub fn decode(low: i64, metadata: &str) -> Result<Self, Unreadable> {
        let mut characters = metadata.chars();
        match characters.next() {
            None => return Ok(Self::at(low)),
            Some(VERSION) => {}
            Some(other) => return Err(Unreadable::Version(other)),
        }
        let bytes = BASE64.decode(characters.as_str()).map_err(|_| Unreadable::Damaged)?;
        let mut numbers = Numbers { bytes: &bytes };
        Self::read(low, &mut numbers).filter(|_| numbers.bytes.is_empty()).ok_or(Unreadable::Damaged)
    }

    fn encode_first(&self, ranges: usize, failed: usize) -> String {
        if ranges == 0 && failed == 0 && self.partitions_at_start == 0 {
            return String::new();
        }
        let mut bytes = Vec::with_capacity(ranges * 3 + failed * 4 + 8);
        write(&mut bytes, ranges as u64);
        let mut at = self.low;
        for range in &self.done[..ranges] {
            write(&mut bytes, distance(at, range.start));
            write(&mut bytes, distance(range.start, range.end));
            at = range.end;
        }
        let failed = &self.failed[..failed];
        let since = failed.iter().map(|failed| failed.since_unix_s).min().unwrap_or(0);
        write(&mut bytes, failed.len() as u64);
        write(&mut bytes, since);
        let mut at = self.low;
        for record in failed {
            write(&mut bytes, distance(at, record.offset));
            write(&mut bytes, record.attempts.into());
            write(&mut bytes, record.since_unix_s - since);
            write(&mut bytes, record.due_unix_s.saturating_sub(record.since_unix_s));
            at = record.offset;
        }
        if self.partitions_at_start > 0 {
            write(&mut bytes, self.partitions_at_start.into());
        }
        format!("{VERSION}{}", BASE64.encode(bytes))
    }

    fn read(low: i64, numbers: &mut Numbers<'_>) -> Option<Self> {
        let mut progress = Self::at(low);
        let mut at = low;
        for _ in 0..numbers.next()? {
            let start = at.checked_add_unsigned(numbers.next()?)?;
            let end = start.checked_add_unsigned(numbers.next()?)?;
            progress.done.push(start..end);
            at = end;
        }
        let failed = numbers.next()?;
        let since = numbers.next()?;
        let mut offset = low;
        for _ in 0..failed {
            offset = offset.checked_add_unsigned(numbers.next()?)?;
            let attempts = u32::try_from(numbers.next()?).ok()?;
            let since_unix_s = since.checked_add(numbers.next()?)?;
            let due_unix_s = since_unix_s.checked_add(numbers.next()?)?;
            progress.failed.push(Failed { offset, attempts, since_unix_s, due_unix_s });
        }
        if !numbers.bytes.is_empty() {
            progress.partitions_at_start = u32::try_from(numbers.next()?).ok()?;
        }
        Some(progress)
    }
}

fn distance(from: i64, to: i64) -> u64 {
    u64::try_from(to - from).unwrap_or(0)
}

/// LEB128, as Protocol Buffers and WebAssembly write unsigned numbers.
fn write(bytes: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

struct Numbers<'a> {
    bytes: &'a [u8],
}

impl Numbers<'_> {
    fn next(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.bytes.split_first()?;
            self.bytes = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(offset: i64, attempts: u32, since_unix_s: u64) -> Failed {
        Failed { offset, attempts, since_unix_s, due_unix_s: since_unix_s + 7 }
    }

    #[test]
    fn what_was_encoded_is_read_back() {
        for progress in [
            Progress::at(0),
            Progress::at(i64::MAX),
            Progress { low: 7, done: vec![8..9], ..Progress::default() },
            Progress { low: 7, failed: vec![failed(7, 3, 1_800_000_000)], ..Progress::default() },
            Progress { low: 7, partitions_at_start: 300, ..Progress::default() },
            Progress {
                low: 1_000_000,
                done: vec![1_000_001..1_000_002, 1_000_500..1_090_000],
                failed: vec![failed(1_000_000, 1, 1_800_000_009), failed(1_000_400, 70_000, 1_800_000_000)],
                partitions_at_start: 8,
            },
        ] {
            assert_eq!(Progress::decode(progress.low, &progress.encode(MAX_METADATA)), Ok(progress));
        }
    }

    #[test]
    fn nothing_ahead_needs_no_metadata() {
        assert_eq!(Progress::at(12).encode(MAX_METADATA), "");
    }

    #[test]
    fn too_long_progress_is_cut_at_its_end() {
        let done: Vec<_> = (0..5_000).map(|n| 2 * n + 1..2 * n + 2).collect();
        let progress = Progress { low: 0, done, failed: vec![failed(0, 1, 5); 9], ..Progress::default() };
        let text = progress.encode(MAX_METADATA);
        assert!(text.len() <= MAX_METADATA && text.len() > MAX_METADATA / 2, "{} characters", text.len());
        let read = Progress::decode(0, &text).expect("what was cut is still readable");
        assert_eq!(read.done, progress.done[..read.done.len()]);
    }

    #[test]
    fn foreign_and_damaged_metadata_is_told_apart() {
        assert_eq!(Progress::decode(5, "1AAAA"), Err(Unreadable::Version('1')));
        assert_eq!(Progress::decode(5, "2!"), Err(Unreadable::Damaged));
        let text = Progress { low: 5, done: vec![9..12], ..Progress::default() }.encode(MAX_METADATA);
        assert_eq!(Progress::decode(5, &text[..text.len() - 2]), Err(Unreadable::Damaged));
    }

    #[test]
    fn random_metadata_never_panics() {
        let mut rng = fastrand::Rng::with_seed(7);
        for _ in 0..10_000 {
            let bytes: Vec<u8> = (0..rng.usize(..40)).map(|_| rng.u8(..)).collect();
            let _ = Progress::decode(rng.i64(..), &format!("2{}", BASE64.encode(bytes)));
        }
    }
}
