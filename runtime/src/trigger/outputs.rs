//! What becomes of messages, and where records go back to if that is not known any more.

use std::time::{Duration, Instant};

use super::clock::Now;
use super::delivery::Delivered;
use super::flow::{Flow, Paused, Stop};
use crate::counted::counted;
use crate::kafka::{Partition, Position, Refusal, Sink};
use crate::record::outcome::{Cause, Fault};
use crate::record::{OwnedRecord, Record};

/// How long a broker may acknowledge nothing before that is shown.
const SILENT: Duration = Duration::from_secs(10);
/// How long a single message may take before that is shown.
const SLOW: Duration = Duration::from_secs(30);
impl<R: Record + From<OwnedRecord>, S: Sink> Flow<R, S> {
    /// Takes in what became of messages.
    pub fn acknowledge(&mut self, now: Now) {
        let (mut refused, mut any) = (Vec::new(), false);
        let (partitions, calls) = (&mut self.partitions, &mut self.calls);
        self.delivery.acknowledgements(|Delivered { token, result }| {
            any = true;
            if let Err(refusal) = result {
                refused.push((token, refusal));
                return;
            }
            let call = calls.get(token.call);
            let (place, sequence) = (call.place, call.sequences[token.index]);
            let together = calls.reported(token.call);
            // Most messages are one of many of their call.
            if (token.dead_letter || !together.is_empty())
                && let Some(assigned) = partitions.at(place)
            {
                if token.dead_letter {
                    assigned.window.acknowledged(sequence);
                }
                assigned.window.all_acknowledged(&together);
            }
        });
        let under_way = self.delivery.outstanding() > 0;
        self.silent_since = under_way.then(|| self.silent_since.filter(|_| !any).unwrap_or(now.instant));
        for (token, refusal) in refused {
            let place = self.calls.get(token.call).place;
            let is_judged = matches!(refusal, Refusal::ForGood(_)) && !self.delivery.is_retiring();
            if !is_judged {
                self.calls.spoil(token.call);
            }
            match refusal {
                // It is handled again, and refused again by another producer.
                _ if self.delivery.is_retiring() => {}
                Refusal::ForGood(error) => self.refused(token, &Fault::new(Cause::Output, error.to_string()), now),
                Refusal::WithOthers(error) => {
                    self.refuses.get_or_insert_with(|| error.to_string());
                }
                Refusal::ForNow(error) => {
                    self.stop.get_or_insert_with(|| Stop::Delivery(error.to_string()));
                }
                // What it follows is reported too, and says why.
                Refusal::Following => {}
            }
            let together = self.calls.reported(token.call);
            self.partitions.at(place).into_iter().for_each(|assigned| assigned.window.all_acknowledged(&together));
        }
        if let Some(reason) = &self.refuses
            && !matches!(self.stop, Some(Stop::Bug(_)))
        {
            self.stop = Some(Stop::Refused(reason.clone()));
        }
    }

    /// The producer is gone, and with it every message that was not acknowledged. Returns where
    /// partitions have to be read again, see [`Flow::go_back`].
    pub fn forget_messages(&mut self) -> Vec<Position> {
        self.calls.forget_messages();
        (self.refuses, self.silent_since) = (None, None);
        self.go_back()
    }

    /// A trigger that paused goes on. Returns where partitions have to be read again.
    pub fn resume(&mut self) -> Vec<Position> {
        let Some(Paused { mut partitions, .. }) = self.paused.take() else { return Vec::new() };
        partitions.extend(self.unacknowledged());
        partitions.sort_unstable();
        partitions.dedup();
        // One that is to go does not begin anew: it is given back with what was sent for it.
        partitions.retain(|&partition| self.partitions.get_mut(partition).is_some_and(|assigned| !assigned.leaving));
        partitions.into_iter().filter_map(|partition| self.restart(partition)).collect()
    }

    /// Partitions with messages that were not acknowledged go back to the progress that stands, and
    /// have to be read again from there.
    pub fn go_back(&mut self) -> Vec<Position> {
        self.unacknowledged().into_iter().filter_map(|partition| self.restart(partition)).collect()
    }

    fn unacknowledged(&self) -> Vec<Partition> {
        let sent = self.partitions.iter().filter(|assigned| !assigned.leaving && assigned.window.sent() > 0);
        sent.map(|assigned| assigned.partition).collect()
    }

    fn restart(&mut self, partition: Partition) -> Option<Position> {
        let assigned = self.partitions.get_mut(partition)?;
        let (topic, intake, progress) = (assigned.topic.clone(), assigned.intake, assigned.window.progress());
        let position = Position { offset: Some(progress.low), ..Position::of(&topic, partition.number) };
        self.revoke(partition);
        self.assign(partition, &topic, progress);
        let restarted = self.partitions.get_mut(partition)?;
        // The client still keeps its records back, if it did.
        restarted.intake = intake;
        // Whatever was reported of it may not be committed yet.
        restarted.window.mark_dirty();
        Some(position)
    }

    /// What to say about messages that the broker does not acknowledge, if that is so for a while.
    pub fn stalled_outputs(&self, now: Instant) -> Option<String> {
        let outstanding = counted(self.delivery.outstanding(), "message");
        let over = |since: Instant, limit| Some(now.saturating_duration_since(since)).filter(|time| *time > limit);
        if let Some(time) = self.silent_since.and_then(|since| over(since, SILENT)) {
            return Some(format!("{outstanding} under way, none acknowledged for {} s", time.as_secs()));
        }
        let time = self.calls.oldest_sent().and_then(|since| over(since, SLOW))?;
        Some(format!("{outstanding} under way, some of them for {} s", time.as_secs()))
    }

    /// Since when messages are under way and none was acknowledged.
    pub fn silent_since(&self) -> Option<Instant> {
        self.silent_since
    }
}
