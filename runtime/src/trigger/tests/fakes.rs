//! An invoker and a sink that a test holds in its hand.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::super::budget::Budget;
use super::super::clock::Now;
use super::super::flow::Flow;
use super::super::lane::Steering;
use super::super::progress::Progress;
use super::super::trial::Manner;
use crate::engine::{Call, CallError, Completion, Invoker};
use crate::kafka::{
    Acknowledgement, Detached, Error, ErrorKind, Fetched, Metadata, Partition, Refusal, Sink, TopicsQuestion,
};
use crate::manifest::{self, Trigger};
use crate::record::batch::BatchRecord;
use crate::record::columns::Column;
use crate::record::outcome::{Cause, Checked, Fault, Outcome};
use crate::record::revision::Digest;
use crate::record::{Header, Message, OwnedRecord, Topics};

/// Takes calls and leaves it to the test when and how they end.
#[derive(Clone)]
pub struct FakeInvoker {
    most: usize,
    calls: Arc<Mutex<VecDeque<Call>>>,
}

impl FakeInvoker {
    /// The calls that are under way, the oldest first.
    pub fn calls(&self) -> MutexGuard<'_, VecDeque<Call>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Invoker for FakeInvoker {
    fn free(&mut self) -> usize {
        self.most - self.calls().len()
    }

    fn start(&mut self, call: Call) {
        self.calls().push_back(call);
    }

    fn shrink(&mut self) {}
}

/// A message that was produced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub topic: usize,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Sent {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.value.as_deref().unwrap_or(b"null")).into_owned()
    }

    pub fn header(&self, name: &str) -> String {
        let found = self.headers.iter().find(|(known, _)| known == name.as_bytes());
        String::from_utf8_lossy(found.and_then(|(_, value)| value.as_deref()).unwrap_or(b"none")).into_owned()
    }
}

/// Acknowledges at once, unless it is corked.
#[derive(Default)]
pub struct FakeSink {
    pub sent: Vec<Sent>,
    pub corked: bool,
    /// Values that the broker refuses for good.
    pub refuses: Vec<Vec<u8>>,
    pub breaks: bool,
    /// It accepts nothing after a refusal, as the real one with full requests.
    pub gapless: bool,
    ended: bool,
    under_way: Vec<(u64, bool)>,
}

impl Sink for FakeSink {
    fn send(&mut self, messages: &[Message<'_>], headers: &[Header<'_>]) {
        for message in messages {
            let refused = message.topic == 0 && self.refuses.iter().any(|value| Some(&value[..]) == message.value);
            self.under_way.push((message.token, refused));
            if !refused {
                let own = &headers[message.headers.clone()];
                self.sent.push(Sent {
                    topic: message.topic,
                    key: message.key.map(<[u8]>::to_vec),
                    value: message.value.map(<[u8]>::to_vec),
                    headers: own.iter().map(|h| (h.name.to_vec(), h.value.map(<[u8]>::to_vec))).collect(),
                });
            }
        }
    }

    fn acknowledgements(&mut self, each: &mut dyn FnMut(Acknowledgement)) {
        if self.corked {
            return;
        }
        let error = Error::new(ErrorKind::Other, "refused");
        for (token, refused) in self.under_way.drain(..) {
            let result = match (refused, self.breaks) {
                _ if self.ended => Err(Refusal::Following),
                (true, _) if self.gapless => Err(Refusal::WithOthers(error.clone())),
                (true, _) => Err(Refusal::ForGood(error.clone())),
                (false, true) => Err(Refusal::ForNow(error.clone())),
                (false, false) => Ok(()),
            };
            self.ended |= self.gapless && refused;
            each(Acknowledgement { token, result });
        }
    }

    fn outstanding(&self) -> usize {
        self.under_way.len()
    }

    fn flush(&mut self) {}

    fn abandon(&mut self) {}

    fn update(&mut self, _metadata: &Metadata) {}

    fn ask(&self, _answer: TopicsQuestion) {}
}

/// A flow with one partition, driven by hand.
pub struct World {
    pub flow: Flow<Fetched, FakeSink>,
    pub invoker: FakeInvoker,
    pub now: Now,
    next_offset: i64,
}

pub const PARTITION: Partition = Partition { topic: 0, number: 0 };

impl World {
    /// `settings` are lines of the trigger's table.
    pub fn new(settings: &str) -> Self {
        Self::with(settings, 1 << 30, Steering::ByCalls)
    }

    /// On a node that may hold so much.
    pub fn with_memory(settings: &str, limit_bytes: u64) -> Self {
        Self::with(settings, limit_bytes, Steering::ByCalls)
    }

    /// As lanes do that go by nothing.
    pub fn steady(settings: &str) -> Self {
        Self::with(settings, 1 << 30, Steering::Fixed)
    }

    fn with(settings: &str, limit_bytes: u64, steering: Steering) -> Self {
        let trigger = trigger(settings);
        let topics = Topics::new(trigger.output.as_deref(), &trigger.allow_topics, trigger.dead_letters.as_deref());
        let now = Now::read();
        let share = Budget::new(limit_bytes).share();
        let most = trigger.instances.max.get() as usize;
        let rng = fastrand::Rng::with_seed(5);
        let mut flow = Flow::new(trigger, Arc::new(topics), share, steering, rng, now.instant);
        flow.delivery.replace(FakeSink::default());
        let invoker = FakeInvoker { most, calls: Arc::default() };
        flow.lanes.adopt("r1".into(), Box::new(invoker.clone()));
        flow.assign(PARTITION, &"orders".into(), Progress::at(0));
        Self { flow, invoker, now, next_offset: 0 }
    }

    pub fn admit(&mut self, key: &str, value: &str) {
        self.admit_with(None, key, value);
    }

    /// A record that the client cannot read whole.
    pub fn admit_defective(&mut self, key: &str, value: &str) {
        self.admit_with(Some("its headers are unread".to_owned()), key, value);
    }

    fn admit_with(&mut self, defect: Option<String>, key: &str, value: &str) {
        let record = OwnedRecord {
            offset: self.next_offset,
            key: Some(key.as_bytes().to_vec()),
            value: Some(value.as_bytes().to_vec()),
            headers: if defect.is_none() { vec![(b"h".to_vec(), None)] } else { Vec::new() },
            ..OwnedRecord::default()
        };
        self.next_offset += 1;
        let record = Fetched::Detached(Box::new(Detached { record, defect }));
        self.flow.admit(PARTITION, record, self.now);
    }

    /// Starts calls and returns what they carry, in the order they started.
    pub fn dispatch(&mut self) -> Vec<Vec<String>> {
        let before = self.invoker.calls().len();
        self.flow.wake(self.now);
        self.flow.dispatch(self.now);
        self.invoker.calls().iter().skip(before).map(values).collect()
    }

    /// Tries another revision. Returns where its calls are.
    pub fn try_out(&mut self, revision: &str, manner: Manner) -> FakeInvoker {
        let invoker = FakeInvoker { most: self.invoker.most, calls: Arc::default() };
        self.flow.try_out(&Digest::of(revision.as_bytes()), Box::new(invoker.clone()), 1, manner);
        invoker
    }

    /// Starts calls, and returns what those of a candidate carry that are under way.
    pub fn dispatch_to(&mut self, candidate: &FakeInvoker) -> Vec<Vec<String>> {
        self.dispatch();
        candidate.calls().iter().map(values).collect()
    }

    /// Ends the oldest call of the revision that serves. What a record becomes is what its value says; `verdict` sees
    /// each.
    pub fn finish(&mut self, verdict: impl Fn(&str, u32) -> Verdict) {
        let serving = self.invoker.clone();
        self.finish_of(&serving, verdict);
    }

    /// Ends the oldest call of one of the revisions.
    pub fn finish_of(&mut self, invoker: &FakeInvoker, verdict: impl Fn(&str, u32) -> Verdict) {
        let Some(call) = invoker.calls().pop_front() else { panic!("no call is under way") };
        let mut outcome_bytes = 0;
        let result = judge(&call, verdict, &mut outcome_bytes);
        let completion = Completion {
            id: call.id,
            batch: Some(call.batch),
            result,
            started: None,
            elapsed: Duration::from_micros(10),
            outcome_bytes,
        };
        self.flow.complete(completion, self.now);
        self.flow.acknowledge(self.now);
    }

    /// Dispatches and finishes until nothing can run now.
    pub fn run(&mut self, verdict: impl Fn(&str, u32) -> Verdict) {
        while !self.dispatch().is_empty() || !self.invoker.calls().is_empty() {
            self.finish(&verdict);
        }
    }

    /// Goes to the time when something is due.
    pub fn pass_time(&mut self) {
        let due = self.flow.next_due(self.now).expect("something is due");
        self.wait(due.saturating_duration_since(self.now.instant));
    }

    /// Lets time pass, by both clocks.
    pub fn wait(&mut self, time: Duration) {
        self.now = Now { instant: self.now.instant + time, unix: self.now.unix + time };
    }

    /// Why nothing is called although records are there.
    pub fn obstacle(&self) -> Option<String> {
        let lane = self.flow.lanes.serving().expect("a revision serves");
        let open = lane.breaker.is_open().then_some("the breaker is open");
        lane.obstacle().or(open).map(str::to_owned)
    }

    pub fn sink(&mut self) -> &mut FakeSink {
        self.flow.delivery.sink_mut().expect("there is a producer")
    }

    /// Values produced to a topic: 0 is the output, 1 the dead letters.
    pub fn sent(&mut self, topic: usize) -> Vec<String> {
        self.sink().sent.iter().filter(|sent| sent.topic == topic).map(Sent::text).collect()
    }

    pub fn progress(&mut self) -> Progress {
        self.flow.partitions.get_mut(PARTITION).expect("it is assigned").window.progress()
    }
}

/// What a fake function does with a record.
pub enum Verdict {
    /// One message: the value with an exclamation mark.
    Handle,
    /// One message of so many bytes.
    Large(usize),
    /// Handled without a message.
    Take,
    Retry,
    Reject,
    /// The whole call ends this way.
    Fault(Cause),
    NoInstance,
}

pub fn judge(
    call: &Call,
    verdict: impl Fn(&str, u32) -> Verdict,
    outcome_bytes: &mut usize,
) -> Result<Checked, CallError> {
    let mut outcome = Outcome::default();
    for (index, (value, &attempt)) in values(call).iter().zip(call.batch.attempts()).enumerate() {
        let verdict = verdict(value, attempt);
        if let Verdict::Take = verdict {
            continue;
        }
        // A failing record may have emitted something before it failed.
        let message = if let Verdict::Large(bytes) = verdict { "x".repeat(bytes) } else { format!("{value}!") };
        outcome.sources.push(index as u32);
        outcome.values.lens.push(message.len() as i32);
        outcome.values.data.extend_from_slice(message.as_bytes());
        match verdict {
            Verdict::Handle | Verdict::Large(_) | Verdict::Take => {}
            Verdict::Retry => outcome.failures.push((index as u32, Fault::new(Cause::Retry, "later"))),
            Verdict::Reject => outcome.failures.push((index as u32, Fault::new(Cause::Reject, "never"))),
            Verdict::Fault(cause) => return Err(CallError::Fault(Fault::new(cause, "broken"))),
            Verdict::NoInstance => return Err(CallError::NoInstance("no memory".to_owned())),
        }
    }
    outcome.keys = Column::default();
    if outcome.values.data.len() > call.outcome_bytes {
        return Err(CallError::OutcomeTooLarge { granted: call.outcome_bytes });
    }
    *outcome_bytes = outcome.values.data.len();
    let topics = Topics::new(Some("out"), &[], Some("dead"));
    outcome.check(call.batch.len(), &topics).map_err(CallError::Fault)
}

pub fn values(call: &Call) -> Vec<String> {
    let text = |record: BatchRecord<'_>| String::from_utf8_lossy(record.value().unwrap_or_default()).into_owned();
    call.batch.records().map(text).collect()
}

pub fn trigger(settings: &str) -> Arc<Trigger> {
    let text = format!(
        "[cluster.main]\nbrokers = \"b:1\"\n[function.f]\ncomponent = \"f.wasm\"\n[trigger.t]\nfunction = \"f\"\n\
         topics = [\"orders\"]\noutput = \"out\"\n{}{settings}",
        if settings.contains("dead-letters") || settings.contains("on-exhausted") {
            ""
        } else {
            "dead-letters = \"dead\"\n"
        }
    );
    let manifest = manifest::parse("tidegate.toml".as_ref(), &text, &|_| None).unwrap_or_else(|e| panic!("{e}"));
    manifest.triggers["t"].clone()
}
