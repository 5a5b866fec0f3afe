//! Every form of an async function, through the attribute and as a test of an author's would call it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::task::Poll;

use tidegate_sdk::{Batch, Error, Message, Outcome, Record, Result, testing};

// What happened, in its order.
thread_local! {
    static SEEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn seen() -> String {
    SEEN.take().join(" ")
}

/// Notes that it began, has others go first so many times, and notes that it ended.
async fn wait(record: Record<'_>, turns: usize) -> Result<&str> {
    let name = record.value_str()?;
    SEEN.with_borrow_mut(|seen| seen.push(format!("{name}<")));
    let mut left = turns;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
    SEEN.with_borrow_mut(|seen| seen.push(format!("{name}>")));
    Ok(name)
}

fn records<const N: usize>(values: [(Option<&str>, &str); N]) -> [testing::Record; N] {
    values.map(|(key, value)| testing::Record::new().key(key).value(value))
}

fn values(outcome: &testing::Outcome) -> Vec<&str> {
    outcome.messages.iter().map(testing::Message::value_str).collect()
}

#[tidegate_sdk::function]
async fn in_turn(record: Record) -> Result<Message> {
    Ok(record.with_value(wait(record, 3).await?.to_uppercase()))
}

#[tidegate_sdk::function(concurrent = 2)]
async fn two(record: Record) -> Result<Option<Message>> {
    let name = wait(record, 3 - record.index().min(3)).await?;
    if name == "bad" {
        return Err(Error::reject("bad"));
    }
    Ok(Some(record.forward()))
}

#[tidegate_sdk::function(concurrent = 64)]
async fn many(record: Record) -> Result<[Message; 2]> {
    let turns = 9 - record.index();
    let name = wait(record, turns).await?;
    Ok([record.forward(), record.with_value(name.to_uppercase())])
}

#[tidegate_sdk::function]
async fn nothing(_record: Record) {}

#[tidegate_sdk::function]
async fn named_lifetime<'a>(record: Record<'a>) -> Vec<Message<'a>> {
    vec![record.forward()]
}

#[tidegate_sdk::function]
async fn batch(batch: Batch, outcome: &mut Outcome) -> Result<()> {
    for record in batch {
        outcome.emit(record, record.with_value(wait(record, 1).await?));
    }
    Ok(())
}

#[tidegate_sdk::function(json)]
async fn doubled(number: u32) -> Result<Option<u32>> {
    Ok(number.checked_mul(2))
}

#[derive(serde::Deserialize)]
struct Borrowed<'a> {
    name: &'a str,
}

#[tidegate_sdk::function(json, concurrent = 8)]
async fn named(borrowed: Borrowed<'_>, record: Record) -> Result<String> {
    wait(record, 1).await?;
    Ok(borrowed.name.to_owned())
}

#[test]
fn without_a_word_records_are_handled_one_after_another() {
    let outcome = testing::run::<in_turn>(records([(Some("k"), "a"), (None, "b"), (Some("l"), "c")]));
    assert_eq!(values(&outcome), ["A", "B", "C"]);
    assert_eq!(seen(), "a< a> b< b> c< c>");
}

#[test]
fn records_of_different_keys_overlap_and_those_of_one_key_do_not() {
    let [k, l] = [Some("k"), Some("l")];
    let outcome = testing::run::<many>(records([(k, "k1"), (l, "l1"), (k, "k2"), (None, "n1"), (None, "n2")]));
    let order = seen();
    let at = |what: &str| order.split(' ').position(|seen| seen == what).expect("it happened");
    assert!(at("k1>") < at("k2<"), "{order}");
    for (later, earlier) in [("k1>", "l1<"), ("k1>", "n1<"), ("n1>", "n2<"), ("l1>", "n2<")] {
        assert!(at(earlier) < at(later), "{earlier} before {later}: {order}");
    }
    assert!(at("n2>") < at("k1>"), "the last one ends first: {order}");
    assert_eq!(values(&outcome), ["k1", "K1", "l1", "L1", "k2", "K2", "n1", "N1", "n2", "N2"]);
}

#[test]
fn no_more_overlap_than_was_said() {
    let [k, l, m] = ["k", "l", "m"].map(Some);
    let outcome = testing::run::<two>(records([(k, "a"), (l, "bad"), (m, "c"), (None, "d")]));
    let (mut now, mut most) = (0, 0);
    for what in seen().split(' ') {
        now = if what.ends_with('<') { now + 1 } else { now - 1 };
        most = most.max(now);
    }
    assert_eq!((now, most), (0, 2));
    assert_eq!(values(&outcome), ["a", "c", "d"]);
    assert_eq!(outcome.failures, [testing::Failure { record: 1, error: Error::reject("bad") }]);
}

#[test]
fn every_form_may_be_async() {
    assert_eq!(testing::run::<nothing>(records([(None, "a")])).messages, []);
    assert_eq!(values(&testing::run::<named_lifetime>(records([(None, "a")]))), ["a"]);
    assert_eq!(values(&testing::run::<batch>(records([(None, "a"), (None, "b")]))), ["a", "b"]);

    let outcome = testing::run::<doubled>(records([(None, "4"), (None, "x"), (None, "4294967295")]));
    assert_eq!(values(&outcome), ["8"]);
    assert!(outcome.failures[0].error.reason().starts_with("bad JSON in the value"));

    let outcome = testing::run::<named>(records([(None, r#"{"name": "a"}"#), (None, "x"), (None, r#"{"name": "b"}"#)]));
    assert_eq!(values(&outcome), [r#""a""#, r#""b""#]);
    assert!(outcome.failures[0].error.is_reject());
}

#[test]
fn it_can_be_called_like_any_async_function() {
    let record = testing::Record::new().value("a");
    let message = run_to_its_end(in_turn(record.view()));
    assert_eq!(message, Ok(record.view().with_value("A")));
}

/// Any executor will do; this one is at hand.
fn run_to_its_end<F: Future>(future: F) -> F::Output {
    tidegate_sdk::__private::block_on(future)
}
