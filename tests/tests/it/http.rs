//! Functions that ask by HTTP: what is allowed, what is refused, and what ends what never would.

use std::net::{Ipv4Addr, TcpListener, ToSocketAddrs as _};

use serde_json::json;
use tidegate_tests::http::Server;
use tidegate_tests::kafka::{Kafka, Record};
use tidegate_tests::node::Node;
use tidegate_tests::{functions, net, node, wait};

use crate::invoke::{Answered, Asked, ONE_BY_ONE};
use crate::pipe::{PATIENCE, Pipe, READY, cluster, component};

/// A function with these keys in its manifest, called with these values one after another.
#[track_caller]
fn ask(keys: &str, environment: &[(&str, &str)], values: &[String]) -> Answered {
    Asked { component: "asks-http", keys, flags: ONE_BY_ONE, environment, ..Asked::default() }.values(values)
}

/// Asks, and compares each answer with how it should begin.
#[track_caller]
fn check(keys: &str, expected: &[(String, &str)]) -> String {
    let values: Vec<String> = expected.iter().map(|(value, _)| value.clone()).collect();
    let answered = ask(keys, &[], &values);
    for ((value, expected), answer) in expected.iter().zip(answered.texts()) {
        assert!(answer.starts_with(expected), "{value}: {answer:?}, not {expected:?}\n{}", answered.log);
    }
    answered.log
}

fn allow(hosts: &[String]) -> String {
    format!("allow-hosts = {}\n", json!(hosts))
}

#[test]
fn a_function_asks_the_hosts_that_are_allowed() {
    let server = Server::start();
    let (at, named) = (server.origin(), server.named());
    let line = format!("HTTP/1.1 {}", named.trim_start_matches("http://"));
    let host = format!("200 {} {line}", line.len());
    let expected = [
        (format!("get {at}/hello"), "200 5 hello"),
        (format!("get {named}/hello"), "200 5 hello"),
        (format!("get {}/hello", server.as_host("LOCALHOST.")), "200 5 hello"),
        (format!("get {}/host", server.as_host("LocalHost")), host.as_str()),
        (format!("post {at}/echo 100000"), "200 100000 xxxxxxxx"),
        (format!("get {at}/chunks/1000"), "200 1024000 xxxxxxxx"),
        (format!("get {at}/chunks/0"), "200 0"),
        (format!("get {at}/bytes/1000000"), "200 1000000"),
        (format!("follow {at}/to?{named}/hello"), "200 5 hello"),
    ];
    check(&allow(&[at, named]), &expected);
}

#[test]
fn what_is_not_allowed_is_refused_and_the_log_says_what_to_write() {
    let (server, other) = (Server::start(), Server::start());
    let (at, named, elsewhere) = (server.origin(), server.named(), other.origin());
    let denied = "error HttpRequestDenied";
    let log = check("", &[(format!("get {elsewhere}/hello"), denied), ("get https://example.com/".to_owned(), denied)]);
    assert!(log.contains(&format!("write in [function.asked]: allow-hosts = [\"{elsewhere}\"]")), "{log}");
    let expected = [
        (format!("get {elsewhere}/hello"), denied),
        (format!("get {named}/hello"), denied),
        (format!("get {}/hello", at.replacen("http", "https", 1)), denied),
        (format!("follow {at}/to?{elsewhere}/hello"), denied),
        (format!("follow {at}/to?{at}/hello"), "200 5 hello"),
        (format!("get {}/hello", at.replacen("//", "//me@", 1)), "error HttpRequestUriInvalid"),
        (format!("connect {at}/hello"), "error HttpRequestMethodInvalid"),
    ];
    check(&allow(&[at]), &expected);
    assert_eq!(other.connections(), 0);
}

/// A name of this machine that is not `localhost`.
fn local_name() -> String {
    let host = rustix::system::uname();
    let names = ["ip6-localhost", "localhost.localdomain", host.nodename().to_str().unwrap_or_default()];
    let is_known = |name: &&&str| (**name, 80).to_socket_addrs().is_ok_and(|mut found| found.next().is_some());
    (*names.iter().find(is_known).expect("this machine has a name")).to_owned()
}

#[test]
fn a_name_that_stands_for_a_private_address_needs_its_network() {
    let server = Server::start();
    let origin = server.as_host(&local_name());
    let question = format!("get {origin}/hello");
    let log = check(&allow(std::slice::from_ref(&origin)), &[(question.clone(), "error DestinationIpProhibited")]);
    assert!(log.contains("is not a public address") && log.contains("allow-networks"), "{log}");
    let open = format!("{}allow-networks = [\"0.0.0.0/0\", \"::/0\"]", allow(&[origin]));
    let answered = ask(&open, &[], &[question]);
    // The server need not listen where the name points.
    assert!(["200 5 hello", "error ConnectionRefused"].contains(&answered.texts()[0]), "{:?}", answered.texts());
}

#[test]
fn what_cannot_be_reached_is_told_by_its_code() {
    let server = Server::start();
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let silent = format!("https://{}", silent.local_addr().expect("a bound address"));
    let closed = format!("http://127.0.0.1:{}", net::free_port());
    let (at, missing) = (server.origin(), "http://no-such-host.invalid".to_owned());
    let tls = at.replacen("http", "https", 1);
    let keys = allow(&[at.clone(), closed.clone(), silent.clone(), missing.clone(), tls.clone()]);
    let expected = [
        (format!("get {closed}/"), "error ConnectionRefused"),
        (format!("get {missing}/"), "error Dns"),
        (format!("get {silent}/"), "error ConnectionTimeout"),
        (format!("get {tls}/"), "error TlsProtocolError"),
        (format!("get {at}/short"), "cut ConnectionTerminated 10"),
        (format!("get {at}/head/30000"), "200 1 x"),
        (format!("get {at}/head/40000"), "error HttpResponseHeaderSectionSize"),
        (format!("get {at}/head/300000"), "error HttpResponseHeaderSectionSize"),
    ];
    check(&format!("{keys}http = {{ connect-timeout = \"500ms\" }}"), &expected);
}

#[test]
fn what_takes_too_long_is_ended() {
    let server = Server::start();
    let at = server.origin();
    let keys = allow(std::slice::from_ref(&at));
    let silence = [
        (format!("get {at}/never"), "error ConnectionReadTimeout"),
        (format!("first {at}/never 60000"), "error ConnectionReadTimeout"),
        (format!("first {at}/stall 60000"), "cut HttpResponseTimeout 10"),
    ];
    check(&format!("{keys}http = {{ first-byte-timeout = \"200ms\", timeout = \"1s\" }}"), &silence);
    let total = [
        (format!("get {at}/never"), "error HttpResponseTimeout"),
        (format!("get {at}/stall"), "cut HttpResponseTimeout 10"),
        (format!("get {at}/trickle"), "cut HttpResponseTimeout "),
    ];
    check(&format!("{keys}http = {{ timeout = \"300ms\" }}"), &total);
    let asked_for = [
        (format!("first {at}/never 200"), "error ConnectionReadTimeout"),
        (format!("between {at}/stall 200"), "cut ConnectionReadTimeout 10"),
        (format!("between {at}/hello 200"), "200 5 hello"),
    ];
    check(&keys, &asked_for);
    wait::until("the server has nothing to do", PATIENCE, || server.active() == 0);
}

#[test]
fn what_is_too_large_is_ended() {
    let server = Server::start();
    let at = server.origin();
    let keys =
        format!("{}http = {{ max-request = \"10KiB\", max-response = \"10KiB\" }}", allow(std::slice::from_ref(&at)));
    let expected = [
        (format!("get {at}/bytes/10240"), "200 10240"),
        (format!("get {at}/bytes/10241"), "error HttpResponseBodySize"),
        (format!("get {at}/chunks/10"), "200 10240"),
        (format!("get {at}/chunks/11"), "cut HttpResponseBodySize 10240"),
        (format!("get {at}/endless"), "cut HttpResponseBodySize"),
        (format!("post {at}/echo 10240"), "200 10240"),
        (format!("post {at}/echo 10241"), "error HttpRequestBodySize"),
        (format!("get {at}/hello"), "200 5 hello"),
    ];
    check(&keys, &expected);
    wait::until("the server has nothing to do", PATIENCE, || server.active() == 0);
}

#[test]
fn connections_are_used_again_by_other_calls_and_instances() {
    let server = Server::start();
    let at = server.origin();
    let values: Vec<String> = (0..20).map(|_| format!("get {at}/hello")).collect();
    let answered = ask(&format!("{}reuse = \"fresh\"", allow(&[at])), &[], &values);
    assert!(answered.texts().iter().all(|answer| *answer == "200 5 hello"), "{:?}", answered.texts());
    assert_eq!(server.requests(), 20);
    // A request that comes before the connection of the last one is back gets another one.
    assert!(server.connections() <= 5, "{} connections", server.connections());
}

/// With room for one request, each that is over in whatever way has to make room for the next.
#[test]
fn a_request_that_is_given_up_makes_room() {
    let server = Server::start();
    let at = server.origin();
    let keys = format!("{}http = {{ connections = 1, timeout = \"1s\" }}", allow(std::slice::from_ref(&at)));
    let hello = || (format!("get {at}/hello"), "200 5 hello");
    let expected = [
        (format!("drop {at}/never"), "dropped"),
        hello(),
        (format!("part {at}/endless"), "10 of more"),
        hello(),
        // Nobody ever reads it, so only the time ends it, and hardly before that of the next one.
        (format!("keep {at}/trickle"), "kept"),
        (format!("get {at}/never"), "error"),
        hello(),
        (format!("get {at}/short"), "cut"),
        hello(),
    ];
    check(&keys, &expected);
}

#[test]
fn certificates_are_checked_and_http_2_is_spoken_where_it_is_offered() {
    let server = Server::start_tls();
    let (at, named) = (server.origin(), server.named());
    let keys = allow(&[at.clone(), named.clone()]);
    check(&keys, &[(format!("get {named}/hello"), "error TlsCertificateError")]);
    let certificate = server.certificate().to_str().expect("text").to_owned();
    let trust = [("SSL_CERT_FILE", certificate.as_str())];
    let questions = [format!("get {named}/host"), format!("post {named}/echo 100000"), format!("get {at}/hello")];
    let answered = ask(&keys, &trust, &questions);
    assert!(answered.texts()[0].contains("HTTP/2.0 localhost:"), "{:?}", answered.texts());
    assert!(answered.texts()[1].starts_with("200 100000"), "{:?}", answered.texts());
    assert_eq!(answered.texts()[2], "error TlsCertificateError", "it is not for the address");
}

/// Part of a request must not be taken for all of it, whatever ended the call.
#[test]
fn a_request_of_a_call_that_is_ended_is_never_complete() {
    const CALLS: usize = 20;
    for server in [Server::start(), Server::start_tls()] {
        let named = server.named();
        let keys = allow(std::slice::from_ref(&named));
        let trust: Vec<_> = server.trusted().map(|file| ("SSL_CERT_FILE", file)).into_iter().collect();
        let traps: Vec<String> = (0..CALLS).map(|_| format!("trap {named}/take 10000")).collect();
        let answered = ask(&keys, &trust, &traps);
        assert!(answered.texts().iter().all(|answer| *answer == "trap"), "{:?}", answered.texts());
        let hangs: Vec<String> = (0..3).map(|_| format!("hang {named}/take 10000")).collect();
        let answered = ask(&format!("{keys}deadline = \"300ms\""), &trust, &hangs);
        assert!(answered.texts().iter().all(|answer| *answer == "deadline"), "{:?}", answered.texts());
        wait::until("all have ended", PATIENCE, || server.broken() + server.taken() == server.requests());
        assert_eq!(server.taken(), 0, "of {}", server.requests());
        assert!(server.broken() > CALLS / 2, "{} were not sent", CALLS - server.broken());
    }
}

#[test]
fn a_request_ends_before_the_deadline_of_its_call() {
    let server = Server::start();
    let at = server.origin();
    let keys = format!("{}deadline = \"1s\"", allow(std::slice::from_ref(&at)));
    let expected = [
        (format!("get {at}/never"), "error HttpResponseTimeout"),
        (format!("get {at}/stall"), "cut HttpResponseTimeout 10"),
        (format!("try {at}/never"), "retry"),
        // The time is that of each call, not of its instance.
        (format!("get {at}/hello"), "200 5 hello"),
    ];
    check(&keys, &expected);
}

#[test]
fn a_first_line_has_limits() {
    check("", &[("long".to_owned(), "method 65, scheme 65, authority 301, path 16385")]);
}

#[test]
fn certificates_that_are_named_and_missing_are_an_error() {
    let component = functions::component("asks-http");
    let invoke = |host: &str| {
        let mut command = node::command();
        command.arg("invoke").arg(&component).args(["--allow-host", host, "--value", "get https://localhost/"]);
        command.env("SSL_CERT_FILE", "/no/such/file.pem").env_remove("SSL_CERT_DIR").output().expect("tidegate starts")
    };
    let output = invoke("https://localhost");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{output:?}");
    assert!(errors.contains("the certificates of SSL_CERT_FILE=/no/such/file.pem cannot be read"), "{errors}");
    assert!(invoke("http://localhost").status.success(), "it needs none");
}

#[test]
fn the_command_line_allows_hosts_too() {
    let server = Server::start();
    let at = server.origin();
    let invoke = |flags: &[&str]| {
        let mut command = node::command();
        command.arg("invoke").arg(functions::component("asks-http")).args(flags);
        command.args(["--value", &format!("get {at}/hello")]).output().expect("tidegate starts")
    };
    let output = invoke(&["--allow-host", &at]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("200 5 hello"), "{output:?}");
    let output = invoke(&[]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("error HttpRequestDenied"), "{output:?}");
    let output = invoke(&["--allow-host", "example.com"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("a host without a scheme"), "{output:?}");

    let output =
        node::command().arg("inspect").arg(functions::component("asks-http")).output().expect("tidegate starts");
    let facts = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(facts.contains("outbound HTTP: denied unless the manifest allows hosts (allow-hosts)"), "{facts}");
}

/// What an instance may have on the host is bounded by 4,096: one that kept the limits of each request
/// would trap then.
#[test]
fn requests_with_limits_of_their_own_leave_nothing_behind() {
    const REQUESTS: usize = 2_500;
    let server = Server::start();
    let (asked, refused) = (format!("first {}/hello 60000", server.origin()), "first http://127.0.0.1:1/ 60000");
    let questions = (0..REQUESTS).flat_map(|_| [asked.clone(), refused.to_owned()]);
    let answered = ask(&allow(&[server.origin()]), &[], &questions.collect::<Vec<_>>());
    let expected = ["200 5 hello", "error HttpRequestDenied"];
    assert!(answered.texts().chunks(2).all(|pair| pair == expected), "{}", answered.log);
}

#[test]
fn a_thousand_calls_wait_at_once() {
    const CALLS: usize = 1000;
    let (kafka, server) = (Kafka::shared(), Server::start());
    let pipe = Pipe::new(kafka, "waits", 4);
    let keys = format!(
        "{}deadline = \"2m\"\nhttp = {{ connections = {CALLS}, first-byte-timeout = \"2m\", timeout = \"2m\" }}",
        allow(&[server.origin()])
    );
    let trigger = format!("instances = {{ max = {CALLS} }}\nbatch = {{ records = 1 }}");
    let manifest = [cluster(kafka, ""), component("asks-http", &keys), pipe.table("asks-http", &trigger)];
    let mut node = Node::start("waits", &manifest.concat());
    node.wait_ready(READY);
    // Nobody is answered before all of them have asked.
    let question = format!("get {}/together/{CALLS}", server.origin());
    let idle = node.threads();
    pipe.source.produce((0..CALLS).map(|n| Record::of(question.clone()).key(format!("k{n}"))));
    let mut most = 0;
    node.wait_for("all calls ask at once", PATIENCE, |node| {
        most = most.max(node.threads());
        server.peak() == CALLS
    });
    // Tokio has some for blocking work, as the names of hosts; an address needs none.
    assert!(most <= idle + 20, "{most} threads, {idle} before");
    pipe.wait_handled(kafka, &mut node, PATIENCE);
    let answers = pipe.output.read_all();
    assert_eq!(answers.len(), CALLS);
    assert!(answers.iter().all(|stored| stored.record.text().starts_with("200 1024 x")), "{:?}", answers.first());
    let http = node.function("asks-http")["http"].take();
    assert_eq!(
        (&http["requests"], &http["failed"], &http["bytes_in"]),
        (&json!(CALLS), &json!(0), &json!(CALLS << 10))
    );
    node.term_cleanly();
}

#[test]
fn a_call_that_is_ended_leaves_no_request_under_way() {
    let (kafka, server) = (Kafka::shared(), Server::start());
    let pipe = Pipe::new(kafka, "late", 1);
    let keys = format!("{}deadline = \"300ms\"", allow(&[server.origin()]));
    let manifest = [
        cluster(kafka, ""),
        component("asks-http", &keys),
        pipe.table("asks-http", "retry = { attempts = 1 }\nbatch = { records = 1 }"),
    ];
    let mut node = Node::start("late", &manifest.concat());
    node.wait_ready(READY);
    let at = server.origin();
    let questions = [
        format!("hang {at}/never 10"),
        format!("trap {at}/never 10"),
        format!("try {at}/never"),
        "get http://example.com/".to_owned(),
    ];
    pipe.source.produce(questions.into_iter().enumerate().map(|(n, value)| Record::of(value).key(n.to_string())));
    pipe.wait_handled(kafka, &mut node, PATIENCE);
    wait::until("no request is under way", PATIENCE, || server.requests() == 3 && server.active() == 0);
    let mut causes: Vec<_> =
        pipe.dead.read_all().iter().filter_map(|letter| letter.record.header_text("tidegate-cause")).collect();
    causes.sort_unstable();
    assert_eq!(causes, ["deadline", "retry", "trap"], "who is told in time says so itself");
    let http = node.function("asks-http")["http"].take();
    assert_eq!((&http["requests"], &http["refused"], &http["failed"]), (&json!(4), &json!(1), &json!(3)), "{http}");
    node.term_cleanly();
}
