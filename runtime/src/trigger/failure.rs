//! What becomes of a record that failed: another try, a dead letter, or an end by policy.

use std::time::{Duration, Instant};

use super::calls::{CallKey, Case};
use super::clock::Now;
use super::delivery::{DeadLetter, Token};
use super::flow::{Flow, Paused};
use super::progress::Failed;
use super::retry::{self, Verdict};
use super::route::Route;
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
        let id = self.calls.get(case.call).lane;
        if let Some(tally) = self.lanes.tally(id).filter(|_| fault.cause != Cause::Unreadable) {
            tally.records += 1;
            tally.failed += 1;
        }
        if matches!(fault.cause, Cause::Reject | Cause::Unreadable) {
            let failed = window.failed(case.sequence, true, now);
            self.exhausted(case, batch, failed, fault, now);
            return;
        }
        let lane = self.lanes.get_mut(id);
        // An outage uses up no attempts.
        let counts = !lane.is_some_and(|lane| lane.breaker.is_open());
        let failed = window.failed(case.sequence, counts, now);
        let age = Duration::from_secs(now.unix_s().saturating_sub(failed.since_unix_s));
        let judge = if counts { retry::judge } else { retry::judge_age };
        match judge(&self.trigger.retry, failed.attempts, age, chance) {
            Verdict::Again { after } => {
                self.wait(case, batch, fault, after, now);
                self.counts.retried += u64::from(counts);
                self.log(case, failed, fault, "is tried again", now);
            }
            Verdict::Exhausted => self.exhausted(case, batch, failed, fault, now),
        }
    }

    /// Gives up records of a route whose first failure is longer ago than they may be tried, although the breaker
    /// lets none of them run.
    pub(super) fn give_up_old(&mut self, route: Route, now: Now) {
        let Some(limit) = now.unix.checked_sub(self.trigger.retry.max_age).map(|limit| limit.as_secs()) else { return };
        while let Some((call, batch, fault)) = self.take_old(route, limit) {
            for case in self.cases(call) {
                let Some(assigned) = self.partitions.at(case.place) else { break };
                let failed = assigned.window.failures(case.sequence);
                self.exhausted(case, &batch, failed, &fault, now);
            }
            self.keep(call, batch);
            if self.paused.is_some() {
                return;
            }
        }
    }

    /// A record that failed first at this time or before it, as a call that has ended.
    fn take_old(&mut self, route: Route, unix_s: u64) -> Option<(CallKey, Batch, Fault)> {
        let lane = self.lanes.of_mut(route)?;
        let (place, assigned, sequence, record) = self.partitions.places_mut().find_map(|(place, assigned)| {
            let (sequence, record) = assigned.window.take_failed_before(route, unix_s)?;
            Some((place, assigned, sequence, record))
        })?;
        let fault = match record.defect() {
            Some(defect) => unreadable(defect),
            None => assigned.window.last_fault(sequence).unwrap_or_else(|| {
                let reason = "it failed under an earlier owner of the partition, and is too old to be tried again";
                Fault::new(Cause::Retry, reason)
            }),
        };
        let mut batch = self.calls.prepare(&assigned.topic, assigned.partition.number);
        batch.push(&record, assigned.window.failures(sequence).attempts);
        let number = self.calls.start(place, lane, vec![sequence], 0);
        let call = self.calls.ended(number)?;
        Some((call, batch, fault))
    }

    /// When a record of a route will be given up because of its age.
    pub(super) fn next_given_up(&self, route: Route, now: Now) -> Option<Instant> {
        let failing = self.partitions.iter().filter(|assigned| !assigned.leaving);
        let oldest = failing.filter_map(|assigned| assigned.window.oldest_failure_unix_s(route)).min()?;
        let at = Duration::from_secs(oldest + 1) + self.trigger.retry.max_age;
        Some(now.instant + at.saturating_sub(now.unix))
    }

    /// The record of a call that does not start cannot be read whole: no function is given it, and no
    /// other try would read more.
    pub(super) fn give_up(&mut self, call: u64, batch: Batch, defect: &str, now: Now) {
        let Some(key) = self.calls.ended(call) else { return };
        let fault = unreadable(defect);
        for case in self.cases(key) {
            self.fail(case, &batch, &fault, now);
        }
        self.keep(key, batch);
    }

    fn wait(&mut self, case: Case, batch: &Batch, fault: &Fault, after: Duration, now: Now) {
        let Some(assigned) = self.partitions.at(case.place) else { return };
        let record = R::from(batch.record(case.index).to_owned());
        if assigned.redirect(self.lanes.split(), case.sequence, &record) {
            // The candidate that failed it is gone.
            assigned.window.put_back(case.sequence, record);
            return;
        }
        // Those behind it may wait for long too, and would pin the whole fetch they came with.
        assigned.window.wait(case.sequence, after, now, record, R::detach);
        assigned.window.remember(case.sequence, fault);
        // One that broke its call runs alone from now on, or it would break another whole one.
        if !matches!(fault.cause, Cause::Retry) {
            assigned.window.suspect(case.sequence, 1);
        }
    }

    /// A running record will not be tried again: not by this revision.
    fn exhausted(&mut self, case: Case, batch: &Batch, failed: Failed, fault: &Fault, now: Now) {
        if self.calls.get(case.call).is_on_trial {
            self.log(case, failed, fault, "goes to the revision that serves", now);
            let Some(assigned) = self.partitions.at(case.place) else { return };
            assigned.window.hand_over(case.sequence, R::from(batch.record(case.index).to_owned()));
            return;
        }
        let over = match self.trigger.on_exhausted {
            OnExhausted::DeadLetter => {
                self.log(case, failed, fault, "is a dead letter", now);
                self.dead_letter(case, batch, failed, fault, now).then_some(1)
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
            None => {
                let record = R::from(batch.record(case.index).to_owned());
                assigned.put_back(self.lanes.split(), case.sequence, record);
            }
        }
    }

    /// Produces a record's dead letter. `false`, and the trigger pauses, if it has nowhere to go.
    fn dead_letter(&mut self, case: Case, batch: &Batch, failed: Failed, fault: &Fault, now: Now) -> bool {
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
        self.calls.sent(case.call, sent.messages, sent.bytes, now.instant);
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
        if let Some(tally) = self.lanes.tally(self.calls.get(token.call).lane) {
            tally.failed += 1;
        }
        failed.attempts += 1;
        if self.calls.get(token.call).is_on_trial {
            self.log(case, failed, fault, "goes to the revision that serves", now);
            self.take_back(case, fault);
            return;
        }
        match self.trigger.on_exhausted {
            OnExhausted::DeadLetter => {
                self.log(case, failed, fault, "is a dead letter", now);
                let Some(batch) = self.calls.take_batch(token.call) else {
                    self.bug("the records of a refused message are gone");
                    return;
                };
                let is_sent = self.dead_letter(case, &batch, failed, fault, now);
                self.calls.keep(token.call, batch);
                if !is_sent {
                    self.calls.spoil(token.call);
                }
                if is_sent && let Some(assigned) = self.partitions.at(place) {
                    assigned.window.one_more_message(sequence);
                }
            }
            OnExhausted::Skip => {
                self.counts.skipped += 1;
                self.log(case, failed, fault, "lost a message, as the manifest allows", now);
            }
            OnExhausted::Pause => {
                self.log(case, failed, fault, "pauses the trigger", now);
                self.calls.spoil(token.call);
                self.pause(case, failed, fault);
            }
        }
    }

    /// A handled record of a candidate runs anew by the revision that serves.
    fn take_back(&mut self, case: Case, fault: &Fault) {
        if !self.partitions.at(case.place).is_some_and(|assigned| assigned.window.is_careful()) {
            // Others of its key group may have run since. Sent one by one, they wait.
            self.refuses.get_or_insert_with(|| fault.reason.clone());
            self.calls.spoil(case.call);
            return;
        }
        let Some(batch) = self.calls.take_batch(case.call) else {
            self.bug("the records of a refused message are gone");
            return;
        };
        let record = R::from(batch.record(case.index).to_owned());
        self.calls.keep(case.call, batch);
        // Another message of it may have been refused before.
        if self.calls.release(case.call, case.sequence)
            && let Some(assigned) = self.partitions.at(case.place)
        {
            assigned.window.take_back(case.sequence, record);
        }
    }

    /// Nothing more is called until another revision, another manifest or a restart.
    fn pause(&mut self, case: Case, failed: Failed, fault: &Fault) {
        let Some(assigned) = self.partitions.at(case.place) else { return };
        let partition = assigned.partition;
        let reason = format!(
            "record {}/{}/{} failed {}, at last by {}: {}; publish another revision or restart to go on",
            assigned.topic,
            assigned.partition.number,
            failed.offset,
            counted(failed.attempts, "time"),
            fault.cause,
            fault.reason,
        );
        self.paused.get_or_insert_with(|| Paused { reason, partitions: Vec::new() }).partitions.push(partition);
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

/// What is wrong with a record that cannot be read whole.
fn unreadable(defect: &str) -> Fault {
    Fault::new(Cause::Unreadable, format!("{defect}; the function was not called, and a dead letter lacks them too"))
}
