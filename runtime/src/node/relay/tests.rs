//! Tests of the relay with a topic that is played by the test, and with the embedded broker.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::kafka::embedded::EmbeddedBroker;
use crate::kafka::notices::{Beginning, Notice, Write};
use crate::kafka::{Error, ErrorKind};

const LIMIT: Duration = Duration::from_secs(60);

/// The other ends of a relay's channels.
struct Played {
    writes: mpsc::Receiver<Write>,
    notices: mpsc::Sender<Notice>,
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

/// Starts a relay whose topic is played. Each connection arrives on the last channel.
fn played() -> (Relay, mpsc::Receiver<Event>, mpsc::Receiver<Played>) {
    let (sender, connections) = mpsc::channel(8);
    let connect = Box::new(move || {
        let (writes, to_write) = mpsc::channel(64);
        let (sent, notices) = mpsc::channel(64);
        sender.try_send(Played { writes: to_write, notices: sent }).map_err(Error::invalid)?;
        Ok(Notices { writes, notices })
    });
    let (relay, events) = Relay::with(connect, "f", "me");
    (relay, events, connections)
}

impl Played {
    async fn say(&self, notice: Notice) {
        self.notices.send(notice).await.expect("the relay listens");
    }

    async fn record(&self, message: &Message) {
        self.say(Notice::Record { key: Some(message.key("f")), value: message.value() }).await;
    }

    async fn next(&mut self) -> (u64, Message) {
        let Write { token, key, value } = self.writes.recv().await.expect("the relay writes");
        (token, Message::parse("f", Some(&key), value.as_deref()).expect("a message"))
    }

    async fn written(&self, token: u64) {
        self.say(Notice::Written { token, result: Ok(()) }).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_topic_says_comes_as_events_and_old_hints_do_not() {
    let (relay, mut events, mut connections) = played();
    let topic = connections.recv().await.expect("connected");
    let hint = |from: &str| {
        let (bucket, key, from) = ("b".to_owned(), "k".to_owned(), from.to_owned());
        Message::Hint(Hint { bucket, key, version: None, etag: None, at_ms: 1, from })
    };
    let pause = Pause { at_ms: 1, from: "n".to_owned(), reason: String::new() };
    let paused = Message::Pause { trigger: name("t"), pause: Some(pause.clone()) };
    topic.say(Notice::Begin(Beginning::Same)).await;
    topic.record(&hint("n")).await;
    topic.record(&paused).await;
    topic.say(Notice::Record { key: Some(b"f/dance/x".to_vec()), value: None }).await;
    topic.say(Notice::Record { key: Some(b"g/dance/x".to_vec()), value: None }).await;
    topic.say(Notice::CaughtUp).await;
    assert_eq!(events.recv().await, Some(Event::Paused { trigger: name("t"), pause }));
    assert_eq!(events.recv().await, Some(Event::CaughtUp));
    assert_eq!(relay.ignored(), 1);
    assert!(relay.view().borrow().pauses.contains_key("t"));
    topic.record(&hint("me")).await;
    topic.record(&hint("n")).await;
    assert!(matches!(events.recv().await, Some(Event::Hint(hint)) if hint.from == "n"));

    topic.say(Notice::Trouble(Error::new(ErrorKind::Timeout, "no answer"))).await;
    assert_eq!(events.recv().await, Some(Event::Trouble { reason: "no answer".to_owned() }));
    topic.say(Notice::Fine).await;
    assert_eq!(events.recv().await, Some(Event::Fine));

    // In a new topic the pause is missing.
    topic.say(Notice::Begin(Beginning::New)).await;
    topic.say(Notice::CaughtUp).await;
    assert_eq!(events.recv().await, Some(Event::CaughtUp));
    let mut topic = topic;
    assert_eq!(topic.next().await.1, paused);
}

#[tokio::test(start_paused = true)]
async fn what_was_not_written_is_tried_again_also_by_the_next_thread() {
    let (relay, mut events, mut connections) = played();
    let mut topic = connections.recv().await.expect("connected");
    relay.pause(&name("t"), "no").expect("taken");
    let (token, first) = topic.next().await;
    topic.say(Notice::Written { token, result: Err(Error::new(ErrorKind::Timeout, "no answer")) }).await;
    assert_eq!(topic.next().await.1, first);
    drop(topic);
    assert!(matches!(events.recv().await, Some(Event::Trouble { .. })));
    let mut topic = connections.recv().await.expect("connected again");
    assert_eq!(topic.next().await.1, first);
}

#[tokio::test(start_paused = true)]
async fn a_slow_receiver_of_events_does_not_stop_writes() {
    let (relay, events, mut connections) = played();
    let mut topic = connections.recv().await.expect("connected");
    topic.say(Notice::CaughtUp).await;
    // More than the events and the backlog hold.
    while topic.notices.try_reserve().is_ok_and(|room| {
        room.send(Notice::CaughtUp);
        true
    }) {
        tokio::task::yield_now().await;
    }
    relay.resume(&name("t")).expect("taken");
    assert!(matches!(topic.next().await, (_, Message::Pause { pause: None, .. })));
    drop(events);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stops_says_so_last_and_waits_a_second_at_most() {
    for answers in [true, false] {
        let (relay, _events, mut connections) = played();
        let mut topic = connections.recv().await.expect("connected");
        relay.status(json!(1));
        let (token, _) = topic.next().await;
        topic.written(token).await;
        let start = tokio::time::Instant::now();
        let stopped = tokio::spawn(relay.stop());
        let (token, last) = topic.next().await;
        let Message::Node { status: Some(status), .. } = last else { panic!("{last:?}") };
        assert!(status.stopping && status.status == json!(1), "{status:?}");
        if answers {
            topic.written(token).await;
        }
        stopped.await.expect("it ends");
        let limit = if answers { Duration::ZERO } else { LAST_WRITES };
        assert_eq!(start.elapsed().as_secs(), limit.as_secs(), "answers: {answers}");
        assert!(topic.writes.recv().await.is_none(), "nothing follows");
    }
}

async fn until(events: &mut mpsc::Receiver<Event>, what: impl Fn(&Event) -> bool) -> Event {
    let found = async {
        loop {
            let event = events.recv().await.expect("the relay runs");
            if what(&event) {
                return event;
            }
        }
    };
    tokio::time::timeout(LIMIT, found).await.expect("the event comes in time")
}

/// The embedded broker compacts nothing, and its topics cannot be deleted.
#[tokio::test]
async fn two_nodes_exchange_hints_pauses_and_statuses() {
    let broker = EmbeddedBroker::start().expect("it starts");
    let cluster = Cluster::at(&broker.address()).expect("an address");
    let start = |node| Relay::start(&cluster, "relay", "f", node, Absent::Wait);
    broker.create_topic("relay", 1).expect("created");
    let (one, mut heard_by_one) = start("one");
    until(&mut heard_by_one, |event| *event == Event::CaughtUp).await;
    one.pause(&name("t"), "because").expect("taken");
    until(&mut heard_by_one, |event| matches!(event, Event::Paused { .. })).await;

    let (two, mut heard_by_two) = start("two");
    let is_paused = |event: &Event| matches!(event, Event::Paused { pause, .. } if pause.reason == "because");
    until(&mut heard_by_two, is_paused).await;
    until(&mut heard_by_two, |event| *event == Event::CaughtUp).await;
    one.hint("b", "a/b.wasm", Some("v"), None).expect("taken");
    let hint = until(&mut heard_by_two, |event| matches!(event, Event::Hint(_))).await;
    assert!(matches!(&hint, Event::Hint(hint) if hint.key == "a/b.wasm" && hint.from == "one"), "{hint:?}");
    two.resume(&name("t")).expect("taken");
    until(&mut heard_by_one, |event| matches!(event, Event::Resumed { .. })).await;
    two.status(json!({"good": true}));
    until(&mut heard_by_one, |event| *event == Event::FleetChanged).await;
    assert_eq!(one.view().borrow().nodes["two"].status.status, json!({"good": true}));
    two.stop().await;
    until(&mut heard_by_one, |event| *event == Event::FleetChanged).await;
    assert_eq!(one.view().borrow().nodes["two"].presence, fleet::Presence::Stopped);
    one.stop().await;
}
