//! Where records come from: flags, a file, standard input.

use std::path::Path;
use std::sync::Arc;

use super::{Arguments, Calls, RecordArguments, Target};
use crate::author::invoke::{self, Offsets};
use crate::manifest::Trigger;
use crate::record::OwnedRecord;
use crate::tools::Failure;
use crate::tools::lines::Lines;
use crate::tools::ndjson::{Bytes, Pair, RecordLine};

pub(super) struct Source<'a> {
    /// Stand in for what a line leaves out.
    defaults: &'a RecordArguments,
    topic: Arc<str>,
    /// If set, records must come from topics of this trigger.
    only: Option<&'a Trigger>,
    input: Option<&'a Path>,
    offsets: Offsets,
}

impl<'a> Source<'a> {
    pub(super) fn new(arguments: &'a Arguments, target: &'a Target) -> Self {
        let trigger = &target.trigger;
        let first = trigger.topics.first().map(String::as_str);
        let topic = arguments.record.topic.as_deref().or(first).unwrap_or_default();
        Self {
            defaults: &arguments.record,
            topic: topic.into(),
            only: target.is_one_of_several.then_some(trigger),
            input: arguments.input.as_deref(),
            offsets: Offsets::default(),
        }
    }

    /// Calls the function with all records up to the first line that is wrong.
    pub(super) fn run(mut self, calls: &mut Calls) -> Result<(), Failure> {
        let read = match (self.defaults.line(), self.input) {
            (Some(line), _) => self.add(line, calls, "the record"),
            (None, Some(path)) => self.read(Lines::of_file(path)?, calls),
            (None, None) => self.read(Lines::of_stdin(), calls),
        };
        if matches!(read, Ok(()) | Err(Failure::Usage(_))) {
            while !calls.is_over() && calls.call()? {}
        }
        read
    }

    fn read(&mut self, mut lines: Lines, calls: &mut Calls) -> Result<(), Failure> {
        while !calls.is_over()
            && let Some(record) = lines.next()
        {
            self.add(record?, calls, &lines.place())?;
        }
        Ok(())
    }

    /// Fills in what the line leaves out, and calls the function if there are records enough.
    fn add(&mut self, line: RecordLine, calls: &mut Calls, place: &str) -> Result<(), Failure> {
        let topic = line.topic.map_or_else(|| self.topic.clone(), Arc::from);
        if let Some(trigger) = self.only.filter(|trigger| !invoke::reads(trigger, &topic)) {
            let name = &trigger.name;
            let hint = format!("--topic {topic} calls it as the trigger that does");
            return Err(Failure::usage(format!("{place}: the trigger {name} does not read {topic}; {hint}")));
        }
        let partition = line.partition.unwrap_or(self.defaults.partition);
        let offset = self.offsets.next(&topic, partition, line.offset, self.defaults.offset);
        let record = OwnedRecord {
            offset: offset.map_err(|error| Failure::usage(format!("{place}: {error}")))?,
            timestamp_ms: line.timestamp.or(self.defaults.timestamp),
            key: line.key.0,
            value: line.value.0,
            headers: line.headers.into_iter().map(|pair| (pair.name, pair.value)).collect(),
        };
        let attempt = line.attempt.unwrap_or(self.defaults.attempt.get());
        calls.session.give(&topic, partition, record, attempt);
        while calls.session.is_full() && !calls.is_over() {
            calls.call()?;
        }
        Ok(())
    }
}

impl RecordArguments {
    /// The record of the flags, if there is one.
    pub(super) fn line(&self) -> Option<RecordLine> {
        if self.value.is_none() && !self.null_value && self.key.is_none() && self.header.is_empty() {
            return None;
        }
        let bytes = |text: &String| text.clone().into_bytes();
        let pair = |(name, value): &(String, String)| Pair { name: bytes(name), value: Some(bytes(value)) };
        Some(RecordLine {
            key: Bytes(self.key.as_ref().map(bytes)),
            value: Bytes((!self.null_value).then(|| self.value.as_ref().map(bytes).unwrap_or_default())),
            headers: self.header.iter().map(pair).collect(),
            ..RecordLine::default()
        })
    }
}
