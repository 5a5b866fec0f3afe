//! Golden cases of functions that ask by HTTP: the case answers, and the network is never asked.

use std::fs;
use std::path::Path;

use serde_json::json;
use tidegate_tests::functions;
use tidegate_tests::http::Server;

use crate::golden::{folder, test, write_case};

const AT: &str = "https://api.example.com";

/// A folder with a manifest for the function `asks-http`, which is not built there.
fn asks(folder: &Path, hosts: &[&str]) {
    let component = functions::component("asks-http");
    let manifest = format!(
        "[cluster.main]\nbrokers = \"localhost:9\"\n[function.ask]\ncomponent = {component:?}\nallow-hosts = {}\n\
         http = {{ max-response = \"1KiB\", first-byte-timeout = \"200ms\" }}\n\
         [trigger.questions]\nfunction = \"ask\"\ntopics = [\"questions\"]\noutput = \"answers\"\non-exhausted = \"skip\"\n",
        json!(hosts)
    );
    fs::write(folder.join("tidegate.toml"), manifest).expect("written");
}

/// A line that answers a GET of this path.
fn answer(path: &str, answer: &str) -> String {
    format!("{{\"http\": \"GET {AT}{path}\", \"answer\": {answer}}}\n")
}

/// A question, and what comes of it.
fn asked(question: &str, came: &str) -> String {
    format!("{}\n{}\n", json!({ "value": question }), json!({ "messages": [{ "value": came }] }))
}

#[test]
fn a_case_answers_what_its_function_asks() {
    let folder = folder();
    let at = folder.path();
    asks(at, &[AT]);
    let get = |path: &str| format!("get {AT}{path}");
    let text = [
        answer("/text", r#"{"status": 200, "body": "hello"}"#),
        answer("/text", r#"{"status": 404, "headers": [["x-why", "gone"]]}"#),
        answer("/json?id=7", r#"{"status": 201, "body": {"json": {"id":  7}}}"#),
        answer("/bytes", r#"{"status": 500, "body": {"base64": "eA=="}}"#),
        format!("{{\"http\": \"POST {AT}/text\", \"answer\": {{\"status\": 200, \"body\": \"posted\"}}}}\n"),
        format!(
            "{{\"http\": \"GET {AT}/to\", \"answer\": {{\"status\": 302, \"headers\": [[\"location\", \"{AT}/bytes\"]]}}}}\n"
        ),
        answer("/bytes", r#"{"status": 200}"#),
        answer("/refused", r#"{"failure": "connection-refused"}"#),
        answer("/nowhere", r#"{"failure": "DNS-error"}"#),
        answer("/slow", r#"{"status": 200, "delay": "1m"}"#),
        answer("/large", &json!({ "status": 200, "body": "x".repeat(1_025) }).to_string()),
        asked(&get("/text"), "200 5 hello"),
        asked(&get("/text"), "404 0 "),
        asked(&format!("post {AT}/text 100"), "200 6 posted"),
        asked(&get("/json?id=7"), "201 10 {\"id\":  7}"),
        asked(&get("/bytes"), "500 1 x"),
        asked(&format!("follow {AT}/to"), "200 0 "),
        asked(&get("/refused"), "error ConnectionRefused"),
        asked(&get("/nowhere"), "error DnsError"),
        asked(&get("/slow"), "error ConnectionReadTimeout"),
        asked(&get("/large"), "error HttpResponseBodySize"),
        // What the manifest does not allow needs no answer.
        asked("get https://other.example.com/", "error HttpRequestDenied"),
    ];
    write_case(at, "all", &text.concat());
    let (shown, errors) = test(at, &["--no-build"], 0);
    assert_eq!(shown, "ok      all                   11 records\n1 case passed\n", "{errors}");
    assert!(errors.contains("allow-hosts = [\"https://other.example.com\"]"), "{errors}");
}

#[test]
fn requests_without_an_answer_and_answers_without_a_request_fail_a_case() {
    let folder = folder();
    let at = folder.path();
    asks(at, &[AT]);
    let text = [
        answer("/8", r#"{"status": 200, "body": "eight"}"#),
        answer("/7", r#"{"status": 200, "body": "seven"}"#),
        asked(&format!("get {AT}/7"), "200 5 seven"),
        asked(&format!("try {AT}/7"), "200 5 seven"),
    ]
    .concat();
    let case = write_case(at, "wrong", &text);
    write_case(at, "right", &[answer("/7", r#"{"status": 204}"#), asked(&format!("get {AT}/7"), "")].concat());
    let failed = format!(
        "FAILED  wrong                 1 of 2 records, HTTP\n\
         \x20 cases/wrong.ndjson:5  questions/0 @1\n\
         \x20   outcome\n\
         \x20     expected  1 message: {{\"value\":\"200 5 seven\"}}\n\
         \x20     got       retry: error InternalError\n\
         \x20 a request has no answer; write one into the file, such as\n\
         \x20   {{\"http\": \"GET {AT}/7\", \"answer\": {{\"status\": 200, \"body\": \"\"}}}}\n\
         \x20 cases/wrong.ndjson:1\n\
         \x20   nobody asked for GET {AT}/8\n"
    );
    // Whatever came of a request without an answer is nothing to expect.
    let (shown, errors) = test(at, &["--no-build", "--update"], 1);
    assert_eq!(shown, format!("written    right\n{failed}1 case written, 0 unchanged, 1 failed\n"), "{errors}");
    assert!(errors.contains("1 of 2 cases failed; what is asked and answered by HTTP is yours to write"), "{errors}");
    assert_eq!(fs::read_to_string(&case).expect("a text"), text);
    let (shown, _) = test(at, &["--no-build", "--filter", "wrong"], 1);
    assert_eq!(shown, format!("{failed}0 cases passed, 1 failed\n"));
    let (shown, _) = test(at, &["--no-build", "--filter", "right"], 0);
    assert_eq!(shown, "ok      right                 1 record\n1 case passed\n");
}

/// It would answer.
#[test]
fn the_network_is_not_asked() {
    let server = Server::start();
    let folder = folder();
    let at = folder.path();
    let origin = server.origin();
    asks(at, &[&origin]);
    write_case(at, "plain", &asked(&format!("get {origin}/hello"), "200 5 hello"));
    let (shown, _) = test(at, &["--no-build"], 1);
    assert!(shown.contains("got       error InternalError"), "{shown}");
    let line = format!("    {{\"http\": \"GET {origin}/hello\", \"answer\": {{\"status\": 200, \"body\": \"\"}}}}\n");
    assert!(shown.contains(&line), "{shown}");

    // The line that the report says, with what the function needs.
    let answered = line.replace("\"body\": \"\"", "\"body\": \"hello\"");
    write_case(at, "plain", &[answered, asked(&format!("get {origin}/hello"), "200 5 hello")].concat());
    test(at, &["--no-build"], 0);
    assert_eq!(server.connections(), 0);
}

#[test]
fn an_answer_that_cannot_be_is_named_with_its_line() {
    let folder = folder();
    let at = folder.path();
    asks(at, &[AT]);
    let check = |lines: &str, named: &str| {
        write_case(at, "bad", lines);
        let (shown, errors) = test(at, &["--no-build"], 2);
        assert_eq!(shown, "");
        assert!(errors.contains("cases/bad.ndjson, line 2, column ") && errors.contains(named), "{errors}");
    };
    let record = asked("drop", "");
    let line = |line: &str| format!("\n{line}\n{record}");
    check(
        &line(r#"{"http": "GET https://other.example.com/7", "answer": {"status": 200}}"#),
        "the manifest does not allow https://other.example.com, so no request gets this answer; to allow it, write in \
         the function's table: allow-hosts = [\"https://other.example.com\"]",
    );
    check(&line(&answer("/7", r#"{"failure": "refused"}"#)), "no failure is called refused; there are");
    check(&line(r#"{"http": "api.example.com", "answer": {"status": 200}}"#), "a request is a method and a URL");
    check(&line(&answer("/7", r#"{"body": ""}"#)), "an answer has a status or a failure");
}

#[test]
fn what_a_request_carries_is_compared_where_the_case_says_so() {
    let folder = folder();
    let at = folder.path();
    let component = functions::component("http-sdk");
    let manifest = format!(
        "[cluster.main]\nbrokers = \"localhost:9\"\n[function.ask]\ncomponent = {component:?}\n\
         allow-hosts = [\"{AT}\"]\n[trigger.questions]\nfunction = \"ask\"\ntopics = [\"questions\"]\n\
         output = \"answers\"\non-exhausted = \"skip\"\n"
    );
    fs::write(at.join("tidegate.toml"), manifest).expect("written");
    let case = |sent: &str| {
        let answer =
            format!("{{\"http\": \"POST {AT}/orders\",{sent} \"answer\": {{\"status\": 201, \"body\": \"made\"}}}}\n");
        let question = json!({ "value": { "json": { "post": format!("{AT}/orders"), "json": { "id": 7 } } } });
        let came = json!({ "messages": [{ "value": "201 made", "headers": [["begin", "0"], ["end", "1"]] }] });
        write_case(at, "posted", &format!("{answer}{question}\n{came}\n"));
    };
    for sent in ["", r#" "sent": {"headers": [["X-By", "tests"]], "body": {"json": {"id":7}}},"#] {
        case(sent);
        let (shown, errors) = test(at, &["--no-build"], 0);
        assert_eq!(shown, "ok      posted                1 record\n1 case passed\n", "{errors}");
    }
    case(r#" "sent": {"headers": [["x-by", "me"], ["x-to", "you"]], "body": {"json": {"id":8}}},"#);
    let (shown, errors) = test(at, &["--no-build", "--update"], 1);
    let expected = format!(
        "FAILED  posted                HTTP\n\
         \x20 cases/posted.ndjson:1\n\
         \x20   POST {AT}/orders was sent otherwise\n\
         \x20   header x-by of the request\n\
         \x20     expected  me\n\
         \x20     got       tests\n\
         \x20   header x-to of the request\n\
         \x20     expected  you\n\
         \x20     got       (not there)\n\
         \x20   body of the request, from byte 6\n\
         \x20     expected  {{\"id\":8}}\n\
         \x20     got       {{\"id\":7}}\n\
         \x20                     ^\n\
         0 cases written, 0 unchanged, 1 failed\n"
    );
    assert_eq!(shown, expected, "{errors}");
    assert!(errors.contains("by HTTP is yours to write"), "{errors}");
}

/// The function has all of its requests under way at once.
#[test]
fn answers_to_one_request_go_to_the_records_in_their_order() {
    let folder = folder();
    let at = folder.path();
    let component = functions::component("http-sdk");
    let manifest = format!(
        "[cluster.main]\nbrokers = \"localhost:9\"\n[function.ask]\ncomponent = {component:?}\n\
         allow-hosts = [\"{AT}\"]\nhttp = {{ connections = 64 }}\n[trigger.questions]\nfunction = \"ask\"\n\
         topics = [\"questions\"]\noutput = \"answers\"\non-exhausted = \"skip\"\n"
    );
    fs::write(at.join("tidegate.toml"), manifest).expect("written");
    let statuses = 500..532;
    let answers = statuses.clone().map(|status| answer("/7", &json!({ "status": status }).to_string()));
    let question = format!("{}\n", json!({ "value": { "json": { "checked": format!("{AT}/7") } } }));
    let text: String = answers.chain(statuses.clone().map(|_| question.clone())).collect();
    for _ in 0..3 {
        let case = write_case(at, "all", &text);
        test(at, &["--no-build", "--update"], 0);
        let came = fs::read_to_string(&case).expect("a text");
        let failures: Vec<&str> = came.lines().filter(|line| line.starts_with("{\"failure\"")).collect();
        assert_eq!(failures.len(), statuses.len(), "{came}");
        for (failure, status) in failures.iter().zip(statuses.clone()) {
            assert!(failure.contains(&format!("the answer is {status}")), "{came}");
        }
    }
}

#[test]
fn without_a_manifest_nobody_may_be_asked() {
    let folder = folder();
    let at = folder.path();
    fs::write(at.join("main.go"), "").expect("written");
    write_case(at, "asks", &[answer("/7", r#"{"status": 200}"#), asked("any", "any")].concat());
    let (shown, errors) = test(at, &[], 2);
    assert_eq!(shown, "");
    let said = format!(
        "cases/asks.ndjson, line 1, column 1: there is no tidegate.toml for this project, so nobody may be asked; \
         write one with allow-hosts = [\"{AT}\"] in the function's table"
    );
    assert!(errors.contains(&said), "{errors}");
}

#[test]
fn each_case_writes_into_a_folder_of_its_own() {
    let folder = folder();
    let at = folder.path();
    for (name, file) in [("scratch", "kept"), ("geo", "map")] {
        fs::create_dir(at.join(name)).expect("a folder");
        fs::write(at.join(name).join(file), file).expect("written");
    }
    let component = functions::component("files");
    let manifest = format!(
        "[cluster.main]\nbrokers = \"localhost:9\"\n[function.files]\ncomponent = {component:?}\n\
         folders = {{ \"/geo\" = \"geo\", \"/scratch\" = {{ path = \"scratch\", write = true }}, \
         \"/other\" = {{ path = \"not-there\", write = true }} }}\n\
         [trigger.orders]\nfunction = \"files\"\ntopics = [\"orders\"]\noutput = \"done\"\non-exhausted = \"skip\"\n"
    );
    fs::write(at.join("tidegate.toml"), manifest).expect("written");
    let text = [
        asked("list /scratch", ""),
        asked("list /other", ""),
        asked("read /geo/map", "map"),
        asked("write /scratch/a", "done"),
        asked("list /scratch", "a"),
        asked("list /other", ""),
    ]
    .concat();
    write_case(at, "one", &text);
    write_case(at, "two", &text);
    for _ in 0..2 {
        let (shown, errors) = test(at, &["--no-build"], 0);
        assert!(shown.ends_with("2 cases passed\n"), "{shown}{errors}");
    }
    let left: Vec<_> =
        fs::read_dir(at.join("scratch")).expect("a folder").map(|entry| entry.expect("a file").file_name()).collect();
    assert_eq!(left, ["kept"]);
    assert!(!at.join("not-there").exists());
}
