use std::num::NonZeroU32;

use super::*;
use crate::manifest::BatchLimits;
use crate::record::OwnedRecord;

fn record(offset: i64, bytes: usize) -> OwnedRecord {
    OwnedRecord { offset, value: Some(vec![b'x'; bytes]), ..OwnedRecord::default() }
}

fn batcher(records: u32, bytes: u64) -> Batcher {
    Batcher::new(BatchLimits { records: NonZeroU32::new(records).expect("not zero"), bytes })
}

fn offsets(batch: &Batch) -> Vec<i64> {
    batch.offsets().to_vec()
}

#[test]
fn the_stand_in_is_a_good_manifest() {
    let (function, trigger) = stand_in().expect("good");
    assert_eq!((function.deadline.as_secs(), trigger.batch.records.get()), (1, 500));
}

#[test]
fn partitions_are_called_apart_and_full_batches_at_once() {
    let mut batcher = batcher(2, 1 << 20);
    let (orders, users): (Arc<str>, Arc<str>) = ("orders".into(), "users".into());
    assert_eq!(batcher.push(&users, 0, &record(4, 1), 1), Ok(None));
    assert_eq!(batcher.push(&orders, 1, &record(0, 1), 1), Ok(None));
    assert_eq!(batcher.push(&orders, 0, &record(0, 1), 1), Ok(None));
    let full = batcher.push(&users, 0, &record(9, 1), 2).expect("ascends").expect("full");
    assert_eq!((full.topic().as_ref(), offsets(&full), full.attempts()), ("users", vec![4, 9], &[1, 2][..]));
    assert_eq!(batcher.next_offset(&users, 0), Some(10));
    assert_eq!(batcher.next_offset(&users, 1), None);
    let rest: Vec<(Arc<str>, i32)> =
        batcher.finish().into_iter().map(|batch| (batch.topic().clone(), batch.partition())).collect();
    assert_eq!(rest, [(orders.clone(), 0), (orders, 1)]);
    assert_eq!(batcher.finish(), []);
}

#[test]
fn a_batch_is_bounded_in_bytes_and_a_larger_record_comes_alone() {
    let mut batcher = batcher(500, 1_000);
    let topic: Arc<str> = "t".into();
    assert_eq!(batcher.push(&topic, 0, &record(0, 100), 1), Ok(None));
    let first = batcher.push(&topic, 0, &record(1, 5_000), 1).expect("ascends").expect("over the limit");
    assert_eq!(offsets(&first), [0]);
    let second = batcher.push(&topic, 0, &record(2, 1), 1).expect("ascends").expect("over the limit");
    assert_eq!(offsets(&second), [1]);
    assert_eq!(batcher.finish().iter().map(offsets).collect::<Vec<_>>(), [[2]]);
}

#[test]
fn what_waits_is_bounded_over_all_partitions() {
    let mut batcher = batcher(500, 64 << 20);
    let topic: Arc<str> = "t".into();
    for partition in 0..6 {
        assert_eq!(batcher.push(&topic, partition, &record(0, 10 << 20), 1), Ok(None));
    }
    let largest = batcher.push(&topic, 3, &record(1, 10 << 20), 1).expect("ascends").expect("over the limit");
    assert_eq!((largest.partition(), offsets(&largest)), (3, vec![0, 1]));
}

#[test]
fn an_offset_that_does_not_ascend_is_refused() {
    let mut batcher = batcher(500, 1_000);
    let topic: Arc<str> = "t".into();
    assert_eq!(batcher.push(&topic, 0, &record(5, 1), 1), Ok(None));
    let refused = batcher.push(&topic, 0, &record(5, 1), 1).expect_err("does not ascend");
    assert_eq!(refused.to_string(), "offset 5 of t/0 stands behind 5: offsets of a partition ascend");
}

#[test]
fn topics_are_those_of_one_trigger() {
    let asked = ["asked".to_owned()];
    let (_, stand_in) = stand_in().expect("good");
    let alone = topics(&stand_in, &asked);
    assert_eq!(alone.output().map(|place| alone.names()[place].as_str()), Some(UNNAMED));
    assert!(alone.granted("asked").is_some() && alone.granted("other").is_none());

    let silent = Trigger { output: None, allow_topics: vec!["c".to_owned()], ..stand_in.clone() };
    let of_silent = topics(&silent, &asked);
    assert_eq!(of_silent.output(), None);
    assert!(["c", "asked"].iter().all(|name| of_silent.granted(name).is_some()));
    let of_loud = topics(&Trigger { output: Some("a".to_owned()), ..stand_in }, &[]);
    assert!(of_loud.output().is_some() && of_loud.output() == of_loud.granted("a"));
    assert!(of_loud.granted("c").is_none());
}

#[test]
fn a_topic_tells_the_trigger_where_there_are_several() {
    let (_, stand_in) = stand_in().expect("good");
    let reads = |topics: &[&str]| {
        let topics = topics.iter().map(|&topic| topic.to_owned()).collect();
        Arc::new(Trigger { topics, ..stand_in.clone() })
    };
    let triggers = [reads(&["a", "b"]), reads(&["b", "c"])];
    let place = |topic: &str| reader(&triggers, topic).map(|found| Arc::ptr_eq(found, &triggers[1]));
    assert_eq!(["a", "b", "c", "d"].map(place), [Some(false), Some(false), Some(true), None]);
    assert!(reader(&triggers[..1], "d").is_some());
    assert_eq!(unread("f", &triggers, "d"), "no trigger of f reads the topic d; they read a, b, c");
}
