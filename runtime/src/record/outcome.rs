//! What a call ends in: the columns of an outcome, checked, and the reasons why records fail.
//!
//! Nothing that a function answers is trusted. [`Outcome::check`] looks at every number once;
//! after that, [`Checked::messages`] only walks.

use std::fmt;

use crate::counted::counted;
use crate::record::Topics;
use crate::record::columns::{AS_IN_SOURCE, Column, Field, HeaderColumns, HeaderRun, NULL, cut};

/// Most messages of one outcome. One that refers to its sources costs nothing to send, and a lot to
/// produce.
const MAX_MESSAGES: usize = 1 << 20;
/// Longest reason that is kept, in bytes.
const MAX_REASON_BYTES: usize = 1_000;

/// Why a record failed. Its name stands in metrics, status and the header `tidegate-cause`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The function asked to try again later.
    Retry,
    /// The function said that it will never succeed.
    Reject,
    /// The function trapped: a panic, an invalid access, an endless recursion.
    Trap,
    /// The function ended its instance.
    Exit,
    /// The call took longer than the function's deadline.
    Deadline,
    /// The function wanted more memory than it is allowed.
    Memory,
    /// The outcome broke a rule of the contract.
    BadOutcome,
    /// The broker refused one of the record's messages for good.
    Output,
    /// The Kafka client cannot read all of the record, so the function was not given it.
    Unreadable,
}

impl Cause {
    const ALL: [Self; 9] = [
        Self::Retry,
        Self::Reject,
        Self::Trap,
        Self::Exit,
        Self::Deadline,
        Self::Memory,
        Self::BadOutcome,
        Self::Output,
        Self::Unreadable,
    ];

    /// The cause of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.name() == name)
    }

    /// Its name in metrics and headers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Reject => "reject",
            Self::Trap => "trap",
            Self::Exit => "exit",
            Self::Deadline => "deadline",
            Self::Memory => "memory",
            Self::BadOutcome => "bad-outcome",
            Self::Output => "output",
            Self::Unreadable => "unreadable",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Why a record, or a whole call, failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub cause: Cause,
    /// For people, at most 1,000 bytes.
    pub reason: String,
}

impl Fault {
    pub fn new(cause: Cause, reason: impl Into<String>) -> Self {
        let mut reason = reason.into();
        reason.truncate(reason.floor_char_boundary(MAX_REASON_BYTES));
        Self { cause, reason }
    }
}

/// An outcome as it crossed the boundary. See `wit/function.wit` for what each part means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub sources: Vec<u32>,
    pub topics: Column,
    pub partitions: Vec<i32>,
    pub timestamps: Vec<i64>,
    pub keys: Column,
    pub values: Column,
    pub headers: HeaderColumns,
    /// Index of the record, and what to do with it. The cause is `Retry` or `Reject`.
    pub failures: Vec<(u32, Fault)>,
}

/// An outcome that keeps the contract.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    outcome: Outcome,
    /// For each message its place in [`Topics`]; empty: all go to `output`.
    topics: Vec<usize>,
    output: usize,
}

/// When a message is dated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timestamp {
    AsInSource,
    Now,
    Milliseconds(i64),
}

impl Timestamp {
    /// That of a record, if it has one.
    pub fn of_source(milliseconds: Option<i64>) -> Self {
        milliseconds.map_or(Self::AsInSource, Self::Milliseconds)
    }

    /// `None`: it is not known before the message is produced, or only the source knows it.
    pub fn milliseconds(self) -> Option<i64> {
        match self {
            Self::AsInSource | Self::Now => None,
            Self::Milliseconds(milliseconds) => Some(milliseconds),
        }
    }
}

/// The headers of a message.
#[derive(Clone, Copy, Debug)]
pub enum Headers<'a> {
    AsInSource,
    Own(HeaderRun<'a>),
}

/// A message of an outcome.
#[derive(Clone, Copy, Debug)]
pub struct OutcomeMessage<'a> {
    /// Index of the record it comes from.
    pub source: usize,
    /// Place in [`Topics`].
    pub topic: usize,
    /// `None`: by key.
    pub partition: Option<i32>,
    pub timestamp: Timestamp,
    pub key: Field<'a>,
    pub value: Field<'a>,
    pub headers: Headers<'a>,
}

impl Outcome {
    /// Checks it against a batch of `records` records and the topics the function may address.
    pub fn check(self, records: usize, topics: &Topics) -> Result<Checked, Fault> {
        let places = self.check_all(records, topics).map_err(|reason| Fault::new(Cause::BadOutcome, reason))?;
        Ok(Checked { topics: places, output: topics.output().unwrap_or(0), outcome: self })
    }

    fn check_all(&self, records: usize, topics: &Topics) -> Result<Vec<usize>, String> {
        let messages = self.sources.len();
        if messages > MAX_MESSAGES {
            return Err(format!("{messages} messages; at most {MAX_MESSAGES} are allowed"));
        }
        if !self.sources.is_sorted() {
            return Err("sources do not ascend".to_owned());
        }
        if let Some(&last) = self.sources.last()
            && last as usize >= records
        {
            return Err(format!("source {last} is not in the batch of {}", counted(records, "record")));
        }
        check_entries("partitions", self.partitions.len(), messages)?;
        check_entries("timestamps", self.timestamps.len(), messages)?;
        if let Some(partition) = self.partitions.iter().find(|&&partition| partition < -1) {
            return Err(format!("partition {partition} is neither a partition nor -1"));
        }
        if let Some(timestamp) = self.timestamps.iter().find(|&&timestamp| timestamp < -2) {
            return Err(format!("timestamp {timestamp} is neither a time nor -1 nor -2"));
        }
        self.keys.check("keys", messages, AS_IN_SOURCE)?;
        self.values.check("values", messages, AS_IN_SOURCE)?;
        self.headers.check(messages)?;
        self.check_failures(records)?;
        self.check_topics(messages, topics)
    }

    fn check_failures(&self, records: usize) -> Result<(), String> {
        let mut seen = vec![false; if self.failures.is_empty() { 0 } else { records }];
        for (source, _) in &self.failures {
            match seen.get_mut(*source as usize) {
                None => return Err(format!("failure of record {source}, which is not in the batch of {records}")),
                Some(true) => return Err(format!("two failures of record {source}")),
                Some(seen) => *seen = true,
            }
        }
        Ok(())
    }

    fn check_topics(&self, messages: usize, topics: &Topics) -> Result<Vec<usize>, String> {
        self.topics.check("topics", messages, NULL)?;
        let no_output = || "a message names no topic, and the trigger has no output".to_owned();
        if self.topics.lens.is_empty() {
            return if messages > 0 && topics.output().is_none() { Err(no_output()) } else { Ok(Vec::new()) };
        }
        let mut rest = self.topics.data.as_slice();
        self.topics
            .lens
            .iter()
            .map(|&length| match cut(&mut rest, length) {
                Field::Bytes(name) => {
                    std::str::from_utf8(name).ok().and_then(|name| topics.granted(name)).ok_or_else(|| {
                        format!("topic {:?} is not among the trigger's allow-topics", String::from_utf8_lossy(name))
                    })
                }
                _ => topics.output().ok_or_else(no_output),
            })
            .collect()
    }
}

impl Column {
    /// `lowest` is the lowest special length that is allowed.
    fn check(&self, name: &str, entries: usize, lowest: i32) -> Result<(), String> {
        check_entries(name, self.lens.len(), entries)?;
        let mut total = 0;
        for &length in &self.lens {
            if length < lowest {
                return Err(format!("a length of {length} in {name}"));
            }
            total += usize::try_from(length).unwrap_or(0);
        }
        if total == self.data.len() {
            Ok(())
        } else {
            let data = counted(self.data.len(), "byte");
            Err(format!("the lengths of {name} add up to {total}, their data has {data}"))
        }
    }
}

impl HeaderColumns {
    fn check(&self, messages: usize) -> Result<(), String> {
        check_entries("header counts", self.counts.len(), messages)?;
        if let Some(count) = self.counts.iter().find(|&&count| count < 0 && count != AS_IN_SOURCE) {
            return Err(format!("a header count of {count}"));
        }
        let headers: usize = self.counts.iter().map(|&count| usize::try_from(count).unwrap_or(0)).sum();
        if self.names.lens.len() != headers || self.values.lens.len() != headers {
            return Err(format!(
                "{} counted, but there are {} and {}",
                counted(headers, "header"),
                counted(self.names.lens.len(), "name"),
                counted(self.values.lens.len(), "value")
            ));
        }
        self.names.check("header names", headers, 0)?;
        self.values.check("header values", headers, NULL)
    }
}

/// A list has one entry for each message, or is empty.
fn check_entries(name: &str, entries: usize, messages: usize) -> Result<(), String> {
    if entries == 0 || entries == messages {
        Ok(())
    } else {
        Err(format!("{entries} {name} for {}", counted(messages, "message")))
    }
}

impl Checked {
    /// The records that were not handled.
    pub fn failures(&self) -> &[(u32, Fault)] {
        &self.outcome.failures
    }

    /// For each message the index of the record it comes from, ascending.
    pub fn sources(&self) -> &[u32] {
        &self.outcome.sources
    }

    /// The columns, all of whose numbers are right.
    pub(super) fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.outcome.sources.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The messages, in order.
    pub fn messages(&self) -> Messages<'_> {
        Messages {
            checked: self,
            next: 0,
            keys: &self.outcome.keys.data,
            values: &self.outcome.values.data,
            header: 0,
            header_names: &self.outcome.headers.names.data,
            header_values: &self.outcome.headers.values.data,
        }
    }
}

/// Walks the messages of an outcome.
pub struct Messages<'a> {
    checked: &'a Checked,
    next: usize,
    keys: &'a [u8],
    values: &'a [u8],
    header: usize,
    header_names: &'a [u8],
    header_values: &'a [u8],
}

impl<'a> Messages<'a> {
    fn headers(&mut self, message: usize) -> Headers<'a> {
        let columns = &self.checked.outcome.headers;
        let Ok(count) = usize::try_from(columns.counts.get(message).copied().unwrap_or(AS_IN_SOURCE)) else {
            return Headers::AsInSource;
        };
        let range = self.header..self.header + count;
        let run = HeaderRun {
            name_lens: &columns.names.lens[range.clone()],
            value_lens: &columns.values.lens[range.clone()],
            names: self.header_names,
            values: self.header_values,
        };
        let bytes = |lens: &[i32]| lens.iter().map(|&length| usize::try_from(length).unwrap_or(0)).sum::<usize>();
        self.header_names = &self.header_names[bytes(run.name_lens)..];
        self.header_values = &self.header_values[bytes(run.value_lens)..];
        self.header = range.end;
        Headers::Own(run)
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = OutcomeMessage<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let outcome = &self.checked.outcome;
        let message = self.next;
        let &source = outcome.sources.get(message)?;
        self.next += 1;
        let length = |column: &Column| column.lens.get(message).copied().unwrap_or(AS_IN_SOURCE);
        Some(OutcomeMessage {
            source: source as usize,
            topic: self.checked.topics.get(message).copied().unwrap_or(self.checked.output),
            partition: outcome.partitions.get(message).copied().filter(|&partition| partition >= 0),
            timestamp: match outcome.timestamps.get(message) {
                None | Some(-2) => Timestamp::AsInSource,
                Some(-1) => Timestamp::Now,
                Some(&milliseconds) => Timestamp::Milliseconds(milliseconds),
            },
            key: cut(&mut self.keys, length(&outcome.keys)),
            value: cut(&mut self.values, length(&outcome.values)),
            headers: self.headers(message),
        })
    }
}

#[cfg(test)]
mod tests;
