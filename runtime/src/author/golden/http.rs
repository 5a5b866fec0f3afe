//! Reads the answers by HTTP of a case.

use std::time::Duration;

use super::answers::{HttpAnswer, HttpRequest};
use super::difference::{Difference, Sides};
use super::expectation::{self, given};
use super::sent::{HttpDifference, HttpSent};
use crate::tools::ndjson::{self, Bytes, Malformed, Pair};

/// The longest delay of an answer. No call takes longer.
const MAX_DELAY: Duration = Duration::from_secs(60 * 60);

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    http: String,
    sent: Option<Sent>,
    answer: Answer,
}

#[derive(Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Sent {
    headers: Vec<Pair>,
    #[serde(deserialize_with = "given")]
    body: Option<Bytes>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Answer {
    status: Option<u16>,
    headers: Vec<Pair>,
    body: Bytes,
    failure: Option<String>,
    delay: Option<String>,
}

/// Whether a line is an answer and neither a record nor an expectation. Its first key decides, even if the rest is
/// wrong.
pub(super) fn is_one(line: &[u8]) -> bool {
    let inner = line.trim_ascii_start().strip_prefix(b"{").map(<[u8]>::trim_ascii_start);
    let keys: [&[u8]; 3] = [b"\"http\"", b"\"answer\"", b"\"sent\""];
    inner.is_some_and(|inner| keys.iter().any(|key| inner.starts_with(key)))
}

/// Reads a line, with or without the line break at its end.
pub(super) fn read(line: &[u8]) -> Result<HttpAnswer, Malformed> {
    let wrong = |reason: String| Malformed { column: 1, reason };
    let Line { http, sent, answer } = ndjson::object(line, "an answer is an object")?;
    let request = HttpRequest::parse(&http).map_err(|reason| wrong(reason.to_owned()))?;
    let Answer { status, headers, body, failure, delay } = answer;
    let delay = delay.map_or(Ok(Duration::ZERO), |text| read_delay(&text)).map_err(wrong)?;
    let answer = match (status, failure) {
        (Some(status), None) => {
            let headers = pairs(headers).map_err(wrong)?;
            HttpAnswer::response(request, status, &headers, body.0.unwrap_or_default())
        }
        (None, Some(name)) if headers.is_empty() && body.0.is_none() => HttpAnswer::failure(request, &name),
        (None, Some(_)) => Err("a failure has neither headers nor a body".to_owned()),
        (_, _) => Err("an answer has a status or a failure, and not both".to_owned()),
    };
    let answer = answer.map_err(wrong)?.after(delay);
    match sent {
        Some(sent) => Ok(answer.to(read_sent(sent).map_err(wrong)?)),
        None => Ok(answer),
    }
}

fn read_sent(sent: Sent) -> Result<HttpSent, String> {
    let body = match sent.body {
        Some(Bytes(None)) => return Err("the body of a request is never null; one without is \"\"".to_owned()),
        Some(Bytes(body)) => body,
        None => None,
    };
    HttpSent::new(&pairs(sent.headers)?, body)
}

/// Names and values.
type Headers = Vec<(Vec<u8>, Vec<u8>)>;

fn pairs(headers: Vec<Pair>) -> Result<Headers, String> {
    let value = |pair: Pair| Some((pair.name, pair.value?));
    let headers: Option<Headers> = headers.into_iter().map(value).collect();
    headers.ok_or_else(|| "the value of a header of HTTP is never null".to_owned())
}

fn read_delay(text: &str) -> Result<Duration, String> {
    let delay = humantime::parse_duration(text).ok().filter(|delay| *delay <= MAX_DELAY);
    delay.ok_or_else(|| format!("{text:?} is no delay: write a duration up to 1h, such as \"3s\""))
}

/// An example of a line that answers a request.
pub(super) fn sample(request: &HttpRequest) -> String {
    let request = serde_json::Value::from(request.to_string());
    format!("{{\"http\": {request}, \"answer\": {{\"status\": 200, \"body\": \"\"}}}}")
}

/// A difference between requests, in the form that is shown.
pub(super) fn shown(difference: &HttpDifference) -> Difference {
    let (about, sides) = match difference {
        HttpDifference::Body { expected, came } => {
            ("body of the request".to_owned(), Sides::Values { expected: expected.to_vec(), came: came.to_vec() })
        }
        HttpDifference::Header { name, expected, came } => {
            let values = |values: &[Vec<u8>]| match values {
                [] => "(not there)".to_owned(),
                [value] => String::from_utf8_lossy(value).into_owned(),
                several => expectation::list(several),
            };
            let sides = Sides::Words { expected: Some(values(expected)), came: Some(values(came)) };
            (format!("header {name} of the request"), sides)
        }
        HttpDifference::Unfinished => {
            let came = Some("a part of it: it was ended before".to_owned());
            ("request".to_owned(), Sides::Words { expected: Some("all of it".to_owned()), came })
        }
    };
    Difference { about, sides }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> HttpRequest {
        HttpRequest::parse(text).expect("a request")
    }

    #[test]
    fn an_answer_is_a_status_with_headers_and_body_or_a_failure() {
        let get = || request("GET https://api.example.com/7?x=1");
        let check = |answer: &str, expected: HttpAnswer| {
            let line = format!("{{\"http\": \"GET https://API.example.com:443/7?x=1\", \"answer\": {answer}}}");
            assert!(is_one(line.as_bytes()));
            assert_eq!(read(line.as_bytes()), Ok(expected), "{line}");
        };
        let response = |status: u16, headers: &[(&str, &str)], body: &[u8]| {
            let headers: Vec<_> = headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            HttpAnswer::response(get(), status, &headers, body.to_vec()).expect("an answer")
        };
        check(r#"{"status": 204}"#, response(204, &[], b""));
        check(r#"{"status": 200, "body": "text"}"#, response(200, &[], b"text"));
        check(
            r#"{"status": 200, "headers": [["a", "1"], ["a", "2"]], "body": {"json": {"id":  7}}}"#,
            response(200, &[("a", "1"), ("a", "2")], br#"{"id":  7}"#),
        );
        check(r#"{"status": 200, "body": {"base64": "/w=="}}"#, response(200, &[], b"\xff"));
        check(r#"{"status": 503, "delay": "3s"}"#, response(503, &[], b"").after(Duration::from_secs(3)));
        let sent = |headers: &[(Vec<u8>, Vec<u8>)], body: Option<&[u8]>| {
            HttpSent::new(headers, body.map(Vec::from)).expect("it can be sent")
        };
        let check_sent = |line: &str, expected: HttpSent| {
            let line = format!(
                "{{\"sent\": {line}, \"http\": \"GET https://api.example.com/7?x=1\", \"answer\": {{\"status\": 204}}}}"
            );
            assert!(is_one(line.as_bytes()));
            assert_eq!(read(line.as_bytes()), Ok(response(204, &[], b"").to(expected)), "{line}");
        };
        check_sent("{}", sent(&[], None));
        check_sent(r#"{"body": ""}"#, sent(&[], Some(b"")));
        check_sent(
            r#"{"headers": [["A", "1"]], "body": {"json": {"id":  7}}}"#,
            sent(&[(b"a".to_vec(), b"1".to_vec())], Some(br#"{"id":  7}"#)),
        );
        let refused = || HttpAnswer::failure(get(), "connection-refused").expect("a failure");
        check(r#"{"failure": "connection-refused"}"#, refused());
        check(r#"{"failure": "connection-refused", "delay": "5ms"}"#, refused().after(Duration::from_millis(5)));
    }

    #[test]
    fn what_is_wrong_is_told_with_what_to_write() {
        let check = |request: &str, answer: &str, reason: &str| {
            let line = format!("{{\"http\": {request}, \"answer\": {answer}}}");
            let malformed = read(line.as_bytes()).expect_err(&line);
            assert!(malformed.reason.contains(reason), "{line}: {malformed}");
        };
        let ok = r#"{"status": 200}"#;
        check("7", ok, "expected a string");
        check("\"https://a.example/\"", ok, "a method and a URL, such as");
        check("\"get https://a.example/\"", ok, "in capitals");
        check("\"GET a.example\"", ok, "the URL is none");
        check("\"GET ftp://a.example/\"", ok, "the URL is none");
        check("\"GET https://me:pass@a.example/\"", ok, "the URL is none");
        check("\"GET https://a.example/a b\"", ok, "the URL is none");
        let get = "\"GET https://a.example/\"";
        check(get, "{}", "a status or a failure");
        check(get, r#"{"status": 200, "failure": "DNS-error"}"#, "and not both");
        check(get, r#"{"failure": "DNS-error", "body": ""}"#, "neither headers nor a body");
        check(get, r#"{"failure": "refused"}"#, "no failure is called refused; there are DNS-timeout, ");
        check(get, r#"{"status": 100}"#, "200 to 599, not 100");
        check(get, r#"{"status": 204, "body": "x"}"#, "of status 204 has no body");
        check(get, r#"{"status": 200, "headers": [["a b", "x"]]}"#, "is called a b");
        check(get, r#"{"status": 200, "headers": [["a", "\n"]]}"#, "header a cannot have this value");
        check(get, r#"{"status": 200, "headers": [["a", null]]}"#, "never null");
        check(get, r#"{"status": 200, "headers": [["Content-Length", "7"]]}"#, "follows from the body");
        check(get, r#"{"status": 200, "headers": {"a": "b"}}"#, "expected a sequence");
        check(get, r#"{"status": 200, "delay": "2h"}"#, "no delay: write a duration up to 1h");
        check(get, r#"{"status": 200, "delay": 3}"#, "expected a string");
        check(get, r#"{"status": 200, "stauts": 200}"#, "unknown field `stauts`");
        let sent = |sent: &str, reason: &str| check(&format!("{get}, \"sent\": {sent}"), ok, reason);
        sent(r#"{"body": null}"#, "never null; one without is \"\"");
        sent(r#"{"headers": [["a", null]]}"#, "never null");
        sent(r#"{"headers": [["Host", "x"]]}"#, "header host follows from the URL and the body");
        sent(r#"{"header": []}"#, "unknown field `header`");
    }

    #[test]
    fn a_sample_is_an_answer_to_its_request() {
        let asked = request("POST http://localhost:8080/a%20b?q='");
        let answer = read(sample(&asked).as_bytes()).expect("an answer");
        assert_eq!(answer.request(), &asked);
    }
}
