use std::path::Path;

use super::*;
use crate::author::golden::sent::{HttpDifference, HttpUnlike};
use crate::record::outcome::{Cause, Timestamp};
use crate::tools::display::width;

fn case(text: &str) -> Case {
    Case::parse(Path::new("cases/vat.ndjson"), text.into()).unwrap_or_else(|broken| panic!("{broken}"))
}

fn value(value: impl Into<Vec<u8>>) -> Message {
    Message {
        topic: None,
        partition: None,
        timestamp: Timestamp::AsInSource,
        key: None,
        value: Some(value.into()),
        headers: Vec::new(),
    }
}

fn failed(cause: Cause, reason: &str) -> Answer {
    Err(Fault::new(cause, reason))
}

/// The verdict over a case that came to these answers.
fn judged(case: &Case, answers: Vec<Answer>) -> Verdict {
    assert_eq!(case.records().len(), answers.len());
    let output = Some("out".to_owned());
    let (mut differing, mut missing) = (Vec::new(), Vec::new());
    for (index, (record, answer)) in case.records().iter().zip(&answers).enumerate() {
        match &record.expected {
            None => missing.push(index),
            Some(expected) if expected.is_met(&record.record, output.as_deref(), answer) => {}
            Some(_) => differing.push(index),
        }
    }
    let places = (0..answers.len() as i64).map(|offset| Place { topic: "orders".into(), partition: 0, offset });
    Verdict { places: places.collect(), answers, output, differing, missing, http: HttpLeft::default() }
}

/// How a case is shown that came to these answers.
#[track_caller]
fn check(text: &str, answers: Vec<Answer>, expected: &[&str]) {
    let case = case(text);
    let shown = verdict(&case, &judged(&case, answers), Paint(false));
    assert!(shown.lines().all(|line| width(line) <= 80), "{shown}");
    assert_eq!(shown, expected.join("\n"));
}

/// The differences of a case of one record.
#[track_caller]
fn check_record(expected: &str, answer: Answer, differences: &[&str]) {
    let head = ["FAILED  vat                   1 of 1 record", "  cases/vat.ndjson:1  orders/0 @0"];
    check(&format!("{{}}\n{expected}\n"), vec![answer], &[&head[..], differences].concat());
}

#[test]
fn a_case_that_passes_is_a_line() {
    check("{}\n{\"messages\": []}", vec![Ok(Vec::new())], &["ok      vat                   1 record"]);
    let two = "{}\n{\"messages\": []}\n{}\n{\"failure\": {\"cause\": \"trap\"}}";
    let answers = vec![Ok(Vec::new()), failed(Cause::Trap, "somewhere")];
    check(two, answers, &["ok      vat                   2 records"]);
}

#[test]
fn the_place_within_a_long_value_is_shown() {
    let priced = |tax: u32, total: u32| {
        format!(
            r#"{{"id":"a1","amount":500,"quantity":1,"currency":"GBP","note":"as a gift","tax":{tax},"total":{total}}}"#
        )
    };
    let case = format!("{{}}\n{{\"messages\": [{{\"value\": {{\"json\": {}}}}}]}}\n", priced(100, 600));
    check(
        &case,
        vec![Ok(vec![value(priced(110, 610))])],
        &[
            "FAILED  vat                   1 of 1 record",
            "  cases/vat.ndjson:1  orders/0 @0",
            "    value, from byte 80",
            r#"      expected  …":1,"currency":"GBP","note":"as a gift","tax":100,"total":600}"#,
            r#"      got       …":1,"currency":"GBP","note":"as a gift","tax":110,"total":610}"#,
            "                                                                ^^^^^^^^^^^^^",
        ],
    );
}

#[test]
fn every_field_of_a_message_has_its_difference() {
    let expected = r#"{"messages": [{"key": "k", "value": "a\nb", "headers": [["trace", "x"]]}]}"#;
    let came = Message {
        topic: Some("audit".to_owned()),
        partition: Some(3),
        timestamp: Timestamp::Milliseconds(7),
        key: None,
        value: Some(b"a\\nb".to_vec()),
        headers: vec![(b"trace".to_vec(), Some(b"y".to_vec()))],
    };
    check_record(
        expected,
        Ok(vec![came]),
        &[
            "    topic",
            "      expected  (the trigger's output)",
            "      got       audit",
            "    partition",
            "      expected  (by key)",
            "      got       3",
            "    timestamp",
            "      expected  (that of the record, which has none)",
            "      got       7",
            "    key",
            "      expected  k",
            "      got       (null)",
            "    value, from byte 1",
            "      expected  a\\nb",
            "      got       a\\\\nb",
            "                 ^^^",
            "    headers, from byte 11",
            "      expected  [[\"trace\",\"x\"]]",
            "      got       [[\"trace\",\"y\"]]",
            "                           ^",
        ],
    );
}

#[test]
fn a_message_more_or_less_does_not_shift_the_others() {
    let expected = r#"{"messages": [{"value": "a"}, {"value": "c"}]}"#;
    check_record(
        expected,
        Ok(["a", "b", "c"].map(value).to_vec()),
        &["    message 2 was not expected", "      got       {\"value\":\"b\"}"],
    );
    check_record(expected, Ok(vec![value("c")]), &["    message 1 is missing", "      expected  {\"value\":\"a\"}"]);
    check_record(
        expected,
        Ok(["a", "d"].map(value).to_vec()),
        &["    message 2, value", "      expected  c", "      got       d", "                ^"],
    );
}

#[test]
fn failures_are_shown_with_their_reason() {
    let trace = "wasm trap: unreachable: thread '<unnamed>' panicked at src/lib.rs:27:5:\nindex out of bounds";
    check_record(
        r#"{"messages": [{"value": "a"}]}"#,
        failed(Cause::Trap, trace),
        &[
            "    outcome",
            "      expected  1 message: {\"value\":\"a\"}",
            "      got       trap: wasm trap: unreachable: thread '<unnamed>' panicked at",
            "                src/lib.rs:27:5:",
            "                index out of bounds",
        ],
    );
    check_record(
        r#"{"failure": {"cause": "trap"}}"#,
        Ok(Vec::new()),
        &["    outcome", "      expected  trap", "      got       no message"],
    );
    check_record(
        r#"{"failure": {"cause": "reject", "reason": "no such item: 7"}}"#,
        failed(Cause::Reject, "no such item: 8"),
        &[
            "    reason of the reject, from byte 14",
            "      expected  no such item: 7",
            "      got       no such item: 8",
            "                              ^",
        ],
    );
    check_record(
        r#"{"failure": {"cause": "reject", "reason": "no"}}"#,
        failed(Cause::Retry, "no"),
        &["    outcome", "      expected  reject: no", "      got       retry: no"],
    );
}

#[test]
fn what_has_no_expectation_is_said_once_and_long_lists_are_cut() {
    let text = "{}\n{\"messages\": []}\n{}\n{}\n{}\n";
    check(
        text,
        vec![Ok(Vec::new()), Ok(Vec::new()), Ok(Vec::new()), Ok(Vec::new())],
        &[
            "FAILED  vat                   3 of 4 records",
            "  cases/vat.ndjson:3  orders/0 @1",
            "    has no expectation, nor have 2 more records:",
            "    `tidegate test --update` writes them",
        ],
    );
    let case = case(&"{}\n{\"messages\": []}\n".repeat(14));
    let shown = verdict(&case, &judged(&case, vec![Ok(vec![value("x")]); 14]), Paint(false));
    assert_eq!(shown.matches("was not expected").count(), 10);
    assert!(shown.ends_with("\n  … 14 records differ in all"), "{shown}");
}

#[test]
fn what_does_not_fit_of_http_is_shown_with_what_to_write() {
    let at = "https://api.example.com/customers";
    let case =
        case(&format!("{{\"http\": \"GET {at}/7\", \"answer\": {{\"status\": 200}}}}\n{{}}\n{{\"messages\": []}}\n"));
    let request = |text: String| answers::HttpRequest::parse(&text).expect("a request");
    let fitting = judged(&case, vec![Ok(Vec::new())]);
    let unasked = Verdict { http: HttpLeft { answers: vec![0], ..HttpLeft::default() }, ..fitting };
    assert!(!unasked.passed() && !case.update(&unasked).expect("nothing is written"));
    let head = "FAILED  vat                   HTTP";
    let left = "  cases/vat.ndjson:1\n    nobody asked for GET https://api.example.com/customers/7";
    assert_eq!(verdict(&case, &unasked, Paint(false)), format!("{head}\n{left}"));

    let failed = judged(&case, vec![failed(Cause::Retry, "no answer")]);
    let requests = vec![request(format!("GET {at}/8")), request(format!("POST {at}?a=b"))];
    let both =
        Verdict { http: HttpLeft { answers: vec![0], requests, request_count: 2, ..HttpLeft::default() }, ..failed };
    let expected = [
        "FAILED  vat                   1 of 1 record, HTTP",
        "  cases/vat.ndjson:2  orders/0 @0",
        "    outcome",
        "      expected  no message",
        "      got       retry: no answer",
        "  2 requests have no answer; write one for each into the file, such as",
        "    {\"http\": \"GET https://api.example.com/customers/8\", \"answer\": {\"status\": 200, \"body\": \"\"}}",
        "    {\"http\": \"POST https://api.example.com/customers?a=b\", \"answer\": {\"status\": 200, \"body\": \"\"}}",
        left,
    ];
    assert_eq!(verdict(&case, &both, Paint(false)), expected.join("\n"));

    let many =
        HttpLeft { requests: vec![request(format!("GET {at}/8")); 100], request_count: 250, ..HttpLeft::default() };
    let shown = verdict(&case, &Verdict { http: many, ..both }, Paint(false));
    assert_eq!(shown.matches("customers/8").count(), 10);
    assert!(
        shown.contains("  250 requests have no answer") && shown.ends_with("\n    … 250 requests in all"),
        "{shown}"
    );
}

#[test]
fn requests_that_were_sent_otherwise_are_shown() {
    let at = "https://api.example.com/customers";
    let case =
        case(&format!("{{}}\n{{\"messages\": []}}\n{{\"http\": \"PUT {at}/7\", \"answer\": {{\"status\": 200}}}}\n"));
    let values = |values: &[&str]| values.iter().map(|value| Vec::from(value.as_bytes())).collect();
    let header =
        HttpDifference::Header { name: "x".to_owned(), expected: values(&["a", "b"]), came: values(&["a\tc"]) };
    let body = HttpDifference::Body { expected: "a".into(), came: "".into() };
    let unlike = HttpUnlike { answer: 0, differences: vec![header, body, HttpDifference::Unfinished] };
    let http = HttpLeft { unlike: vec![unlike], unlike_count: 12, ..HttpLeft::default() };
    let verdict = Verdict { http, ..judged(&case, vec![Ok(Vec::new())]) };
    assert!(!verdict.passed() && !verdict.http_fits());
    let expected = [
        "FAILED  vat                   HTTP",
        "  cases/vat.ndjson:3",
        "    PUT https://api.example.com/customers/7 was sent otherwise",
        "    header x of the request",
        "      expected  [\"a\",\"b\"]",
        "      got       a\\tc",
        "    body of the request",
        "      expected  a",
        "      got",
        "                ^",
        "    request",
        "      expected  all of it",
        "      got       a part of it: it was ended before",
        "  … 12 requests were sent otherwise in all",
    ];
    assert_eq!(super::verdict(&case, &verdict, Paint(false)), expected.join("\n"));
}

#[test]
fn colours_change_no_letter() {
    let case = case("{}\n{\"messages\": [{\"value\": \"abc\"}]}\n");
    let judged = judged(&case, vec![Ok(vec![value("axc")])]);
    let coloured = verdict(&case, &judged, Paint(true));
    assert!(coloured.contains("a\x1b[32mb\x1b[0mc") && coloured.contains("a\x1b[31mx\x1b[0mc"), "{coloured:?}");
    let plain =
        ["\x1b[32m", "\x1b[31m", "\x1b[1m", "\x1b[0m"].iter().fold(coloured, |text, code| text.replace(code, ""));
    assert_eq!(plain, verdict(&case, &judged, Paint(false)));
}

/// What came, written as what is expected, is met by it, whatever it is.
#[test]
fn an_update_makes_a_case_pass() {
    let mut chance = fastrand::Rng::with_seed(11);
    for _ in 0..500 {
        let mut bytes = || -> Option<Vec<u8>> {
            let pool: [&[u8]; 8] = [b"", b"{\"a\": 1}", b"[]", b"\xff", b"\n", b"text", "é".as_bytes(), b"{\"a\":\n1}"];
            (chance.u8(..4) > 0).then(|| pool[chance.usize(..pool.len())].to_vec())
        };
        let message = |bytes: &mut dyn FnMut() -> Option<Vec<u8>>| Message {
            topic: bytes().and_then(|topic| String::from_utf8(topic).ok()).filter(|topic| topic == "text"),
            partition: bytes().map(|bytes| bytes.len() as i32),
            timestamp: match bytes().map(|bytes| bytes.len() as i64) {
                None => Timestamp::AsInSource,
                Some(0) => Timestamp::Now,
                Some(milliseconds) => Timestamp::Milliseconds(milliseconds),
            },
            key: bytes(),
            value: bytes(),
            headers: [(bytes().unwrap_or_default(), bytes())].to_vec(),
        };
        let answers = vec![
            Ok(vec![message(&mut bytes), message(&mut bytes)]),
            failed(Cause::Reject, &String::from_utf8_lossy(&bytes().unwrap_or_default())),
            failed(Cause::Memory, "much"),
            Ok(vec![message(&mut bytes)]),
        ];
        let text = "{\"key\": \"text\", \"value\": {\"json\": []}}\n{}\n{\"messages\": []}\n{}\n{\"value\": \"text\"}";
        let first = case(text);
        let verdict = judged(&first, answers.clone());
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("vat.ndjson");
        std::fs::write(&path, text).expect("written");
        let read = Case::read(&path).expect("good");
        assert!(read.update(&verdict).expect("written"));
        let updated = Case::read(&path).expect("still good");
        let again = judged(&updated, answers);
        assert!(again.passed(), "{}", std::fs::read_to_string(&path).expect("a text"));
        assert!(!updated.update(&again).expect("nothing to write"));
    }
}
