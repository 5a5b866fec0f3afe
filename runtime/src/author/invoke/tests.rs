use super::*;

#[test]
fn the_stand_in_is_a_good_manifest() {
    let (function, trigger) = stand_in().expect("good");
    assert_eq!((function.deadline.as_secs(), trigger.batch.records.get()), (1, 500));
}

#[test]
fn a_record_without_an_offset_gets_the_next_one() {
    let (mut offsets, orders, users) = (Offsets::default(), Arc::from("orders"), Arc::from("users"));
    let mut next =
        |topic, partition, given| offsets.next(topic, partition, given, 7).map_err(|error| error.to_string());
    assert_eq!(next(&orders, 0, None), Ok(7), "the first one of the flags");
    assert_eq!(next(&orders, 0, None), Ok(8));
    assert_eq!(next(&orders, 1, Some(3)), Ok(3), "each partition has its own");
    assert_eq!(next(&users, 0, None), Ok(7));
    assert_eq!(next(&orders, 0, Some(20)), Ok(20));
    assert_eq!(next(&orders, 0, None), Ok(21));
    let behind = "offset 21 of orders/0 stands behind 21: offsets of a partition ascend";
    assert_eq!(next(&orders, 0, Some(21)), Err(behind.to_owned()));
    assert_eq!(next(&orders, 0, Some(i64::MAX - 1)), Ok(i64::MAX - 1));
    let beyond = "orders/0 has no offset 9223372036854775807: the last one is below it";
    assert_eq!(next(&orders, 0, None), Err(beyond.to_owned()));
}

#[test]
fn topics_are_those_of_one_trigger() {
    let asked = ["asked".to_owned()];
    let (_, stand_in) = stand_in().expect("good");
    let topics = |trigger: &Trigger, allowed: &[String]| offline::trigger(trigger, allowed).1;
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
