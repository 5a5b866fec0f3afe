//! What becomes of a record that failed: another try, a dead letter, or an end by policy.

use std::time::Duration;

use super::calls::Case;
use super::clock::Now;
use super::delivery::{DeadLetter, Token};
use super::flow::Flow;
use super::progress::Failed;
use super::retry::{self, Verdict};
use crate::counted::counted;
use crate::kafka::Sink;
use crate::manifest::OnExhausted;
use crate::record::batch::Batch;
use crate::record::outcome::{Cause, Fault};
use crate::record::{OwnedRecord, Record};

impl<R: Record + From<OwnedRecord>, S: Sink> Flow<R, S> {
    /// An attempt of a running record failed.
    pub(super) fn fail(&mut self, case: Case, batch: &Batch, fault: &Fault, now: Now) {
        let chance = self.rng.f64();
        let Some(assigned) = self.partitions.at(case.place) else { return };
        let window = &mut assigned.window;
        self.counts.failed += 1;
        if matches!(fault.cause, Cause::Reject | Cause::Unreadable) {
            let failed = window.count_failure(case.sequence, now.unix_s());
            self.exhausted(case, batch, failed, fault, now);
            return;
        }
        if self.lanes.get_mut(self.calls.get(case.call).lane).is_some_and(|lane| lane.breaker.is_open()) {
            // An outage uses up no attempts.
            let attempts = window.failures(case.sequence).attempts.max(1);
            let due = now.instant + retry::backoff(&self.trigger.retry, attempts, chance);
            self.wait(case, batch, fault, due);
            return;
        }
        let failed = window.count_failure(case.sequence, now.unix_s());
        let age = Duration::from_secs(now.unix_s().saturating_sub(failed.since_unix_s));
        match retry::judge(&self.trigger.retry, failed.attempts, age, chance) {
            Verdict::Again { after } => {
                self.wait(case, batch, fault, now.instant + after);
                self.counts.retried += 1;
                self.log(case, failed, fault, "is tried again", now);
            }
            Verdict::Exhausted => self.exhausted(case, batch, failed, fault, now),
        }
    }

    /// The record of a call that does not start cannot be read whole: no function is given it, and no
    /// other try would read more.
    pub(super) fn give_up(&mut self, call: u64, batch: Batch, defect: &str, now: Now) {
        let Some(key) = self.calls.ended(call) else { return };
        let reason = format!("{defect}; the function was not called, and a dead letter lacks them too");
        let fault = Fault::new(Cause::Unreadable, reason);
        for case in self.cases(key) {
            self.fail(case, &batch, &fault, now);
        }
        self.keep(key, batch);
    }

    fn wait(&mut self, case: Case, batch: &Batch, fault: &Fault, due: std::time::Instant) {
        let Some(assigned) = self.partitions.at(case.place) else { return };
        let record = R::from(batch.record(case.index).to_owned());
        // Those behind it may wait for long too, and would pin the whole fetch they came with.
        assigned.window.wait(case.sequence, due, record, R::detach);
        // One that broke its call runs alone from now on, or it would break another whole one.
        if !matches!(fault.cause, Cause::Retry) {
            assigned.window.suspect(case.sequence, 1);
        }
    }

    /// A running record will not be tried again.
    fn exhausted(&mut self, case: Case, batch: &Batch, failed: Failed, fault: &Fault, now: Now) {
        let over = match self.trigger.on_exhausted {
            OnExhausted::DeadLetter => {
                self.log(case, failed, fault, "is a dead letter", now);
                self.dead_letter(case, batch, failed, fault).then_some(1)
            }
            OnExhausted::Skip => {
                self.counts.skipped += 1;
                self.log(case, failed, fault, "is skipped", now);
                Some(0)
            }
            OnExhausted::Pause => {
                self.log(case, failed, fault, "pauses the trigger", now);
                self.pause(case, failed, fault);
                None
            }
        };
        let Some(assigned) = self.partitions.at(case.place) else { return };
        match over {
            Some(messages) => assigned.window.handled(case.sequence, messages),
            None => assigned.window.put_back(case.sequence, R::from(batch.record(case.index).to_owned())),
        }
    }

    /// Produces a record's dead letter. `false`, and the trigger pauses, if it has nowhere to go.
    fn dead_letter(&mut self, case: Case, batch: &Batch, failed: Failed, fault: &Fault) -> bool {
        let letter = DeadLetter {
            topic: batch.topic(),
            partition: batch.partition(),
            trigger: &self.trigger.name,
            function: &self.trigger.function,
            revision: &self.calls.get(case.call).revision.clone(),
            attempts: failed.attempts,
            fault,
        };
        let token = Token { call: case.call, index: case.index, dead_letter: true };
        let Some(sent) = self.delivery.dead_letter(&batch.record(case.index), &letter, token) else {
            self.pause(case, failed, fault);
            return false;
        };
        self.calls.sent(case.call, sent.messages, sent.bytes);
        self.counts.dead_letters += 1;
        true
    }

    /// The broker refused a message of a handled record for good.
    pub(super) fn refused(&mut self, token: Token, fault: &Fault, now: Now) {
        let call = self.calls.get(token.call);
        let (place, sequence) = (call.place, call.sequences[token.index]);
        let case = Case { call: token.call, index: token.index, place, sequence };
        let Some(assigned) = self.partitions.at(place) else { return };
        let mut failed = assigned.window.failures(sequence);
        self.counts.failed += 1;
        if token.dead_letter {
            self.log(case, failed, fault, "is a dead letter that the broker refuses; the trigger pauses", now);
            self.calls.spoil(token.call);
            self.pause(case, failed, fault);
            return;
        }
        failed.attempts += 1;
        match self.trigger.on_exhausted {
            OnExhausted::DeadLetter => {
                self.log(case, failed, fault, "is a dead letter", now);
                let Some(batch) = self.calls.take_batch(token.call) else {
                    self.bug("the records of a refused message are gone");
                    return;
                };
                let is_sent = self.dead_letter(case, &batch, failed, fault);
                self.calls.keep(token.call, batch);
                if !is_sent {
                    self.calls.spoil(token.call);
                }
                if is_sent && let Some(assigned) = self.partitions.at(place) {
                    assigned.window.one_more_message(sequence);
                    assigned.window.acknowledged(sequence);
                }
            }
            OnExhausted::Skip => {
                self.counts.skipped += 1;
                self.log(case, failed, fault, "lost a message, as the manifest allows", now);
                if let Some(assigned) = self.partitions.at(place) {
                    assigned.window.acknowledged(sequence);
                }
            }
            OnExhausted::Pause => {
                self.log(case, failed, fault, "pauses the trigger", now);
                self.calls.spoil(token.call);
                self.pause(case, failed, fault);
            }
        }
    }

    /// Nothing more is called until another revision, another manifest or a restart.
    fn pause(&mut self, case: Case, failed: Failed, fault: &Fault) {
        let Some(assigned) = self.partitions.at(case.place) else { return };
        self.paused = Some(format!(
            "record {}/{}/{} failed {}, at last by {}: {}; publish another revision or restart to go on",
            assigned.topic,
            assigned.partition.number,
            failed.offset,
            counted(failed.attempts, "time"),
            fault.cause,
            fault.reason,
        ));
    }

    fn log(&mut self, case: Case, failed: Failed, fault: &Fault, what: &str, now: Now) {
        let Some(dropped) = self.throttle.pass(now.instant) else { return };
        let Some(assigned) = self.partitions.at(case.place) else { return };
        tracing::warn!(
            trigger = %self.trigger.name,
            revision = %self.calls.get(case.call).revision,
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
