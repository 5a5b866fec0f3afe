//! HTTP as a test of an author's sees it: requests go to the test, answers come from it.

use serde_json::{Value, json};
use tidegate_sdk::http::{self, ErrorKind, Request};
use tidegate_sdk::testing::http::{Answer, answer};
use tidegate_sdk::{Error, Message, OrReject as _, Record, Result, testing};

#[tidegate_sdk::function(concurrent = 8)]
async fn create(record: Record) -> Result<Message> {
    let request = Request::post("https://api.example.com/orders?token=secret")
        .header("Authorization", "Bearer 1")
        .json(&json!({ "id": record.value_str()? }));
    let response = request.send().await?.error_for_status()?;
    let place = response.header("Location").unwrap_or_default().to_owned();
    let body: Value = response.json().await?;
    Ok(record.with_value(format!("{place} {}", body["id"])))
}

fn run(value: &str) -> testing::Outcome {
    testing::run::<create>([testing::Record::new().value(value)])
}

#[track_caller]
fn error_of(given: Answer) -> Error {
    let _answers = answer(move |_| given.clone());
    run("a").failures.remove(0).error
}

#[test]
fn requests_come_as_they_were_made_and_answers_as_they_were_given() {
    let asked = answer(|request| {
        let body: Value = request.json();
        Answer::new(201).header("location", "/orders/1").json(&json!({ "id": body["id"] }))
    });
    assert_eq!(run("a").messages[0].value_str(), r#"/orders/1 "a""#);
    let requests = asked.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!((requests[0].method.as_str(), requests[0].header("authorization")), ("POST", Some("Bearer 1")));
    assert_eq!(requests[0].url, "https://api.example.com/orders?token=secret");
    assert_eq!(requests[0].header("content-type"), Some("application/json"));
    assert_eq!(requests[0].body, br#"{"id":"a"}"#);
}

#[test]
fn a_status_is_a_retry_or_a_reject() {
    for status in [302, 408, 425, 429, 500, 503] {
        assert!(error_of(Answer::new(status)).is_retry(), "{status}");
    }
    for status in [400, 401, 404, 422] {
        assert!(error_of(Answer::new(status)).is_reject(), "{status}");
    }
    let error = error_of(Answer::new(404));
    assert_eq!(error, Error::reject("POST https://api.example.com: the answer is 404 Not Found"));
}

#[test]
fn what_is_not_expected_is_a_retry_that_says_so() {
    let error = error_of(Answer::new(200).body("<html>"));
    let expected = "POST https://api.example.com: bad JSON in the answer: expected value at line 1 column 1";
    assert_eq!(error, Error::retry(expected));
    assert!(error_of(Answer::failed(ErrorKind::Timeout)).is_retry());
}

#[test]
fn without_answers_there_is_none() {
    let outcome = run("a");
    let reason = outcome.failures[0].error.reason();
    assert!(reason.contains("testing::http::answer"), "{reason}");
}

#[test]
fn a_request_that_is_none_says_why() {
    #[track_caller]
    fn check(request: Request, expected: &str) {
        let sent = tidegate_sdk::__private::block_on(request.send());
        let error = sent.expect_err("it cannot be sent");
        assert_eq!(error.kind(), ErrorKind::Request);
        assert_eq!(error.to_string(), expected);
        assert!(Err::<(), _>(error).or_reject().is_err_and(|error| error.is_reject()));
    }
    let url = "https://example.com:8443/a?b";
    check(Request::get("/path"), "GET: the URL does not start with https:// or http://");
    check(Request::get("ftp://example.com"), "GET: the URL does not start with https:// or http://");
    check(Request::get("https://exa mple.com"), "GET: the URL is invalid: invalid uri character");
    check(Request::new("GE T", url), "GET https://example.com:8443: the method cannot be used");
    let header = |name, value| Request::put(url).header(name, value).header("b b", "later");
    check(header("a b", "c"), "PUT https://example.com:8443: `a b` is not the name of a header");
    check(header("a", "c\n"), "PUT https://example.com:8443: the value of the header `a` cannot be sent");
}

#[test]
fn an_answer_is_read_as_it_is_asked_for() {
    let _answers = answer(|_| Answer::new(404).header("x", "1").header("x", "2").body(b"\xff"));
    tidegate_sdk::__private::block_on(async {
        let get = async || http::get("http://localhost/").await.expect("an answer");
        let response = get().await;
        assert_eq!((response.status(), response.is_success(), response.header("X")), (404, false, Some("1")));
        assert_eq!(response.headers().collect::<Vec<_>>(), [("x", &b"1"[..]), ("x", b"2")]);
        assert_eq!(response.bytes().await.expect("a body"), b"\xff");
        let error = get().await.text().await.expect_err("not text");
        assert_eq!(error.kind(), ErrorKind::Response);
        assert!(error.to_string().starts_with("GET http://localhost: the answer is not text: invalid utf-8"));
    });
}

#[test]
#[should_panic(expected = "has answers already")]
fn two_at_a_time_are_a_mistake() {
    let _first = answer(|_| Answer::new(200));
    let _second = answer(|_| Answer::new(200));
}
