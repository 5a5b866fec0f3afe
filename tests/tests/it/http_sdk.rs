//! HTTP, async functions and logs as the Rust SDK gives them to authors, through the real engine.

use serde_json::{Value, json};
use tidegate_tests::http::Server;
use tidegate_tests::net;

use crate::invoke::{Answered, Asked};

/// `ok VALUE` for each record, or cause and reason.
fn told(answered: &Answered) -> Vec<String> {
    let text = |outcome: &Value| {
        let failure = &outcome["failure"];
        match outcome["messages"][0]["value"].as_str() {
            Some(value) => format!("ok {value}"),
            None => format!("{} {}", failure["cause"].as_str().unwrap_or_default(), failure["reason"]),
        }
    };
    answered.outcomes.iter().map(text).collect()
}

/// Where a record began and ended, in the order of all of them.
fn span(answered: &Answered, record: usize) -> (usize, usize) {
    let headers = &answered.outcomes[record]["messages"][0]["headers"];
    let place = |index: usize| headers[index][1].as_str().and_then(|place| place.parse().ok());
    place(0).zip(place(1)).unwrap_or_else(|| panic!("no places: {}", answered.outcomes[record]))
}

/// Calls the function once, with these keys and questions.
#[track_caller]
fn call(keys: &str, questions: &[(Option<&str>, Value)]) -> Answered {
    call_and_log("info", keys, questions)
}

/// The same, with what this filter lets into the log.
#[track_caller]
fn call_and_log(filter: &str, keys: &str, questions: &[(Option<&str>, Value)]) -> Answered {
    let record = |(key, question): &(Option<&str>, Value)| {
        let mut record = json!({ "value": question.to_string() });
        if let Some(key) = key {
            record["key"] = json!(key);
        }
        record
    };
    let asked = Asked { component: "http-sdk", keys, environment: &[("RUST_LOG", filter)], ..Asked::default() };
    asked.records(questions.iter().map(record))
}

/// Calls it with records without a key, and compares what came of each with how it should begin.
#[track_caller]
fn check(settings: &str, expected: &[(Value, String)]) {
    let questions: Vec<_> = expected.iter().map(|(question, _)| (None, question.clone())).collect();
    let answered = call(settings, &questions);
    for ((question, expected), text) in expected.iter().zip(told(&answered)) {
        assert!(text.starts_with(expected), "{question}: {text:?}, not {expected:?}\n{}", answered.log);
    }
}

fn allow(hosts: &[&String]) -> String {
    format!("allow-hosts = {}\n", json!(hosts))
}

#[test]
fn a_function_asks_in_a_few_lines() {
    let server = Server::start();
    let at = server.origin();
    let expected = [
        (json!({ "get": format!("{at}/hello") }), "ok 200 hello".to_owned()),
        (json!({ "post": format!("{at}/echo"), "json": { "id": [1, 2] } }), r#"ok 200 {"id":[1,2]}"#.to_owned()),
        (json!({ "post": format!("{at}/echo"), "json": "" }), r#"ok 200 """#.to_owned()),
        (json!({ "bytes": format!("{at}/echo"), "count": 1_000_000 }), format!("ok 200 {}", "x".repeat(40))),
        (json!({ "bytes": format!("{at}/echo"), "count": 0 }), "ok 200 ".to_owned()),
        (json!({ "get": format!("{at}/chunks/1000") }), "ok 200 xxxx".to_owned()),
        (json!({ "get": format!("{at}/status/204") }), "ok 204 ".to_owned()),
        (json!({ "within": format!("{at}/hello"), "ms": 60_000 }), "ok 200 hello".to_owned()),
    ];
    check(&allow(&[&at]), &expected);
}

/// The server takes no more of the body while nobody reads its answer.
#[test]
fn an_answer_is_read_while_the_body_is_sent() {
    let server = Server::start();
    let at = server.origin();
    let question = json!({ "bytes": format!("{at}/through"), "count": 40_000_000 });
    let keys = format!("{}http = {{ max-request = \"64MiB\", max-response = \"64MiB\" }}\n", allow(&[&at]));
    check(&format!("{keys}memory = \"512MiB\""), &[(question, format!("ok 200 {}", "x".repeat(40)))]);
}

#[test]
fn a_status_is_an_error_where_the_function_says_so() {
    let server = Server::start();
    let at = server.origin();
    let checked = |status: u16| json!({ "checked": format!("{at}/status/{status}") });
    let expected = [
        (json!({ "get": format!("{at}/status/500") }), "ok 500 ".to_owned()),
        (json!({ "get": format!("{at}/status/404") }), "ok 404 ".to_owned()),
        (checked(200), "ok 200 ".to_owned()),
        (checked(404), format!(r#"reject "GET {at}: the answer is 404 Not Found""#)),
        (checked(500), format!(r#"retry "GET {at}: the answer is 500 Internal Server Error""#)),
        (checked(429), format!(r#"retry "GET {at}: the answer is 429 Too Many Requests""#)),
        (json!({ "checked": format!("{at}/to?{at}/hello") }), format!(r#"retry "GET {at}: the answer is 302 Found""#)),
    ];
    check(&allow(&[&at]), &expected);
}

#[test]
fn why_there_is_no_answer_is_told() {
    let (server, other) = (Server::start(), Server::start());
    let (at, elsewhere) = (server.origin(), other.origin());
    let closed = format!("http://127.0.0.1:{}", net::free_port());
    let denied = format!(
        r#"GET {elsewhere}: the manifest does not allow it; to allow it, write allow-hosts = [\"{elsewhere}\"]"#
    );
    let late = "it took longer than the timeout of the request";
    let expected = [
        (json!({ "get": format!("{elsewhere}/hello?secret") }), format!("retry \"{denied}\"")),
        (json!({ "rejected": format!("{elsewhere}/hello") }), format!("reject \"{denied}\"")),
        (json!({ "get": format!("{closed}/") }), format!(r#"retry "GET {closed}: the connection was refused""#)),
        (
            json!({ "with": "connection", "url": format!("{at}/hello") }),
            format!(r#"retry "GET {at}: it has a header that is the runtime's to set"#),
        ),
        (json!({ "with": "x-any", "url": format!("{at}/hello") }), "ok 200 hello".to_owned()),
        (json!({ "headed": format!("{at}/hello"), "count": 30_000 }), "ok 200 hello".to_owned()),
        (
            json!({ "headed": format!("{at}/hello"), "count": 32_768 }),
            format!(r#"retry "GET {at}: its headers are larger than 32 KiB"#),
        ),
        (json!({ "get": format!("{at}/{}", "x".repeat(16_384)) }), format!(r#"retry "GET {at}: the URL cannot"#)),
        (json!({ "get": "/hello" }), r#"retry "GET: the URL does not start with"#.to_owned()),
        (json!({ "get": format!("{at}/short") }), format!(r#"retry "GET {at}: the connection ended too early""#)),
        (
            json!({ "get": format!("{at}/bytes/20000") }),
            format!(r#"retry "GET {at}: the body of the answer is larger"#),
        ),
        (json!({ "get": format!("{at}/endless") }), format!(r#"retry "GET {at}: the body of the answer is larger"#)),
        (
            json!({ "bytes": format!("{at}/echo"), "count": 20_000 }),
            format!(r#"retry "POST {at}: the body of the request"#),
        ),
        (json!({ "within": format!("{at}/never"), "ms": 200 }), format!(r#"retry "GET {at}: {late}""#)),
        (json!({ "within": format!("{at}/stall"), "ms": 200 }), format!(r#"retry "GET {at}: {late}""#)),
        (json!({ "within": format!("{at}/trickle"), "ms": 200 }), format!(r#"retry "GET {at}: {late}""#)),
        (json!({ "get": format!("{at}/never") }), format!(r#"retry "GET {at}: the host was silent for too long""#)),
        (json!({ "get": format!("{at}/trickle") }), format!(r#"retry "GET {at}: it took longer than http.timeout""#)),
    ];
    let limits = r#"max-request = "10KiB", max-response = "10KiB", first-byte-timeout = "500ms", timeout = "1s""#;
    check(&format!("{}http = {{ {limits} }}", allow(&[&at, &closed])), &expected);
    assert_eq!(other.connections(), 0);
}

/// Nobody is answered before all have asked, so this ends only if they overlap.
#[test]
fn records_of_different_keys_ask_at_once_and_as_many_as_the_function_says() {
    let server = Server::start();
    let at = server.origin();
    let keys: Vec<String> = (0..200).map(|n| format!("k{n}")).collect();
    let question = || json!({ "get": format!("{at}/together/64") });
    let keyed = keys.iter().enumerate().map(|(n, key)| ((n % 2 == 0).then_some(key.as_str()), question()));
    let settings = format!("{}http = {{ connections = 200 }}", allow(&[&at]));
    let answered = call(&settings, &keyed.collect::<Vec<_>>());
    assert!(
        told(&answered).iter().all(|text| text.starts_with("ok 200 xxx")),
        "{:?}\n{}",
        told(&answered),
        answered.log
    );
    assert_eq!((server.requests(), server.peak()), (200, 64));
}

#[test]
fn records_of_one_key_are_handled_one_after_another() {
    let server = Server::start();
    let at = server.origin();
    let questions = (0..60).map(|n| (Some(["a", "b", "c"][n % 3]), json!({ "get": format!("{at}/hello") })));
    let answered = call(&allow(&[&at]), &questions.collect::<Vec<_>>());
    for record in 3..60 {
        let (before, now) = (span(&answered, record - 3), span(&answered, record));
        assert!(before.1 < now.0, "record {record} began at {} before its key was at {}", now.0, before.1);
    }
    assert!(span(&answered, 1).0 < span(&answered, 0).1, "another key does not wait");
    assert!(server.peak() <= 3, "{}", server.peak());
}

/// An instance that keeps something of each is refused the next one after 4,096.
#[test]
fn requests_with_a_timeout_leave_nothing_behind() {
    const REQUESTS: usize = 5_000;
    let server = Server::start();
    let at = server.origin();
    let questions = (0..REQUESTS).map(|_| (None, json!({ "within": format!("{at}/hello"), "ms": 60_000 })));
    let answered = call(&allow(&[&at]), &questions.collect::<Vec<_>>());
    assert!(told(&answered).iter().all(|text| text == "ok 200 hello"), "{}", answered.log);
    assert_eq!(server.requests(), REQUESTS);
}

#[test]
fn what_a_function_logs_has_its_level_and_is_filtered_by_the_operator_and_the_function() {
    let server = Server::start();
    let at = server.origin();
    let question = [(None, json!({ "get": format!("{at}/hello") }))];
    let allowed = allow(&[&at]);
    let (info, debug) = ("INFO function: http_sdk: the answer is 200", "DEBUG function: http_sdk: nobody reads this");
    let check = |filter: &str, settings: &str, expected: (bool, bool)| {
        let log = call_and_log(filter, &format!("{allowed}{settings}"), &question).log;
        assert_eq!((log.contains(info), log.contains(debug)), expected, "{filter} {settings}: {log}");
    };
    check("info", "", (true, false));
    check("info,function=debug", "", (true, true));
    check("info,function=warn", "", (false, false));
    check("info,function=debug", "env = { RUST_LOG = \"info\" }", (true, false));
    check("info", "env = { RUST_LOG = \"debug\" }", (true, false));
}
