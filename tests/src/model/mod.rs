//! The delivery oracle: an accepted record is an obligation.
//!
//! The `hostile` function does what a record's value says, so the records alone tell which
//! messages must exist ([`Model::expect`]). What was read from the topics is then held against
//! that ([`Due::check`]): what is lost, what is there twice, what is out of order among messages
//! of one key, what nobody asked for.
//!
//! It knows the commands whose result does not depend on the moment: `ok`, `drop`, `many`,
//! `retry`, `reject`, `trap`, `spin`, `bomb`, `exit`, `sleep`, `overflow`, `copy` and everything
//! that is no command.

mod command;
mod verdict;

use std::collections::HashMap;

pub use command::{Fate, fate};
pub use verdict::{Findings, Verdict};

use crate::kafka::{Record, Stored};

/// What the trigger under test is configured to do.
#[derive(Debug, Clone)]
pub struct Model {
    /// The trigger's `retry.attempts`: how often a record is tried in all.
    pub attempts: u32,
    /// Messages keep the timestamps of their records. False for topics that set their own. Dead
    /// letters are dated when they are written; the record's time is in a header.
    pub timestamps: bool,
    /// Source, output and dead letter topic have equally many partitions, so a message of a record
    /// with a key belongs into the partition of its record.
    pub partitions: bool,
}

impl Default for Model {
    fn default() -> Model {
        Model { attempts: 5, timestamps: true, partitions: true }
    }
}

/// The messages that must exist.
#[derive(Debug)]
pub struct Due {
    output: Vec<Expected>,
    dead: Vec<Expected>,
    partitions: bool,
}

/// One message that must exist. Those of one key are due in the order in which they stand here.
#[derive(Debug, Clone)]
struct Expected {
    /// As it was sent to the source topic.
    from: Place,
    record: Record,
}

/// Coordinates in the source topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    partition: i32,
    offset: i64,
}

impl Model {
    /// The messages that these records oblige to, whatever happens on the way.
    pub fn expect(&self, sent: &[Stored]) -> Due {
        let mut sent: Vec<&Stored> = sent.iter().collect();
        sent.sort_by_key(|stored| (stored.partition, stored.offset));
        let mut due = Due { output: Vec::new(), dead: Vec::new(), partitions: self.partitions };
        for stored in sent {
            let from = Place { partition: stored.partition, offset: stored.offset };
            let source =
                Record { timestamp: stored.record.timestamp.filter(|_| self.timestamps), ..stored.record.clone() };
            match fate(source.value.as_deref(), self.attempts) {
                Fate::Messages(values) => due.output.extend(
                    values
                        .into_iter()
                        .map(|value| Expected { from, record: Record { value: Some(value), ..source.clone() } }),
                ),
                Fate::Copied => due.output.push(Expected { from, record: source }),
                Fate::Dead => due.dead.push(Expected { from, record: Record { timestamp: None, ..source } }),
            }
        }
        due
    }
}

impl Due {
    /// How many messages belong on the output topic.
    pub fn outputs(&self) -> usize {
        self.output.len()
    }

    /// How many messages belong on the dead letter topic.
    pub fn dead_letters(&self) -> usize {
        self.dead.len()
    }

    /// How many bytes the values of the output topic have in all.
    pub fn output_bytes(&self) -> usize {
        self.output.iter().filter_map(|expected| expected.record.value.as_ref()).map(Vec::len).sum()
    }

    /// Holds what was read from the output topic and from the dead letter topic against what is
    /// due. Each partition must come in order of its offsets, as a reader gives it.
    pub fn check(&self, outputs: &[Stored], dead: &[Stored]) -> Verdict {
        let mut verdict = Verdict::new(self.output.len() + self.dead.len());
        Side { name: "output", expected: &self.output, partitions: self.partitions }.hold(
            outputs,
            &mut verdict,
            |_| Ok(()),
        );
        let letters: Vec<Stored> = dead.iter().map(without_our_headers).collect();
        let mut full = dead.iter();
        Side { name: "dead letter", expected: &self.dead, partitions: self.partitions }.hold(
            &letters,
            &mut verdict,
            |expected| coordinates(full.next(), expected),
        );
        verdict
    }
}

/// One topic held against its part of what is due.
struct Side<'a> {
    name: &'static str,
    expected: &'a [Expected],
    partitions: bool,
}

/// Messages are known by key and value, which load generators make unique.
type Identity<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

fn identity(record: &Record) -> Identity<'_> {
    (record.key.as_deref(), record.value.as_deref())
}

impl Side<'_> {
    /// `extra` is called for each message in turn, with what it should be if that is known.
    fn hold(
        &self,
        read: &[Stored],
        verdict: &mut Verdict,
        mut extra: impl FnMut(Option<&Expected>) -> Result<(), String>,
    ) {
        let mut index: HashMap<Identity<'_>, Vec<usize>> = HashMap::new();
        for (number, expected) in self.expected.iter().enumerate() {
            index.entry(identity(&expected.record)).or_default().push(number);
        }
        let mut seen = vec![false; self.expected.len()];
        let mut newest: HashMap<&[u8], usize> = HashMap::new();
        for stored in read {
            let Some(numbers) = index.get(&identity(&stored.record)) else {
                verdict.unexpected.add(|| self.shown(stored));
                let _ = extra(None);
                continue;
            };
            // Equal messages are interchangeable: the first that is still due, else a repeat.
            let open = numbers.iter().copied().find(|number| !seen[*number]);
            let number = open.unwrap_or(numbers[0]);
            self.compare(stored, number, verdict, &mut extra);
            if open.is_none() {
                verdict.repeated.add(|| self.shown(stored));
                continue;
            }
            seen[number] = true;
            let Some(key) = stored.record.key.as_deref() else {
                continue;
            };
            let newest = newest.entry(key).or_insert(number);
            if *newest > number {
                verdict.disordered.add(|| format!("{} after {:?}", self.shown(stored), self.expected[*newest].record));
            }
            *newest = number.max(*newest);
        }
        for (expected, _) in self.expected.iter().zip(seen).filter(|(_, seen)| !seen) {
            verdict.lost.add(|| format!("{} {:?} of {:?}", self.name, expected.record, expected.from));
        }
    }

    fn compare(
        &self,
        stored: &Stored,
        number: usize,
        verdict: &mut Verdict,
        extra: &mut impl FnMut(Option<&Expected>) -> Result<(), String>,
    ) {
        let expected = &self.expected[number];
        let due = &expected.record;
        let misplaced = self.partitions && due.key.is_some() && stored.partition != expected.from.partition;
        let stamp = due.timestamp.is_some() && stored.record.timestamp != due.timestamp;
        if misplaced || stamp || stored.record.headers != due.headers {
            verdict
                .altered
                .add(|| format!("{}, should be {due:?} in partition {}", self.shown(stored), expected.from.partition));
        }
        if let Err(why) = extra(Some(expected)) {
            verdict.altered.add(|| format!("{}: {why}", self.shown(stored)));
        }
    }

    fn shown(&self, stored: &Stored) -> String {
        format!("{} {:?} at {}/{}", self.name, stored.record, stored.partition, stored.offset)
    }
}

/// Prefix of the headers that Tidegate adds to a dead letter.
pub const OUR_HEADERS: &str = "tidegate-";

fn without_our_headers(stored: &Stored) -> Stored {
    let mut stored = stored.clone();
    stored.record.headers.retain(|(name, _)| !name.starts_with(OUR_HEADERS.as_bytes()));
    stored
}

/// A dead letter says where its record stands.
fn coordinates(letter: Option<&Stored>, expected: Option<&Expected>) -> Result<(), String> {
    let (Some(letter), Some(expected)) = (letter, expected) else {
        return Ok(());
    };
    let place = [("tidegate-partition", expected.from.partition.into()), ("tidegate-offset", expected.from.offset)];
    for (name, due) in place {
        let found = letter.record.header_text(name);
        if found.as_deref() != Some(&due.to_string()) {
            return Err(format!("{name} is {found:?} and should be {due}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
