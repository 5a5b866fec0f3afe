//! What moves records through a trigger between two events: the windows of its partitions, the
//! calls, what their outcomes mean, the messages.
//!
//! One task owns a flow and drives it; it does no IO of its own, so tests drive it with an invoker
//! and a sink that they hold in hand.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rustc_hash::FxHashMap;
use xxhash_rust::xxh3::xxh3_64;

use super::breaker::Breaker;
use super::budget::Share as BudgetShare;
use super::delivery::{Delivered, Delivery};
use super::flights::{Case, Flight, FlightKey, Flights};
use super::partitions::Partitions;
use super::progress::Progress;
use super::sequencer::Sequence;
use super::sizing::Sizing;
use super::status::Counts;
use crate::counted::counted;
use crate::engine::{Call, CallError, Completion, Invoker, MAX_OUTCOME_BYTES};
use crate::kafka::{Partition, Refusal, Sink};
use crate::manifest::{OnExhausted, Ordering, Trigger};
use crate::record::batch::Batch;
use crate::record::outcome::{Cause, Checked, Fault};
use crate::record::{OwnedRecord, Record, Topics};
use crate::throttle::Throttle;

/// How long no call starts after an instance could not be started.
const HOLD_OFF: Duration = Duration::from_secs(1);
/// Batches of ready records that are kept at hand.
const APPETITE: usize = 4;
/// How long a broker may acknowledge nothing before that is a problem.
const SILENT: Duration = Duration::from_secs(10);
/// By how much the records of a failed call are split.
const SPLIT: usize = 8;
/// Lines about failed records in a second.
const FAILURE_LINES: u32 = 10;

/// Why a flow cannot go on. It is built again from what is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The broker or the client does not take messages any more.
    Delivery(String),
    /// The broker refuses a message for good, and others with it. Sent one by one, it will be the
    /// only one.
    Refused(String),
    /// A partition's records went back: its topic was truncated or created anew.
    WentBack(String),
    /// Our own fault.
    Bug(String),
}

/// The data plane of one trigger, apart from where its records come from.
pub struct Flow<R, S> {
    pub(super) trigger: Arc<Trigger>,
    pub(super) partitions: Partitions<R>,
    pub(super) delivery: Delivery<S>,
    /// Name of the revision that serves, for dead letters.
    pub(super) revision: String,
    pub(super) flights: Flights,
    sizing: Sizing,
    pub(super) breaker: Breaker,
    pub(super) budget: BudgetShare,
    hold_off: Option<(Instant, String)>,
    /// A record is exhausted and the trigger is to pause then.
    pub(super) paused: Option<String>,
    stop: Option<Stop>,
    /// The broker refuses a batch: why. Nothing reaches it any more.
    refuses: Option<String>,
    /// Since when messages are under way and none was acknowledged.
    silent_since: Option<Instant>,
    pub(super) counts: Counts,
    pub(super) rng: fastrand::Rng,
    pub(super) throttle: Throttle,
}

impl<R: Record + From<OwnedRecord>, S: Sink> Flow<R, S> {
    pub fn new(trigger: Arc<Trigger>, topics: Arc<Topics>, sink: S, budget: BudgetShare, now: Instant) -> Self {
        Self {
            partitions: Partitions::new(&trigger),
            delivery: Delivery::new(sink, topics),
            revision: String::new(),
            flights: Flights::default(),
            sizing: Sizing::new(trigger.batch),
            breaker: Breaker::new(),
            budget,
            hold_off: None,
            paused: None,
            stop: None,
            refuses: None,
            silent_since: None,
            counts: Counts::default(),
            rng: fastrand::Rng::new(),
            throttle: Throttle::new(FAILURE_LINES, now),
            trigger,
        }
    }

    /// Another revision serves from the next call on.
    pub fn revision_changed(&mut self, revision: String) {
        self.revision = revision;
        self.sizing = Sizing::new(self.trigger.batch);
        self.breaker.reset();
        self.hold_off = None;
    }

    /// A partition is ours and continues where `progress` ended.
    pub fn assign(&mut self, partition: Partition, topic: &Arc<str>, progress: Progress) {
        self.partitions.assign(partition, topic, progress);
    }

    /// A partition is gone. Whatever of it is under way is forgotten.
    pub fn revoke(&mut self, partition: Partition) {
        if let Some(place) = self.partitions.revoke(partition) {
            self.flights.forget(place);
        }
    }

    /// Takes in a fetched record.
    pub fn admit(&mut self, partition: Partition, record: R) {
        let line = match self.trigger.ordering {
            Ordering::Key => record.key().map(xxh3_64),
            Ordering::Partition => Some(0),
            Ordering::None => None,
        };
        // A partition that is not ours: revoked while the record was on its way to us.
        let Some(assigned) = self.partitions.get_mut(partition) else { return };
        self.counts.taken += 1;
        let window = &mut assigned.window;
        let (sequence, offset) = (window.next_sequence(), record.offset());
        if sequence > 0 && offset < window.next_offset() {
            // The client would go on where it was before, if it were paused now.
            let reason = format!("{}/{} at {offset}", assigned.topic, partition.number);
            self.stop.get_or_insert(Stop::WentBack(reason));
        }
        let is_whole = record.defect().is_none();
        let is_open = window.admit(offset, line, record.bytes(), record);
        if is_open && !is_whole {
            // Alone, because it does not get into a call.
            window.suspect(sequence, 1);
        }
        // It may wait for long, and would pin the whole fetch it came with.
        if is_open && let Some(record) = window.held_up_mut(sequence) {
            record.detach();
        }
    }

    /// Whether the node's memory allows to take more records.
    pub fn may_admit(&mut self) -> bool {
        let held = self.partitions.bytes() + self.flights.bytes() + self.flights.batch_bytes();
        self.budget.hold(held as u64 + self.budget.prefetch_bytes());
        self.budget.has_room()
    }

    /// Whether there is work enough for all instances. More would only lie in memory and grow cold;
    /// it is better left with the client. Records that wait for their key do not count, so that
    /// others run ahead of them.
    pub fn is_sated(&self) -> bool {
        self.partitions.startable() >= APPETITE * self.trigger.batch.records.get() as usize
    }

    /// Starts as many calls as there are records that may run, instances and room for outputs.
    pub fn dispatch(&mut self, invoker: &mut impl Invoker, now: Instant) {
        if self.paused.is_some() || self.stop.is_some() || self.is_held_off(now) {
            return;
        }
        let probing = self.breaker.is_open();
        if probing && (self.flights.running() > 0 || self.breaker.next_probe().is_some_and(|next| now < next)) {
            return;
        }
        let mut tried = 0;
        let mut free = invoker.free();
        while free > 0 && tried < self.partitions.len() && self.has_room_for_outputs() {
            let Some((place, assigned)) = self.partitions.next_ready() else { return };
            let mut share = self.sizing.share(assigned.window.ready(), free);
            if probing {
                share.records = 1;
            }
            let mut batch = self.flights.prepare(&assigned.topic, assigned.partition.number);
            let mut sequences = Vec::with_capacity(share.records);
            let mut defect = None;
            assigned.window.take(share, |taken| {
                sequences.push(taken.sequence);
                batch.push(&taken.record, taken.attempt);
                if let Some(found) = taken.record.defect() {
                    defect = Some(found.to_owned());
                }
            });
            if batch.is_empty() {
                self.flights.recycle(batch);
                tried += 1;
                continue;
            }
            let id = self.flights.start(place, sequences);
            if let Some(defect) = defect {
                // The window hands it out alone.
                debug_assert_eq!(batch.len(), 1);
                self.give_up(id, batch, &defect, now);
                if self.paused.is_some() {
                    return;
                }
                continue;
            }
            self.counts.calls += 1;
            let expected = self.sizing.expected(batch.len());
            invoker.start(Call { id, batch, expected, outcome_bytes: MAX_OUTCOME_BYTES });
            if probing {
                self.breaker.probe(now);
                return;
            }
            free -= 1;
        }
    }

    fn is_held_off(&self, now: Instant) -> bool {
        self.hold_off.as_ref().is_some_and(|(until, _)| now < *until)
    }

    fn has_room_for_outputs(&self) -> bool {
        (self.flights.bytes() as u64) < self.budget.outstanding_bytes()
            && self.delivery.sink().outstanding() < self.delivery.sink().most_outstanding()
    }

    /// A call ended.
    pub fn complete(&mut self, completion: Completion, now: Instant) {
        let Some(flight) = self.flights.land(completion.id) else { return };
        let Some(batch) = completion.batch else {
            self.flights.settle_bare(flight);
            self.stop = Some(Stop::Bug("a call vanished".to_owned()));
            return;
        };
        self.counts.instances += u64::from(completion.started.is_some());
        // Unless the partition was revoked meanwhile: then others do this work.
        let place = self.flights.get(flight).place;
        if self.partitions.at(place).is_some() {
            self.sizing.observe(batch.len(), completion.elapsed);
            match completion.result {
                // Nothing is accepted any more; it runs again from what is committed.
                _ if self.refuses.is_some() => self.put_back(flight, &batch),
                Ok(checked) => self.handle(flight, &batch, &checked, now),
                Err(CallError::Fault(fault)) => self.blame(flight, &batch, &fault, now),
                // No call is granted less than the maximum yet.
                Err(CallError::OutcomeTooLarge { .. }) => self.put_back(flight, &batch),
                Err(CallError::NoInstance(reason)) => {
                    self.put_back(flight, &batch);
                    self.hold_off = Some((now + HOLD_OFF, reason));
                }
                Err(CallError::Bug) => self.stop = Some(Stop::Bug("a call broke".to_owned())),
            }
        }
        self.settle(flight, batch);
    }

    /// What was to be done with the records of a call is done.
    pub(super) fn settle(&mut self, flight: FlightKey, batch: Batch) {
        // Only a dead letter would be made of it.
        if self.trigger.on_exhausted == OnExhausted::DeadLetter {
            self.flights.settle(flight, batch);
        } else {
            self.flights.recycle(batch);
            self.flights.settle_bare(flight);
        }
    }

    /// An outcome: failures fail, what is blocked by them runs again, the rest is handled.
    fn handle(&mut self, flight: FlightKey, batch: &Batch, checked: &Checked, now: Instant) {
        // One more than there are: a record waits for the messages of the whole call, since one that is
        // emitted for another record may stand for it, as a total does.
        let mut messages = vec![1; batch.len()];
        checked.sources().iter().for_each(|&source| messages[source as usize] += 1);
        let (sent, together) = if checked.failures().is_empty() {
            self.handle_all(flight, &messages, now);
            (self.delivery.send(checked, batch, flight, |_| true), self.flights.get(flight).sequences.clone())
        } else {
            let handled = self.handle_some(flight, batch, checked, &messages, now);
            let sequences = self.flights.get(flight).sequences.iter().zip(&handled);
            let together = sequences.filter(|(_, handled)| **handled).map(|(&sequence, _)| sequence).collect();
            (self.delivery.send(checked, batch, flight, |index| handled[index]), together)
        };
        self.flights.sent(flight, sent.messages, sent.bytes, now);
        if sent.messages > 0 {
            self.flights.hold(flight, together);
        } else {
            let place = self.flights.get(flight).place;
            self.partitions.at(place).into_iter().for_each(|assigned| assigned.window.all_acknowledged(&together));
        }
    }

    fn handle_all(&mut self, flight: FlightKey, messages: &[u32], now: Instant) {
        let flight = self.flights.get(flight);
        let Some(assigned) = self.partitions.at(flight.place) else { return };
        for (&sequence, &messages) in flight.sequences.iter().zip(messages) {
            assigned.window.handled(sequence, messages);
        }
        self.counts.handled += messages.len() as u64;
        self.breaker.observe(messages.len() as u32, 0, now);
    }

    /// Returns which records are handled.
    fn handle_some(
        &mut self,
        flight: FlightKey,
        batch: &Batch,
        checked: &Checked,
        messages: &[u32],
        now: Instant,
    ) -> Vec<bool> {
        let mut faults: FxHashMap<usize, &Fault> = FxHashMap::default();
        faults.extend(checked.failures().iter().map(|(source, fault)| (*source as usize, fault)));
        let mut handled = vec![false; batch.len()];
        for case in self.cases(flight) {
            let Some(assigned) = self.partitions.at(case.place) else { return handled };
            let window = &mut assigned.window;
            if window.is_blocked(case.sequence) {
                window.put_back(case.sequence, R::from(batch.record(case.index).to_owned()));
            } else if let Some(&fault) = faults.get(&case.index) {
                self.fail(case, batch, fault, now);
            } else {
                window.handled(case.sequence, messages[case.index]);
                handled[case.index] = true;
            }
        }
        let count = handled.iter().filter(|&&handled| handled).count();
        self.counts.handled += count as u64;
        self.breaker.observe(count as u32, faults.len() as u32, now);
        handled
    }

    /// The records of a call.
    pub(super) fn cases(&self, flight: FlightKey) -> Vec<Case> {
        let Flight { place, sequences, .. } = self.flights.get(flight);
        let case = |(index, &sequence): (usize, &Sequence)| Case { flight, index, place: *place, sequence };
        sequences.iter().enumerate().map(case).collect()
    }

    /// No outcome: a single record is at fault, of several it is not known which one.
    fn blame(&mut self, flight: FlightKey, batch: &Batch, fault: &Fault, now: Instant) {
        let cases = self.cases(flight);
        if let [case] = cases[..] {
            self.breaker.observe(0, 1, now);
            self.fail(case, batch, fault, now);
            return;
        }
        self.counts.split += 1;
        tracing::debug!(
            trigger = %self.trigger.name, records = batch.len(), cause = %fault.cause,
            "a call failed and is split: {}", fault.reason,
        );
        let cohort = batch.len().div_ceil(SPLIT);
        for case in cases {
            let Some(assigned) = self.partitions.at(case.place) else { return };
            assigned.window.suspect(case.sequence, cohort);
        }
        self.put_back(flight, batch);
    }

    fn put_back(&mut self, flight: FlightKey, batch: &Batch) {
        let flight = self.flights.get(flight);
        let Some(assigned) = self.partitions.at(flight.place) else { return };
        for (&sequence, record) in flight.sequences.iter().zip(batch.records()) {
            assigned.window.put_back(sequence, R::from(record.to_owned()));
        }
    }

    /// Takes in what became of messages.
    pub fn acknowledge(&mut self, now: Instant) {
        let (mut refused, mut any) = (Vec::new(), false);
        let (partitions, flights) = (&mut self.partitions, &mut self.flights);
        self.delivery.acknowledgements(|Delivered { token, result }| {
            any = true;
            if let Err(refusal) = result {
                refused.push((token, refusal));
                return;
            }
            let flight = flights.get(token.flight);
            let (place, sequence) = (flight.place, flight.sequences[token.index]);
            let together = flights.reported(token.flight, now);
            if let Some(assigned) = partitions.at(place) {
                assigned.window.acknowledged(sequence);
                assigned.window.all_acknowledged(&together);
            }
        });
        let under_way = self.delivery.sink().outstanding() > 0;
        self.silent_since = under_way.then(|| self.silent_since.filter(|_| !any).unwrap_or(now));
        for (token, refusal) in refused {
            let place = self.flights.get(token.flight).place;
            if !matches!(refusal, Refusal::ForGood(_)) {
                self.flights.spoil(token.flight);
            }
            match refusal {
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
            let together = self.flights.reported(token.flight, now);
            self.partitions.at(place).into_iter().for_each(|assigned| assigned.window.all_acknowledged(&together));
        }
        if let Some(reason) = &self.refuses {
            if !matches!(self.stop, Some(Stop::Bug(_))) {
                self.stop = Some(Stop::Refused(reason.clone()));
            }
            self.delivery.sink_mut().abandon();
        }
    }

    /// Lets records run again whose time has come.
    pub fn wake(&mut self, now: Instant) {
        self.partitions.iter_mut().for_each(|assigned| assigned.window.wake(now));
        if !self.is_held_off(now) {
            self.hold_off = None;
        }
    }

    /// When [`Flow::wake`] or [`Flow::dispatch`] has something to do without any event.
    pub fn next_due(&self) -> Option<Instant> {
        // Not while it could not start: what hinders it wakes the loop when it ends.
        let probe = self.breaker.next_probe().filter(|_| {
            self.flights.running() == 0
                && self.paused.is_none()
                && self.has_room_for_outputs()
                && self.partitions.ready() > 0
        });
        let hold_off = self.hold_off.as_ref().map(|(until, _)| *until);
        self.partitions.next_due().into_iter().chain(probe).chain(hold_off).min()
    }

    /// Why nothing is called although records are there, if that is so.
    pub fn obstacle(&self) -> Option<String> {
        if let Some((_, reason)) = &self.hold_off {
            return Some(format!("no instance of the function can be started: {reason}"));
        }
        self.breaker.is_open().then(|| "most records fail; probing with single ones".to_owned())
    }

    /// What to say about messages that the broker does not acknowledge, if that is so for a while.
    pub fn stalled_outputs(&self, now: Instant) -> Option<String> {
        let since = self.silent_since.filter(|since| now.saturating_duration_since(*since) > SILENT)?;
        let outstanding = self.delivery.sink().outstanding();
        let seconds = now.saturating_duration_since(since).as_secs();
        Some(format!("{} under way, none acknowledged for {seconds} s", counted(outstanding, "message")))
    }

    /// Why the flow must be built again, once.
    pub fn take_stop(&mut self) -> Option<Stop> {
        self.stop.take()
    }

    /// Something happened that cannot happen.
    pub(super) fn bug(&mut self, reason: &str) {
        self.stop = Some(Stop::Bug(reason.to_owned()));
    }

    /// Seconds since 1970-01-01 UTC.
    pub(super) fn unix_s() -> u64 {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }
}
