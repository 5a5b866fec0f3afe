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

use rustc_hash::FxHashMap;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::lane::LaneId;
use super::status::{Sample, ShadowTally, Tally};
use crate::counted::counted;
use crate::record::batch::Batch;
use crate::record::columns::HeaderRun;
use crate::record::outcome::{Cause, Checked, Fault};

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

/// What a revision made of the records of a call.
pub struct Answers(Vec<Answer>);

impl Answers {
    pub fn of(batch: &Batch, checked: &Checked) -> Self {
        Self(Answer::all(batch, checked))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// What they take for so many records.
    pub fn bytes(records: usize) -> usize {
        records * size_of::<Answer>()
    }
}

/// A call of a shadow that runs.
pub struct Cast {
    pub lane: LaneId,
    /// What the serving revision made of its records.
    pub serving: Answers,
    /// What it takes of the node's memory.
    pub bytes: usize,
}

/// The calls of shadows, by number.
#[derive(Default)]
pub struct Shadows {
    running: FxHashMap<u64, Cast>,
    bytes: usize,
}

impl Shadows {
    pub fn start(&mut self, number: u64, cast: Cast) {
        self.bytes += cast.bytes;
        self.running.insert(number, cast);
    }

    pub fn ended(&mut self, number: u64) -> Option<Cast> {
        let cast = self.running.remove(&number)?;
        self.bytes -= cast.bytes;
        Some(cast)
    }

    /// What the calls that run take of the node's memory: records, outcomes to come, and digests.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// A shadow answered: counts what differs from the answers of the revision that serves.
pub fn compare(batch: &Batch, checked: &Checked, serving: &Answers, shadow: &mut ShadowTally, tally: &mut Tally) {
    tally.records += batch.len() as u64;
    tally.failed += checked.failures().len() as u64;
    shadow.compared += batch.len() as u64;
    let mut samples = 0;
    for (index, (answer, serving)) in Answer::all(batch, checked).iter().zip(&serving.0).enumerate() {
        let Some(difference) = answer.differs(serving) else { continue };
        shadow.differing += 1;
        shadow.failed_only_here += u64::from(answer.failed.is_some() && serving.failed.is_none());
        if samples == 0 {
            sample(batch, index, &difference, shadow);
        }
        samples += 1;
    }
}

/// The call of a shadow has no outcome: nothing is there that could be the same.
pub fn broke(batch: &Batch, fault: &Fault, shadow: &mut ShadowTally, tally: &mut Tally) {
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
