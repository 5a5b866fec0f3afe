use super::*;

fn topics() -> Topics {
    Topics::new(Some("out"), &["audit".to_owned()], Some("dead"))
}

fn column(lens: &[i32], data: &[u8]) -> Column {
    Column { lens: lens.to_vec(), data: data.to_vec() }
}

fn fault(outcome: Outcome) -> String {
    let fault = outcome.check(3, &topics()).expect_err("breaks a rule");
    assert_eq!(fault.cause, Cause::BadOutcome);
    fault.reason
}

#[test]
fn only_sources_means_all_as_in_the_source() {
    let outcome = Outcome { sources: vec![0, 2], ..Outcome::default() };
    let checked = outcome.check(3, &topics()).expect("keeps the contract");
    let messages: Vec<_> = checked.messages().collect();
    assert_eq!(messages.len(), 2);
    assert_eq!((messages[1].source, messages[1].topic, messages[1].partition), (2, 0, None));
    assert_eq!(messages[1].key, Field::AsInSource);
    assert_eq!(messages[1].timestamp, Timestamp::AsInSource);
    assert!(matches!(messages[1].headers, Headers::AsInSource));
}

#[test]
fn every_field_is_read_from_its_place() {
    let outcome = Outcome {
        sources: vec![0, 1, 1],
        topics: column(&[-1, 5, -1], b"audit"),
        partitions: vec![-1, 7, -1],
        timestamps: vec![-2, -1, 5],
        keys: column(&[1, -2, -1], b"k"),
        values: column(&[0, 2, 3], b"aabbb"),
        headers: HeaderColumns {
            counts: vec![1, -2, 2],
            names: column(&[1, 2, 0], b"xyz"),
            values: column(&[-1, 0, 4], b"last"),
        },
        failures: vec![(2, Fault::new(Cause::Retry, "later"))],
    };
    let checked = outcome.check(3, &topics()).expect("keeps the contract");
    let messages: Vec<_> = checked.messages().collect();
    assert_eq!(messages.iter().map(|message| message.topic).collect::<Vec<_>>(), [0, 1, 0]);
    assert_eq!(messages.iter().map(|message| message.partition).collect::<Vec<_>>(), [None, Some(7), None]);
    assert_eq!(messages[0].key, Field::Bytes(b"k"));
    assert_eq!((messages[2].key, messages[2].value), (Field::Null, Field::Bytes(b"bbb")));
    assert_eq!(messages[0].value, Field::Bytes(b""));
    assert_eq!((messages[1].timestamp, messages[2].timestamp), (Timestamp::Now, Timestamp::Milliseconds(5)));
    let headers = |message: &OutcomeMessage<'_>| match message.headers {
        Headers::Own(run) => {
            Some(run.map(|header| (header.name.to_vec(), header.value.map(<[u8]>::to_vec))).collect::<Vec<_>>())
        }
        Headers::AsInSource => None,
    };
    assert_eq!(headers(&messages[0]), Some(vec![(b"x".to_vec(), None)]));
    assert_eq!(headers(&messages[1]), None);
    assert_eq!(headers(&messages[2]), Some(vec![(b"yz".to_vec(), Some(vec![])), (vec![], Some(b"last".to_vec()))]));
}

#[test]
fn what_breaks_the_contract_is_named() {
    let one = || Outcome { sources: vec![0], ..Outcome::default() };
    let failure = |source| (source, Fault::new(Cause::Retry, ""));
    for (outcome, reason) in [
        (Outcome { sources: vec![1, 0], ..one() }, "sources do not ascend"),
        (Outcome { sources: vec![3], ..one() }, "source 3 is not in the batch"),
        (Outcome { partitions: vec![1, 2], ..one() }, "2 partitions for 1 message"),
        (Outcome { partitions: vec![-2], ..one() }, "partition -2"),
        (Outcome { timestamps: vec![-3], ..one() }, "timestamp -3"),
        (Outcome { keys: column(&[2], b"x"), ..one() }, "the lengths of keys add up to 2"),
        (Outcome { values: column(&[-3], b""), ..one() }, "a length of -3 in values"),
        (Outcome { values: column(&[], b"x"), ..one() }, "the lengths of values add up to 0"),
        (Outcome { topics: column(&[-2], b""), ..one() }, "a length of -2 in topics"),
        (Outcome { topics: column(&[4], b"dead"), ..one() }, "topic \"dead\" is not among"),
        (Outcome { topics: column(&[1], b"\xff"), ..one() }, "is not among"),
        (Outcome { failures: vec![failure(3)], ..one() }, "failure of record 3"),
        (Outcome { failures: vec![failure(1), failure(1)], ..one() }, "two failures of record 1"),
        (
            Outcome { headers: HeaderColumns { counts: vec![1], ..HeaderColumns::default() }, ..one() },
            "1 header counted, but there are 0 names",
        ),
        (
            Outcome { headers: HeaderColumns { counts: vec![-1], ..HeaderColumns::default() }, ..one() },
            "a header count of -1",
        ),
    ] {
        let found = fault(outcome);
        assert!(found.contains(reason), "{found:?} does not say {reason:?}");
    }
}

#[test]
fn a_trigger_without_output_takes_no_unaddressed_message() {
    let topics = Topics::new(None, &["audit".to_owned()], None);
    let outcome = Outcome { sources: vec![0], ..Outcome::default() };
    assert!(outcome.clone().check(1, &topics).is_err());
    let addressed = Outcome { topics: column(&[5], b"audit"), ..outcome };
    assert_eq!(addressed.check(1, &topics).expect("addressed").messages().next().map(|m| m.topic), Some(0));
}

#[test]
fn random_outcomes_are_checked_without_panicking() {
    let mut rng = fastrand::Rng::with_seed(11);
    let mut accepted = 0;
    for _ in 0..50_000 {
        let mut lens = |entries: usize| -> Vec<i32> { (0..rng.usize(..entries + 2)).map(|_| rng.i32(-3..4)).collect() };
        let (keys, values, counts, names) = (lens(2), lens(2), lens(2), lens(2));
        let mut data = |lens: &[i32]| {
            vec![0; lens.iter().map(|&length| length.max(0) as usize).sum::<usize>() + usize::from(rng.u8(..8) == 0)]
        };
        let outcome = Outcome {
            keys: Column { data: data(&keys), lens: keys },
            values: Column { data: data(&values), lens: values },
            headers: HeaderColumns {
                counts,
                values: column(&vec![-1; names.len()], b""),
                names: Column { data: data(&names), lens: names },
            },
            sources: (0..rng.usize(..3)).map(|_| rng.u32(..4)).collect(),
            ..Outcome::default()
        };
        if let Ok(checked) = outcome.check(3, &topics()) {
            accepted += checked
                .messages()
                .map(|message| match message.headers {
                    Headers::Own(run) => run.count() + 1,
                    Headers::AsInSource => 1,
                })
                .sum::<usize>();
        }
    }
    assert!(accepted > 100, "the test reaches what is accepted: {accepted}");
}
