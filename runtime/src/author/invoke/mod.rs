//! Calls a component with records, without a broker: the real engine, and the data plane of a node around it. What
//! differs from a node, [`offline`] says: there are no retries, so the first failure of a record is its answer.
//!
//! [`Session::is_full`] bounds the records that are held at a time.

mod offsets;
pub mod readable;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::mpsc;

pub use offsets::{Misplaced, Offsets};

use crate::engine::{CallError, Compiled, Completion, Engine, Invoker as _, Pool, PoolError, Rejected, Setup};
use crate::manifest::{self, Function, Trigger};
use crate::record::OwnedRecord;
use crate::record::revision::Digest;
use crate::tools::ndjson::Message;
use crate::trigger::offline::{self, Note, Offline, Stuck};

/// The topic of messages that name none, if no manifest declares one. No real topic can have this name.
const UNNAMED: &str = "(output)";

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
    #[error("{0}: a bug of tidegate, please report it")]
    Stuck(#[from] Stuck),
    #[error("the stand-in for a manifest is refused, a bug of tidegate, please report it: {0}")]
    StandIn(String),
}

/// What became of a record.
pub type Answer = offline::Answer<Message>;

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

/// What a pool is made for that is called without a broker: by this trigger, with `allowed` topics besides its own.
pub fn setup(function: Arc<Function>, trigger: &Trigger, allowed: &[String]) -> Setup {
    let (trigger, topics) = offline::trigger(trigger, allowed);
    Setup { function, trigger: Arc::new(trigger), topics: Arc::new(topics), isolated: false }
}

/// A compiled component with a running instance, and the data plane that calls it.
pub struct Session {
    pool: Pool,
    completions: mpsc::Receiver<Completion>,
    offline: Offline<Message>,
}

impl Session {
    /// Compiles the component and starts an instance. The setup is that of [`setup`].
    pub async fn start(engine: &Engine, component: Vec<u8>, setup: Setup) -> Result<Self, Error> {
        let digest = Digest::of(&component);
        let compiled = engine.compile(component.into(), digest).await?;
        Ok(Self::of(engine, compiled, setup).await?)
    }

    /// Starts an instance of a component that is compiled already.
    pub async fn of(engine: &Engine, compiled: Compiled, setup: Setup) -> Result<Self, PoolError> {
        let (trigger, topics) = (setup.trigger.clone(), setup.topics.clone());
        let (sender, completions) = mpsc::channel(1);
        let pool = Pool::warm(engine, compiled, setup, sender).await?;
        let names = topics.clone();
        let name = move |place: usize| names.names().get(place).filter(|name| *name != UNNAMED).cloned();
        let note: Note<Message> = Box::new(move |message, headers| Message::of(message, headers, &name));
        Ok(Self { pool, completions, offline: Offline::new(trigger, topics, note) })
    }

    /// Whether calls are to be made, and answers taken, before more records are given.
    pub fn is_full(&self) -> bool {
        self.offline.is_full()
    }

    /// Gives the next record of a partition. It is its `attempt`-th try.
    pub fn give(&mut self, topic: &Arc<str>, partition: i32, record: OwnedRecord, attempt: u32) {
        self.offline.give(topic, partition, record, attempt);
    }

    /// Makes the next call, and returns what is known after it: what became of records, in the order in which they
    /// were given. `None`: all of them are answered.
    pub async fn call(&mut self) -> Result<Option<Vec<Answer>>, Error> {
        let Some(call) = self.offline.next_call()? else { return Ok(None) };
        self.pool.start(call);
        let completion = self.completions.recv().await.ok_or(Error::Bug)?;
        match completion.result {
            // A node tries again and again, in the hope that somebody mends it.
            Err(CallError::NoInstance(reason)) => return Err(Error::NoInstance(reason)),
            Err(CallError::Bug) => return Err(Error::Bug),
            Ok(_) | Err(CallError::Fault(_) | CallError::OutcomeTooLarge { .. }) => self.offline.complete(completion),
        }
        Ok(Some(self.offline.answers().collect()))
    }
}
