//! Calls a component with records, without a broker: the real engine and the real checks, one call after another.
//! A failed call is handled as in the data plane: its records are split until the one at fault stands alone, and
//! records that follow a failed one of the same key run again after it. There are no retries: the first failure of
//! a record is its answer.
//!
//! [`Batcher`] bounds the records that are held at a time.

mod batch;
pub mod readable;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

pub use batch::{Batcher, Misplaced};

use crate::engine::{
    Call, CallError, Compiled, Completion, Engine, Invoker as _, MAX_OUTCOME_BYTES, Pool, PoolError, Rejected, Setup,
};
use crate::manifest::{self, Function, Ordering, Trigger};
use crate::record::batch::{Batch, BatchRecord};
use crate::record::outcome::{Checked, Fault};
use crate::record::revision::Digest;
use crate::record::{Record as _, Topics};
use crate::tools::ndjson::Message;

/// The topic of messages that name none, if no manifest declares one. No real topic can have this name.
const UNNAMED: &str = "(output)";
/// Into how many parts the records of a failed call are split, as in the data plane.
const SPLIT: usize = 8;

/// A manifest that stands in where there is none. Everything else has its defaults.
const STAND_IN: &str = r#"
    [cluster.main]
    brokers = "localhost:9092"
    [function.invoke]
    component = "invoke.wasm"
    [trigger.invoke]
    function = "invoke"
    topics = ["test"]
    on-exhausted = "skip"
"#;

/// Why nothing can be called.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Rejected(#[from] Rejected),
    #[error(transparent)]
    Pool(#[from] PoolError),
    #[error("no instance of the function can be started: {0}")]
    NoInstance(String),
    #[error("a call vanished: a bug of tidegate, please report it")]
    Bug,
    #[error("the stand-in for a manifest is refused, a bug of tidegate, please report it: {0}")]
    StandIn(String),
}

/// What became of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub offset: i64,
    pub result: Result<Vec<Message>, Fault>,
}

/// A function and a trigger with the manifest's defaults, for a component that no manifest names. Messages without a
/// topic go to an output without a name.
pub fn stand_in() -> Result<(Function, Trigger), Error> {
    let refused = |why: &dyn std::fmt::Display| Error::StandIn(why.to_string());
    let manifest = manifest::parse(Path::new("invoke"), STAND_IN, &|_| None).map_err(|errors| refused(&errors))?;
    let function = manifest.functions.get("invoke").ok_or_else(|| refused(&"no function"))?;
    let trigger = manifest.triggers.get("invoke").ok_or_else(|| refused(&"no trigger"))?;
    Ok((Function::clone(function), Trigger { output: Some(UNNAMED.to_owned()), ..Trigger::clone(trigger) }))
}

/// The first trigger of a function that reads a topic. A single trigger takes any topic, because there is no doubt
/// which one is meant. `None`: there are several, and none reads it.
pub fn reader<'a>(triggers: &'a [Arc<Trigger>], topic: &str) -> Option<&'a Arc<Trigger>> {
    match triggers {
        [only] => Some(only),
        several => several.iter().find(|trigger| reads(trigger, topic)),
    }
}

pub fn reads(trigger: &Trigger, topic: &str) -> bool {
    trigger.topics.iter().any(|read| read == topic)
}

/// The message about a topic that no trigger of a function reads.
pub fn unread(function: &str, triggers: &[Arc<Trigger>], topic: &str) -> String {
    let read: BTreeSet<&str> = triggers.iter().flat_map(|trigger| &trigger.topics).map(String::as_str).collect();
    let read: Vec<&str> = read.into_iter().collect();
    format!("no trigger of {function} reads the topic {topic}; they read {}", read.join(", "))
}

/// The topics that messages may go to: those of the trigger, as in a node, plus `allowed`.
pub fn topics(trigger: &Trigger, allowed: &[String]) -> Topics {
    let all: Vec<String> = trigger.allow_topics.iter().chain(allowed).cloned().collect();
    Topics::new(trigger.output.as_deref(), &all, None)
}

/// A compiled component with a running instance.
pub struct Session {
    pool: Pool,
    completions: mpsc::Receiver<Completion>,
    topics: Arc<Topics>,
    ordering: Ordering,
    calls: u64,
}

impl Session {
    /// Compiles the component and starts an instance.
    pub async fn start(engine: &Engine, component: Vec<u8>, setup: Setup) -> Result<Self, Error> {
        let digest = Digest::of(&component);
        let compiled = engine.compile(component.into(), digest).await?;
        Ok(Self::of(engine, compiled, setup).await?)
    }

    /// Starts an instance of a component that is compiled already.
    pub async fn of(engine: &Engine, compiled: Compiled, setup: Setup) -> Result<Self, PoolError> {
        let (topics, ordering) = (setup.topics.clone(), setup.trigger.ordering);
        let (sender, completions) = mpsc::channel(1);
        let pool = Pool::warm(engine, compiled, setup, sender).await?;
        Ok(Self { pool, completions, topics, ordering, calls: 0 })
    }

    /// Calls the function with a batch, and again with parts of it where needed. There is one answer for each record,
    /// in the order of offsets.
    pub async fn call(&mut self, batch: Batch) -> Result<Vec<Answer>, Error> {
        let mut answers = Vec::with_capacity(batch.len());
        // The next part to call is the last one.
        let mut parts = vec![batch];
        while let Some(part) = parts.pop() {
            match self.cross(part).await? {
                (part, Ok(checked)) => parts.extend(self.settle(&part, &checked, &mut answers)),
                (part, Err(fault)) if part.len() == 1 => {
                    answers.push(Answer { offset: part.offsets()[0], result: Err(fault) });
                }
                (part, Err(_)) => {
                    let cohort = part.len().div_ceil(SPLIT);
                    let starts = (0..part.len()).step_by(cohort).rev();
                    parts.extend(starts.map(|start| part.part(start..part.len().min(start + cohort))));
                }
            }
        }
        answers.sort_by_key(|answer| answer.offset);
        Ok(answers)
    }

    /// One call.
    async fn cross(&mut self, batch: Batch) -> Result<(Batch, Result<Checked, Fault>), Error> {
        self.calls += 1;
        let (expected, outcome_bytes) = (Duration::MAX, MAX_OUTCOME_BYTES);
        self.pool.start(Call { id: self.calls, batch, expected, outcome_bytes });
        let completion = self.completions.recv().await.ok_or(Error::Bug)?;
        let batch = completion.batch.ok_or(Error::Bug)?;
        match completion.result {
            Ok(checked) => Ok((batch, Ok(checked))),
            Err(CallError::Fault(fault)) => Ok((batch, Err(fault))),
            Err(CallError::NoInstance(reason)) => Err(Error::NoInstance(reason)),
            // It was granted the maximum.
            Err(CallError::OutcomeTooLarge { .. } | CallError::Bug) => Err(Error::Bug),
        }
    }

    /// Takes the answers out of an outcome. Returns the records to call again: they follow a failed record that they
    /// have to wait for.
    fn settle(&self, batch: &Batch, checked: &Checked, answers: &mut Vec<Answer>) -> Option<Batch> {
        let name = |place: usize| self.topics.names().get(place).filter(|name| *name != UNNAMED).cloned();
        let mut messages = Message::of(checked, batch, name);
        let mut faults: Vec<Option<&Fault>> = vec![None; batch.len()];
        for (source, fault) in checked.failures() {
            faults[*source as usize] = Some(fault);
        }
        let mut blocked = HashSet::new();
        let mut again = Vec::new();
        for (index, (record, fault)) in batch.records().zip(faults).enumerate() {
            let group = self.key_group(record);
            if group.is_some_and(|group| blocked.contains(&group)) {
                again.push(index);
                continue;
            }
            let result = match fault {
                None => Ok(std::mem::take(&mut messages[index])),
                Some(fault) => {
                    blocked.extend(group);
                    Err(fault.clone())
                }
            };
            answers.push(Answer { offset: record.offset(), result });
        }
        (!again.is_empty()).then(|| batch.part(again.into_iter()))
    }

    /// The key group of a record. Records of one group wait for each other. `None`: the record waits for no other.
    fn key_group<'a>(&self, record: BatchRecord<'a>) -> Option<&'a [u8]> {
        match self.ordering {
            Ordering::Key => record.key(),
            Ordering::Partition => Some(&[]),
            Ordering::None => None,
        }
    }
}
