//! What crosses the boundary, byte for byte.

use crate::bindings::tidegate::function::types as wire;
use crate::{Batch, Error, Function, Message, MessageHeader, Outcome, Record, function::handle, testing};

fn column(values: &[Option<&[u8]>]) -> wire::Column {
    let len = |value: &Option<&[u8]>| value.map_or(-1, |bytes| i32::try_from(bytes.len()).expect("short"));
    let data = values.iter().flat_map(|value| value.unwrap_or_default()).copied().collect();
    wire::Column { lens: values.iter().map(len).collect(), data }
}

/// Four records: null, empty and binary keys and values, and headers of which names repeat, are
/// empty and are not UTF-8.
fn batch() -> wire::Batch {
    wire::Batch {
        topic: "orders".to_owned(),
        partition: 3,
        offsets: vec![10, 11, 20, 21],
        timestamps: vec![1_000, -1, 3_000, 0],
        attempts: vec![1, 2, 3, 4],
        keys: column(&[None, Some(b""), Some(b"\xff\x00"), Some(b"k")]),
        values: column(&[Some(b"first"), None, Some(b""), Some(b"\x00\xfe")]),
        headers: wire::Headers {
            counts: vec![0, 2, 0, 3],
            names: column(&[Some(b"a"), Some(b"a"), Some(b"\xff\xfe"), Some(b""), Some(b"z")]),
            values: column(&[Some(b"1"), None, Some(b""), Some(b"\x00"), Some(b"end")]),
        },
    }
}

/// Calls a plain function with the batch above.
macro_rules! outcome_of {
    (|$batch:ident, $outcome:ident| $body:expr) => {{
        struct Tested;
        impl Function for Tested {
            fn call($batch: Batch<'_>, $outcome: &mut Outcome) {
                $body;
            }
        }
        handle::<Tested>(batch())
    }};
}

fn nth(batch: Batch<'_>, index: usize) -> Record<'_> {
    batch.get(index).expect("the record is there")
}

type Headers<'a> = Vec<(&'a [u8], Option<&'a [u8]>)>;

#[test]
fn records_are_what_came_byte_for_byte() {
    outcome_of!(|batch, _outcome| {
        let keys: Vec<_> = batch.iter().map(Record::key).collect();
        assert_eq!(keys, [None, Some(&b""[..]), Some(b"\xff\x00"), Some(b"k")]);
        let values: Vec<_> = batch.iter().map(Record::value).collect();
        assert_eq!(values, [Some(&b"first"[..]), None, Some(b""), Some(b"\x00\xfe")]);

        let headers = |index| -> Headers<'_> { nth(batch, index).headers().map(|h| (h.name, h.value)).collect() };
        assert_eq!(headers(0), []);
        assert_eq!(headers(1), [(&b"a"[..], Some(&b"1"[..])), (b"a", None)]);
        assert_eq!(headers(2), []);
        assert_eq!(headers(3), [(&b"\xff\xfe"[..], Some(&b""[..])), (b"", Some(b"\x00")), (b"z", Some(b"end"))]);

        let first = nth(batch, 1).header("a").map(|header| header.value);
        assert_eq!(first, Some(Some(&b"1"[..])));
        assert_eq!(nth(batch, 3).header(b"\xff\xfe").map(|header| header.value), Some(Some(&b""[..])));
        assert_eq!(nth(batch, 0).header("a"), None);
    });
}

#[test]
fn records_know_their_coordinates() {
    outcome_of!(|batch, _outcome| {
        assert_eq!((batch.len(), batch.topic(), batch.partition()), (4, "orders", 3));
        let offsets: Vec<_> = batch.iter().map(Record::offset).collect();
        assert_eq!(offsets, [10, 11, 20, 21]);
        let timestamps: Vec<_> = batch.iter().map(Record::timestamp).collect();
        assert_eq!(timestamps, [Some(1_000), None, Some(3_000), Some(0)]);
        let attempts: Vec<_> = batch.iter().map(Record::attempt).collect();
        assert_eq!(attempts, [1, 2, 3, 4]);
        assert_eq!((nth(batch, 2).topic(), nth(batch, 2).partition()), ("orders", 3));
        assert!(batch.get(4).is_none());
        assert_eq!(batch.iter().rev().map(Record::index).collect::<Vec<_>>(), [3, 2, 1, 0]);
    });
}

#[test]
fn what_is_as_in_the_source_is_not_sent() {
    let outcome = outcome_of!(|batch, outcome| for record in batch {
        outcome.emit(record, record.forward());
    });
    assert_eq!(outcome.sources, [0, 1, 2, 3]);
    assert_eq!((outcome.partitions, outcome.timestamps), (vec![], vec![]));
    for column in [outcome.topics, outcome.keys, outcome.values, outcome.headers.names, outcome.headers.values] {
        assert_eq!((column.lens, column.data), (vec![], vec![]));
    }
    assert!(outcome.headers.counts.is_empty());
    assert!(outcome.failures.is_empty());
}

#[test]
fn a_column_appears_with_the_first_message_that_differs() {
    let outcome = outcome_of!(|batch, outcome| {
        let message = |index| nth(batch, index).forward();
        outcome.emit(nth(batch, 0), message(0));
        outcome.emit(nth(batch, 1), message(1).with_value("new").with_key(b"\xff\x00"));
        outcome.emit(nth(batch, 2), message(2).without_value().with_topic("other").with_partition(7));
        outcome.emit(nth(batch, 3), message(3).with_value("").with_timestamp(5).without_key());
    });
    assert_eq!(outcome.values.lens, [-2, 3, -1, 0]);
    assert_eq!(outcome.values.data, b"new");
    assert_eq!(outcome.keys.lens, [-2, 2, -2, -1]);
    assert_eq!(outcome.keys.data, b"\xff\x00");
    assert_eq!(outcome.topics.lens, [-1, -1, 5, -1]);
    assert_eq!(outcome.topics.data, b"other");
    assert_eq!(outcome.partitions, [-1, -1, 7, -1]);
    assert_eq!(outcome.timestamps, [-2, -2, -2, 5]);
    assert!(outcome.headers.counts.is_empty());
}

#[test]
fn the_empty_topic_is_the_output_of_the_trigger() {
    let outcome = outcome_of!(|batch, outcome| {
        outcome.emit(nth(batch, 0), nth(batch, 0).forward().with_topic("other"));
        outcome.emit(nth(batch, 1), nth(batch, 1).forward().with_topic("other").with_topic(""));
    });
    assert_eq!((outcome.topics.lens, outcome.topics.data), (vec![5, -1], b"other".to_vec()));
}

#[test]
fn headers_are_added_behind_those_of_the_source_or_replace_them() {
    let outcome = outcome_of!(|batch, outcome| {
        let emit = |outcome: &mut Outcome, message| outcome.emit(nth(batch, 3), message);
        emit(outcome, nth(batch, 3).forward());
        emit(outcome, nth(batch, 3).forward().add_header("x", "1").add_header("x", None::<&str>));
        emit(outcome, nth(batch, 3).forward().without_headers().add_header("y", ""));
        emit(outcome, nth(batch, 3).forward().with_headers(nth(batch, 1).headers()));
        emit(outcome, nth(batch, 3).forward().without_headers());
    });
    assert_eq!(outcome.sources, [3; 5]);
    assert_eq!(outcome.headers.counts, [-2, 5, 1, 2, 0]);
    assert_eq!(outcome.headers.names.lens, [2, 0, 1, 1, 1, 1, 1, 1]);
    assert_eq!(outcome.headers.names.data, b"\xff\xfezxxyaa");
    assert_eq!(outcome.headers.values.lens, [0, 1, 3, 1, -1, 0, 1, -1]);
    assert_eq!(outcome.headers.values.data, b"\x00end11");
    assert!(outcome.values.lens.is_empty());
}

#[test]
fn headers_are_made_of_what_a_function_has_at_hand() {
    let outcome = outcome_of!(|batch, outcome| {
        let record = nth(batch, 1);
        let owned: Vec<(String, Vec<u8>)> = vec![("x".to_owned(), b"1".to_vec()), ("y".to_owned(), vec![])];
        outcome.emit(record, record.forward().with_headers(owned));
        outcome.emit(record, record.forward().with_headers([("x", None), ("y", Some("2"))]));
        outcome.emit(record, record.forward().with_headers(record.headers().map(|h| (h.name.to_vec(), h.value))));
        let name: &[u8] = b"\xff";
        outcome.emit(record, record.forward().without_headers().add_header(name, b"\xfe").add_header(vec![0], "3"));
        let both = record.headers().map(MessageHeader::from).chain([("z", format!("{}", 4)).into()]);
        outcome.emit(record, record.forward().with_headers(both));
    });
    assert_eq!(outcome.headers.counts, [2, 2, 2, 2, 3]);
    assert_eq!(outcome.headers.names.data, b"xyxyaa\xff\x00aaz");
    assert_eq!(outcome.headers.values.lens, [1, 0, -1, 1, 1, -1, 1, 1, 1, -1, 1]);
    assert_eq!(outcome.headers.values.data, b"121\xfe314");
}

#[test]
fn numbers_that_mean_something_else_cannot_slip_through() {
    let outcome = outcome_of!(|batch, outcome| {
        let forward = || nth(batch, 0).forward();
        outcome.emit(nth(batch, 0), forward().with_timestamp(-2).with_partition(-2));
        outcome.emit(nth(batch, 0), forward().without_timestamp().with_partition(0));
    });
    assert_eq!(outcome.timestamps, [-1, -1]);
    assert_eq!(outcome.partitions, [-1, 0]);
}

#[test]
fn messages_emitted_out_of_order_are_put_in_the_order_of_their_records() {
    let outcome = outcome_of!(|batch, outcome| {
        outcome.emit(nth(batch, 3), Message::new("d0").add_header("h", "last"));
        outcome.emit(nth(batch, 1), Message::new("b0").with_topic("t"));
        outcome.emit(nth(batch, 3), nth(batch, 3).forward().with_partition(1));
        outcome.emit(nth(batch, 1), Message::new(None::<&str>).without_headers().add_header("n", "v"));
        outcome.emit(nth(batch, 0), nth(batch, 0).forward().with_timestamp(9));
    });
    assert_eq!(outcome.sources, [0, 1, 1, 3, 3]);
    assert_eq!(outcome.values.lens, [-2, 2, -1, 2, -2]);
    assert_eq!(outcome.values.data, b"b0d0");
    assert_eq!(outcome.topics.lens, [-1, 1, -1, -1, -1]);
    assert_eq!(outcome.partitions, [-1, -1, -1, -1, 1]);
    assert_eq!(outcome.timestamps, [9, -2, -2, -2, -2]);
    assert_eq!(outcome.headers.counts, [-2, -2, 1, 4, -2]);
    assert_eq!(outcome.headers.names.data, b"n\xff\xfezh");
    assert_eq!(outcome.headers.values.lens, [1, 0, 1, 3, 4]);
    assert_eq!(outcome.headers.values.data, b"v\x00endlast");
    assert!(outcome.keys.lens.is_empty());
}

#[test]
fn a_message_of_one_record_emitted_for_another_keeps_what_it_had() {
    let outcome = outcome_of!(|batch, outcome| {
        outcome.emit(nth(batch, 0), nth(batch, 3).forward().add_header("x", "1"));
        outcome.emit(nth(batch, 1), nth(batch, 0).with_value("v"));
        // Made from no record: as in the one it is emitted for.
        outcome.emit(nth(batch, 2), Message::new("v"));
    });
    assert_eq!(outcome.sources, [0, 1, 2]);
    assert_eq!(outcome.keys.lens, [1, -1, -2]);
    assert_eq!(outcome.keys.data, b"k");
    assert_eq!(outcome.values.lens, [2, 1, 1]);
    assert_eq!(outcome.values.data, b"\x00\xfevv");
    assert_eq!(outcome.timestamps, [0, 1_000, -2]);
    assert_eq!(outcome.headers.counts, [4, 0, -2]);
    assert_eq!(outcome.headers.names.data, b"\xff\xfezx");
}

#[test]
fn a_record_fails_once_with_its_first_error() {
    let outcome = outcome_of!(|batch, outcome| {
        outcome.fail(nth(batch, 2), Error::reject("first"));
        outcome.fail(nth(batch, 0), Error::retry("later"));
        outcome.fail(nth(batch, 2), Error::retry("second"));
    });
    let failures: Vec<_> = outcome.failures.iter().map(|f| (f.source, f.kind, f.reason.as_str())).collect();
    assert_eq!(failures, [(0, wire::FailureKind::Retry, "later"), (2, wire::FailureKind::Reject, "first")]);
}

#[test]
fn text_says_what_is_wrong_with_it() {
    let null = testing::Record::new();
    assert_eq!(null.view().value_str(), Err(Error::reject("the value is null, not text")));
    let binary = testing::Record::new().key(b"ab\xff").header("h", b"\xff");
    let expected = "the key is not text: invalid utf-8 sequence of 1 bytes from index 2";
    assert_eq!(binary.view().key_str(), Err(Error::reject(expected)));
    let header = binary.view().header("h").expect("the header is there");
    let expected = "the header `h` is not text: invalid utf-8 sequence of 1 bytes from index 0";
    assert_eq!(header.value_str(), Err(Error::reject(expected)));
}

#[test]
fn an_error_gives_the_reasons_of_its_sources() {
    #[derive(Debug)]
    struct Outer(std::io::Error);
    impl std::fmt::Display for Outer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("no answer from the price list")
        }
    }
    impl std::error::Error for Outer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }
    let error = || Outer(std::io::Error::other("connection refused"));
    let expected = "no answer from the price list: connection refused";
    assert_eq!(Error::from(error()), Error::retry(expected));
    assert_eq!(crate::OrReject::or_reject(Err::<(), _>(error())), Err(Error::reject(expected)));
}
