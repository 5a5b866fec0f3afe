//! What moves records through a trigger between two events: the windows of its partitions, the
//! calls, what their outcomes mean, the messages.
//!
//! One task owns a flow and drives it; it does no IO of its own, so tests drive it with an invoker
//! and a sink that they hold in hand.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime};

use rustc_hash::FxHashMap;
use xxhash_rust::xxh3::xxh3_64;

use super::breaker::Breaker;
use super::delivery::{Delivered, Delivery, Token};
use super::partitions::{Assigned, Partitions};
use super::progress::Progress;
use super::sequencer::{Sequence, Taken};
use super::sizing::Sizing;
use super::status::Counts;
use crate::budget::Share as BudgetShare;
use crate::engine::{Call, CallError, Completion, Invoker};
use crate::kafka::{Partition, Refusal, Sink};
use crate::manifest::{Ordering, Trigger};
use crate::outcome::{Cause, Checked, Fault};
use crate::record::{Record, Topics};
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

/// Calls are numbered across all flows, so that one which ends late, after its flow was built
/// again, is not taken for another.
static NEXT_CALL: AtomicU64 = AtomicU64::new(0);

/// Why a flow cannot go on. It is built again from what is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The broker or the client does not take messages any more.
    Delivery(String),
    /// The broker refuses a message for good, and others with it. Sent one by one, it will be the
    /// only one.
    Refused(String),
    /// Our own fault.
    Bug(String),
}

/// A call under way.
struct Running {
    slot: usize,
    epoch: u16,
    sequences: Vec<Sequence>,
}

/// The data plane of one trigger, apart from where its records come from.
pub struct Flow<R, S> {
    pub(super) trigger: Arc<Trigger>,
    pub(super) partitions: Partitions<R>,
    pub(super) delivery: Delivery<S>,
    /// Name of the revision that serves, for dead letters.
    pub(super) revision: String,
    calls: FxHashMap<u64, Running>,
    sizing: Sizing,
    pub(super) breaker: Breaker,
    pub(super) budget: BudgetShare,
    hold_off: Option<(Instant, String)>,
    /// A record is exhausted and the trigger is to pause then.
    pub(super) paused: Option<String>,
    stop: Option<Stop>,
    /// Since when messages are under way and none was acknowledged.
    silent_since: Option<Instant>,
    pub(super) counts: Counts,
    pub(super) rng: fastrand::Rng,
    pub(super) throttle: Throttle,
    taken: Vec<Taken<R>>,
}

impl<R: Record, S: Sink> Flow<R, S> {
    pub fn new(trigger: Arc<Trigger>, topics: Arc<Topics>, sink: S, budget: BudgetShare, now: Instant) -> Self {
        Self {
            partitions: Partitions::new(&trigger),
            delivery: Delivery::new(sink, topics),
            revision: String::new(),
            calls: FxHashMap::default(),
            sizing: Sizing::new(trigger.batch.clone()),
            breaker: Breaker::new(),
            budget,
            hold_off: None,
            paused: None,
            stop: None,
            silent_since: None,
            counts: Counts::default(),
            rng: fastrand::Rng::new(),
            throttle: Throttle::new(FAILURE_LINES, now),
            taken: Vec::new(),
            trigger,
        }
    }

    /// Another revision serves from the next call on.
    pub fn revision_changed(&mut self, revision: String) {
        self.revision = revision;
        self.sizing = Sizing::new(self.trigger.batch.clone());
        self.breaker.reset();
        self.hold_off = None;
    }

    /// A partition is ours and continues where `progress` ended.
    pub fn assign(&mut self, partition: Partition, topic: &Arc<str>, progress: Progress) {
        self.partitions.assign(partition, topic, progress);
    }

    /// A partition is gone. Whatever of it is under way is forgotten.
    pub fn revoke(&mut self, partition: Partition) {
        self.partitions.revoke(partition);
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
        let bytes = record.bytes();
        self.counts.taken += 1;
        assigned.window.admit(record.offset(), line, bytes, record);
    }

    /// Whether the node's memory allows to take more records.
    pub fn may_admit(&mut self) -> bool {
        let held = self.partitions.bytes() + self.delivery.sink().outstanding_bytes();
        self.budget.hold(held as u64 + self.budget.prefetch_bytes());
        self.budget.has_room()
    }

    /// Whether there is work enough for all instances. More would only lie in memory and grow cold;
    /// it is better left with the client. Records that wait for their key do not count, so that
    /// others run ahead of them.
    pub fn is_sated(&self) -> bool {
        self.partitions.ready() >= APPETITE * self.trigger.batch.records.get() as usize
    }

    /// Starts as many calls as there are records that may run, instances and room for outputs.
    pub fn dispatch<I: Invoker<R>>(&mut self, invoker: &mut I, now: Instant) {
        if self.paused.is_some() || self.stop.is_some() || self.is_held_off(now) {
            return;
        }
        let probing = self.breaker.is_open();
        if probing && (!self.calls.is_empty() || self.breaker.next_probe().is_some_and(|next| now < next)) {
            return;
        }
        let mut tried = 0;
        let mut free = invoker.free();
        while free > 0 && tried < self.partitions.len() && self.has_room_for_outputs() {
            let Some((slot, assigned)) = self.partitions.next_ready() else { return };
            let mut share = self.sizing.share(assigned.window.ready(), free);
            if probing {
                share.records = 1;
            }
            assigned.window.take(share, &mut self.taken);
            if self.taken.is_empty() {
                tried += 1;
                continue;
            }
            let id = NEXT_CALL.fetch_add(1, Relaxed);
            let (epoch, call) = (assigned.epoch, call(id, assigned, &self.taken));
            let mut records = Vec::with_capacity(self.taken.len());
            let mut sequences = Vec::with_capacity(self.taken.len());
            for taken in self.taken.drain(..) {
                sequences.push(taken.sequence);
                records.push(taken.record);
            }
            self.counts.calls += 1;
            self.calls.insert(id, Running { slot, epoch, sequences });
            invoker.start(Call { records, ..call });
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
        (self.delivery.sink().outstanding_bytes() as u64) < self.budget.outstanding_bytes()
    }

    /// A call ended.
    pub fn complete(&mut self, completion: Completion<R>, now: Instant) {
        let Some(running) = self.calls.remove(&completion.id) else { return };
        if matches!(completion.result, Err(CallError::Bug)) {
            self.stop = Some(Stop::Bug("a call vanished".to_owned()));
            return;
        }
        // The partition was revoked meanwhile: others do this work.
        if self.partitions.at(running.slot, running.epoch).is_none() {
            return;
        }
        self.sizing.observe(completion.records.len(), completion.elapsed);
        match completion.result {
            Ok(checked) => self.settle(&running, completion.records, &checked, now),
            Err(CallError::Fault(fault)) => self.blame(&running, completion.records, fault, now),
            Err(CallError::NoInstance(reason)) => {
                self.put_back(&running, completion.records);
                self.hold_off = Some((now + HOLD_OFF, reason));
            }
            Err(CallError::Bug) => {}
        }
    }

    /// An outcome: failures fail, what is blocked by them runs again, the rest is handled.
    fn settle(&mut self, running: &Running, records: Vec<R>, checked: &Checked, now: Instant) {
        let mut messages = vec![0u32; records.len()];
        checked.sources().iter().for_each(|&source| messages[source as usize] += 1);
        let mut faults: FxHashMap<usize, &Fault> = FxHashMap::default();
        faults.extend(checked.failures().iter().map(|(source, fault)| (*source as usize, fault)));
        let mut records: Vec<Option<R>> = records.into_iter().map(Some).collect();
        let mut handled = 0;
        for (index, &sequence) in running.sequences.iter().enumerate() {
            let Some(assigned) = self.partitions.at(running.slot, running.epoch) else { return };
            let window = &mut assigned.window;
            if window.is_blocked(sequence) {
                records[index].take().into_iter().for_each(|record| window.restore(sequence, record));
                window.put_back(sequence);
            } else if let Some(&fault) = faults.get(&index) {
                records[index].take().into_iter().for_each(|record| window.restore(sequence, record));
                self.fail(running.slot, running.epoch, sequence, fault, now);
            } else {
                window.handled(sequence, messages[index]);
                handled += 1;
            }
        }
        self.counts.handled += u64::from(handled);
        self.breaker.observe(handled, faults.len() as u32, now);
        let token = |index: usize| Token {
            slot: running.slot,
            epoch: running.epoch,
            sequence: running.sequences[index],
            dead_letter: false,
        };
        self.delivery.send(checked, &records, token);
        let Some(assigned) = self.partitions.at(running.slot, running.epoch) else { return };
        for (&sequence, record) in running.sequences.iter().zip(records) {
            if let Some(record) = record {
                assigned.window.keep(sequence, record);
            }
        }
    }

    /// No outcome: a single record is at fault, of several it is not known which one.
    fn blame(&mut self, running: &Running, mut records: Vec<R>, fault: Fault, now: Instant) {
        if let ([sequence], 1) = (&running.sequences[..], records.len()) {
            let Some(assigned) = self.partitions.at(running.slot, running.epoch) else { return };
            records.drain(..).for_each(|record| assigned.window.restore(*sequence, record));
            self.breaker.observe(0, 1, now);
            self.fail(running.slot, running.epoch, *sequence, &fault, now);
            return;
        }
        self.counts.split += 1;
        tracing::debug!(
            trigger = %self.trigger.name, records = records.len(), cause = %fault.cause,
            "a call failed and is split: {}", fault.reason,
        );
        let cohort = records.len().div_ceil(SPLIT);
        let Some(assigned) = self.partitions.at(running.slot, running.epoch) else { return };
        for &sequence in &running.sequences {
            assigned.window.suspect(sequence, cohort);
        }
        self.put_back(running, records);
    }

    fn put_back(&mut self, running: &Running, records: Vec<R>) {
        let Some(assigned) = self.partitions.at(running.slot, running.epoch) else { return };
        for (&sequence, record) in running.sequences.iter().zip(records) {
            assigned.window.restore(sequence, record);
            assigned.window.put_back(sequence);
        }
    }

    /// Takes in what became of messages.
    pub fn acknowledge(&mut self, now: Instant) {
        let (mut refused, mut any) = (Vec::new(), false);
        let partitions = &mut self.partitions;
        self.delivery.acknowledgements(|Delivered { token, result }| {
            any = true;
            match result {
                Ok(()) => {
                    if let Some(assigned) = partitions.at(token.slot, token.epoch) {
                        assigned.window.acknowledged(token.sequence);
                    }
                }
                Err(refusal) => refused.push((token, refusal)),
            }
        });
        let under_way = self.delivery.sink().outstanding() > 0;
        self.silent_since = under_way.then(|| self.silent_since.filter(|_| !any).unwrap_or(now));
        for (token, refusal) in refused {
            match refusal {
                Refusal::ForGood(error) => self.refused(token, Fault::new(Cause::Output, error.to_string())),
                Refusal::WithOthers(error) => self.stop = Some(Stop::Refused(error.to_string())),
                // What follows a refused batch fails with it; the refusal is the reason.
                Refusal::ForNow(error) => {
                    self.stop.get_or_insert_with(|| Stop::Delivery(error.to_string()));
                }
            }
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
            self.calls.is_empty() && self.paused.is_none() && self.has_room_for_outputs() && self.partitions.ready() > 0
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
        Some(format!("{outstanding} messages are not acknowledged, none for {seconds} s"))
    }

    /// Why the flow must be built again, once.
    pub fn take_stop(&mut self) -> Option<Stop> {
        self.stop.take()
    }

    /// Seconds since 1970-01-01 UTC.
    pub(super) fn unix_s() -> u64 {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }
}

/// A call without its records.
fn call<R>(id: u64, assigned: &Assigned<R>, taken: &[Taken<R>]) -> Call<R> {
    Call {
        id,
        topic: assigned.topic.clone(),
        partition: assigned.partition.number,
        records: Vec::new(),
        attempts: taken.iter().map(|taken| taken.attempt).collect(),
    }
}
