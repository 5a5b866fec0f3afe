//! The clients, held against the embedded broker.

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

/// How long anything may take on a machine that is busy.
const LIMIT: Duration = Duration::from_secs(60);

const TOPIC: &str = "t";

/// A broker with one topic, and clients of it.
struct Place {
    clients: KafkaClients,
    _broker: EmbeddedBroker,
}

impl Place {
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

    /// Calls `look` until it has something, each time the clients have.
    async fn until<T>(&self, mut look: impl FnMut() -> Option<T>) -> T {
        let end = Instant::now() + LIMIT;
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(Instant::now() < end, "nothing came of it");
            // A member that is left for good wakes nobody.
            let _ = tokio::time::timeout(Duration::from_millis(20), self.clients.wait()).await;
        }
    }

    /// Sends messages, each with its number as its value, and waits for what becomes of them.
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
    /// Takes one event, and answers it.
    fn turn(&mut self) -> Option<Event> {
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

    fn turns(&mut self) {
        while self.turn().is_some() {}
    }
}

fn at(partition: i32, offset: i64) -> Position {
    Position { offset: Some(offset), ..Position::of(TOPIC, partition) }
}

#[tokio::test]
async fn a_commit_comes_back_with_its_number() {
    let mut place = Place::new(1);
    let mut member = place.member();
    place.until(|| (member.turn().is_some() && member.owned == 1).then_some(())).await;
    // The second one has nothing to commit, and so it ends first.
    let positions = [at(0, 5), Position::of(TOPIC, 0), at(0, 6)];
    for (number, position) in [u64::MAX, 7, 1 << 40].into_iter().zip(&positions) {
        member.source.commit(number, std::slice::from_ref(position)).expect("begun");
    }
    let mut ended = Vec::new();
    place
        .until(|| {
            if let Some(Event::Committed { number, result }) = member.turn() {
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
async fn nothing_that_was_fetched_before_a_seek_is_handed_out() {
    let mut place = Place::new(2);
    place.send(2, 1_000, |_| None).await;
    let mut member = place.member();
    let first = |member: &mut Member| {
        let mut found: BTreeMap<Partition, i64> = BTreeMap::new();
        let end = Instant::now() + LIMIT;
        while found.len() < 2 {
            assert!(Instant::now() < end, "no record came");
            member.turns();
            member.source.take(1, |partition, taken| {
                let Taken::Record(record) = taken else { panic!("it can be read") };
                found.entry(partition).or_insert(record.offset());
            });
        }
        found.into_values().collect::<Vec<_>>()
    };
    assert_eq!(first(&mut member), [0, 0]);
    for target in [20, 3, 50] {
        // A machine that is short of CPU does it a little later, and hands out nothing old until then.
        if let Err(error) = member.source.seek(&[at(0, target), at(1, target)]) {
            assert_eq!(error.kind, ErrorKind::Timeout);
        }
        assert_eq!(first(&mut member), [target, target]);
    }
}

#[tokio::test]
async fn a_member_leaves_with_a_revocation_unanswered() {
    let mut place = Place::new(1);
    let mut member = place.member();
    place.until(|| (member.turn().is_some() && member.owned == 1).then_some(())).await;
    member.answers = false;
    member.source.close();
    let revoked = |member: &mut Member| matches!(member.turn(), Some(Event::Revoked { .. })).then_some(());
    place.until(|| revoked(&mut member)).await;
    assert!(!member.source.is_closed(), "it waits for the answer");
    member.answers = true;
    member.source.unassign(&[Position::of(TOPIC, 0)]).expect("given back");
    place.until(|| member.source.is_closed().then_some(())).await;
    // Too late, and no harm.
    member.source.close();
    member.source.assign(&[at(0, 0)]).expect("nothing is assigned any more");
}

#[tokio::test]
async fn a_member_that_is_dropped_leaves_its_group_and_its_records_stay_good() {
    let mut place = Place::new(1);
    place.send(1, 10, |_| None).await;
    let mut member = place.member();
    let mut kept = Vec::new();
    place
        .until(|| {
            member.turns();
            member.source.take(10, |_, taken| kept.push(taken));
            (!kept.is_empty()).then_some(())
        })
        .await;
    drop(member);
    let mut heir = place.member();
    place.until(|| (heir.turn().is_some() && heir.owned == 1).then_some(())).await;
    assert!(matches!(&kept[0], Taken::Record(record) if record.value() == Some(b"0")));
}

#[tokio::test]
async fn a_member_that_is_dropped_with_a_revocation_unanswered_leaves_its_group() {
    let mut place = Place::new(2);
    let mut member = place.member();
    place.until(|| (member.turn().is_some() && member.owned == 2).then_some(())).await;
    // Of what the other one is to get, and of all that it has.
    for closes in [false, true] {
        member.answers = false;
        let mut other = place.member();
        if closes {
            member.source.close();
        }
        place
            .until(|| {
                other.turns();
                matches!(member.turn(), Some(Event::Revoked { .. })).then_some(())
            })
            .await;
        drop(member);
        place
            .until(|| {
                other.turns();
                (other.owned == 2).then_some(())
            })
            .await;
        member = other;
    }
}

#[tokio::test]
async fn a_member_that_never_joined_is_closed_at_once() {
    let mut place = Place::new(1);
    let mut source = place.clients.broker(1 << 20).expect("made");
    assert!(!source.is_closed());
    source.close();
    assert!(source.is_closed());
}

#[tokio::test]
async fn only_a_partition_that_was_named_is_refused_for_good() {
    let mut place = Place::new(2);
    let named = |number: u64| (number % 50 == 0).then_some(5);
    // None known, so that the client chooses.
    for each in place.send(0, 200, named).await {
        match each.result {
            Ok(()) => assert_ne!(each.token % 50, 0),
            Err(Refusal::ForGood(error)) => {
                assert_eq!((error.kind, each.token % 50), (ErrorKind::UnknownPartition, 0));
            }
            Err(refusal) => panic!("{refusal:?}"),
        }
    }
    // More than there are: what would go there is sent again when that is known, by another producer.
    let (mut good, mut later) = (0, 0);
    for each in place.send(6, 200, named).await {
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
    // Whoever chose: a key has one partition, and its messages are in order.
    let mut member = place.member();
    let mut seen: BTreeMap<Vec<u8>, (Partition, Vec<u64>)> = BTreeMap::new();
    let mut count = 0;
    place
        .until(|| {
            member.turns();
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
        assert!(again <= 1, "twice from first to last: {numbers:?}");
    }
}

#[tokio::test]
async fn what_an_abandoned_sink_has_is_refused_for_now() {
    let mut place = Place::new(1);
    let mut sink = place.clients.sink(Batching::Full).expect("made");
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
    let mut place = Place::new(3);
    place.send(3, 30, |number| Some((number % 3) as i32)).await;
    let mut source = place.clients.broker(1 << 20).expect("made");
    let (answer, answered) = tokio::sync::oneshot::channel();
    source.ask(Box::new(move |reader: &dyn Reader| {
        let all: Vec<_> = (0..3).map(|number| Position::of(TOPIC, number)).collect();
        let _ = answer.send(reader.ranges(&all, LIMIT));
    }));
    assert_eq!(answered.await.expect("answered").expect("known"), [0..10, 0..10, 0..10]);
}
