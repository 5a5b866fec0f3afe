//! The loop with clients that a test holds in its hand: what it says of events that come alone.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::{Command, Driver, Parts};
use crate::engine::{Call, Invoker};
use crate::kafka::{
    Acknowledgement, Batching, Broker, Clients, Error, ErrorKind, Event, Metadata, Partition, Position, Question,
    Reader, Sink, Taken, TopicsQuestion,
};
use crate::manifest;
use crate::record::revision::Digest;
use crate::record::{Header, Message, OwnedRecord, Topics};
use crate::trigger::Context;
use crate::trigger::budget::Budget;
use crate::trigger::clock::Now;
use crate::trigger::health::{Condition, SHOWN};
use crate::trigger::lane::Steering;
use crate::trigger::status::Status;

/// What the clients of a test are told to say, and what they were asked.
#[derive(Default)]
struct Hand {
    events: VecDeque<Event>,
    /// What is fetched.
    records: VecDeque<Taken<OwnedRecord>>,
    /// Where the loop began partitions, the last answer.
    begun: Vec<Position>,
    /// Commits, with their numbers.
    commits: Vec<(u64, Vec<Position>)>,
    /// The coordinator does not answer.
    silent: bool,
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Hand>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Hand> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn metadata() -> Metadata {
    let partitions = ["orders", "out", "dead"].map(|topic| (topic.to_owned(), 1));
    Metadata { partitions: BTreeMap::from(partitions), ..Metadata::default() }
}

impl Clients for Shared {
    type Broker = Self;
    type Sink = Quiet;

    fn broker(&mut self, _queue_bytes: u64) -> Result<Self, Error> {
        Ok(self.clone())
    }

    fn sink(&mut self, _batching: Batching) -> Result<Quiet, Error> {
        Ok(Quiet)
    }

    async fn wait(&self) {
        std::future::pending().await
    }
}

impl Broker for Shared {
    type Record = OwnedRecord;

    fn partition(&self, topic: &str, number: i32) -> Option<Partition> {
        (topic == "orders").then_some(Partition { topic: 0, number })
    }

    fn next_event(&mut self) -> Option<Event> {
        self.lock().events.pop_front()
    }

    fn take(&mut self, _at_most: usize, mut each: impl FnMut(Partition, Taken<OwnedRecord>)) -> usize {
        let taken = std::mem::take(&mut self.lock().records);
        taken.into_iter().map(|taken| each(Partition { topic: 0, number: 0 }, taken)).count()
    }

    fn subscribe(&mut self, _topics: &[String]) -> Result<(), Error> {
        Ok(())
    }

    fn assign(&mut self, positions: &[Position]) -> Result<(), Error> {
        self.lock().begun = positions.to_vec();
        Ok(())
    }

    fn unassign(&mut self, _partitions: &[Position]) -> Result<(), Error> {
        Ok(())
    }

    fn is_lost(&self) -> bool {
        false
    }

    fn flow(&mut self, _partition: Partition, _flows: bool) -> Result<(), Error> {
        Ok(())
    }

    fn pause(&mut self, _partition: Partition, _pauses: bool) -> Result<(), Error> {
        Ok(())
    }

    fn seek(&mut self, _positions: &[Position]) -> Result<(), Error> {
        Ok(())
    }

    fn commit(&mut self, number: u64, positions: &[Position]) -> Result<(), Error> {
        self.lock().commits.push((number, positions.to_vec()));
        Ok(())
    }

    fn ask(&mut self, question: Question) {
        question(self);
    }

    fn close(&mut self) {}

    fn is_closed(&self) -> bool {
        true
    }
}

/// One partition of ten records, of which nothing is committed.
impl Reader for Shared {
    fn committed(&self, partitions: &[Position], _limit: Duration) -> Result<Vec<Position>, Error> {
        let silent = self.lock().silent;
        if silent { Err(Error::new(ErrorKind::Timeout, "no coordinator")) } else { Ok(partitions.to_vec()) }
    }

    fn at_time(&self, partitions: &[Position], _timestamp_ms: i64, _limit: Duration) -> Result<Vec<Position>, Error> {
        Ok(partitions.to_vec())
    }

    fn ranges(&self, partitions: &[Position], _limit: Duration) -> Result<Vec<Range<i64>>, Error> {
        Ok(partitions.iter().map(|_| 0..10).collect())
    }

    fn metadata(&self, _topics: &[String], _limit: Duration) -> Result<Metadata, Error> {
        Ok(metadata())
    }
}

/// A producer that nothing is sent with.
struct Quiet;

impl Sink for Quiet {
    fn send(&mut self, _messages: &[Message<'_>], _headers: &[Header<'_>]) {}

    fn acknowledgements(&mut self, _each: &mut dyn FnMut(Acknowledgement)) {}

    fn outstanding(&self) -> usize {
        0
    }

    fn flush(&mut self) {}

    fn abandon(&mut self) {}

    fn update(&mut self, _metadata: &Metadata) {}

    fn ask(&self, answer: TopicsQuestion) {
        answer(Ok(metadata()));
    }
}

/// A revision that is never called.
struct Unused;

impl Invoker for Unused {
    fn free(&mut self) -> usize {
        0
    }

    fn start(&mut self, _call: Call) {}

    fn shrink(&mut self) {}
}

/// A trigger that is a member of its group and has partition 0.
struct Lab {
    driver: Driver<Shared>,
    hand: Shared,
    now: Now,
    _commands: mpsc::Sender<Command>,
}

impl Lab {
    fn new() -> Self {
        let text = "[cluster.main]\nbrokers = \"b:1\"\n[function.f]\ncomponent = \"f.wasm\"\n[trigger.t]\n\
                    function = \"f\"\ntopics = [\"orders\"]\noutput = \"out\"\ndead-letters = \"dead\"\n\
                    start = \"latest\"\ncommit-interval = \"100ms\"\n";
        let manifest = manifest::parse("tidegate.toml".as_ref(), text, &|_| None).unwrap_or_else(|e| panic!("{e}"));
        let context = Context {
            trigger: manifest.triggers["t"].clone(),
            cluster: manifest.clusters["main"].clone(),
            output_cluster: manifest.clusters["main"].clone(),
            topics: Arc::new(Topics::new(Some("out"), &[], Some("dead"))),
            budget: Budget::new(1 << 30),
            node: "node".into(),
        };
        let (hand, now) = (Shared::default(), Now::read());
        let (commands, commands_in) = mpsc::channel(8);
        let (_, completions) = mpsc::channel(8);
        let parts = Parts {
            context: Arc::new(context),
            clients: hand.clone(),
            commands: commands_in,
            completions,
            status: watch::channel(Status::default()).0,
            steering: Steering::ByCalls,
            rng: fastrand::Rng::with_seed(1),
        };
        let adopt = Command::Adopt { invoker: Box::new(Unused), revision: Digest::of(b"r1") };
        assert!(commands.try_send(adopt).is_ok());
        let mut lab = Self { driver: Driver::new(parts, now), hand, now, _commands: commands };
        lab.pass(Duration::from_secs(1));
        lab.assign();
        lab
    }

    /// Lets time pass, with a turn every 100 ms.
    fn pass(&mut self, time: Duration) {
        let step = Duration::from_millis(100);
        let end = self.now.instant + time;
        while self.now.instant < end {
            self.driver.turn(self.now);
            self.now = Now { instant: self.now.instant + step, unix: self.now.unix + step };
        }
    }

    fn tell(&mut self, event: Event) {
        self.hand.lock().events.push_back(event);
        self.pass(Duration::from_secs(1));
    }

    /// The group gives the partition anew. Returns where the loop goes on.
    fn assign(&mut self) -> Option<i64> {
        self.tell(Event::Assigned(vec![Position::of("orders", 0)]));
        self.hand.lock().begun[0].offset
    }

    /// The commit that is under way ends.
    fn committed(&mut self, result: Result<(), Error>) {
        let number = self.hand.lock().commits.last().expect("a place that was chosen is committed").0;
        self.tell(Event::Committed { number, result });
    }

    fn refuse(&mut self) {
        self.tell(Event::Error(Error::new(ErrorKind::Denied, "not you")));
    }

    fn is_refused(&self) -> bool {
        self.driver.health.holds(Condition::GroupRefused)
    }
}

#[test]
fn a_topic_counts_as_appeared_only_after_a_commit_that_succeeded() {
    let mut lab = Lab::new();
    lab.committed(Err(Error::new(ErrorKind::Timeout, "no answer")));
    assert_eq!(lab.assign(), Some(10), "nothing is known of the topic, so its end is where the group starts");
    lab.committed(Ok(()));
    assert_eq!(lab.assign(), None, "what was committed is gone, so the topic is another one");
}

#[test]
fn nothing_behind_a_damaged_batch_is_committed() {
    let mut lab = Lab::new();
    lab.committed(Ok(()));
    let record = |offset| Taken::Record(OwnedRecord { offset, ..OwnedRecord::default() });
    let damaged = Taken::Failed { offset: 12, error: Error::new(ErrorKind::Damaged, "no such checksum") };
    lab.hand.lock().records.extend([record(10), record(11), damaged, record(20)]);
    lab.pass(Duration::from_secs(5));
    let hand = lab.hand.lock();
    let committed: Vec<_> = hand.commits.iter().flat_map(|(_, positions)| positions).map(|it| it.offset).collect();
    assert!(committed.iter().all(|offset| *offset <= Some(10)), "{committed:?}");
    drop(hand);
    assert!(lab.driver.health.holds(Condition::Restarting) || lab.driver.client > 1, "it is read again");
}

/// As above, where nothing that came before is open.
#[test]
fn a_partition_that_begins_with_a_damaged_batch_stays_where_it_was() {
    let mut lab = Lab::new();
    let damaged = Taken::Failed { offset: 10, error: Error::new(ErrorKind::Damaged, "no such checksum") };
    let behind = Taken::Record(OwnedRecord { offset: 20, ..OwnedRecord::default() });
    lab.hand.lock().records.extend([damaged, behind]);
    lab.pass(Duration::from_secs(5));
    let hand = lab.hand.lock();
    let committed: Vec<_> = hand.commits.iter().flat_map(|(_, positions)| positions).map(|it| it.offset).collect();
    assert_eq!(committed.iter().max(), Some(&Some(10)), "{committed:?}");
}

#[test]
fn a_refusal_is_over_when_the_group_shows_that_it_takes_the_member() {
    let mut lab = Lab::new();
    lab.refuse();
    assert!(lab.is_refused());
    lab.committed(Ok(()));
    assert!(!lab.is_refused(), "a commit is taken of members only");
    lab.refuse();
    lab.assign();
    assert!(!lab.is_refused());
}

#[test]
fn a_refusal_of_an_idle_member_is_over_when_the_coordinator_answers_again() {
    let mut lab = Lab::new();
    lab.hand.lock().silent = true;
    lab.refuse();
    lab.pass(3 * SHOWN);
    assert!(lab.is_refused(), "a client that finds no coordinator says so once");
    lab.hand.lock().silent = false;
    lab.pass(Duration::from_secs(3));
    assert!(!lab.is_refused());
}

#[test]
fn a_member_that_is_refused_again_and_again_stays_refused() {
    let mut lab = Lab::new();
    for _ in 0..10 {
        lab.refuse();
        lab.pass(SHOWN / 2);
        assert!(lab.is_refused(), "that the coordinator answers is no membership");
    }
    lab.pass(SHOWN);
    assert!(!lab.is_refused());
}
