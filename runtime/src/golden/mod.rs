//! Golden cases: records, and beside each what the function answers, in files that the author keeps
//! with the source. They run through the real engine with the limits, the environment, the batches and
//! the ordering that a node would use.
//!
//! A case is a file `cases/NAME.ndjson` in the project's folder. Records stand in it as [`crate::ndjson`]
//! describes them, and below each record what is expected of it:
//!
//! ```json
//! {"key": "a1", "value": {"json": {"amount": 500}}}
//! {"messages":[{"value":{"json":{"amount":500,"total":600}}}]}
//! {"key": "a2", "value": "no JSON"}
//! {"failure":{"cause":"reject","reason":"bad JSON in the value"}}
//! ```
//!
//! Question and answer are in one file, because then they are read, reviewed, renamed and deleted
//! together, and no two files can get out of step. A file that holds records only, such as one that
//! was recorded, is a case without expectations: it fails until `tidegate test --update` writes them.
//!
//! **Messages** are those of the record, in order. A field that is not written is that of the record:
//! `{}` is the record as it came, and an empty list is no message at all. No `topic` is the trigger's
//! output, no `partition` is by key, `"timestamp": null` the time of producing, also where the record
//! has no timestamp. All fields are compared, as bytes; which of them the function set to what the
//! record has and which it left alone makes no difference.
//!
//! **Failures** have a cause. With `retry` and `reject` the reason is in the function's own words and
//! compared exactly, up to the 1,000 bytes that are kept of it. With `trap`, `exit`, `deadline`,
//! `memory` and `bad-outcome` only the cause is compared and no reason is written: it holds places in
//! the source, stacks and addresses, which other edits change.
//!
//! **A case has the records of one trigger**, with the limits and the topics of that one: the trigger
//! that reads the topics of the records. A record that names no topic is read from the first topic of
//! the function's first trigger. If the function has one trigger only, it takes records of any topic.
//!
//! Each case has an instance of its own, so cases do not depend on each other. What a function takes
//! from the clock or from chance cannot be expected.
//!
//! A file is at most 64 MiB. Of a case 10 records that differ are shown, and of a record 10 differences.

mod case;
mod declared;
mod difference;
mod expectation;
mod report;
mod shown;

use std::collections::HashMap;
use std::sync::Arc;

pub use case::{Broken, Case, FOLDER, find};
use declared::Calls;
pub use declared::{Declared, Target, load};
pub use report::{Paint, broken, verdict};

use crate::engine::{Compiled, Engine};
use crate::invoke::{self, Session};
use crate::ndjson::Message;
use crate::outcome::Fault;
use crate::revision::Digest;

/// What became of a record. A message to the trigger's output has no topic.
type Answer = Result<Vec<Message>, Fault>;

/// A component that is compiled, and what it is called with.
pub struct Suite {
    engine: Engine,
    compiled: Compiled,
    target: Target,
}

/// Where a record of a case is read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    topic: Arc<str>,
    partition: i32,
    offset: i64,
}

/// What became of the records of a case.
pub struct Verdict {
    places: Vec<Place>,
    answers: Vec<Answer>,
    /// The topic that an expectation may leave out.
    output: Option<String>,
    /// Records that have an expectation and did not meet it.
    differing: Vec<usize>,
    /// Records that have none.
    missing: Vec<usize>,
}

impl Verdict {
    /// Whether every record met its expectation.
    pub fn passed(&self) -> bool {
        self.differing.is_empty() && self.missing.is_empty()
    }
}

impl Suite {
    /// Compiles the component.
    pub async fn new(engine: &Engine, component: Vec<u8>, target: Target) -> Result<Self, invoke::Error> {
        let digest = Digest::of(&component);
        let compiled = engine.compile(component.into(), digest).await?;
        Ok(Self { engine: engine.clone(), compiled, target })
    }

    /// Calls the function with the records of a case and compares.
    pub async fn run(&self, case: &Case) -> Result<Verdict, Error> {
        let calls = self.target.calls(case)?;
        let output = calls.output().map(str::to_owned);
        let Calls { setup, batches, places } = calls;
        let mut session = Session::of(&self.engine, self.compiled.clone(), setup).await.map_err(invoke::Error::from)?;
        let indices: HashMap<&Place, usize> = places.iter().zip(0..).collect();
        let mut answers: Vec<Option<Answer>> = places.iter().map(|_| None).collect();
        for batch in batches {
            let (topic, partition) = (batch.topic().clone(), batch.partition());
            for answer in session.call(batch).await? {
                let place = Place { topic: topic.clone(), partition, offset: answer.offset };
                let index = indices.get(&place).ok_or(invoke::Error::Bug)?;
                let seen = |messages| declared::seen_from_output(output.as_deref(), messages);
                answers[*index] = Some(answer.result.map(seen));
            }
        }
        let answers: Option<Vec<Answer>> = answers.into_iter().collect();
        let answers = answers.ok_or(invoke::Error::Bug)?;
        let (mut differing, mut missing) = (Vec::new(), Vec::new());
        for (index, (record, answer)) in case.records().iter().zip(&answers).enumerate() {
            match &record.expected {
                None => missing.push(index),
                Some(expected) if expected.is_met(&record.record, output.as_deref(), answer) => {}
                Some(_) => differing.push(index),
            }
        }
        Ok(Verdict { places, answers, output, differing, missing })
    }
}

/// Why a case cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Broken(#[from] Broken),
    #[error(transparent)]
    Call(#[from] invoke::Error),
}

#[cfg(test)]
mod tests;
