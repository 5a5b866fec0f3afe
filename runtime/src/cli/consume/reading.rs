//! Reads partitions from where it is told until it is told to end.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::ready;
use std::ops::ControlFlow;
use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::looking::Looking;
use crate::cli::connect::{self, Connection, LIMIT, usage};
use crate::cli::progress::TICK;
use crate::cli::value::Start;
use crate::cli::{Failure, node};
use crate::kafka::scan::{Found, Isolation};
use crate::kafka::{Fetched, Partition, Position, Reader as _};
use crate::manifest::Cluster;
use crate::record::Record;

/// What is read.
pub(in crate::cli) struct Plan {
    pub(in crate::cli) cluster: Cluster,
    pub(in crate::cli) topics: Vec<String>,
    /// `None`: all, also those that are added while it is read without an end.
    pub(in crate::cli) partition: Option<i32>,
    pub(in crate::cli) from: Start,
    pub(in crate::cli) isolation: Isolation,
    /// To where the partitions end when reading begins.
    pub(in crate::cli) to_end: bool,
    /// The longest time without a record that the receiver takes. Read to an end, any record counts: on
    /// the way there a filter may reject for long.
    pub(in crate::cli) timeout: Option<Duration>,
}

/// Who takes what is read.
pub(in crate::cli) trait Receiver {
    /// Called once, before the first record.
    async fn begin(&mut self, ranges: &[Range]);

    /// Records of a place were deleted before they were read. Reading goes on at this offset, unless
    /// it is an error.
    fn deleted(&mut self, place: &str, goes_on: i64) -> anyhow::Result<()>;

    /// Something of the record that comes next cannot be read; see [`Record::defect`]. Reading goes on,
    /// unless it is an error.
    fn defective(&mut self, place: &str, defect: &str) -> anyhow::Result<()>;

    /// Whether it wants a record at all.
    fn takes(&self, _record: &Fetched) -> bool {
        true
    }

    /// Takes a record that it wants, and says whether that is enough.
    fn record(&mut self, partition: Partition, record: &Fetched) -> anyhow::Result<ControlFlow<()>>;

    /// There is nothing to read at the moment, or enough was read for somebody to be shown.
    fn pause(&mut self) -> anyhow::Result<ControlFlow<()>>;
}

/// Why reading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Ended {
    /// The receiver has enough.
    Enough,
    /// At the end that was there at the beginning.
    End,
    /// Nothing came for the time that was given.
    Timeout,
    /// By a signal.
    Signal,
}

/// Reads. Needs a tokio runtime with IO.
pub(in crate::cli) async fn read(plan: &Plan, receiver: &mut impl Receiver) -> Result<Ended, Failure> {
    let mut connection = Connection::new(&plan.cluster, &plan.topics, plan.isolation)?;
    let ranges = ranges(plan, &connection)?;
    receiver.begin(&ranges).await;
    let mut open = HashMap::new();
    for range in ranges {
        let goal = plan.to_end.then_some(range.high);
        if goal.is_none_or(|goal| range.start < goal) {
            start(&mut connection, plan, range.partition, range.start)?;
            open.insert(range.partition, Reading { next: range.start, goal: goal.unwrap_or(i64::MAX) });
        }
    }
    let mut looking = Looking::new(plan);
    let mut stop = pin!(node::stop_signal());
    let mut last_record = Instant::now();
    let mut said = false;
    loop {
        if open.is_empty() {
            return Ok(Ended::End);
        }
        let turn = Turn::take(&mut connection, &mut open, receiver, plan)?;
        for partition in &turn.deleted {
            go_on(&mut connection, &mut open, receiver, plan, *partition)?;
        }
        if let Some(looking) = &mut looking {
            for (topic, count) in looking.found(&connection, plan).await {
                start_added(&mut connection, &mut open, plan, topic, count)?;
            }
        }
        if turn.wanted || (turn.records && plan.to_end) {
            last_record = Instant::now();
        }
        if turn.records {
            said = false;
        }
        if turn.flow.is_break() || ((turn.taken == 0 || turn.records) && receiver.pause()?.is_break()) {
            return Ok(Ended::Enough);
        }
        // Once, until records come again: the client tries again every two seconds.
        if let Some(trouble) = connection.scan.trouble().filter(|_| !said) {
            tracing::warn!("waits for the brokers: {}", trouble.reason);
            said = true;
        }
        let left = plan.timeout.map(|timeout| timeout.saturating_sub(last_record.elapsed()));
        if left == Some(Duration::ZERO) {
            return Ok(Ended::Timeout);
        }
        tokio::select! {
            biased;
            signal = &mut stop => return signal.map(|_| Ended::Signal).map_err(Failure::Failed),
            () = ready(()), if turn.taken > 0 => {}
            () = connection.wake.wait() => {}
            () = tokio::time::sleep(left.map_or(TICK, |left| left.min(TICK))) => {}
        }
    }
}

/// How far a partition is read.
struct Reading {
    /// The offset behind what was read.
    next: i64,
    /// The offset where it ends.
    goal: i64,
}

pub(super) fn place(plan: &Plan, partition: Partition) -> String {
    format!("{}/{}", plan.topics[partition.topic], partition.number)
}

fn start(connection: &mut Connection, plan: &Plan, partition: Partition, offset: i64) -> anyhow::Result<()> {
    let started = connection.scan.start(partition, offset);
    started.with_context(|| format!("cannot read {}", place(plan, partition)))
}

/// Starts the partitions of a topic that are new.
fn start_added(
    connection: &mut Connection,
    open: &mut HashMap<Partition, Reading>,
    plan: &Plan,
    topic: usize,
    count: i32,
) -> anyhow::Result<()> {
    for partition in (0..count).map(|number| Partition { topic, number }) {
        if let Entry::Vacant(vacant) = open.entry(partition) {
            start(connection, plan, partition, 0)?;
            vacant.insert(Reading { next: 0, goal: i64::MAX });
        }
    }
    Ok(())
}

/// Goes on where a partition begins now, if what was to be read next is there no longer.
fn go_on(
    connection: &mut Connection,
    open: &mut HashMap<Partition, Reading>,
    receiver: &mut impl Receiver,
    plan: &Plan,
    partition: Partition,
) -> anyhow::Result<()> {
    let Some(reading) = open.get_mut(&partition) else { return Ok(()) };
    let (topic, place) = (&plan.topics[partition.topic], place(plan, partition));
    let range = connection.scan.reader().range(topic, partition.number, LIMIT);
    let low = range.map_err(|error| connection.unanswered(error))?.start;
    if low <= reading.next {
        anyhow::bail!("cannot read {place}: it no longer has offset {}; was the topic made again?", reading.next);
    }
    receiver.deleted(&place, low)?;
    connection.scan.stop(partition);
    reading.next = low;
    if low >= reading.goal {
        open.remove(&partition);
        return Ok(());
    }
    start(connection, plan, partition, low)
}

/// What one look at the client brought.
struct Turn {
    taken: usize,
    records: bool,
    /// Whether the receiver took one of them.
    wanted: bool,
    flow: ControlFlow<()>,
    /// Where the next record is there no longer.
    deleted: Vec<Partition>,
}

impl Turn {
    /// Takes what is there. Partitions that came to their goal are stopped and no longer open.
    fn take(
        connection: &mut Connection,
        open: &mut HashMap<Partition, Reading>,
        receiver: &mut impl Receiver,
        plan: &Plan,
    ) -> Result<Self, Failure> {
        let flow = ControlFlow::Continue(());
        let mut turn = Self { taken: 0, records: false, wanted: false, flow, deleted: Vec::new() };
        let mut result = Ok(());
        let mut done = Vec::new();
        turn.taken = connection.scan.take(|partition, found| {
            let Some(reading) = open.get_mut(&partition) else { return };
            if turn.flow.is_break() || result.is_err() {
                return;
            }
            let next = match found {
                Found::Record(record) if record.offset() < reading.goal => {
                    turn.records = true;
                    if receiver.takes(&record) {
                        turn.wanted = true;
                        match hand_out(receiver, plan, partition, &record) {
                            Ok(flow) => turn.flow = flow,
                            Err(error) => result = Err(error),
                        }
                    }
                    record.offset() + 1
                }
                Found::Record(record) => record.offset(),
                Found::End(offset) => offset,
                Found::Deleted => {
                    turn.deleted.push(partition);
                    return;
                }
                Found::Failed(error) => {
                    let context = format!("cannot read {}", place(plan, partition));
                    result = Err(anyhow::Error::from(error).context(context));
                    return;
                }
            };
            reading.next = next;
            if next >= reading.goal {
                open.remove(&partition);
                done.push(partition);
            }
        });
        result?;
        done.into_iter().for_each(|partition| connection.scan.stop(partition));
        Ok(turn)
    }
}

/// Gives a record to a receiver that takes it.
fn hand_out(
    receiver: &mut impl Receiver,
    plan: &Plan,
    partition: Partition,
    record: &Fetched,
) -> anyhow::Result<ControlFlow<()>> {
    if let Some(defect) = record.defect() {
        receiver.defective(&format!("{} at offset {}", place(plan, partition), record.offset()), defect)?;
    }
    receiver.record(partition, record)
}

/// A partition: the offsets that it has, and where reading begins.
pub(in crate::cli) struct Range {
    pub(in crate::cli) partition: Partition,
    pub(in crate::cli) low: i64,
    pub(in crate::cli) high: i64,
    pub(in crate::cli) start: i64,
}

/// Finds the partitions, and asks where they begin and end.
fn ranges(plan: &Plan, connection: &Connection) -> Result<Vec<Range>, Failure> {
    let mut ranges = Vec::new();
    for (index, topic) in plan.topics.iter().enumerate() {
        let count = connection.partitions(topic)?.map_err(|error| connect::missing(topic, "read", &error.reason))?;
        let numbers: Vec<i32> = match plan.partition {
            Some(number) if number >= count => {
                return Err(usage(format!("--partition {number}: {topic} has {}", connect::partitions(count))));
            }
            Some(number) => vec![number],
            None => (0..count).collect(),
        };
        let positions: Vec<Position> = numbers.iter().map(|number| Position::of(topic, *number)).collect();
        let at_time = match plan.from {
            Start::Time(time) => connection.scan.reader().at_time(&positions, time, LIMIT),
            _ => Ok(Vec::new()),
        };
        let at_time = at_time.map_err(|error| connection.unanswered(error))?;
        for number in numbers {
            let range = connection.scan.reader().range(topic, number, LIMIT);
            let range = range.map_err(|error| connection.unanswered(error))?;
            let found = at_time.iter().find(|position| position.partition == number);
            let start = match plan.from {
                Start::Earliest => range.start,
                Start::Latest => range.end,
                Start::Offset(offset) => offset,
                Start::Last(records) => range.end.saturating_sub(records),
                Start::Time(_) => found.and_then(|position| position.offset).unwrap_or(range.end),
            };
            ranges.push(Range {
                partition: Partition { topic: index, number },
                low: range.start,
                high: range.end,
                start: start.clamp(range.start, range.end),
            });
        }
    }
    Ok(ranges)
}
