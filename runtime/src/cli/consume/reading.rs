//! Reads partitions from where it is told until it is told to end.

use std::collections::HashMap;
use std::future::ready;
use std::ops::ControlFlow;
use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::missing;
use crate::cli::connect::{Connection, LIMIT, usage};
use crate::cli::progress::TICK;
use crate::cli::value::Start;
use crate::cli::{Failure, node};
use crate::kafka::scan::{Found, Isolation};
use crate::kafka::{Fetched, Partition, Position};
use crate::manifest::Cluster;
use crate::record::Record as _;

/// What is read.
pub(in crate::cli) struct Plan {
    pub(in crate::cli) cluster: Cluster,
    pub(in crate::cli) topics: Vec<String>,
    /// `None`: all.
    pub(in crate::cli) partition: Option<i32>,
    pub(in crate::cli) from: Start,
    pub(in crate::cli) isolation: Isolation,
    /// To where the partitions end when reading begins.
    pub(in crate::cli) to_end: bool,
    /// The longest time without a record.
    pub(in crate::cli) timeout: Option<Duration>,
}

/// Who takes what is read.
pub(in crate::cli) trait Receiver {
    /// Called once, before the first record. `from_beginning`: all partitions are read from their
    /// first record, and it is the first one that they ever had.
    fn begin(&mut self, from_beginning: bool);

    /// Takes a record, and says whether that is enough.
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
    receiver.begin(ranges.iter().all(|range| range.low == 0 && range.start == 0));
    let mut open = HashMap::new();
    for range in ranges {
        let goal = plan.to_end.then_some(range.high);
        if goal.is_none_or(|goal| range.start < goal) {
            let place = &plan.topics[range.partition.topic];
            let started = connection.scan.start(range.partition, range.start);
            started.with_context(|| format!("cannot read {place}/{}", range.partition.number))?;
            open.insert(range.partition, goal.unwrap_or(i64::MAX));
        }
    }
    let mut stop = pin!(node::stop_signal());
    let mut last_record = Instant::now();
    let mut said = false;
    loop {
        if open.is_empty() {
            return Ok(Ended::End);
        }
        let turn = Turn::take(&mut connection, &mut open, receiver, plan)?;
        if turn.records {
            last_record = Instant::now();
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

/// What one look at the client brought.
struct Turn {
    taken: usize,
    records: bool,
    flow: ControlFlow<()>,
}

impl Turn {
    /// Takes what is there. Partitions that came to their goal are stopped and no longer open.
    fn take(
        connection: &mut Connection,
        open: &mut HashMap<Partition, i64>,
        receiver: &mut impl Receiver,
        plan: &Plan,
    ) -> Result<Self, Failure> {
        let mut turn = Self { taken: 0, records: false, flow: ControlFlow::Continue(()) };
        let mut result = Ok(());
        let mut done = Vec::new();
        turn.taken = connection.scan.take(|partition, found| {
            let Some(&goal) = open.get(&partition) else { return };
            if turn.flow.is_break() || result.is_err() {
                return;
            }
            let next = match found {
                Found::Record(record) if record.offset() < goal => {
                    turn.records = true;
                    match receiver.record(partition, &record) {
                        Ok(flow) => turn.flow = flow,
                        Err(error) => result = Err(error),
                    }
                    record.offset() + 1
                }
                Found::Record(record) => record.offset(),
                Found::End(offset) => offset,
                Found::Failed(error) => {
                    let place = format!("{}/{}", plan.topics[partition.topic], partition.number);
                    result = Err(anyhow::Error::from(error).context(format!("cannot read {place}")));
                    return;
                }
            };
            if next >= goal {
                open.remove(&partition);
                done.push(partition);
            }
        });
        result?;
        done.into_iter().for_each(|partition| connection.scan.stop(partition));
        Ok(turn)
    }
}

/// A partition: the offsets that it has, and where reading begins.
struct Range {
    partition: Partition,
    low: i64,
    high: i64,
    start: i64,
}

/// Finds the partitions, and asks where they begin and end.
fn ranges(plan: &Plan, connection: &Connection) -> Result<Vec<Range>, Failure> {
    let mut ranges = Vec::new();
    for (index, topic) in plan.topics.iter().enumerate() {
        let count = connection.partitions(topic)?.map_err(|reason| missing(topic, &reason))?;
        let numbers: Vec<i32> = match plan.partition {
            Some(number) if number >= count => {
                return Err(usage(format!("--partition {number}: {topic} has the partitions 0 to {}", count - 1)));
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
