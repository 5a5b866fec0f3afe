use super::*;
use crate::record::OwnedRecord;
use crate::record::outcome::Cause;

fn back(line: RecordLine) -> (Option<String>, Option<i32>, Option<u32>, OwnedRecord) {
    let record = OwnedRecord {
        offset: line.offset.expect("written"),
        timestamp_ms: line.timestamp,
        key: line.key.0,
        value: line.value.0,
        headers: line.headers.into_iter().map(|pair| (pair.name, pair.value)).collect(),
    };
    (line.topic, line.partition, line.attempt, record)
}

#[track_caller]
fn check_round_trip(source: &OwnedRecord) {
    let text = record("orders", 3, 2, source);
    let line = RecordLine::read(text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(back(line), (Some("orders".to_owned()), Some(3), Some(2), source.clone()), "{text}");
}

#[track_caller]
fn value(text: &str) -> Option<Vec<u8>> {
    RecordLine::read(format!("{{\"value\": {text}}}").as_bytes()).expect("can be read").value.0
}

#[track_caller]
fn check_malformed(line: &[u8], column: usize, reason: &str) {
    let error = RecordLine::read(line).expect_err("malformed");
    assert!(error.reason.contains(reason), "{error}");
    assert_eq!(error.column, column, "{error}");
}

#[test]
fn every_byte_comes_back() {
    let every: Vec<u8> = (0..=255).collect();
    check_round_trip(&OwnedRecord::default());
    check_round_trip(&OwnedRecord { key: Some(Vec::new()), value: Some(Vec::new()), ..OwnedRecord::default() });
    check_round_trip(&OwnedRecord {
        offset: i64::MAX,
        timestamp_ms: Some(1_700_000_000_123),
        key: Some(every.clone()),
        value: Some("text \u{0} \u{7f} \u{2028} \u{1f600} \"quoted\" \\ \n".as_bytes().to_vec()),
        headers: vec![
            (b"name".to_vec(), Some(b"value".to_vec())),
            (b"name".to_vec(), None),
            (Vec::new(), Some(Vec::new())),
            (b"not \xff UTF-8 \xc3".to_vec(), Some(every)),
        ],
    });
}

#[test]
fn chance_comes_back_too() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut chance = fastrand::Rng::with_seed(seed);
    let mut bytes = |most: usize| {
        let length = chance.usize(..most);
        // Half of it ASCII, so that text and bytes meet.
        let byte = |chance: &mut fastrand::Rng| chance.u8(..) & if chance.bool() { 0x7f } else { 0xff };
        let bytes = (0..length).map(|_| byte(&mut chance)).collect::<Vec<u8>>();
        (!length.is_multiple_of(5)).then_some(bytes)
    };
    for offset in 0..2_000 {
        let headers = (0..offset % 4).map(|_| (bytes(6).unwrap_or_default(), bytes(9))).collect();
        check_round_trip(&OwnedRecord { offset, timestamp_ms: Some(offset), key: bytes(8), value: bytes(40), headers });
    }
}

#[test]
fn what_is_left_out_is_null_or_up_to_the_reader() {
    assert_eq!(RecordLine::read(b"{}\r\n"), Ok(RecordLine::default()));
    let line = RecordLine::read(br#" {"timestamp": null, "topic": null, "headers": []} "#).expect("can be read");
    assert_eq!(line, RecordLine::default());
}

#[test]
fn json_is_taken_as_it_stands() {
    assert_eq!(value(r#"{"json": {"b": 1.0, "a": [ 18446744073709551616 ]}}"#).as_deref(), {
        Some(&br#"{"b": 1.0, "a": [ 18446744073709551616 ]}"#[..])
    });
    assert_eq!(value(r#"{"json": null}"#).as_deref(), Some(&b"null"[..]));
    assert_eq!(value(r#"{"json": "text"}"#).as_deref(), Some(&b"\"text\""[..]));
}

#[test]
fn a_malformed_line_is_named_with_its_column() {
    check_malformed(b"hello", 1, "a record is an object");
    check_malformed(b" []", 2, "a record is an object");
    check_malformed(b"{} {}", 4, "trailing characters");
    check_malformed(br#"{"key": "a", "vaule": "b"}"#, 20, "unknown field `vaule`, expected one of `topic`");
    check_malformed(br#"{"key": "a""#, 11, "EOF");
    check_malformed(b"{\"key\": \"\xff\"}", 10, "not UTF-8");
    check_malformed(br#"{"value": 5}"#, 11, "expected a string, null, {\"json\": …}");
    check_malformed(br#"{"value": {"id": 5}}"#, 15, "{\"json\": {…}}");
    check_malformed(br#"{"value": {"json": 5, "base64": ""}}"#, 30, "nothing beside it");
    check_malformed(br#"{"value": {"base64": "*"}}"#, 25, "not base64");
    check_malformed(br#"{"headers": [["name"]]}"#, 21, "a header");
    check_malformed(br#"{"headers": [[null, "x"]]}"#, 24, "never null");
    check_malformed(br#"{"headers": {"a": "b"}}"#, 12, "sequence");
    check_malformed(br#"{"partition": -1}"#, 1, "a partition is not negative");
    check_malformed(br#"{"offset": -1}"#, 1, "an offset");
    check_malformed(br#"{"timestamp": -1}"#, 1, "a timestamp");
    check_malformed(br#"{"attempt": 0}"#, 1, "from 1");
    check_malformed(br#"{"attempt": 4294967296}"#, 22, "invalid value");
}

#[test]
fn a_message_is_written_as_it_is_produced() {
    let message = record::Message {
        topic: 0,
        partition: None,
        timestamp: Timestamp::Milliseconds(5),
        key: Some(b"k"),
        value: None,
        headers: 0..1,
        token: 0,
    };
    let addressed = record::Message {
        topic: 1,
        partition: Some(4),
        timestamp: Timestamp::Now,
        key: None,
        value: Some(b"\xff\x00"),
        ..message.clone()
    };
    let name = |place: usize| (place > 0).then(|| "audit".to_owned());
    let messages = [
        Message::of(&message, &[Header { name: b"h", value: None }], name),
        Message::of(&addressed, &[Header { name: b"n", value: Some(b"v") }], name),
    ];

    let at = Source { topic: "in", partition: 0, offset: 7 };
    let expected = concat!(
        r#"{"source":{"topic":"in","partition":0,"offset":7},"messages":["#,
        r#"{"timestamp":5,"key":"k","value":null,"headers":[["h",null]]},"#,
        r#"{"topic":"audit","partition":4,"timestamp":null,"key":null,"value":{"base64":"/wA="},"headers":[["n","v"]]}]}"#,
    );
    assert_eq!(outcome(at, Ok(&messages)), expected);
    let failed = outcome(at, Err(&Fault::new(Cause::Reject, "no \"order\"")));
    let expected =
        r#"{"source":{"topic":"in","partition":0,"offset":7},"failure":{"cause":"reject","reason":"no \"order\""}}"#;
    assert_eq!(failed, expected);
}
