//! What becomes of a record that failed: another try, a dead letter, or an end by policy.

use std::time::{Duration, Instant};

use super::delivery::{Obituary, Token};
use super::flow::Flow;
use super::progress::Failed;
use super::retry::{self, Verdict};
use super::sequencer::Sequence;
use crate::kafka::Sink;
use crate::manifest::OnExhausted;
use crate::outcome::{Cause, Fault};
use crate::record::Record;

impl<R: Record, S: Sink> Flow<R, S> {
    /// An attempt of a running record failed.
    pub(super) fn fail(&mut self, slot: usize, epoch: u16, sequence: Sequence, fault: &Fault, now: Instant) {
        let chance = self.rng.f64();
        let Some(assigned) = self.partitions.at(slot, epoch) else { return };
        let window = &mut assigned.window;
        self.counts.failed += 1;
        if fault.cause == Cause::Reject {
            let failed = window.count_failure(sequence, Self::unix_s());
            self.exhausted(slot, epoch, sequence, failed, fault, now);
            return;
        }
        if self.breaker.is_open() {
            // An outage uses up no attempts.
            let attempts = window.failures(sequence).attempts.max(1);
            window.wait(sequence, now + retry::backoff(&self.trigger.retry, attempts, chance));
            return;
        }
        let failed = window.count_failure(sequence, Self::unix_s());
        let age = Duration::from_secs(Self::unix_s().saturating_sub(failed.since_unix_s));
        match retry::judge(&self.trigger.retry, failed.attempts, age, chance) {
            Verdict::Again { after } => {
                // It may wait for long, and would pin the whole fetch it came with.
                window.record_mut(sequence).into_iter().for_each(Record::detach);
                window.wait(sequence, now + after);
                self.counts.retried += 1;
                self.log(slot, epoch, failed, fault, "is tried again", now);
            }
            Verdict::Exhausted => self.exhausted(slot, epoch, sequence, failed, fault, now),
        }
    }

    /// A running record will not be tried again.
    fn exhausted(&mut self, slot: usize, epoch: u16, sequence: Sequence, failed: Failed, fault: &Fault, now: Instant) {
        match self.trigger.on_exhausted {
            OnExhausted::DeadLetter => {
                self.log(slot, epoch, failed, fault, "is a dead letter", now);
                let buried = self.bury(slot, epoch, sequence, failed, fault);
                match self.partitions.at(slot, epoch) {
                    Some(assigned) if buried => assigned.window.handled(sequence, 1),
                    Some(assigned) => assigned.window.put_back(sequence),
                    None => {}
                }
            }
            OnExhausted::Skip => {
                self.counts.skipped += 1;
                self.log(slot, epoch, failed, fault, "is skipped", now);
                if let Some(assigned) = self.partitions.at(slot, epoch) {
                    assigned.window.handled(sequence, 0);
                }
            }
            OnExhausted::Pause => {
                self.log(slot, epoch, failed, fault, "pauses the trigger", now);
                self.pause(slot, epoch, failed, fault);
                if let Some(assigned) = self.partitions.at(slot, epoch) {
                    assigned.window.put_back(sequence);
                }
            }
        }
    }

    /// Produces a record's dead letter. `false`, and the trigger pauses, if it has nowhere to go.
    fn bury(&mut self, slot: usize, epoch: u16, sequence: Sequence, failed: Failed, fault: &Fault) -> bool {
        let Some(assigned) = self.partitions.at(slot, epoch) else { return false };
        let Some(record) = assigned.window.record(sequence) else { return false };
        let obituary = Obituary {
            topic: &assigned.topic,
            partition: assigned.partition.number,
            trigger: &self.trigger.name,
            function: &self.trigger.function,
            revision: &self.revision,
            attempts: failed.attempts,
            fault,
        };
        let sent = self.delivery.dead_letter(record, &obituary, Token { slot, epoch, sequence, dead_letter: true });
        if sent {
            self.counts.dead_letters += 1;
        } else {
            self.pause(slot, epoch, failed, fault);
        }
        sent
    }

    /// The broker refused a message of a handled record for good.
    pub(super) fn refused(&mut self, token: Token, fault: Fault) {
        let Token { slot, epoch, sequence, dead_letter } = token;
        let now = Instant::now();
        let Some(assigned) = self.partitions.at(slot, epoch) else { return };
        let mut failed = assigned.window.failures(sequence);
        self.counts.failed += 1;
        if dead_letter {
            self.log(slot, epoch, failed, &fault, "is a dead letter that the broker refuses; the trigger pauses", now);
            self.pause(slot, epoch, failed, &fault);
            return;
        }
        failed.attempts += 1;
        match self.trigger.on_exhausted {
            OnExhausted::DeadLetter => {
                self.log(slot, epoch, failed, &fault, "is a dead letter", now);
                if !self.bury(slot, epoch, sequence, failed, &fault) {
                    return;
                }
                if let Some(assigned) = self.partitions.at(slot, epoch) {
                    assigned.window.one_more_message(sequence);
                    assigned.window.acknowledged(sequence);
                }
            }
            OnExhausted::Skip => {
                self.counts.skipped += 1;
                self.log(slot, epoch, failed, &fault, "lost a message, as the manifest allows", now);
                if let Some(assigned) = self.partitions.at(slot, epoch) {
                    assigned.window.acknowledged(sequence);
                }
            }
            OnExhausted::Pause => {
                self.log(slot, epoch, failed, &fault, "pauses the trigger", now);
                self.pause(slot, epoch, failed, &fault);
            }
        }
    }

    /// Nothing more is called until another revision, another manifest or a restart.
    fn pause(&mut self, slot: usize, epoch: u16, failed: Failed, fault: &Fault) {
        let Some(assigned) = self.partitions.at(slot, epoch) else { return };
        self.paused = Some(format!(
            "record {}/{}/{} failed {} times, at last by {}: {}; publish another revision or restart to go on",
            assigned.topic, assigned.partition.number, failed.offset, failed.attempts, fault.cause, fault.reason,
        ));
    }

    fn log(&mut self, slot: usize, epoch: u16, failed: Failed, fault: &Fault, what: &str, now: Instant) {
        let Some(dropped) = self.throttle.pass(now) else { return };
        let Some(assigned) = self.partitions.at(slot, epoch) else { return };
        tracing::warn!(
            trigger = %self.trigger.name,
            revision = self.revision,
            topic = %assigned.topic,
            partition = assigned.partition.number,
            offset = failed.offset,
            attempts = failed.attempts,
            cause = %fault.cause,
            dropped = (dropped > 0).then_some(dropped),
            "record {what}: {}", fault.reason,
        );
    }
}
