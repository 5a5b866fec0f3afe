//! Tests of the clients with the embedded broker.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::broker::{Broker, Clients, Event, Reader, Taken};
use super::clients::{Blueprint, KafkaClients};
use super::embedded::{CLIENT_PROPERTIES, EmbeddedBroker};
use super::sink::{Acknowledgement, Batching, Refusal, Sink};
use super::source::Source;
use super::{ErrorKind, Metadata, Partition, Position};
use crate::manifest::{Cluster, Name};
use crate::record::outcome::Timestamp;
use crate::record::{Message, Record as _};

/// The maximum time of each step, for a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

const TOPIC: &str = "t";

/// A broker with one topic, and a factory for clients of it.
struct Fixture {
    clients: KafkaClients,
    _broker: EmbeddedBroker,
}

impl Fixture {
    fn new(partitions: i32) -> Self {
        let broker = EmbeddedBroker::start().expect("it starts");
        broker.create_topic(TOPIC, partitions).expect("created");
        let properties = CLIENT_PROPERTIES.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let cluster = Arc::new(Cluster {
            name: Name::new("main").expect("a name"),
            brokers: broker.address(),
            properties: properties.collect(),
        });
        let clients = KafkaClients::new(Blueprint {
            output_cluster: cluster.clone(),
            cluster,
            trigger: "test".to_owned(),
            group: "g".to_owned(),
            topics: vec![TOPIC.to_owned()],
            outputs: vec![TOPIC.to_owned()],
            node: "n".to_owned(),
            instance: None,
        });
        Self { clients, _broker: broker }
    }

    fn member(&mut self) -> Member {
        let mut source = self.clients.broker(1 << 20).expect("made");
        source.subscribe(&[TOPIC.to_owned()]).expect("subscribed");
        Member { source, owned: 0, answers: true }
    }

    /// Calls `look` until it returns something: after each wake-up of the clients, and every 20 ms.
    async fn until<T>(&self, mut look: impl FnMut() -> Option<T>) -> T {
        let end = Instant::now() + LIMIT;
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(Instant::now() < end, "the condition was not met in time");
            // A member that has left its group sends no wake-up.
            let _ = tokio::time::timeout(Duration::from_millis(20), self.clients.wait()).await;
        }
    }

    /// Sends `count` messages, each with its number as the value, and waits for their acknowledgements.
    /// `known` is the number of partitions that the sink assumes.
    async fn send(&mut self, known: i32, count: u64, named: impl Fn(u64) -> Option<i32>) -> Vec<Acknowledgement> {
        let mut sink = self.clients.sink(Batching::Full).expect("made");
        let partitions = BTreeMap::from([(TOPIC.to_owned(), known)]);
        sink.update(&Metadata { partitions, ..Metadata::default() });
        for number in 0..count {
            let (key, value) = ((number % 10).to_string(), number.to_string());
            sink.send(
                &[Message {
                    topic: 0,
                    partition: named(number),
                    timestamp: Timestamp::Now,
                    key: Some(key.as_bytes()),
                    value: Some(value.as_bytes()),
                    headers: 0..0,
                    token: number,
                }],
                &[],
            );
        }
        let mut all = Vec::new();
        self.until(|| {
            sink.acknowledgements(&mut |acknowledgement| all.push(acknowledgement));
            (sink.outstanding() == 0).then_some(())
        })
        .await;
        all
    }
}

struct Member {
    source: Source,
    owned: usize,
    answers: bool,
}

impl Member {
    /// Takes one event and answers it.
    fn take_event(&mut self) -> Option<Event> {
        let event = self.source.next_event()?;
        match &event {
            Event::Assigned(positions) if self.answers => {
                self.owned += positions.len();
                self.source.assign(positions).expect("assigned");
            }
            Event::Revoked { partitions, .. } if self.answers => {
                self.owned -= partitions.len();
                self.source.unassign(partitions).expect("given back");
            }
            _ => {}
        }
        Some(event)
    }

    fn take_events(&mut self) {
        while self.take_event().is_some() {}
    }
}

fn at(partition: i32, offset: i64) -> Position {
    Position { offset: Some(offset), ..Position::of(TOPIC, partition) }
}

#[tokio::test]
async fn the_result_of_a_commit_has_its_number() {
    let mut fixture = Fixture::new(1);
    let mut member = fixture.member();
    fixture.until(|| (member.take_event().is_some() && member.owned == 1).then_some(())).await;
    // The second commit contains no offset, so it ends first.
    let positions = [at(0, 5), Position::of(TOPIC, 0), at(0, 6)];
    for (number, position) in [u64::MAX, 7, 1 << 40].into_iter().zip(&positions) {
        member.source.commit(number, std::slice::from_ref(position)).expect("begun");
    }
    let mut ended = Vec::new();
    fixture
        .until(|| {
            if let Some(Event::Committed { number, result }) = member.take_event() {
                result.expect("committed");
                ended.push(number);
            }
            (ended.len() == 3).then_some(())
        })
        .await;
    ended.sort_unstable();
    assert_eq!(ended, [7, 1 << 40, u64::MAX]);
}

#[tokio::test]
async fn records_that_were_fetched_before_a_seek_are_not_returned() {
    let mut fixture = Fixture::new(2);
    fixture.send(2, 1_000, |_| None).await;
    let mut member = fixture.member();
    let first = |member: &mut Member| {
        let mut found: BTreeMap<Partition, i64> = BTreeMap::new();
        let end = Instant::now() + LIMIT;
        while found.len() < 2 {
            assert!(Instant::now() < end, "no record came");
            member.take_events();
            member.source.take(1, |partition, taken| {
                let Taken::Record(record) = taken else { panic!("it can be read") };
                found.entry(partition).or_insert(record.offset());
            });
        }
        found.into_values().collect::<Vec<_>>()
    };
    assert_eq!(first(&mut member), [0, 0]);
    for target in [20, 3, 50] {
        // On a busy machine the seek may be done later, but no old record is returned until then.
        if let Err(error) = member.source.seek(&[at(0, target), at(1, target)]) {
            assert_eq!(error.kind, ErrorKind::Timeout);
        }
        assert_eq!(first(&mut member), [target, target]);
    }
}

#[tokio::test]
async fn a_member_leaves_after_it_answers_a_revocation() {
    let mut fixture = Fixture::new(1);
    let mut member = fixture.member();
    fixture.until(|| (member.take_event().is_some() && member.owned == 1).then_some(())).await;
    member.answers = false;
    member.source.close();
    let revoked = |member: &mut Member| matches!(member.take_event(), Some(Event::Revoked { .. })).then_some(());
    fixture.until(|| revoked(&mut member)).await;
    assert!(!member.source.is_closed(), "it waits for the answer");
    member.answers = true;
    member.source.unassign(&[Position::of(TOPIC, 0)]).expect("given back");
    fixture.until(|| member.source.is_closed().then_some(())).await;
    // These calls come too late and must have no effect.
    member.source.close();
    member.source.assign(&[at(0, 0)]).expect("nothing is assigned any more");
}

#[tokio::test]
async fn a_dropped_member_leaves_its_group_and_its_records_stay_valid() {
    let mut fixture = Fixture::new(1);
    fixture.send(1, 10, |_| None).await;
    let mut member = fixture.member();
    let mut kept = Vec::new();
    fixture
        .until(|| {
            member.take_events();
            member.source.take(10, |_, taken| kept.push(taken));
            (!kept.is_empty()).then_some(())
        })
        .await;
    drop(member);
    let mut successor = fixture.member();
    fixture.until(|| (successor.take_event().is_some() && successor.owned == 1).then_some(())).await;
    assert!(matches!(&kept[0], Taken::Record(record) if record.value() == Some(b"0")));
}

#[tokio::test]
async fn a_member_that_is_dropped_with_an_unanswered_revocation_leaves_its_group() {
    let mut fixture = Fixture::new(2);
    let mut member = fixture.member();
    fixture.until(|| (member.take_event().is_some() && member.owned == 2).then_some(())).await;
    // First a revocation of the partitions that the other member gets, then one of all partitions.
    for closes in [false, true] {
        member.answers = false;
        let mut other = fixture.member();
        if closes {
            member.source.close();
        }
        fixture
            .until(|| {
                other.take_events();
                matches!(member.take_event(), Some(Event::Revoked { .. })).then_some(())
            })
            .await;
        drop(member);
        fixture
            .until(|| {
                other.take_events();
                (other.owned == 2).then_some(())
            })
            .await;
        member = other;
    }
}

#[tokio::test]
async fn a_member_that_never_joined_is_closed_at_once() {
    let mut fixture = Fixture::new(1);
    let mut source = fixture.clients.broker(1 << 20).expect("made");
    assert!(!source.is_closed());
    source.close();
    assert!(source.is_closed());
}

#[tokio::test]
async fn only_a_partition_that_the_function_has_set_is_refused_for_good() {
    let mut fixture = Fixture::new(2);
    let named = |number: u64| number.is_multiple_of(50).then_some(5);
    // The sink knows no partitions, so the client chooses.
    for each in fixture.send(0, 200, named).await {
        match each.result {
            Ok(()) => assert_ne!(each.token % 50, 0),
            Err(Refusal::ForGood(error)) => {
                assert_eq!((error.kind, each.token % 50), (ErrorKind::UnknownPartition, 0));
            }
            Err(refusal) => panic!("{refusal:?}"),
        }
    }
    // The sink assumes more partitions than exist. Messages for the missing ones are refused for now, so that
    // another producer sends them again.
    let (mut good, mut later) = (0, 0);
    for each in fixture.send(6, 200, named).await {
        match each.result {
            Ok(()) => good += 1,
            Err(Refusal::ForNow(error)) => {
                assert_eq!(error.kind, ErrorKind::UnknownPartition);
                later += 1;
            }
            Err(Refusal::ForGood(_)) => assert_eq!(each.token % 50, 0),
            Err(refusal) => panic!("{refusal:?}"),
        }
    }
    assert!(good > 0 && later > 0 && good + later == 196, "{good} and {later}");
    // The client and the sink chose the same partition for each key, and its messages are in order.
    let mut member = fixture.member();
    let mut seen: BTreeMap<Vec<u8>, (Partition, Vec<u64>)> = BTreeMap::new();
    let mut count = 0;
    fixture
        .until(|| {
            member.take_events();
            count += member.source.take(500, |partition, taken| {
                let Taken::Record(record) = taken else { panic!("it can be read") };
                let (key, value) = (record.key().unwrap_or_default(), record.value().unwrap_or_default());
                let number = str::from_utf8(value).ok().and_then(|value| value.parse().ok()).expect("a number");
                let (known, numbers) = seen.entry(key.to_vec()).or_insert((partition, Vec::new()));
                assert_eq!(*known, partition);
                numbers.push(number);
            });
            (count == 196 + good).then_some(())
        })
        .await;
    for (_, numbers) in seen.values() {
        let again = numbers.windows(2).filter(|pair| pair[1] <= pair[0]).count();
        assert!(again <= 1, "both times from first to last: {numbers:?}");
    }
}

#[tokio::test]
async fn an_abandoned_sink_refuses_messages_for_now() {
    let mut fixture = Fixture::new(1);
    let mut sink = fixture.clients.sink(Batching::Full).expect("made");
    sink.abandon();
    let message = Message {
        topic: 0,
        partition: None,
        timestamp: Timestamp::Now,
        key: None,
        value: None,
        headers: 0..0,
        token: 3,
    };
    sink.send(&[message], &[]);
    let mut all = Vec::new();
    sink.acknowledgements(&mut |acknowledgement| all.push(acknowledgement));
    assert!(matches!(&all[..], [Acknowledgement { token: 3, result: Err(Refusal::ForNow(_)) }]), "{all:?}");
    assert_eq!(sink.outstanding(), 0);
}

#[tokio::test]
async fn a_question_is_answered_for_all_partitions() {
    let mut fixture = Fixture::new(3);
    fixture.send(3, 30, |number| Some((number % 3) as i32)).await;
    let mut source = fixture.clients.broker(1 << 20).expect("made");
    let (answer, answered) = tokio::sync::oneshot::channel();
    source.ask(Box::new(move |reader: &dyn Reader| {
        let all: Vec<_> = (0..3).map(|number| Position::of(TOPIC, number)).collect();
        let _ = answer.send(reader.ranges(&all, LIMIT));
    }));
    assert_eq!(answered.await.expect("answered").expect("known"), [0..10, 0..10, 0..10]);
}
