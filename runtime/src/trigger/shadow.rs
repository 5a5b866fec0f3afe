//! A candidate that is a shadow: it is called with what the serving revision was called with, and what it makes of it
//! is compared and forgotten.
//!
//! A call of the serving revision that ended with an outcome is called again, as a copy, if the candidate has a free
//! instance and there is memory. Otherwise it is skipped and counted. Windows, deliveries and progress know nothing of
//! it, so nothing waits for a shadow. Of the serving revision's outcome only digests are kept meanwhile.
//!
//! Compared are, for each record, whether it failed and by which cause, and its messages in their order: topic and
//! partition, key, value, headers. Not compared are timestamps, which may come from a clock, and reasons, which are
//! for people.

use std::time::Instant;

use rustc_hash::FxHashMap;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::clock::Now;
use super::flow::Flow;
use super::lane::LaneId;
use super::route::Route;
use super::status::{Sample, ShadowTally, Tally};
use crate::counted::counted;
use crate::engine::{Call, CallError, Completion};
use crate::kafka::Sink;
use crate::record::batch::Batch;
use crate::record::columns::HeaderRun;
use crate::record::outcome::{Cause, Checked, Fault};
use crate::record::{OwnedRecord, Record};

/// The most samples that are kept.
const SAMPLES: usize = 5;
/// The longest description of a difference, in characters.
const LONGEST: usize = 200;

/// What a revision made of one record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Answer {
    failed: Option<Cause>,
    messages: u32,
    /// Hashes over all of its messages.
    topics: u64,
    keys: u64,
    values: u64,
    headers: u64,
}

impl Answer {
    /// Of each record of a call.
    fn all(batch: &Batch, checked: &Checked) -> Vec<Self> {
        let mut answers = vec![Self::default(); batch.len()];
        for (source, fault) in checked.failures() {
            answers[*source as usize].failed = Some(fault.cause);
        }
        for message in checked.resolved(batch) {
            let answer = &mut answers[message.source];
            // What a failed record emitted is thrown away.
            if answer.failed.is_some() {
                continue;
            }
            answer.messages += 1;
            let place = [message.topic as u64, message.partition.map_or(u64::MAX, |number| number as u64)];
            place.iter().for_each(|number| answer.topics = xxh3_64_with_seed(&number.to_le_bytes(), answer.topics));
            add(&mut answer.keys, message.key);
            add(&mut answer.values, message.value);
            add_headers(&mut answer.headers, message.headers);
        }
        answers
    }

    /// In which way this one differs from what the serving revision made of the record, if it does.
    fn differs(&self, serving: &Self) -> Option<String> {
        let said = match (self.failed, serving.failed) {
            (Some(own), Some(other)) if own != other => format!("it fails by {own}, and before by {other}"),
            (Some(cause), None) => format!("it fails by {cause}, and before it was handled"),
            (None, Some(cause)) => format!("it is handled, and before it failed by {cause}"),
            _ if self.messages != serving.messages => {
                format!("{}, and before {}", counted(self.messages as usize, "message"), serving.messages)
            }
            _ => {
                let parts = [
                    ("topic or partition", self.topics == serving.topics),
                    ("key", self.keys == serving.keys),
                    ("value", self.values == serving.values),
                    ("headers", self.headers == serving.headers),
                ];
                let (part, _) = parts.into_iter().find(|(_, is_same)| !is_same)?;
                format!("the {part} of its {} differs", if self.messages == 1 { "message" } else { "messages" })
            }
        };
        Some(said)
    }
}

fn add(hash: &mut u64, bytes: Option<&[u8]>) {
    // Null is not empty.
    let length = bytes.map_or(u64::MAX, |bytes| bytes.len() as u64);
    *hash = xxh3_64_with_seed(bytes.unwrap_or_default(), xxh3_64_with_seed(&length.to_le_bytes(), *hash));
}

fn add_headers(hash: &mut u64, headers: HeaderRun<'_>) {
    let mut count: u64 = 0;
    for header in headers {
        add(hash, Some(header.name));
        add(hash, header.value);
        count += 1;
    }
    *hash = xxh3_64_with_seed(&count.to_le_bytes(), *hash);
}

/// A call of a shadow that runs.
struct Cast {
    lane: LaneId,
    /// What the serving revision made of its records.
    serving: Vec<Answer>,
    /// What it takes of the node's memory.
    bytes: usize,
}

/// The calls of shadows.
#[derive(Default)]
pub struct Shadows {
    running: FxHashMap<u64, Cast>,
    bytes: usize,
}

impl Shadows {
    /// What the calls that run take of the node's memory: records, outcomes to come, and digests.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl<R: Record + From<OwnedRecord>, S: Sink> Flow<R, S> {
    /// A call of this lane ended with an outcome: a shadow is called with the same, if there is one.
    pub(super) fn cast_shadow(&mut self, lane: LaneId, batch: &Batch, checked: &Checked, now: Instant) {
        if self.lanes.shadow().is_none() || self.lanes.serving().is_none_or(|serving| serving.id() != lane) {
            return;
        }
        if self.try_cast(batch, checked, now).is_none()
            && let Some((shadow, _)) = self.lanes.shadow()
        {
            shadow.skipped += batch.len() as u64;
        }
    }

    fn try_cast(&mut self, batch: &Batch, checked: &Checked, now: Instant) -> Option<()> {
        let may_call = self.may_call();
        let lane = self.lanes.of_mut(Route::CANARY).filter(|lane| may_call && !lane.is_held_off(now))?;
        let granted = lane.grant.next();
        let bytes = granted.reserved + batch.record_bytes() + batch.len() * size_of::<Answer>();
        if lane.free() == 0 || !self.has_room_for(bytes) {
            return None;
        }
        let id = self.calls.number();
        let lane = self.lanes.of_mut(Route::CANARY)?;
        let cast = Cast { lane: lane.id(), serving: Answer::all(batch, checked), bytes };
        self.shadows.bytes += bytes;
        self.shadows.running.insert(id, cast);
        // However brief it is expected to be, it does not begin on this thread, which serves.
        lane.start(Call { id, batch: batch.clone(), expected: std::time::Duration::MAX, outcome_bytes: granted.bytes });
        Some(())
    }

    /// A call ended that is none of those that serve.
    pub(super) fn shadow_ended(&mut self, completion: Completion, now: Now) {
        // It may be one from before all calls were forgotten.
        let Some(Cast { lane, serving, bytes }) = self.shadows.running.remove(&completion.id) else { return };
        self.shadows.bytes -= bytes;
        let Completion { batch, result, elapsed, outcome_bytes, started, .. } = completion;
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.counts.instances += u64::from(started.is_some());
        }
        match &result {
            Err(CallError::NoInstance(reason)) => self.lanes.hold_off(lane, reason.clone(), now.instant),
            Err(CallError::Bug) => {}
            _ => self.lanes.called(lane, serving.len(), elapsed, outcome_bytes, &result),
        }
        let is_tried = self.lanes.candidate().is_some_and(|candidate| candidate.id() == lane);
        if let Some((shadow, tally)) = self.lanes.shadow().filter(|_| is_tried) {
            match (&batch, &result) {
                (Some(batch), Ok(checked)) => compare(batch, checked, &serving, shadow, tally),
                (Some(batch), Err(CallError::Fault(fault))) => broke(batch, fault, shadow, tally),
                _ => shadow.skipped += serving.len() as u64,
            }
        }
        self.lanes.ended(lane);
        batch.into_iter().for_each(|batch| self.calls.recycle(batch));
    }
}

fn compare(batch: &Batch, checked: &Checked, serving: &[Answer], shadow: &mut ShadowTally, tally: &mut Tally) {
    tally.records += batch.len() as u64;
    tally.failed += checked.failures().len() as u64;
    shadow.compared += batch.len() as u64;
    let mut samples = 0;
    for (index, (answer, serving)) in Answer::all(batch, checked).iter().zip(serving).enumerate() {
        let Some(difference) = answer.differs(serving) else { continue };
        shadow.differing += 1;
        shadow.failed_only_here += u64::from(answer.failed.is_some() && serving.failed.is_none());
        if samples == 0 {
            sample(batch, index, &difference, shadow);
        }
        samples += 1;
    }
}

/// The call has no outcome: nothing is there that could be the same.
fn broke(batch: &Batch, fault: &Fault, shadow: &mut ShadowTally, tally: &mut Tally) {
    let records = batch.len() as u64;
    tally.records += records;
    // At least one of them is at fault.
    tally.failed += 1;
    shadow.compared += records;
    shadow.differing += records;
    shadow.failed_only_here += records;
    sample(batch, 0, &format!("its call fails by {}: {}", fault.cause, fault.reason), shadow);
}

/// Keeps where outcomes differ. A call has one sample, so that one that is all different does not hide others.
fn sample(batch: &Batch, index: usize, difference: &str, shadow: &mut ShadowTally) {
    if shadow.samples.len() < SAMPLES {
        let line = difference.chars().map(|c| if c.is_control() { ' ' } else { c });
        shadow.samples.push(Sample {
            topic: batch.topic().to_string(),
            partition: batch.partition(),
            offset: batch.offsets()[index],
            difference: line.take(LONGEST).collect(),
        });
    }
}
