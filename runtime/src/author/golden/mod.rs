//! Golden cases: records and the expected answers of the function, in files that the author keeps with the source.
//! They run in the real engine and through the data plane of a node, with the limits, the environment, the batches
//! and the ordering of the manifest.
//!
//! A case is a file `cases/NAME.ndjson` in the project's folder. It has records as [`crate::tools::ndjson`]
//! describes them, and below each record what is expected of it:
//!
//! ```json
//! {"key": "a1", "value": {"json": {"amount": 500}}}
//! {"messages":[{"value":{"json":{"amount":500,"total":600}}}]}
//! {"key": "a2", "value": "no JSON"}
//! {"failure":{"cause":"reject","reason":"bad JSON in the value"}}
//! ```
//!
//! Record and expectation are in one file, so that they are read, reviewed, renamed and deleted together, and cannot
//! get out of step. A file with records only, such as one that was recorded, is a case without expectations: it
//! fails until `tidegate test --update` writes them.
//!
//! **Messages** are those of the record, in order. A field that is left out is as in the record: `{}` is the
//! unchanged record, and an empty list means no message. Without `topic` a message goes to the trigger's output,
//! without `partition` its key decides, and `"timestamp": null` is the time of producing, even if the record has no
//! timestamp. All fields are compared as bytes. It makes no difference whether the function set a field to the
//! value of the record or left it alone.
//!
//! **Failures** have a cause. The reason of `retry` and `reject` is in the function's own words. It is compared
//! exactly, up to the 1,000 bytes that are kept of it. For `trap`, `exit`, `deadline`, `memory` and `bad-outcome`
//! only the cause is compared, and no reason is written: it has places in the source, stacks and addresses, which
//! unrelated edits change.
//!
//! **A case has the records of one trigger**, the one that reads their topics, and its limits and output topics. A
//! record that names no topic is read from the first topic of the function's first trigger. If the function has
//! only one trigger, that takes records of any topic.
//!
//! **HTTP** is answered by the case. The network is never used. An answer is a line anywhere in the file, usually
//! above the records:
//!
//! ```json
//! {"http": "GET https://api.example.com/customers/7", "answer": {"status": 200, "body": {"json": {"name": "Ada"}}}}
//! {"http": "GET https://api.example.com/customers/8", "answer": {"failure": "connection-refused"}}
//! ```
//!
//! It answers one request with this method and URL. Several answers to the same request are given one after another,
//! in the order of their lines, however long each takes. A function that works on several records at once sends its
//! first requests in the order of the records. Its later requests depend on when answers come, which no case can
//! fix, so give them URLs of their own. A request without an answer fails with `internal-error`, and the case fails.
//! An answer without a request fails the case too. Records that are called again send their requests again: those
//! that follow a failed record of their key, and those of a failed call that was split. So the answers of a case
//! show what a function asks again, and what it does not.
//!
//! `sent` says what the request has to carry. If the request differs, the case fails:
//!
//! ```json
//! {"http": "POST https://api.example.com/orders", "sent": {"headers": [["x-by", "tests"]], "body": {"json": {"id":7}}}, "answer": {"status": 201}}
//! ```
//!
//! For each header that is listed, all values are compared in order. Other headers are ignored. The body is compared
//! byte by byte if `sent` has one. Without `sent` only the method and the URL count. A request whose body has not
//! ended when all calls are over differs too.
//!
//! An answer has a `status` from 200 to 599, `headers`, and a `body` in the forms of a record. The headers of the
//! body's length are added, and no others. Or it has a `failure`, by its name in `wasi:http`. `delay` makes it wait,
//! so that it runs into a limit. `allow-hosts` and `http` of the manifest hold as in production. But no name is
//! looked up, so `allow-networks` is not needed, and there is no TLS.
//!
//! Each case has an instance of its own. Each folder that the manifest lets the function write to is replaced by an
//! empty temporary folder, which is removed after the case. So cases do not depend on each other, and a node's files
//! do not change. Folders for reading are those of the manifest. Results that depend on the clock or on chance
//! cannot be expected.
//!
//! A file has at most 64 MiB. At most 10 differing records per case and 10 differences per record are shown.

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

use std::io;
use std::sync::Arc;

use answers::{HttpAnswers, HttpLeft};
pub use case::{Broken, Case, FOLDER, find};
use declared::{Calls, PlacedRecord};
pub use declared::{Declared, Target, load};
pub use report::{Paint, broken, hint, verdict};
use scratch::Scratch;

use crate::author::invoke::{self, Session};
use crate::engine::{Compiled, Engine};
use crate::record::outcome::Fault;
use crate::record::revision::Digest;
use crate::tools::ndjson::Message;

/// The result of a record. A message to the trigger's output has no topic.
type Answer = Result<Vec<Message>, Fault>;

/// A compiled component, and what it is called with.
pub struct Suite {
    engine: Engine,
    compiled: Compiled,
    target: Target,
}

/// Where a record of a case is read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    topic: Arc<str>,
    partition: i32,
    offset: i64,
}

/// The results of the records of a case.
pub struct Verdict {
    places: Vec<Place>,
    answers: Vec<Answer>,
    /// The topic that expectations may leave out.
    output: Option<String>,
    /// Indices of records that did not meet their expectation.
    differing: Vec<usize>,
    /// Indices of records without an expectation.
    missing: Vec<usize>,
    /// Requests without an answer, requests that differ from `sent`, and answers without a request.
    http: HttpLeft,
}

impl Verdict {
    /// Whether every record met its expectation and HTTP fits.
    pub fn passed(&self) -> bool {
        self.differing.is_empty() && self.missing.is_empty() && self.http_fits()
    }

    /// Whether every request had an answer and was as `sent` says, and every answer had a request.
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

    /// Calls the function with the records of a case and compares the results with the expectations.
    pub async fn run(&self, case: &Case) -> Result<Verdict, Error> {
        let calls = self.target.calls(case)?;
        let output = calls.output().map(str::to_owned);
        let Calls { mut setup, records } = calls;
        let _scratch = Scratch::replace(&mut setup).map_err(Error::Folder)?;
        let http = HttpAnswers::new(case.answers().iter().map(|own| own.answer.clone()).collect());
        let engine = self.engine.through(http.clone());
        let mut session = Session::of(&engine, self.compiled.clone(), setup).await.map_err(invoke::Error::from)?;
        let mut all = Vec::new();
        for PlacedRecord { topic, partition, record, attempt } in records {
            session.give(&topic, partition, record, attempt);
            while session.is_full()
                && let Some(some) = session.call().await?
            {
                all.extend(some);
            }
        }
        while let Some(some) = session.call().await? {
            all.extend(some);
        }
        let (places, answers): (Vec<Place>, Vec<Answer>) = all
            .into_iter()
            .map(|invoke::Answer { topic, partition, offset, result }| {
                let seen = |messages| declared::seen_from_output(output.as_deref(), messages);
                (Place { topic, partition, offset }, result.map(seen))
            })
            .unzip();
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
