//! Where partitions go on: at what the group committed, else where the manifest's `start` says.
//!
//! The rules are asked of a [`Reader`], which waits for the brokers, so they run on a helper thread.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use super::progress::{Progress, Unreadable};
use crate::kafka::{Error, Position, Reader};
use crate::manifest::Start;

/// How long the brokers may take for each question.
const LIMIT: Duration = Duration::from_secs(30);

/// What decides where a partition goes on that the group has no offset for.
#[derive(Clone, Debug)]
pub struct Choice {
    pub start: Start,
    /// Topics that appeared while the trigger ran: all of their records are new.
    pub appeared: BTreeSet<String>,
}

/// Where a partition goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beginning {
    pub topic: String,
    pub partition: i32,
    /// Where the client reads from. `None`: at the beginning of the partition.
    pub offset: Option<i64>,
    pub progress: Progress,
    /// The offset was chosen by a clock or an end, which would say something else after a restart:
    /// it is made durable at once.
    pub is_chosen: bool,
    /// What the group committed cannot be read, or the log does not have it.
    pub surprise: Option<Surprise>,
}

/// Why some records are handled again, or never.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Surprise {
    /// The commit's metadata cannot be read.
    Unreadable(Unreadable),
    /// Records from the committed offset on were deleted before they were handled.
    Deleted(Range<i64>),
    /// The committed offset is above the end of the log, which is read from its beginning.
    Beyond { committed: i64, log: Range<i64> },
}

impl Beginning {
    /// The place that the client is told.
    pub fn position(&self) -> Position {
        Position { offset: self.offset, ..Position::of(&self.topic, self.partition) }
    }

    fn of(position: &Position) -> Self {
        Self {
            topic: position.topic.clone(),
            partition: position.partition,
            offset: position.offset,
            progress: Progress::at(position.offset.unwrap_or(0)),
            is_chosen: false,
            surprise: None,
        }
    }

    /// Goes on where the group's commit says.
    fn committed(position: &Position) -> Self {
        let mut beginning = Self::of(position);
        match Progress::decode(position.offset.unwrap_or(0), &position.metadata) {
            Ok(progress) => beginning.progress = progress,
            Err(unreadable) => beginning.surprise = Some(Surprise::Unreadable(unreadable)),
        }
        beginning
    }

    /// Holds the offset against what the log has.
    fn within(mut self, log: Range<i64>) -> Self {
        let Some(offset) = self.offset else { return self };
        let partitions_at_start = self.progress.partitions_at_start;
        if offset > log.end {
            self.surprise = Some(Surprise::Beyond { committed: offset, log: log.clone() });
            self.offset = Some(log.start);
            self.progress = Progress { partitions_at_start, ..Progress::at(log.start) };
        } else if offset < log.start {
            let handled = self.progress.done.iter().map(|range| range.end.min(log.start) - range.start);
            if handled.filter(|&offsets| offsets > 0).sum::<i64>() < log.start - offset {
                self.surprise = Some(Surprise::Deleted(offset..log.start));
            }
            self.progress.forget_below(log.start);
            self.offset = Some(self.progress.low);
        }
        self
    }
}

/// Reads where partitions go on.
pub fn beginnings(reader: &dyn Reader, partitions: &[Position], choice: &Choice) -> Result<Vec<Beginning>, Error> {
    let (known, new): (Vec<_>, Vec<_>) =
        reader.committed(partitions, LIMIT)?.into_iter().partition(|position| position.offset.is_some());
    let mut all: Vec<_> = known.iter().map(Beginning::committed).collect();
    all.extend(chosen(reader, new, choice)?);
    // Most partitions begin where their log has something; only an offset can be outside of it.
    let placed: Vec<_> = all.iter().filter(|it| it.offset.is_some()).map(Beginning::position).collect();
    let mut logs = if placed.is_empty() { Vec::new() } else { reader.ranges(&placed, LIMIT)? }.into_iter();
    let within = |beginning: Beginning| match beginning.offset.and_then(|_| logs.next()) {
        Some(log) => beginning.within(log),
        None => beginning,
    };
    Ok(all.into_iter().map(within).collect())
}

fn chosen(reader: &dyn Reader, new: Vec<Position>, choice: &Choice) -> Result<Vec<Beginning>, Error> {
    if new.is_empty() {
        return Ok(Vec::new());
    }
    let at = |position: Position| Beginning { is_chosen: position.offset.is_some(), ..Beginning::of(&position) };
    match &choice.start {
        Start::Earliest => Ok(new.into_iter().map(at).collect()),
        Start::Latest => latest(reader, new, &choice.appeared),
        Start::Timestamp { millis } => Ok(reader.at_time(&new, *millis, LIMIT)?.into_iter().map(at).collect()),
        Start::Offsets(offsets) => {
            let placed =
                |position: Position| Position { offset: offsets.get(&position.partition).copied(), ..position };
            Ok(new.into_iter().map(placed).map(at).collect())
        }
    }
}

/// Where partitions go on that the group has no offset for, if it starts at the end: at their end if
/// the group begins with them, at their beginning if they were added to a topic that it reads already
/// or if their topic appeared while the trigger ran. So no record of theirs is missed.
fn latest(reader: &dyn Reader, new: Vec<Position>, appeared: &BTreeSet<String>) -> Result<Vec<Beginning>, Error> {
    let mut at_start: BTreeMap<String, u32> = BTreeMap::new();
    for position in &new {
        if !at_start.contains_key(&position.topic) {
            at_start.insert(position.topic.clone(), partitions_at_start(reader, &position.topic)?);
        }
    }
    let was_there = |position: &Position| {
        !appeared.contains(&position.topic)
            && u32::try_from(position.partition).is_ok_and(|number| number < at_start[&position.topic])
    };
    let old: Vec<_> = new.iter().filter(|position| was_there(position)).cloned().collect();
    let mut ends = if old.is_empty() { Vec::new() } else { reader.ranges(&old, LIMIT)? }.into_iter();
    let begin = |position: Position| {
        let end = if was_there(&position) { ends.next() } else { None };
        let position = Position { offset: end.map(|log| log.end), ..position };
        let mut beginning = Beginning { is_chosen: position.offset.is_some(), ..Beginning::of(&position) };
        beginning.progress.partitions_at_start = at_start[&position.topic];
        beginning
    };
    Ok(new.into_iter().map(begin).collect())
}

/// How many partitions the topic had when the group began with it: what its commits say, or all there
/// are, if it has committed nothing.
fn partitions_at_start(reader: &dyn Reader, topic: &str) -> Result<u32, Error> {
    let count = reader.metadata(&[topic.to_owned()], LIMIT)?.partitions_of(topic)?;
    let all: Vec<_> = (0..count).map(|partition| Position::of(topic, partition)).collect();
    let said = |position: Position| {
        let progress = Progress::decode(position.offset?, &position.metadata).unwrap_or_default();
        Some(progress.partitions_at_start)
    };
    let said = reader.committed(&all, LIMIT)?.into_iter().filter_map(said).max();
    Ok(said.unwrap_or(u32::try_from(count).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::Metadata;

    /// One topic, as a broker sees it.
    struct Log {
        committed: Vec<(Option<i64>, String)>,
        ranges: Vec<Range<i64>>,
    }

    impl Reader for Log {
        fn committed(&self, partitions: &[Position], _: Duration) -> Result<Vec<Position>, Error> {
            let known = |position: &Position| {
                let (offset, metadata) = self.committed[position.partition as usize].clone();
                Position { offset, metadata, ..position.clone() }
            };
            Ok(partitions.iter().map(known).collect())
        }

        fn at_time(&self, partitions: &[Position], time: i64, _: Duration) -> Result<Vec<Position>, Error> {
            Ok(partitions.iter().map(|position| Position { offset: Some(time), ..position.clone() }).collect())
        }

        fn ranges(&self, partitions: &[Position], _: Duration) -> Result<Vec<Range<i64>>, Error> {
            Ok(partitions.iter().map(|position| self.ranges[position.partition as usize].clone()).collect())
        }

        fn metadata(&self, topics: &[String], _: Duration) -> Result<Metadata, Error> {
            let partitions = topics.iter().map(|topic| (topic.clone(), self.ranges.len() as i32)).collect();
            Ok(Metadata { partitions, ..Metadata::default() })
        }
    }

    fn begin(log: &Log, start: Start, appeared: &[&str]) -> Vec<Beginning> {
        let partitions: Vec<_> = (0..log.ranges.len() as i32).map(|number| Position::of("t", number)).collect();
        let appeared = appeared.iter().map(|topic| (*topic).to_owned()).collect();
        beginnings(log, &partitions, &Choice { start, appeared }).expect("the broker answers")
    }

    fn metadata(progress: &Progress) -> String {
        progress.encode(usize::MAX)
    }

    #[test]
    fn a_partition_goes_on_where_the_group_was() {
        let progress = Progress { done: vec![7..9], ..Progress::at(5) };
        let log = Log { committed: vec![(Some(5), metadata(&progress))], ranges: vec![0..20] };
        let [beginning] = &begin(&log, Start::Latest, &[])[..] else { panic!("one") };
        assert_eq!((beginning.offset, &beginning.progress, &beginning.surprise), (Some(5), &progress, &None));
        assert!(!beginning.is_chosen);
    }

    #[test]
    fn records_that_were_deleted_unhandled_are_told() {
        let progress = Progress { done: vec![7..9, 30..40], ..Progress::at(5) };
        let log = Log { committed: vec![(Some(5), metadata(&progress))], ranges: vec![35..50] };
        let [beginning] = &begin(&log, Start::Earliest, &[])[..] else { panic!("one") };
        assert_eq!(beginning.surprise, Some(Surprise::Deleted(5..35)));
        assert_eq!(beginning.progress, Progress { done: Vec::new(), ..Progress::at(40) }, "what is done stays done");
        assert_eq!(beginning.offset, Some(40));
    }

    #[test]
    fn an_offset_above_the_end_reads_what_is_there() {
        let log = Log { committed: vec![(Some(10_000), String::new())], ranges: vec![40..100] };
        let [beginning] = &begin(&log, Start::Latest, &[])[..] else { panic!("one") };
        assert_eq!(beginning.surprise, Some(Surprise::Beyond { committed: 10_000, log: 40..100 }));
        assert_eq!((beginning.offset, beginning.progress.low), (Some(40), 40));
        let log = Log { committed: vec![(None, String::new())], ranges: vec![0..100] };
        let offsets = Start::Offsets([(0, 10_000)].into_iter().collect());
        assert!(begin(&log, offsets, &[])[0].surprise.is_some());
    }

    #[test]
    fn latest_is_the_end_of_what_was_there_and_the_beginning_of_what_appeared() {
        let log = Log { committed: vec![(None, String::new()); 2], ranges: vec![0..10, 0..20] };
        let ends: Vec<_> = begin(&log, Start::Latest, &[]).iter().map(|it| (it.offset, it.is_chosen)).collect();
        assert_eq!(ends, [(Some(10), true), (Some(20), true)]);
        let ends: Vec<_> = begin(&log, Start::Latest, &["t"]).iter().map(|it| it.offset).collect();
        assert_eq!(ends, [None, None], "its records are all new");
        let first = metadata(&Progress { partitions_at_start: 1, ..Progress::at(10) });
        let grown = Log { committed: vec![(Some(10), first), (None, String::new())], ranges: vec![0..10, 0..20] };
        let ends: Vec<_> = begin(&grown, Start::Latest, &[]).iter().map(|it| it.offset).collect();
        assert_eq!(ends, [Some(10), None], "the second partition was added");
    }

    #[test]
    fn metadata_that_cannot_be_read_costs_repeats_only() {
        let log = Log { committed: vec![(Some(5), "2!".to_owned())], ranges: vec![0..20] };
        let [beginning] = &begin(&log, Start::Latest, &[])[..] else { panic!("one") };
        assert_eq!(beginning.surprise, Some(Surprise::Unreadable(Unreadable::Damaged)));
        assert_eq!(beginning.progress, Progress::at(5));
    }
}
