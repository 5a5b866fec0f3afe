//! Go functions that ask by HTTP, with net/http and with the SDK's small client: what Rust functions
//! are held to in `http`, and what goroutines are for.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::thread;

use serde_json::json;
use tidegate_tests::http::Server;
use tidegate_tests::{functions, node, wait};

use crate::invoke::{Answered, Asked, ONE_BY_ONE};
use crate::pipe::PATIENCE;

const CLIENTS: [&str; 2] = ["net", "fetch"];
const DENIED: &str = "wasi:http: HTTP-request-denied: allow-hosts in the manifest does not allow";

/// What the function answers to each of the questions, one call after another in one instance.
#[track_caller]
fn ask(keys: &str, questions: &[String]) -> Vec<String> {
    call(&[], keys, questions).texts().into_iter().map(str::to_owned).collect()
}

#[track_caller]
fn call(environment: &[(&str, &str)], keys: &str, questions: &[String]) -> Answered {
    Asked { component: "gopher-http", keys, flags: ONE_BY_ONE, environment, ..Asked::default() }.values(questions)
}

/// Asks with both clients, in one instance. Each answer begins as it should, and has in it what it
/// should.
#[track_caller]
fn check(keys: &str, expected: &[(String, &str, &str)]) {
    let each = || CLIENTS.into_iter().flat_map(|client| expected.iter().map(move |expected| (client, expected)));
    let questions: Vec<String> = each().map(|(client, (question, ..))| format!("{client} {question}")).collect();
    for (((_, (_, start, part)), question), answer) in each().zip(&questions).zip(ask(keys, &questions)) {
        assert!(answer.starts_with(start) && answer.contains(part), "{question}: {answer:?}, not {start:?} {part:?}");
    }
}

fn allow(hosts: &[String]) -> String {
    format!("allow-hosts = {}\n", json!(hosts))
}

#[test]
fn go_asks_and_streams_in_both_directions() {
    let server = Server::start();
    let (at, named) = (server.origin(), server.named());
    let expected = [
        (format!("get {at}/hello"), "200 5 hello", ""),
        (format!("get {named}/host"), "200", "HTTP/1.1 localhost:"),
        (format!("get {at}/bytes/1000000"), "200 1000000", ""),
        (format!("get {at}/chunks/1000"), "200 1024000 xxxxxxxx", ""),
        (format!("get {at}/chunks/0"), "200 0", ""),
        (format!("post {at}/echo 100000"), "200 100000 xxxxxxxx", ""),
        (format!("post {at}/echo 0"), "200 0", ""),
        (format!("stream {at}/echo 100000"), "200 100000 xxxxxxxx", ""),
        // The answer comes before the body is through, so that neither side waits for the other.
        (format!("stream {at}/echo 5000000"), "200 5000000 xxxxxxxx", ""),
        (format!("stream {at}/through 40000000"), "200 40000000 xxxxxxxx", ""),
        (format!("broken {at}/echo"), "error", "told to break"),
        (format!("follow {at}/to?{named}/hello"), "200 5 hello", ""),
        // Goroutines read what lies in the same room while the collector runs.
        (format!("fan {at}/chunks/200 30"), "30 times 200 204800 xxxxxxxx", ""),
    ];
    let keys = "http = { max-request = \"64MiB\", max-response = \"64MiB\" }\nmemory = \"512MiB\"";
    check(&format!("{}{keys}", allow(&[at, named])), &expected);
}

#[test]
fn go_is_refused_what_is_not_allowed_also_behind_a_redirect() {
    let (server, other) = (Server::start(), Server::start());
    let (at, elsewhere) = (server.origin(), other.origin());
    let refused = format!("{DENIED} {elsewhere}");
    let expected = [
        (format!("get {elsewhere}/hello"), "error", refused.as_str()),
        (format!("get {}/hello", server.named()), "error", DENIED),
        (format!("post {elsewhere}/echo 100000"), "error", refused.as_str()),
        (format!("follow {at}/to?{elsewhere}/hello"), "error", refused.as_str()),
        (format!("follow {at}/to?{at}/hello"), "200 5 hello", ""),
    ];
    check(&allow(&[at]), &expected);
    assert_eq!(other.connections(), 0);
}

#[test]
fn go_is_told_what_went_wrong_by_its_code() {
    let server = Server::start();
    let at = server.origin();
    let keys = format!(
        "{}http = {{ max-request = \"10KiB\", max-response = \"10KiB\", first-byte-timeout = \"200ms\" }}",
        allow(std::slice::from_ref(&at))
    );
    let expected = [
        (format!("get {at}/never"), "error", "wasi:http: connection-read-timeout"),
        (format!("get {at}/short"), "cut 10", "wasi:http: connection-terminated"),
        (format!("get {at}/bytes/10241"), "error", "wasi:http: HTTP-response-body-size: at most 10240 bytes"),
        (format!("get {at}/endless"), "cut", "wasi:http: HTTP-response-body-size: at most 10240 bytes"),
        (format!("post {at}/echo 10241"), "error", "wasi:http: HTTP-request-body-size"),
        (format!("stream {at}/echo 1000000"), "error", "wasi:http: HTTP-request-body-size: at most 10240 bytes"),
        (format!("headed {at}/hello 30000"), "200 5 hello", ""),
        (format!("headed {at}/hello 32768"), "error", "wasi:http: HTTP-request-header-section-size"),
        (format!("get {at}/hello"), "200 5 hello", ""),
    ];
    check(&keys, &expected);
    wait::until("the server has nothing to do", PATIENCE, || server.active() == 0);
}

/// The limits of the manifest are a minute and more: only the function ends these.
#[test]
fn go_ends_a_request_at_its_deadline_and_when_it_is_cancelled() {
    let server = Server::start();
    let at = server.origin();
    let keys =
        format!("{}http = {{ first-byte-timeout = \"2m\", timeout = \"2m\" }}", allow(std::slice::from_ref(&at)));
    let expected = [
        (format!("within {at}/never 50"), "error", "deadline exceeded"),
        (format!("within {at}/stall 50"), "cut 10", "deadline exceeded"),
        (format!("within {at}/hello 60000"), "200 5 hello", ""),
        (format!("cancel {at}/never 50"), "error", "context canceled"),
        (format!("cancel {at}/stall 50"), "cut 10", "context canceled"),
        (format!("close {at}/stall 50"), "cut 10", "closed"),
        (format!("get {at}/hello"), "200 5 hello", ""),
    ];
    check(&keys, &expected);
    wait::until("the server has nothing to do", PATIENCE, || server.active() == 0);
}

#[test]
fn requests_of_goroutines_are_under_way_at_once() {
    const ROUTINES: usize = 10;
    for client in CLIENTS {
        let server = Server::start();
        let at = server.origin();
        // Nobody is answered before all of them have asked.
        let question = format!("{client} fan {at}/together/{ROUTINES} {ROUTINES}");
        let answers = ask(&allow(&[at]), &[question]);
        assert!(answers[0].starts_with("10 times 200 1024 x"), "{answers:?}");
        assert_eq!(server.peak(), ROUTINES);
    }
}

/// Each sends a body and reads one, and all of them are in the midst of both. One more is refused.
#[test]
fn an_instance_has_room_for_500_requests_at_once() {
    for client in CLIENTS {
        let server = Server::start();
        let at = server.origin();
        let keys = format!("{}http = {{ connections = 600 }}\nmemory = \"256MiB\"", allow(std::slice::from_ref(&at)));
        let answers = ask(&keys, &[format!("{client} crowd {at}/stall 500"), format!("{client} crowd {at}/stall 501")]);
        assert!(answers[0].starts_with("500 times cut 10 context deadline exceeded"), "{answers:?}");
        assert!(answers[1].contains("connection-limit-reached: no connection"), "{answers:?}");
    }
}

#[test]
fn a_goroutine_that_sleeps_wakes_while_others_wait_for_answers() {
    let server = Server::start();
    let at = server.origin();
    let questions = CLIENTS.map(|client| format!("{client} beside {at}/never 100"));
    for answer in ask(&allow(&[at]), &questions) {
        let slept_ms: u64 = answer.parse().expect("milliseconds");
        // Late by a quarter, and by what a busy machine does; without a limit it would be half a minute.
        assert!((100..5_000).contains(&slept_ms), "{slept_ms}");
    }
}

#[test]
fn ten_thousand_requests_leave_nothing_behind() {
    const REQUESTS: usize = 10_000;
    let server = Server::start();
    let at = server.origin();
    let questions = CLIENTS.map(|client| format!("{client} many {at}/hello {REQUESTS}"));
    for answer in ask(&allow(&[at]), &questions) {
        let grown = answer.strip_prefix("10000 ").and_then(|rest| rest.strip_suffix(" KiB")?.parse::<i64>().ok());
        assert!(grown.is_some_and(|kib| kib <= 64), "{answer}");
    }
    assert_eq!(server.requests(), CLIENTS.len() * REQUESTS);
    // One is used again and again, but for when the next request came before it was back.
    assert!(server.connections() <= 200, "{} connections", server.connections());
}

/// Each holds a connection as long as its body is not closed.
#[test]
fn bodies_that_nobody_closes_are_closed_by_the_collector() {
    let server = Server::start();
    let at = server.origin();
    let keys = format!("{}http = {{ connections = 30 }}", allow(std::slice::from_ref(&at)));
    check(&keys, &[(format!("lose {at}/stall 100"), "100 lost", "")]);
}

#[test]
fn a_request_in_init_leaves_the_room_for_batches_as_it_was() {
    let server = Server::start();
    let at = server.origin();
    let keys = format!("{}env = {{ EARLY = \"{at}/bytes/3000000\" }}", allow(std::slice::from_ref(&at)));
    // Larger than the room for results.
    let questions = ["net early".to_owned(), format!("net get {at}/hello {}", "x".repeat(900_000))];
    let answers = ask(&keys, &questions);
    assert!(answers[0].starts_with("200 3000000 x"), "{answers:?}");
    assert_eq!(answers[1], "200 5 hello");
}

#[test]
fn trailers_come_with_net_http() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let at = format!("http://{}", listener.local_addr().expect("a bound address"));
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let head = BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
        assert!(head.count() > 0);
        let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
                      5\r\nhello\r\n0\r\nx-sum: 42\r\n\r\n";
        stream.write_all(answer.as_bytes()).expect("sent");
    });
    let answers = ask(&allow(std::slice::from_ref(&at)), &[format!("net trailer {at}/")]);
    assert_eq!(answers, ["200 5 hello 42"]);
    server.join().expect("it was asked");
}

#[test]
fn what_go_logs_has_its_level_and_is_filtered_by_the_operator_and_the_function() {
    let check = |filter: &str, settings: &str, expected: [bool; 4]| {
        let answered = call(&[("RUST_LOG", filter)], settings, &["nobody get".to_owned()]);
        assert_eq!(answered.texts(), ["no such client"]);
        let lines = [
            "INFO function: by package log",
            "DEBUG function: asked record.topic=",
            "ERROR function: no such",
            "ERROR function: client client=nobody",
        ];
        assert_eq!(lines.map(|line| answered.log.contains(line)), expected, "{filter} {settings}: {}", answered.log);
    };
    check("info", "", [true, false, true, true]);
    check("info,function=debug", "", [true; 4]);
    check("info,function=error", "", [false, false, true, true]);
    check("info,function=debug", "env = { LOG_LEVEL = \"info\" }", [true, false, true, true]);
    check("info", "env = { LOG_LEVEL = \"off\" }", [true, false, false, false]);
}

#[test]
fn a_go_function_imports_http_if_it_uses_it() {
    let asks = |component: &str| {
        let component = functions::component(component);
        let output = node::command().arg("inspect").arg(component).output().expect("tidegate starts");
        String::from_utf8_lossy(&output.stdout).contains("outbound HTTP: denied unless the manifest allows hosts")
    };
    assert!(asks("gopher-http"));
    assert!(!asks("gopher"));
}
