//! Checks numbered records: which are lost, which are there twice, and which came in the wrong order within
//! their key.
//!
//! It claims nothing that it does not know. A number is lost if a later number of its key was seen, or if the
//! run is known to have it and everything was read. If reading did not begin with the first record, earlier
//! records are unknown. Then a number of a key counts as lost only if it is above the first number of that key in
//! every partition that has the key. If fewer records than expected are there, and it is unknown where the others
//! should be, they are missing. A number that is seen again is repeated, and says nothing about order. A record is
//! out of order if a higher number of the same key stood before it in the same partition. In a compacted topic a
//! gap proves nothing, so only repeats and order are judged.
//!
//! What bounds it: one bit for each number of the stretches that are not complete, up to 128 MiB ([`MAX_PARTS`],
//! a billion records); about 100 bytes for each key in each partition, up to a million of them ([`MAX_LANES`]);
//! [`MAX_RUNS`] runs. Ten million records take 1.3 MB and their keys. Beyond these limits it gives up, and says
//! so.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use rustc_hash::FxHashMap;

use super::seen::Seen;
use super::{Number, Run};

/// The most stretches of numbers that are not complete, over all runs.
pub const MAX_PARTS: usize = 16_384;
/// The most pairs of a key and a partition, over all runs.
pub const MAX_LANES: usize = 1 << 20;
/// The most runs.
pub const MAX_RUNS: usize = 1_000;

/// How many examples of each kind are kept.
const EXAMPLES: usize = 3;
/// How many gaps are remembered in case they close.
const OPEN_GAPS: usize = 256;

/// Where a record was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// Tells topics apart.
    pub topic_index: usize,
    pub topic: &'a str,
    pub partition: i32,
    pub offset: i64,
}

/// What was read. It decides what a gap proves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Reading began with the first record that ever was there, in all partitions that were read.
    pub from_beginning: bool,
    /// All partitions were read.
    pub all_partitions: bool,
    /// A topic is compacted: the broker keeps the last record of each key, and others as long as it likes.
    pub compacted: bool,
}

/// A limit of memory was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooMuch {
    #[error("numbers are missing all over more than a billion: read a smaller part, or name the run")]
    Numbers,
    #[error("there are more than a million keys in partitions: read fewer partitions, or name the run")]
    Keys,
    #[error("there are more than a thousand runs: name one")]
    Runs,
}

/// How often something was found, with the first few places.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Findings {
    pub count: u64,
    pub examples: Vec<String>,
}

impl Findings {
    fn add(&mut self, example: impl FnOnce() -> String) {
        self.count += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(example());
        }
    }
}

/// What a [`Verifier`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Summary {
    /// Records that were read and belong to the runs that were looked for.
    pub records: u64,
    /// The runs that were seen, and how many different numbers of each.
    pub runs: BTreeMap<String, u64>,
    /// `None`: unknown, because a topic is compacted.
    pub lost: Option<Findings>,
    /// Records that are expected and not there. They may lie where nothing was read. `None`: as above.
    pub missing: Option<Findings>,
    pub repeated: Findings,
    pub out_of_order: Findings,
    /// Records without a number.
    pub unknown: Findings,
}

impl Summary {
    /// Whether nothing is wrong.
    pub fn is_good(&self) -> bool {
        let judged = self.lost.iter().chain(&self.missing);
        judged.chain([&self.repeated, &self.out_of_order, &self.unknown]).all(|findings| findings.count == 0)
    }

    /// A table for people, without a line break at the end.
    pub fn table(&self) -> String {
        let mut text = format!("{:<14}{}\n{:<14}{}", "records", self.records, "runs", self.runs.len());
        for (run, seen) in self.runs.iter().take(EXAMPLES) {
            let _ = write!(text, "\n  {run}: {seen} different numbers");
        }
        for (name, findings) in [
            ("lost", self.lost.as_ref()),
            ("missing", self.missing.as_ref()),
            ("repeated", Some(&self.repeated)),
            ("out of order", Some(&self.out_of_order)),
            ("unknown", Some(&self.unknown)),
        ] {
            let Some(findings) = findings else {
                let _ = write!(text, "\n{name:<14}cannot be told");
                continue;
            };
            let _ = write!(text, "\n{name:<14}{}", findings.count);
            for example in &findings.examples {
                let _ = write!(text, "\n  {example}");
            }
        }
        text
    }
}

/// Checks records, which it takes in the order of their partitions.
pub struct Verifier {
    /// Only this run is looked at.
    only: Option<Run>,
    /// How many records a run has. It overrules the count in the records.
    expected: Option<u64>,
    scope: Scope,
    runs: BTreeMap<Run, State>,
    summary: Summary,
    parts: usize,
    lanes: usize,
}

/// What is known about a run.
struct State {
    keys: u32,
    count: Option<u64>,
    seen: Seen,
    distinct: u64,
    lanes: FxHashMap<u32, Lane>,
    /// For each key, topic and partition the highest number within the key. `None`: only repeated numbers were
    /// read there.
    order: FxHashMap<(u32, usize, i32), Option<u64>>,
    gaps: Vec<Gap>,
}

/// What was seen of a key. The numbers are those within the key.
struct Lane {
    lowest: u64,
    /// The highest starting number over all topics and partitions. Below it, gaps prove nothing.
    first: u64,
    highest: u64,
    seen: u64,
}

/// A number that was jumped over.
struct Gap {
    expected: u64,
    example: String,
}

impl Verifier {
    /// Checks all runs, or one. `expected` says how many records each of them has.
    pub fn new(only: Option<Run>, expected: Option<u64>, scope: Scope) -> Self {
        let (runs, summary) = (BTreeMap::new(), Summary::default());
        Self { only, expected, scope, runs, summary, parts: 0, lanes: 0 }
    }

    /// Takes a record. `key` is only shown in examples.
    ///
    /// # Errors
    ///
    /// A limit of memory was reached. What was found so far stays true.
    pub fn take(&mut self, place: Place<'_>, key: Option<&[u8]>, number: Option<Number>) -> Result<(), TooMuch> {
        let fits = |number: &Number| {
            self.runs.get(&number.run).is_none_or(|run| (run.keys, run.count) == (number.keys, number.count))
        };
        let Some(number) = number.filter(fits) else {
            if self.only.is_none() {
                self.summary.records += 1;
                self.summary.unknown.add(|| format!("{} has no number", shown(place, key)));
            }
            return Ok(());
        };
        if self.only.is_some_and(|only| only != number.run) {
            return Ok(());
        }
        if !self.runs.contains_key(&number.run) && self.runs.len() == MAX_RUNS {
            return Err(TooMuch::Runs);
        }
        self.summary.records += 1;
        let run = self.runs.entry(number.run).or_insert_with(|| State::new(&number));
        let before = (run.seen.parts(), run.order.len());
        run.take(place, key, &number, self.scope, &mut self.summary);
        self.parts = self.parts + run.seen.parts() - before.0;
        self.lanes = self.lanes + run.order.len() - before.1;
        match (self.parts > MAX_PARTS, self.lanes > MAX_LANES) {
            (true, _) => Err(TooMuch::Numbers),
            (_, true) => Err(TooMuch::Keys),
            _ => Ok(()),
        }
    }

    /// Whether every run that was seen is complete.
    pub fn is_complete(&self) -> bool {
        self.expected
            .is_some_and(|expected| !self.runs.is_empty() && self.runs.values().all(|run| run.distinct >= expected))
    }

    /// How many records were taken.
    pub fn records(&self) -> u64 {
        self.summary.records
    }

    /// Ends the check. `to_end`: everything was read, or everything that is expected. Then the expected count, or a
    /// run's own count, shows what is lost. Otherwise only gaps do.
    pub fn finish(mut self, to_end: bool) -> Summary {
        for (name, run) in &self.runs {
            self.summary.runs.insert(name.to_string(), run.distinct);
        }
        if !self.scope.compacted {
            let (lost, missing) = self.gaps(to_end);
            (self.summary.lost, self.summary.missing) = (Some(lost), Some(missing));
        }
        self.summary
    }

    /// The records that are lost, and those that are missing.
    fn gaps(&self, to_end: bool) -> (Findings, Findings) {
        let (mut lost, mut missing) = (Findings::default(), Findings::default());
        let mut miss = |run: &Run, known: u64| {
            let expected = self.held(to_end);
            if expected > known {
                let count = expected - known;
                missing.add(|| format!("{run}: {count} of {expected}, place unknown"));
                missing.count += count - 1;
            }
        };
        for (name, run) in &self.runs {
            let total = self.expected.or(run.count).filter(|_| to_end);
            let count = run.lost(self.scope, total);
            lost.count += count;
            let room = EXAMPLES.saturating_sub(lost.examples.len());
            lost.examples.extend(run.lost_examples(self.scope, total).take(room.min(as_usize(count))));
            miss(name, run.distinct + count);
        }
        if let (true, Some(only)) = (self.runs.is_empty(), self.only) {
            miss(&only, 0);
        }
        (lost, missing)
    }

    /// How many records each run must have.
    fn held(&self, to_end: bool) -> u64 {
        self.expected.filter(|_| to_end && self.scope.all_partitions).unwrap_or(0)
    }
}

impl State {
    fn new(number: &Number) -> Self {
        Self {
            keys: number.keys,
            count: number.count,
            seen: Seen::default(),
            distinct: 0,
            lanes: HashMap::default(),
            order: HashMap::default(),
            gaps: Vec::new(),
        }
    }

    fn take(&mut self, place: Place<'_>, key: Option<&[u8]>, number: &Number, scope: Scope, summary: &mut Summary) {
        let (lane, within) = (number.key(), number.within_key());
        let known = self.lanes.entry(lane).or_insert(Lane { lowest: within, first: within, highest: within, seen: 0 });
        let highest = *self.order.entry((lane, place.topic_index, place.partition)).or_insert_with(|| {
            known.first = known.first.max(within);
            None
        });
        if !self.seen.insert(number.number) {
            summary.repeated.add(|| format!("{}: number {} again", shown(place, key), number.number));
            return;
        }
        self.distinct += 1;
        known.seen += 1;
        known.lowest = known.lowest.min(within);
        known.highest = known.highest.max(within);
        if let Some(highest) = highest.filter(|highest| within < *highest) {
            let later = self.number(lane, highest);
            summary.out_of_order.add(|| format!("{}: number {} after {later}", shown(place, key), number.number));
            return;
        }
        self.order.insert((lane, place.topic_index, place.partition), Some(within));
        // Records before the start of reading do not count.
        let nothing_before = if scope.from_beginning { 0 } else { within };
        let expected = highest.map_or(nothing_before, |highest| highest + 1);
        if within > expected {
            let expected = self.number(lane, expected);
            self.remember(expected, || format!("{}: number {}, expected {expected}", shown(place, key), number.number));
        }
    }

    fn number(&self, lane: u32, within: u64) -> u64 {
        within * u64::from(self.keys) + u64::from(lane)
    }

    fn remember(&mut self, expected: u64, example: impl FnOnce() -> String) {
        if self.gaps.len() == OPEN_GAPS {
            let seen = &self.seen;
            self.gaps.retain(|gap| !seen.contains(gap.expected));
        }
        if self.gaps.len() < OPEN_GAPS {
            self.gaps.push(Gap { expected, example: example() });
        }
    }

    /// How many numbers are lost.
    fn lost(&self, scope: Scope, total: Option<u64>) -> u64 {
        let of_lane = |(lane, seen): (&u32, &Lane)| {
            let end = self.length(*lane, total).max(seen.highest + 1);
            if scope.from_beginning {
                return end - seen.seen;
            }
            let below = self.number(*lane, seen.lowest)..self.number(*lane, seen.first);
            end - seen.first - (seen.seen - self.seen.count(below, u64::from(self.keys)))
        };
        let lost: u64 = self.lanes.iter().map(of_lane).sum();
        lost + self.unseen_lanes(scope, total).map(|lane| self.length(lane, total)).sum::<u64>()
    }

    /// How many records a key has in a run of `total` records.
    fn length(&self, lane: u32, total: Option<u64>) -> u64 {
        let (keys, lane) = (u64::from(self.keys), u64::from(lane));
        total.map_or(0, |total| (total.saturating_sub(lane)).div_ceil(keys))
    }

    /// Keys of which nothing was seen although something should be there.
    fn unseen_lanes(&self, scope: Scope, total: Option<u64>) -> impl Iterator<Item = u32> {
        let everything = scope.from_beginning && scope.all_partitions && total.is_some();
        let keys = if everything { self.keys } else { 0 };
        (0..keys).filter(|lane| !self.lanes.contains_key(lane))
    }

    /// Whether the gap proves a loss, and does not merely lie before the start of reading.
    fn is_known(&self, gap: &Gap, scope: Scope) -> bool {
        let (lane, within) = (gap.expected % u64::from(self.keys), gap.expected / u64::from(self.keys));
        scope.from_beginning || self.lanes.get(&(lane as u32)).is_some_and(|seen| within >= seen.first)
    }

    fn lost_examples(&self, scope: Scope, total: Option<u64>) -> impl Iterator<Item = String> {
        let gaps = self.gaps.iter().filter(move |gap| !self.seen.contains(gap.expected) && self.is_known(gap, scope));
        let ends = self.lanes.iter().filter(move |(lane, seen)| self.length(**lane, total) > seen.highest + 1);
        let ends = ends.map(|(lane, seen)| self.number(*lane, seen.highest + 1));
        let ends = ends.chain(self.unseen_lanes(scope, total).map(u64::from));
        let ends =
            ends.map(|number| format!("key-{}: number {number} and all that follow it", number % u64::from(self.keys)));
        gaps.map(|gap| gap.example.clone()).chain(ends)
    }
}

/// A record in a few words.
fn shown(place: Place<'_>, key: Option<&[u8]>) -> String {
    let key = match key {
        Some(key) => key[..key.len().min(LONGEST_KEY)].escape_ascii().to_string(),
        None => "no key".to_owned(),
    };
    format!("{key}: {}/{} @{}", place.topic, place.partition, place.offset)
}

/// How much of a key is shown.
const LONGEST_KEY: usize = 24;

fn as_usize(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
