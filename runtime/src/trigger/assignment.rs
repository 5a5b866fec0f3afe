//! Partitions come and go.
//!
//! An assignment is answered once the progress of its partitions was read back, on a helper thread.
//! A revocation is answered once what runs is finished and committed, or after a short while: until
//! then the whole assignment stands still. For a lost assignment nothing is committed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::progress::Progress;
use super::session::{Answer, COMMIT_LIMIT, Session};
use crate::kafka::{Broker as _, Error, KafkaReader, Partition, Position, Reader as _, Sink as _};
use crate::manifest::Start;

/// How long the brokers may take to tell the progress.
const READ_LIMIT: Duration = Duration::from_secs(30);
/// How often it is read in vain before the client is built again.
const MAX_READINGS: u32 = 10;
/// How long after a failure it is read again.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// The progress of partitions that were assigned.
pub(super) struct Reading {
    number: u64,
    partitions: Vec<Position>,
    result: Result<Vec<Beginning>, Error>,
}

/// Where a partition goes on.
struct Beginning {
    position: Position,
    /// The group has no offset for it: this one was chosen by the manifest's `start`.
    chosen: bool,
    /// See [`Progress::partitions_at_start`]; 0 if the progress itself says it.
    partitions_at_start: u32,
}

/// Partitions that are to go.
pub(super) struct Revoking {
    partitions: Vec<Position>,
    /// When it is answered at the latest.
    deadline: Instant,
    /// Nothing runs any more; the last commit is under way.
    committing: bool,
}

impl Session {
    /// New partitions are ours: their progress is read first.
    pub(super) fn assigned(&mut self, partitions: Vec<Position>) {
        self.readings += 1;
        if partitions.is_empty() {
            self.answer_assignment(&[]);
            return;
        }
        let (number, reader, answers) = (self.readings, self.reader.clone(), self.ask());
        let start = self.context.trigger.start.clone();
        tokio::task::spawn_blocking(move || {
            let result = beginnings(&reader, &partitions, &start);
            let _ = answers.blocking_send(Answer::Progress(Reading { number, partitions, result }));
        });
    }

    /// The progress was read: the partitions' windows are made and their records may come.
    pub(super) fn read(&mut self, reading: Reading, now: Instant) {
        if reading.number != self.readings {
            return;
        }
        let beginnings = match reading.result {
            Ok(beginnings) => beginnings,
            Err(error) => {
                self.failed_readings += 1;
                self.problems.set("progress", format!("progress cannot be read: {error}"));
                if self.failed_readings >= MAX_READINGS {
                    // Without an answer the client takes part in no rebalance, not even one that
                    // would take the partition away which cannot be read.
                    self.broken = Some(format!("progress cannot be read: {error}"));
                } else {
                    self.retry_reading = Some((now + READ_AGAIN, reading.partitions));
                }
                return;
            }
        };
        self.failed_readings = 0;
        self.problems.clear("progress");
        for beginning in &beginnings {
            self.begin(beginning);
        }
        let positions: Vec<_> = beginnings.into_iter().map(|beginning| beginning.position).collect();
        self.answer_assignment(&positions);
    }

    fn begin(&mut self, beginning: &Beginning) {
        let position = &beginning.position;
        let Some(partition) = self.partition(position) else { return };
        let low = position.offset.unwrap_or(0);
        let mut progress = Progress::decode(low, &position.metadata).unwrap_or_else(|unreadable| {
            tracing::warn!(
                trigger = %self.context.trigger.name, topic = position.topic, partition = position.partition,
                "{unreadable}: what was done ahead of offset {low} is done again",
            );
            Progress::at(low)
        });
        progress.partitions_at_start = progress.partitions_at_start.max(beginning.partitions_at_start);
        let topic: Arc<str> = position.topic.as_str().into();
        self.flow.assign(partition, &topic, progress);
        // A place chosen by the clock is made durable at once: after a restart the clock says
        // something else.
        if beginning.chosen
            && position.offset.is_some()
            && let Some(assigned) = self.flow.partitions.get_mut(partition)
        {
            assigned.window.mark_dirty();
        }
    }

    fn answer_assignment(&mut self, positions: &[Position]) {
        tracing::info!(trigger = %self.context.trigger.name, partitions = %names(positions), "assigned");
        if let Err(error) = self.source.assign(positions) {
            self.broken = Some(format!("the assignment cannot be taken: {error}"));
        }
    }

    /// Partitions are to go, or gone.
    pub(super) fn revoked(&mut self, partitions: Vec<Position>, lost: bool, now: Instant) {
        // An assignment that was not answered yet is taken back with it.
        self.readings += 1;
        self.retry_reading = None;
        for position in &partitions {
            if let Some(partition) = self.partition(position)
                && let Some(assigned) = self.flow.partitions.get_mut(partition)
            {
                assigned.leaving = true;
            }
        }
        let deadline = now + self.context.trigger.rebalance_drain;
        self.revoking = Some(Revoking { partitions, deadline, committing: false });
        if lost {
            self.answer_revocation("lost");
        }
    }

    /// Goes on with what a rebalance waits for.
    pub(super) fn go_on_with_rebalance(&mut self, now: Instant) {
        if let Some((_, partitions)) = self.retry_reading.take_if(|(due, _)| *due <= now) {
            self.assigned(partitions);
        }
        let Some(revoking) = &self.revoking else { return };
        if self.source.is_lost() {
            self.answer_revocation("lost");
            return;
        }
        let late = now >= revoking.deadline;
        if revoking.committing {
            if self.commits == 0 || late {
                self.answer_revocation("revoked");
            }
            return;
        }
        let busy = self
            .flow
            .partitions
            .iter()
            .any(|assigned| assigned.leaving && assigned.window.running() + assigned.window.sent() > 0);
        if busy && !late {
            self.flow.delivery.sink_mut().flush();
            return;
        }
        // A commit under way may hold older progress; the last one follows it.
        if self.commits > 0 && !late {
            return;
        }
        self.commits = 0;
        self.commit(now);
        self.revoking.iter_mut().for_each(|revoking| {
            revoking.committing = true;
            revoking.deadline = now + COMMIT_LIMIT;
        });
        if self.commits == 0 {
            self.answer_revocation("revoked");
        }
    }

    fn answer_revocation(&mut self, how: &str) {
        let Some(revoking) = self.revoking.take() else { return };
        tracing::info!(trigger = %self.context.trigger.name, partitions = %names(&revoking.partitions), "{how}");
        for position in &revoking.partitions {
            if let Some(partition) = self.partition(position) {
                self.go_on(partition);
                self.flow.revoke(partition);
            }
        }
        if let Err(error) = self.source.unassign(&revoking.partitions) {
            self.broken = Some(format!("the assignment cannot be given back: {error}"));
        }
    }

    fn partition(&self, position: &Position) -> Option<Partition> {
        let topic = self.context.trigger.topics.iter().position(|topic| *topic == position.topic)?;
        Some(Partition { topic, number: position.partition })
    }
}

fn names(positions: &[Position]) -> String {
    let names: Vec<_> = positions.iter().map(|position| format!("{}/{}", position.topic, position.partition)).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(" ") }
}

/// Reads where partitions go on: what the group committed, else what `start` says.
fn beginnings(reader: &KafkaReader, partitions: &[Position], start: &Start) -> Result<Vec<Beginning>, Error> {
    let (known, new): (Vec<_>, Vec<_>) =
        reader.committed(partitions, READ_LIMIT)?.into_iter().partition(|position| position.offset.is_some());
    let chosen = |position: Position| Beginning { position, chosen: true, partitions_at_start: 0 };
    let chosen: Vec<_> = match start {
        Start::Latest => latest(reader, new)?,
        Start::Timestamp { millis } if !new.is_empty() => {
            reader.at_time(&new, *millis, READ_LIMIT)?.into_iter().map(chosen).collect()
        }
        Start::Earliest | Start::Timestamp { .. } => new.into_iter().map(chosen).collect(),
        Start::Offsets(offsets) => new
            .into_iter()
            .map(|position| chosen(Position { offset: offsets.get(&position.partition).copied(), ..position }))
            .collect(),
    };
    let known = known.into_iter().map(|position| Beginning { position, chosen: false, partitions_at_start: 0 });
    Ok(known.chain(chosen).collect())
}

/// Where partitions go on that the group has no offset for, if it starts at the end: at their end
/// if the group begins with them, at their beginning if they were added to a topic that it reads
/// already, so that no record of theirs is missed.
fn latest(reader: &KafkaReader, new: Vec<Position>) -> Result<Vec<Beginning>, Error> {
    let mut at_start: BTreeMap<String, u32> = BTreeMap::new();
    let mut beginnings = Vec::with_capacity(new.len());
    for position in new {
        let partitions_at_start = match at_start.get(&position.topic) {
            Some(&known) => known,
            None => {
                let found = partitions_at_start(reader, &position.topic)?;
                at_start.insert(position.topic.clone(), found);
                found
            }
        };
        let was_there = u32::try_from(position.partition).is_ok_and(|partition| partition < partitions_at_start);
        let offset = match was_there {
            true => Some(reader.end(&position.topic, position.partition, READ_LIMIT)?),
            false => None,
        };
        beginnings.push(Beginning { position: Position { offset, ..position }, chosen: true, partitions_at_start });
    }
    Ok(beginnings)
}

/// How many partitions the topic had when the group began with it: what its commits say, or all
/// there are, if it has committed nothing.
fn partitions_at_start(reader: &KafkaReader, topic: &str) -> Result<u32, Error> {
    let count = reader.partitions(topic, READ_LIMIT)?;
    let all: Vec<_> = (0..count)
        .map(|partition| Position { topic: topic.to_owned(), partition, offset: None, metadata: String::new() })
        .collect();
    let said = |position: Position| {
        let progress = Progress::decode(position.offset?, &position.metadata).unwrap_or_default();
        Some(progress.partitions_at_start)
    };
    let said = reader.committed(&all, READ_LIMIT)?.into_iter().filter_map(said).max();
    Ok(said.unwrap_or(u32::try_from(count).unwrap_or(0)))
}
