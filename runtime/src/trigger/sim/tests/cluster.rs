//! The cluster by itself: members and producers held in hand, without any driver.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::super::clients::{SimBroker, SimClients, SimSink};
use super::super::fault::What;
use super::super::load::{Fate, Item, OUT};
use super::super::plan::{Cluster, Protocol};
use super::super::time::ms;
use super::super::topics::Place;
use super::super::world::{Event, Memory, Node, Shared, World, lock};
use crate::kafka::broker::Event as Told;
use crate::kafka::sink::Batching;
use crate::kafka::{Acknowledgement, Broker, Clients, Position, Refusal, Sink, Taken};
use crate::manifest;
use crate::record::outcome::Timestamp;
use crate::record::{Message, Record, Topics};
use crate::trigger::status::Status;

/// A cluster with two nodes that do nothing by themselves.
struct Lab {
    world: Shared,
    topics: Arc<Topics>,
    /// Keep the channels of the nodes open.
    _completions: Vec<mpsc::Receiver<crate::engine::Completion>>,
}

/// A member that answers every rebalance at once, as long as it is polled.
struct Hand {
    broker: SimBroker,
    owned: Vec<i32>,
    taken: Vec<(i32, i64)>,
    lost: u32,
    committed: Vec<(u64, Result<(), String>)>,
}

fn cluster(protocol: Protocol) -> Cluster {
    Cluster {
        brokers: 2,
        replicated: false,
        protocol,
        heartbeat: ms(400),
        session: ms(4_000),
        rebalance_timeout: ms(10_000),
        max_poll: ms(25_000),
        metadata_limit: 4_096,
        partitions: 4,
        outputs: 2,
        slow_calls: false,
    }
}

/// A record of a partition.
fn item(partition: i32, fate: Fate) -> Item {
    Item {
        at: Duration::ZERO,
        topic: 0,
        partition,
        key: Some(1),
        fate,
        takes: Duration::ZERO,
        messages: vec![OUT],
        gap: 0,
        padding: 0,
        header_bytes: 1,
        copied: false,
    }
}

impl Lab {
    fn new(protocol: Protocol, items: Vec<Item>) -> Self {
        let text = "[cluster.main]\nbrokers = \"b:1\"\n[function.f]\ncomponent = \"f.wasm\"\n[trigger.t]\n\
                    function = \"f\"\ntopics = [\"orders\"]\noutput = \"out\"\ndead-letters = \"dead\"\n";
        let manifest = manifest::parse("tidegate.toml".as_ref(), text, &|_| None).unwrap_or_else(|e| panic!("{e}"));
        let trigger = manifest.triggers["t"].clone();
        let topics = Topics::new(Some("out"), &[], Some("dead"));
        let rng = fastrand::Rng::with_seed(7);
        let memory = Memory { budget_bytes: 1 << 30, slack_bytes: 0, outcome_weight: 1 };
        let mut world = World::new(cluster(protocol), trigger, items, memory, rng, true);
        world.after(Duration::ZERO, Event::Coordinator);
        let mut receivers = Vec::new();
        for node in 0..2 {
            let (completions, receiver) = mpsc::channel(1);
            let (_, status) = watch::channel(Status::default());
            world.nodes.push(Node::new(node));
            world.nodes[node].begin(Duration::ZERO, completions, status);
            receivers.push(receiver);
        }
        for id in 0..world.items.len() {
            world.agenda.add(Duration::ZERO, Event::Load(id));
        }
        Self { world: Arc::new(Mutex::new(world)), topics: Arc::new(topics), _completions: receivers }
    }

    fn clients(&self, node: usize) -> SimClients {
        SimClients { world: self.world.clone(), node, topics: self.topics.clone() }
    }

    fn member(&self, node: usize) -> Hand {
        let mut broker = self.clients(node).broker(1 << 20).expect("there is always a client");
        broker.subscribe(&["orders".to_owned()]).expect("there is such a topic");
        Hand { broker, owned: Vec::new(), taken: Vec::new(), lost: 0, committed: Vec::new() }
    }

    fn sink(&self, batching: Batching) -> SimSink {
        self.clients(0).sink(batching).expect("there is always a client")
    }

    /// Lets time pass; the members are polled every millisecond.
    fn pass(&self, milliseconds: u64, members: &mut [&mut Hand]) {
        let end = lock(&self.world).now() + ms(milliseconds);
        let mut next_poll = lock(&self.world).now();
        loop {
            let mut world = lock(&self.world);
            if world.now() >= next_poll {
                next_poll = world.now() + ms(1);
                // So that the clock goes on although nothing else happens.
                world.after(ms(1), Event::Watch);
                drop(world);
                members.iter_mut().for_each(|member| member.poll());
                continue;
            }
            if world.now() >= end {
                return;
            }
            let World { agenda, clock, .. } = &mut *world;
            let Some(event) = agenda.pop(clock) else { return };
            world.handle(event);
        }
    }

    fn fault(&self, what: &What) {
        lock(&self.world).cluster_fault(what);
    }

    fn relief(&self, what: &What) {
        lock(&self.world).cluster_relief(what);
    }

    fn freeze_node(&self, node: usize, milliseconds: u64) {
        lock(&self.world).freeze_node(node, ms(milliseconds), true);
    }

    /// What was appended, in order: the record and the number of its message.
    fn appended(&self) -> Vec<usize> {
        lock(&self.world).books.effects.iter().map(|effect| effect.emitted.id).collect()
    }
}

impl Hand {
    fn poll(&mut self) {
        while let Some(event) = self.broker.next_event() {
            match event {
                Told::Assigned(positions) => {
                    self.owned.extend(positions.iter().map(|position| position.partition));
                    self.owned.sort_unstable();
                    self.broker.assign(&positions).expect("every answer is taken");
                }
                Told::Revoked { partitions, lost } => {
                    self.lost += u32::from(lost);
                    self.owned.retain(|owned| partitions.iter().all(|gone| gone.partition != *owned));
                    self.broker.unassign(&partitions).expect("every answer is taken");
                }
                Told::Committed { number, result } => {
                    self.committed.push((number, result.map_err(|error| error.name)));
                }
                Told::Error(_) => {}
            }
        }
        let taken = &mut self.taken;
        self.broker.take(100, |partition, record| {
            if let Taken::Record(record) = record {
                taken.push((partition.number, record.offset()));
            }
        });
    }

    fn commit(&mut self, number: u64, partition: i32, offset: i64, metadata: &str) {
        let position =
            Position { offset: Some(offset), metadata: metadata.to_owned(), ..Position::of("orders", partition) };
        self.broker.commit(number, &[position]).expect("a commit is taken");
    }
}

fn send(sink: &mut SimSink, id: usize) {
    let value = format!("{id} 0 1");
    let message = Message {
        topic: 0,
        partition: Some(0),
        timestamp: Timestamp::Now,
        key: Some(b"k1"),
        value: Some(value.as_bytes()),
        headers: 0..0,
        token: id as u64,
    };
    sink.send(&[message], &[]);
}

fn reports(sink: &mut SimSink) -> Vec<(u64, Result<(), Refusal>)> {
    let mut all = Vec::new();
    sink.acknowledgements(&mut |Acknowledgement { token, result }| all.push((token, result)));
    all
}

fn acknowledged(sink: &mut SimSink) -> Vec<u64> {
    reports(sink).into_iter().filter(|(_, result)| result.is_ok()).map(|(token, _)| token).collect()
}

#[test]
fn two_members_share_the_partitions_with_every_protocol() {
    for protocol in [Protocol::Cooperative, Protocol::Eager, Protocol::Consumer] {
        let lab = Lab::new(protocol, (0..4).map(|partition| item(partition, Fate::Ok)).collect());
        let mut first = lab.member(0);
        lab.pass(3_000, &mut [&mut first]);
        assert_eq!(first.owned, [0, 1, 2, 3], "{protocol:?}");
        assert_eq!(first.taken.len(), 4, "{protocol:?}");
        let mut second = lab.member(1);
        lab.pass(8_000, &mut [&mut first, &mut second]);
        let mut all: Vec<i32> = first.owned.iter().chain(&second.owned).copied().collect();
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3], "{protocol:?}: each partition has one owner");
        assert_eq!(first.owned.len(), 2, "{protocol:?}");
        first.broker.close();
        lab.pass(8_000, &mut [&mut first, &mut second]);
        assert!(first.broker.is_closed(), "{protocol:?}");
        assert_eq!(second.owned, [0, 1, 2, 3], "{protocol:?}: one that leaves leaves nothing behind");
        assert_eq!(lock(&lab.world).violations, [], "{protocol:?}");
    }
}

#[test]
fn a_member_that_freezes_loses_its_partitions_and_is_told() {
    for protocol in [Protocol::Cooperative, Protocol::Eager, Protocol::Consumer] {
        let lab = Lab::new(protocol, Vec::new());
        let (mut first, mut second) = (lab.member(0), lab.member(1));
        lab.pass(8_000, &mut [&mut first, &mut second]);
        lab.freeze_node(0, 8_000);
        lab.pass(7_500, &mut [&mut second]);
        assert_eq!(second.owned, [0, 1, 2, 3], "{protocol:?}");
        first.commit(9, first.owned[0], 0, "");
        lab.pass(3_000, &mut [&mut second]);
        assert!(first.broker.is_lost(), "{protocol:?}: known before the event is taken");
        lab.pass(8_000, &mut [&mut first, &mut second]);
        assert_eq!(first.lost, 1, "{protocol:?}");
        assert!(!first.broker.is_lost(), "{protocol:?}: until it is answered");
        assert_eq!(first.owned.len() + second.owned.len(), 4, "{protocol:?}");
        assert!(first.committed[0].1.is_err(), "{protocol:?}: its commit is fenced: {:?}", first.committed);
    }
}

#[test]
fn nothing_is_handed_out_until_a_rebalance_is_answered() {
    let lab = Lab::new(Protocol::Cooperative, (0..8).map(|id| item(id % 4, Fate::Ok)).collect());
    let mut member = lab.member(0);
    // Joined, but nobody polls.
    lab.pass(2_000, &mut []);
    assert_eq!(member.broker.take(10, |_, _| {}), 0);
    assert!(matches!(member.broker.next_event(), Some(Told::Assigned(_))));
    lab.pass(500, &mut []);
    assert_eq!(member.broker.take(10, |_, _| {}), 0, "it is told and not answered");
}

#[test]
fn held_back_records_stay_and_paused_ones_are_fetched_again() {
    let lab = Lab::new(Protocol::Cooperative, (0..3).map(|_| item(0, Fate::Ok)).collect());
    let mut member = lab.member(0);
    lab.pass(1_000, &mut [&mut member]);
    assert_eq!(member.taken.len(), 3);
    let partition = crate::kafka::Partition { topic: 0, number: 0 };
    member.broker.flow(partition, false).expect("it is owned");
    member.broker.seek(&[Position { offset: Some(1), ..Position::of("orders", 0) }]).expect("it is owned");
    lab.pass(100, &mut [&mut member]);
    assert_eq!(member.taken.len(), 3, "what is held back does not come");
    member.broker.flow(partition, true).expect("it is owned");
    member.poll();
    assert_eq!(member.taken[3..], [(0, 1), (0, 2)], "it was fetched meanwhile");
    member.broker.seek(&[Position { offset: Some(0), ..Position::of("orders", 0) }]).expect("it is owned");
    lab.pass(100, &mut []);
    member.broker.pause(partition, true).expect("it is owned");
    lab.pass(100, &mut [&mut member]);
    assert_eq!(member.taken.len(), 5, "a pause throws away what was fetched");
    member.broker.pause(partition, false).expect("it is owned");
    lab.pass(100, &mut [&mut member]);
    assert_eq!(member.taken[5..], [(0, 0), (0, 1), (0, 2)]);
}

#[test]
fn metadata_that_is_too_long_is_refused() {
    let lab = Lab::new(Protocol::Cooperative, Vec::new());
    let mut member = lab.member(0);
    lab.pass(1_000, &mut [&mut member]);
    member.commit(1, 0, 0, &"A".repeat(5_000));
    member.commit(2, 0, 0, "");
    lab.pass(1_000, &mut [&mut member]);
    assert_eq!(member.committed, [(1, Err("OFFSET_METADATA_TOO_LARGE".to_owned())), (2, Ok(()))]);
}

#[test]
fn a_frozen_broker_appends_late_what_a_dead_client_wrote() {
    let lab = Lab::new(Protocol::Cooperative, (0..2).map(|_| item(0, Fate::Ok)).collect());
    let mut sink = lab.sink(Batching::Full);
    lab.pass(10, &mut []);
    let leader = lock(&lab.world).leader(Place { topic: OUT, partition: 0 }).expect("all brokers are up");
    let freezes = What::BrokerFreezes { broker: leader };
    lab.fault(&freezes);
    send(&mut sink, 0);
    // Written after the linger; the second one is still in the client's queue.
    lab.pass(20, &mut []);
    send(&mut sink, 1);
    drop(sink);
    lab.pass(1_000, &mut []);
    assert_eq!(lab.appended(), [] as [usize; 0]);
    lab.relief(&freezes);
    lab.pass(1_000, &mut []);
    assert_eq!(lab.appended(), [0], "what is in a socket is executed, what was in a queue is gone");
}

#[test]
fn messages_of_a_partition_stay_in_order_through_retries() {
    let lab = Lab::new(Protocol::Cooperative, (0..60).map(|_| item(0, Fate::Ok)).collect());
    let mut sink = lab.sink(Batching::Full);
    lab.pass(10, &mut []);
    let leader = lock(&lab.world).leader(Place { topic: OUT, partition: 0 }).expect("all brokers are up");
    let mut acknowledgements = Vec::new();
    for id in 0..60 {
        send(&mut sink, id);
        lab.pass(7, &mut []);
        match id {
            10 => lab.fault(&What::WritesRefused { broker: leader }),
            20 => lab.relief(&What::WritesRefused { broker: leader }),
            30 => lab.fault(&What::BrokerDies { broker: leader }),
            40 => lab.relief(&What::BrokerDies { broker: leader }),
            50 => lab.fault(&What::BrokerFreezes { broker: leader }),
            _ => {}
        }
        acknowledgements.extend(acknowledged(&mut sink));
    }
    lab.relief(&What::BrokerFreezes { broker: leader });
    lab.pass(3_000, &mut []);
    acknowledgements.extend(acknowledged(&mut sink));
    assert_eq!(lab.appended(), (0..60).collect::<Vec<_>>(), "each once, in order");
    assert_eq!(acknowledgements, (0..60).collect::<Vec<_>>());
    assert_eq!(sink.outstanding(), 0);
}

#[test]
fn a_refused_message_ends_a_gapless_producer_and_no_other() {
    for batching in [Batching::Full, Batching::Single, Batching::Separate] {
        let fates = [Fate::Ok, Fate::TooLarge, Fate::Ok];
        let lab = Lab::new(Protocol::Cooperative, fates.into_iter().map(|fate| item(0, fate)).collect());
        let mut sink = lab.sink(batching);
        lab.pass(10, &mut []);
        for id in 0..3 {
            send(&mut sink, id);
            // One request each.
            lab.pass(50, &mut []);
        }
        let results: Vec<_> = reports(&mut sink).into_iter().map(|(_, result)| result).collect();
        match batching {
            Batching::Full => assert!(
                matches!(results[..], [Ok(()), Err(Refusal::WithOthers(_)), Err(Refusal::Following)]),
                "{results:?}"
            ),
            _ => assert!(matches!(results[..], [Ok(()), Err(Refusal::ForGood(_)), Ok(())]), "{results:?}"),
        }
        let expected: &[usize] = if batching == Batching::Full { &[0] } else { &[0, 2] };
        assert_eq!(lab.appended(), expected, "{batching:?}");
    }
}

#[test]
fn what_is_abandoned_is_reported_and_never_sent() {
    let lab = Lab::new(Protocol::Cooperative, (0..2).map(|_| item(0, Fate::Ok)).collect());
    let mut sink = lab.sink(Batching::Full);
    lab.pass(10, &mut []);
    send(&mut sink, 0);
    lab.pass(50, &mut []);
    send(&mut sink, 1);
    sink.abandon();
    lab.pass(1_000, &mut []);
    let results = reports(&mut sink);
    assert!(matches!(results[..], [(0, Ok(())), (1, Err(Refusal::ForNow(_)))]), "{results:?}");
    assert_eq!((lab.appended(), sink.outstanding()), (vec![0], 0));
}

#[test]
fn questions_are_answered_late_and_with_errors_while_brokers_are_away() {
    let lab = Lab::new(Protocol::Cooperative, vec![item(0, Fate::Ok)]);
    let mut member = lab.member(0);
    lab.pass(1_000, &mut [&mut member]);
    let (answers, mut came) = mpsc::channel(8);
    let ask = |member: &mut Hand| {
        let answers = answers.clone();
        member.broker.ask(Box::new(move |reader| {
            let ranges = reader.ranges(&[Position::of("orders", 0)], ms(5_000));
            let _ = answers.try_send(ranges.map_err(|error| error.name));
        }));
    };
    ask(&mut member);
    lab.answer(200);
    assert_eq!(came.try_recv(), Ok(Ok(vec![0..1])));
    let leader = lock(&lab.world).leader(Place { topic: 0, partition: 0 }).expect("all brokers are up");
    lab.fault(&What::BrokerFreezes { broker: leader });
    ask(&mut member);
    lab.answer(1_000);
    assert!(came.try_recv().is_err(), "the client waits for the broker");
    lab.answer(10_000);
    assert_eq!(came.try_recv(), Ok(Err("_TIMED_OUT".to_owned())));
}

impl Lab {
    /// Lets time pass in which questions are answered.
    fn answer(&self, milliseconds: u64) {
        let end = lock(&self.world).now() + ms(milliseconds);
        loop {
            let mut world = lock(&self.world);
            if world.now() >= end {
                return;
            }
            let World { agenda, clock, .. } = &mut *world;
            // The coordinator looks at its clock, so there is always something to happen.
            let Some(event) = agenda.pop(clock) else { return };
            let left = world.handle(event);
            drop(world);
            if let Some(Event::Question { node, asked }) = left {
                super::super::question::answer(&self.world, node, asked);
            }
        }
    }
}
