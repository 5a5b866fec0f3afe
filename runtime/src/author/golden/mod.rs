//! Golden cases: records, and beside each what the function answers, in files that the author keeps
//! with the source. They run through the real engine with the limits, the environment, the batches and
//! the ordering that a node would use.
//!
//! A case is a file `cases/NAME.ndjson` in the project's folder. Records stand in it as [`crate::tools::ndjson`]
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
//! **HTTP** is answered by the case, and the network is never asked. An answer is a line that may stand
//! anywhere in the file, above the records as a rule:
//!
//! ```json
//! {"http": "GET https://api.example.com/customers/7", "answer": {"status": 200, "body": {"json": {"name": "Ada"}}}}
//! {"http": "GET https://api.example.com/customers/8", "answer": {"failure": "connection-refused"}}
//! ```
//!
//! It answers one request of this method and this URL; several for one are given in turn, in the order of
//! their lines, as the function asks, however long each request takes. A function that works on several
//! records at once asks first in their order; behind that it asks as answers come, which no case can order,
//! so give such requests URLs of their own. A request that finds none fails with `internal-error`, and so does the case. An answer
//! that nobody asked for fails it too. That shows what a function does not ask again, and that records
//! are called again: those behind a failed one of their key, and those that a failed call was split into,
//! ask again.
//!
//! `sent` beside the answer says what the request has to carry, and a case whose request differs fails:
//!
//! ```json
//! {"http": "POST https://api.example.com/orders", "sent": {"headers": [["x-by", "tests"]], "body": {"json": {"id":7}}}, "answer": {"status": 201}}
//! ```
//!
//! Of a header that is listed all values are compared, in order; other headers are not looked at, and the
//! body only where `sent` has one, byte by byte. Without `sent` only the method and the URL count, whatever
//! is in the request. One whose body does not come to its end before all calls are over differs too.
//!
//! An answer has a `status` from 200 to 599, `headers` and a `body` in the forms of a record, and no
//! others but those of the body's length; or a `failure`, by its name in `wasi:http`. `delay` lets it wait,
//! so that it runs into a limit. `allow-hosts` and all of `http` in the manifest hold as in production, but
//! no name is looked up, so `allow-networks` is not needed, and there is no TLS.
//!
//! Each case has an instance of its own, and in place of each folder that the manifest lets the function
//! write in an empty one, which goes with the case: so cases do not depend on each other, and nothing of a
//! node changes. Folders that are only read are those of the manifest. What a function takes
//! from the clock or from chance cannot be expected.
//!
//! A file is at most 64 MiB. Of a case 10 records that differ are shown, and of a record 10 differences.

mod answers;
mod case;
mod declared;
mod difference;
mod expectation;
mod http;
mod report;
mod scratch;
mod sent;
mod shown;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use answers::{HttpAnswers, HttpLeft};
pub use case::{Broken, Case, FOLDER, find};
use declared::Calls;
pub use declared::{Declared, Target, load};
pub use report::{Paint, broken, hint, verdict};
use scratch::Scratch;
pub(crate) use shown::{width, wrapped};

use crate::author::invoke::{self, Session};
use crate::engine::{Compiled, Engine};
use crate::record::outcome::Fault;
use crate::record::revision::Digest;
use crate::tools::ndjson::Message;

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
    /// Requests without an answer or unlike what it says, and answers without a request.
    http: HttpLeft,
}

impl Verdict {
    /// Whether every record met its expectation, and HTTP fits.
    pub fn passed(&self) -> bool {
        self.differing.is_empty() && self.missing.is_empty() && self.http_fits()
    }

    /// Whether every request had its answer and was what that says, and every answer had its request.
    pub fn http_fits(&self) -> bool {
        self.http == HttpLeft::default()
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
        let Calls { mut setup, batches, places } = calls;
        let _scratch = Scratch::replace(&mut setup).map_err(Error::Folder)?;
        let http = HttpAnswers::new(case.answers().iter().map(|own| own.answer.clone()).collect());
        let engine = self.engine.through(http.clone());
        let mut session = Session::of(&engine, self.compiled.clone(), setup).await.map_err(invoke::Error::from)?;
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
        Ok(Verdict { places, answers, output, differing, missing, http: http.left() })
    }
}

/// Why a case cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Broken(#[from] Broken),
    #[error(transparent)]
    Call(#[from] invoke::Error),
    #[error("no empty folder can be made for it: {0}")]
    Folder(io::Error),
}

#[cfg(test)]
mod tests;
