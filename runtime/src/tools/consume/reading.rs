//! Reads partitions as a plan says, and hands the records to a receiver.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::ready;
use std::ops::ControlFlow;
use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::looking::Looking;
use super::plan::{Plan, Start};
use crate::kafka::scan::Found;
use crate::kafka::{Fetched, Partition, Position, Reader as _};
use crate::record::Record;
use crate::signals;
use crate::tools::Failure;
use crate::tools::connection::{self, Connection, LIMIT};
use crate::tools::progress::TICK;

/// Consumes the records that are read.
pub trait Receiver {
    /// Called once, before the first record.
    async fn begin(&mut self, ranges: &[Range]);

    /// Records were deleted before they were read. Reading continues at offset `goes_on`, unless this returns an
    /// error.
    fn deleted(&mut self, place: &str, goes_on: i64) -> anyhow::Result<()>;

    /// A part of the next record cannot be read; see [`Record::defect`]. Reading continues, unless this returns an
    /// error.
    fn defective(&mut self, place: &str, defect: &str) -> anyhow::Result<()>;

    /// Whether it wants a record.
    fn takes(&self, _record: &Fetched) -> bool {
        true
    }

    /// Takes a record that it wants. Breaks if it has enough.
    fn record(&mut self, partition: Partition, record: &Fetched) -> anyhow::Result<ControlFlow<()>>;

    /// Called when there is nothing to read at the moment, and between portions of records. Breaks if it has
    /// enough.
    fn pause(&mut self) -> anyhow::Result<ControlFlow<()>>;
}

/// Why reading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The receiver has enough.
    Enough,
    /// All partitions were read to the ends that they had at the start.
    End,
    /// No record came in the given time.
    Timeout,
    /// A signal came.
    Signal,
}

/// Reads until there is a reason to end. Needs a tokio runtime with IO.
pub async fn read(plan: &Plan, receiver: &mut impl Receiver) -> Result<Ended, Failure> {
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
    let mut stop = pin!(signals::stop());
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
        // Said once until records come again, because the client tries again every two seconds.
        if let Some(error) = connection.scan.connection_error().filter(|_| !said) {
            tracing::warn!("waits for the brokers: {}", error.reason);
            said = true;
        }
        let left = plan.timeout.map(|timeout| timeout.saturating_sub(last_record.elapsed()));
        if left == Some(Duration::ZERO) {
            return Ok(Ended::Timeout);
        }
        tokio::select! {
            biased;
            signal = &mut stop => {
                signal.map_err(anyhow::Error::from)?;
                return Ok(Ended::Signal);
            }
            () = ready(()), if turn.taken > 0 => {}
            () = connection.wake.wait() => {}
            () = tokio::time::sleep(left.map_or(TICK, |left| left.min(TICK))) => {}
        }
    }
}

/// How far a partition is read.
struct Reading {
    /// The next offset to read.
    next: i64,
    /// The offset at which reading ends.
    goal: i64,
}

fn start(connection: &mut Connection, plan: &Plan, partition: Partition, offset: i64) -> anyhow::Result<()> {
    let started = connection.scan.start(partition, offset);
    started.with_context(|| format!("cannot read {}", plan.place(partition)))
}

/// Starts the new partitions of a topic.
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

/// Continues at the present beginning of a partition, because its next record was deleted.
fn go_on(
    connection: &mut Connection,
    open: &mut HashMap<Partition, Reading>,
    receiver: &mut impl Receiver,
    plan: &Plan,
    partition: Partition,
) -> anyhow::Result<()> {
    let Some(reading) = open.get_mut(&partition) else { return Ok(()) };
    let (topic, place) = (&plan.topics[partition.topic], plan.place(partition));
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

/// What the client had in one turn of the loop.
struct Turn {
    taken: usize,
    records: bool,
    /// Whether the receiver took a record.
    wanted: bool,
    flow: ControlFlow<()>,
    /// Partitions whose next record was deleted.
    deleted: Vec<Partition>,
}

impl Turn {
    /// Takes the records that are there. Partitions that have reached their goal are stopped and leave `open`.
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
                    let context = format!("cannot read {}", plan.place(partition));
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

/// Gives a record to a receiver that wants it.
fn hand_out(
    receiver: &mut impl Receiver,
    plan: &Plan,
    partition: Partition,
    record: &Fetched,
) -> anyhow::Result<ControlFlow<()>> {
    if let Some(defect) = record.defect() {
        receiver.defective(&format!("{} at offset {}", plan.place(partition), record.offset()), defect)?;
    }
    receiver.record(partition, record)
}

/// A partition with its first and last offsets, and the offset where reading begins.
pub struct Range {
    pub partition: Partition,
    pub low: i64,
    pub high: i64,
    pub start: i64,
}

/// Finds the partitions and their ranges of offsets.
fn ranges(plan: &Plan, connection: &Connection) -> Result<Vec<Range>, Failure> {
    let mut ranges = Vec::new();
    for (index, topic) in plan.topics.iter().enumerate() {
        let count = connection.partitions(topic)?.map_err(|error| connection::missing(topic, "read", &error.reason))?;
        let numbers: Vec<i32> = match plan.partition {
            Some(number) if number >= count => {
                return Err(Failure::usage(format!(
                    "--partition {number}: {topic} has {}",
                    connection::partitions(count)
                )));
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
