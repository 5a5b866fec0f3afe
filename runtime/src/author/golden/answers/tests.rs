//! Answers through the engine's client, without guests.

use std::convert::Infallible;
use std::path::Path;

use http_body::{Body as _, Frame};
use http_body_util::StreamBody;

use super::*;
use crate::engine::testing::Guest;
use crate::manifest;

const AT: &str = "https://api.example.com";

fn request(text: &str) -> HttpRequest {
    HttpRequest::parse(text).expect("a request")
}

fn response(status: u16, body: &str) -> HttpAnswer {
    HttpAnswer::response(request(&format!("GET {AT}/7")), status, &[], body.into()).expect("an answer")
}

/// An instance of a function with these keys in the manifest.
fn guest(keys: &str, answers: Vec<HttpAnswer>) -> (Guest, Arc<HttpAnswers>) {
    let text = format!("[function.f]\ncomponent = \"f.wasm\"\nallow-hosts = [\"{AT}\"]\n{keys}");
    let manifest = manifest::parse(Path::new("tidegate.toml"), &text, &|_| None).expect("a good manifest");
    let answers = HttpAnswers::new(answers);
    (Guest::new(&manifest.functions["f"], answers.clone()), answers)
}

fn whole(method: &str, url: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let body = Full::new(body.into());
    let length = body.size_hint().exact().expect("it is known").to_string();
    Request::builder().method(method).uri(url).header("content-length", length).body(body).expect("a request")
}

/// What a request is answered with, if all of it comes.
async fn send(guest: &Guest, request: Request<Full<Bytes>>) -> Result<Bytes, HttpFailure> {
    let answer = guest.send(request).await?;
    Ok(answer.into_body().collect().await.expect("all of it").to_bytes())
}

async fn ask(guest: &Guest, url: &str) -> Result<Bytes, HttpFailure> {
    send(guest, whole("GET", url, "")).await
}

#[tokio::test]
async fn answers_to_one_request_are_given_in_turn_and_what_is_left_is_told() {
    let url = format!("{AT}/7");
    let (guest, answers) = guest("", vec![response(200, "one"), response(200, "two"), response(200, "three")]);
    for expected in ["one", "two"] {
        assert_eq!(ask(&guest, &url).await.as_deref(), Ok(expected.as_bytes()));
    }
    for other in ["/8", "/7?x=1", "/"] {
        let asked = request(&format!("GET {AT}{other}"));
        assert_eq!(ask(&guest, &format!("{AT}{other}")).await, Err(unanswered(&asked)));
    }
    let asked = request(&format!("POST {url}"));
    assert_eq!(send(&guest, whole("POST", &url, "")).await, Err(unanswered(&asked)));
    let requests = ["GET {}/", "GET {}/7?x=1", "GET {}/8", "POST {}/7"].map(|text| request(&text.replace("{}", AT)));
    assert_eq!(
        answers.left(),
        HttpLeft { answers: vec![2], requests: requests.to_vec(), request_count: 4, ..HttpLeft::default() }
    );
    // However it is written.
    assert_eq!(ask(&guest, "https://API.example.com.:443/7").await.as_deref(), Ok(b"three".as_slice()));
    assert!(answers.left().answers.is_empty());
}

#[tokio::test]
async fn an_answer_is_what_was_given_and_no_more() {
    let headers = [("x-one", "1"), ("set-cookie", "a"), ("set-cookie", "b")];
    let headers: Vec<_> = headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let given = HttpAnswer::response(request(&format!("POST {AT}/7")), 418, &headers, b"tea".to_vec());
    let (guest, _) = guest("", vec![given.expect("an answer")]);
    let answer = guest.send(whole("POST", &format!("{AT}/7"), "body")).await.expect("an answer");
    let (head, body) = answer.into_parts();
    assert_eq!((head.status.as_u16(), &*body.collect().await.expect("all of it").to_bytes()), (418, b"tea".as_slice()));
    let mut names: Vec<&str> = head.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["content-length", "set-cookie", "set-cookie", "x-one"], "no date, of all things");
}

#[tokio::test]
async fn every_failure_comes_as_itself_also_on_a_connection_that_was_used() {
    let url = format!("{AT}/7");
    for (name, failure) in HttpFailure::external() {
        let failing = || HttpAnswer::failure(request(&format!("GET {url}")), name).expect(name);
        let (guest, answers) = guest("", vec![failing(), response(200, "one"), failing(), response(200, "two")]);
        for expected in ["one", "two"] {
            assert_eq!(ask(&guest, &url).await, Err(failure.clone()), "{name}");
            assert_eq!(ask(&guest, &url).await.as_deref(), Ok(expected.as_bytes()), "{name}");
        }
        assert_eq!(answers.left(), HttpLeft::default());
    }
}

#[tokio::test]
async fn the_rules_and_limits_of_the_manifest_hold() {
    let keys = "http = { max-request = \"1KiB\", max-response = \"1KiB\", first-byte-timeout = \"50ms\" }";
    let (full, more) = ("x".repeat(1_024), "x".repeat(1_025));
    let slow = response(200, "slow").after(Duration::from_secs(60));
    let large = [("x-large".into(), vec![b'x'; 40 << 10])];
    let large = HttpAnswer::response(request(&format!("GET {AT}/7")), 200, &large, Vec::new()).expect("an answer");
    let (guest, answers) = guest(keys, vec![response(200, &more), slow, large, response(200, &full)]);
    let url = format!("{AT}/7");
    assert_eq!(ask(&guest, &url).await, Err(HttpFailure::ResponseSize(1_024)));
    assert_eq!(ask(&guest, &url).await, Err(HttpFailure::Silence));
    assert_eq!(ask(&guest, &url).await, Err(HttpFailure::HeadSize));
    assert_eq!(ask(&guest, &url).await.as_deref(), Ok(full.as_bytes()));
    assert_eq!(ask(&guest, "https://other.example.com/7").await, Err(HttpFailure::Denied));
    assert_eq!(send(&guest, whole("GET", &url, more)).await, Err(HttpFailure::RequestSize(1_024)));
    assert_eq!(answers.left(), HttpLeft::default(), "what is refused has not asked");
}

#[test]
fn no_more_requests_than_can_be_told_are_kept() {
    let answers = HttpAnswers::new(Vec::new());
    for number in 0..300 {
        assert!(answers.take(&request(&format!("GET {AT}/{number:03}"))).is_none());
    }
    let left = answers.left();
    assert_eq!((left.requests.len(), left.request_count), (100, 300));
}

/// Those that are begun last come first, on several threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_turn_is_that_of_the_guest_whichever_request_comes_first() {
    let numbers = 0..64;
    let all = numbers.clone().map(|number| response(200, &number.to_string())).collect();
    let (mut guest, answers) = guest("", all);
    let url = format!("{AT}/7");
    let mut started: Vec<_> = numbers.map(|number| (number, guest.start(whole("GET", &url, "")))).collect();
    assert!(answers.left().answers.is_empty(), "all are given, before any request is on its way");
    // One that is dropped before it is on its way has had its turn too.
    drop(started.remove(1));
    let asked = started.into_iter().rev().map(|(number, asking)| {
        tokio::spawn(async move {
            let body = asking.await.unwrap_or_else(|error| panic!("{number}: {error}"));
            assert_eq!(*body, *number.to_string().as_bytes());
        })
    });
    for asked in asked.collect::<Vec<_>>() {
        asked.await.expect("its own answer");
    }
    drop(guest.start(whole("GET", &url, "")));
    drop(guest.start(whole("GET", "https://other.example.com/7", "")));
    let requests = vec![request(&format!("GET {url}"))];
    assert_eq!(answers.left(), HttpLeft { requests, request_count: 1, ..HttpLeft::default() });
}

#[tokio::test]
async fn what_is_sent_is_held_against_what_it_has_to_be() {
    let url = format!("{AT}/7");
    let owned = |pairs: &[(&str, &str)]| -> Vec<(Vec<u8>, Vec<u8>)> {
        pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    };
    let posted = |sent: HttpSent| {
        HttpAnswer::response(request(&format!("POST {url}")), 200, &[], Vec::new()).expect("an answer").to(sent)
    };
    let check = async |headers: &[(&str, &str)], body: Option<&str>, expected: Vec<HttpDifference>| {
        let sent = HttpSent::new(&owned(headers), body.map(Into::into)).expect("it can be sent");
        let (mut guest, answers) = guest("", vec![posted(sent)]);
        let request = Request::post(&url).header("a", "1").header("a", "2").header("tidegate-answer", "7");
        let asking = guest.start(request.body(Full::new(Bytes::from_static(b"body"))).expect("a request"));
        let open = answers.left();
        asking.await.expect("an answer");
        let whole = answers.left();
        let unfinished = HttpUnlike { answer: 0, differences: vec![HttpDifference::Unfinished] };
        assert_eq!((open.unlike, open.unlike_count), (vec![unfinished], 1));
        let count = usize::from(!expected.is_empty());
        let unlike: Vec<_> =
            (count == 1).then_some(HttpUnlike { answer: 0, differences: expected }).into_iter().collect();
        assert_eq!(whole, HttpLeft { unlike, unlike_count: count, ..HttpLeft::default() });
    };
    let header = |name: &str, expected: &[&str], came: &[&str]| {
        let values = |values: &[&str]| values.iter().map(|value| Vec::from(value.as_bytes())).collect();
        HttpDifference::Header { name: name.to_owned(), expected: values(expected), came: values(came) }
    };
    let other = HttpDifference::Body { expected: Bytes::from_static(b"bode"), came: Bytes::from_static(b"body") };
    check(&[], None, Vec::new()).await;
    check(&[("A", "1"), ("a", "2")], Some("body"), Vec::new()).await;
    check(&[], Some("bode"), vec![other.clone()]).await;
    check(&[("a", "1")], None, vec![header("a", &["1"], &["1", "2"])]).await;
    check(&[("b", "1")], Some("bode"), vec![header("b", &["1"], &[]), other]).await;
    check(&[("tidegate-answer", "7")], None, vec![header("tidegate-answer", &["7"], &[])]).await;
}

#[tokio::test]
async fn the_first_that_are_unlike_are_kept() {
    let sent = || HttpSent::new(&[], Some(b"x".to_vec())).expect("it can be sent");
    let (guest, answers) = guest("", (0..30).map(|_| response(200, "").to(sent())).collect());
    for _ in 0..30 {
        ask(&guest, &format!("{AT}/7")).await.expect("an answer");
    }
    let left = answers.left();
    assert_eq!(left.unlike.iter().map(|unlike| unlike.answer).collect::<Vec<_>>(), Vec::from_iter(0..10));
    assert_eq!(left.unlike_count, 30);
}

/// Else a guest that is still sending would be told that nobody takes it.
#[tokio::test]
async fn a_request_without_an_answer_is_taken_to_its_end() {
    const PIECE_BYTES: usize = 8 << 10;
    let (guest, _) = guest("", Vec::new());
    // In pieces, as guests send it.
    let pieces = (0..100).map(|_| Ok::<_, Infallible>(Frame::data(Bytes::from(vec![b'x'; PIECE_BYTES]))));
    let url = format!("{AT}/7");
    let body = StreamBody::new(futures_util::stream::iter(pieces));
    let failed = guest.send(Request::post(&url).body(body).expect("a request")).await.err();
    assert_eq!(failed, Some(unanswered(&request(&format!("POST {url}")))));
    let counted = serde_json::to_value(&*guest.counts).expect("numbers");
    assert_eq!(counted["bytes_out"], 100 * PIECE_BYTES);
}
