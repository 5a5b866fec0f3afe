//! The harness for S3 and SQS: that the server does what tests of the registry stand on, and that the
//! proxy's faults are what they say.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tidegate_tests::aws::{Aws, Bucket, Count};
use tidegate_tests::http::Server;
use tidegate_tests::net;
use tidegate_tests::proxy::{Conduct, Proxy};

const LIMIT: Duration = Duration::from_secs(20);
const KEY: &str = "fn/hello world+é.wasm";
const EVENTS: [&str; 2] = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"];

/// A file of so many bytes that are all the same.
fn file(folder: &TempDir, byte: u8, count: usize) -> PathBuf {
    let path = folder.path().join(format!("{byte}"));
    fs::write(&path, vec![byte; count]).expect("the file is written");
    path
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// The only record of an event.
fn record(body: &str) -> Value {
    let body: Value = serde_json::from_str(body).expect("an event is JSON");
    let records = body["Records"].as_array().expect("an event has records");
    assert_eq!(records.len(), 1, "{body}");
    records[0].clone()
}

#[test]
fn a_bucket_keeps_versions_newest_first() {
    let (aws, folder) = (Aws::start(), folder());
    let bucket = aws.bucket("fns");
    let first = bucket.put(KEY, &file(&folder, 1, 7));
    let second = bucket.put_multipart(KEY, &file(&folder, 2, (5 << 20) + 10));
    let (one, two) = (first.version.expect("a version"), second.version.expect("a version"));
    let third = bucket.copy(KEY, Some(&one), KEY).version.expect("a version");
    let marker = bucket.delete(KEY).expect("a delete marker");
    let ids = |bucket: &Bucket| -> Vec<String> { bucket.versions(KEY).into_iter().map(|version| version.id).collect() };
    assert_eq!(ids(&bucket), [&*marker, &*third, &*two, &*one]);
    let listed = bucket.versions(KEY);
    assert!(listed[0].marker && listed[0].latest && !listed[1].marker && !listed[1].latest, "{listed:?}");
    assert_eq!(bucket.head(KEY, None), None);

    bucket.delete_version(KEY, &marker);
    let back = bucket.head(KEY, None).expect("an object without its delete marker is there again");
    assert_eq!((back.version, back.size), (Some(third.clone()), 7));
    let read = folder.path().join("read");
    assert_eq!(bucket.get(KEY, Some(&two), &read).etag, second.etag);
    assert_eq!(fs::read(&read).expect("read"), vec![2; (5 << 20) + 10]);

    bucket.delete_version(KEY, &one);
    assert_eq!(bucket.head(KEY, Some(&one)), None);
    assert_eq!(ids(&bucket), [third, two]);

    let plain = aws.bucket_without_versions("plain");
    assert_eq!(plain.put(KEY, &file(&folder, 1, 7)).version, None);
    assert_eq!(plain.put(KEY, &file(&folder, 2, 8)).size, 8);
    assert_eq!(plain.versions(KEY).iter().map(|version| version.id.as_str()).collect::<Vec<_>>(), ["null"]);
    assert_eq!(plain.delete(KEY), None);
}

#[test]
fn each_change_of_an_object_is_one_event_in_the_queue() {
    let (aws, folder) = (Aws::start(), folder());
    let (bucket, queue) = (aws.bucket("fns"), aws.queue("hints", Duration::from_secs(30)));
    bucket.notify(&queue, &EVENTS);
    let test: Value = serde_json::from_str(&queue.take(1, LIMIT)[0]).expect("a test event is JSON");
    assert_eq!((test["Event"].as_str(), test.get("Records")), (Some("s3:TestEvent"), None), "{test}");

    let first = bucket.put(KEY, &file(&folder, 1, 7)).version.expect("a version");
    let second = bucket.put_multipart(KEY, &file(&folder, 2, (5 << 20) + 10)).version.expect("a version");
    let third = bucket.copy(KEY, Some(&first), KEY).version.expect("a version");
    let marker = bucket.delete(KEY).expect("a delete marker");
    let mut records: Vec<Value> = queue.take(4, LIMIT).iter().map(|body| record(body)).collect();
    println!("{:#}", records[0]);
    let sequencer = |record: &Value| record["s3"]["object"]["sequencer"].as_str().expect("text").to_owned();
    records.sort_by_key(sequencer);
    let seen: Vec<_> = records
        .iter()
        .map(|record| (record["eventName"].as_str(), record["s3"]["object"]["versionId"].as_str()))
        .collect();
    let due = [
        (Some("ObjectCreated:Put"), Some(&*first)),
        (Some("ObjectCreated:CompleteMultipartUpload"), Some(&*second)),
        (Some("ObjectCreated:Copy"), Some(&*third)),
        (Some("ObjectRemoved:DeleteMarkerCreated"), Some(&*marker)),
    ];
    assert_eq!(seen, due);
    for record in &records {
        assert_eq!(record["s3"]["bucket"]["name"], "fns");
        assert_eq!(record["s3"]["object"]["key"], "fn/hello+world%2B%C3%A9.wasm");
    }
    assert_eq!(queue.count().total(), 0, "there is no event but these");
}

#[test]
fn a_queue_takes_many_messages_and_loses_them_when_told() {
    let aws = Aws::start();
    let queue = aws.queue("hints", Duration::from_secs(30));
    let start = Instant::now();
    queue.send_all((0..1000).map(|number| format!("message {number}")));
    println!("1000 messages are sent in {:?}", start.elapsed());
    queue.send("no JSON {\u{e9}\n\"");
    assert_eq!(queue.count(), Count { visible: 1001, invisible: 0 });
    assert_eq!(queue.url_by("http://elsewhere:1"), "http://elsewhere:1/000000000000/hints");
    for _ in 0..2 {
        queue.purge();
        assert_eq!(queue.count().total(), 0);
    }
    queue.send("again");
    assert_eq!(queue.take(1, LIMIT), ["again"]);
}

#[test]
fn a_server_stands_still_or_is_killed_and_starts_empty() {
    let (mut aws, folder) = (Aws::start(), folder());
    let bucket = aws.bucket("fns");
    bucket.put(KEY, &file(&folder, 1, 7));
    aws.freeze();
    let mut asking = ask(aws.address(), "/_ministack/health").expect("a server that stands still accepts");
    assert_silent(&mut asking, Duration::from_millis(300));
    aws.thaw();
    asking.set_read_timeout(Some(LIMIT)).expect("set");
    assert!(asking.read(&mut [0; 100]).is_ok_and(|count| count > 0), "it answers when it goes on");

    aws.kill();
    assert!(!net::accepts(aws.address()));
    aws.start_again();
    let bucket = aws.bucket("fns");
    assert_eq!(bucket.versions(KEY), []);
    bucket.put(KEY, &file(&folder, 1, 7));
}

fn ask(address: SocketAddr, path: &str) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n")?;
    Ok(stream)
}

#[track_caller]
fn assert_silent(stream: &mut TcpStream, time: Duration) {
    stream.set_read_timeout(Some(time)).expect("set");
    let error = stream.read(&mut [0; 1]).expect_err("no answer");
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
}

/// Reads what comes until the end, or until it breaks.
fn rest(stream: &mut TcpStream) -> Result<Vec<u8>, ErrorKind> {
    stream.set_read_timeout(Some(LIMIT)).expect("set");
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).map(|_| bytes).map_err(|error| error.kind())
}

/// A connection that is kept, with its first answer read.
fn kept(proxy: &Proxy) -> TcpStream {
    let mut stream = ask(proxy.address(), "/bytes/5").expect("asked");
    read_five(&mut stream);
    stream
}

fn read_five(stream: &mut TcpStream) {
    stream.set_read_timeout(Some(LIMIT)).expect("set");
    let mut seen = Vec::new();
    // A head and the five bytes that it announces.
    while seen.windows(4).position(|window| window == b"\r\n\r\n").is_none_or(|head| seen.len() < head + 9) {
        let mut bytes = [0; 1000];
        let count = stream.read(&mut bytes).expect("an answer");
        assert!(count > 0, "an answer that ends early");
        seen.extend_from_slice(&bytes[..count]);
    }
}

fn ask_again(stream: &mut TcpStream) {
    stream.write_all(b"GET /bytes/5 HTTP/1.1\r\nHost: x\r\n\r\n").expect("asked");
}

fn proxied() -> (Server, Proxy) {
    let server = Server::start();
    let address = server.origin().trim_start_matches("http://").parse().expect("an address");
    (server, Proxy::start(address))
}

#[test]
fn a_proxy_refuses_resets_and_passes_again() {
    let (_server, proxy) = proxied();
    let mut before = kept(&proxy);
    proxy.set_new(Conduct::Refuse);
    let refused = TcpStream::connect(proxy.address()).expect_err("nobody listens");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    ask_again(&mut before);
    read_five(&mut before);
    proxy.set_all(Conduct::Refuse);
    assert_eq!(rest(&mut before), Err(ErrorKind::ConnectionReset));

    proxy.set_all(Conduct::Pass);
    let mut before = kept(&proxy);
    proxy.set_new(Conduct::Reset);
    // The reset may come before the request is written.
    let reset = ask(proxy.address(), "/bytes/5").map_err(|error| error.kind());
    let seen = reset.and_then(|mut stream| rest(&mut stream)).expect_err("it is reset");
    assert!(matches!(seen, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{seen}");
    ask_again(&mut before);
    read_five(&mut before);
    proxy.set_all(Conduct::Reset);
    assert_eq!(rest(&mut before), Err(ErrorKind::ConnectionReset));

    proxy.set_all(Conduct::Pass);
    assert_eq!(net::get(proxy.address(), "/bytes/5").expect("passes").body.len(), 5);
    assert_eq!(proxy.connections(), 4);
}

#[test]
fn a_proxy_is_a_black_hole() {
    let (server, proxy) = proxied();
    let (mut asked, mut idle) = (kept(&proxy), kept(&proxy));
    proxy.set_all(Conduct::Swallow);
    let mut new = ask(proxy.address(), "/bytes/5").expect("a black hole accepts");
    ask_again(&mut asked);
    assert_silent(&mut new, Duration::from_millis(200));
    assert_silent(&mut asked, Duration::from_millis(100));
    assert_eq!((server.requests(), server.connections()), (2, 2));
    proxy.set_all(Conduct::Pass);
    for stream in [&mut new, &mut asked] {
        assert_eq!(rest(stream), Err(ErrorKind::ConnectionReset), "bytes of it are lost");
    }
    ask_again(&mut idle);
    read_five(&mut idle);
}

#[test]
fn a_proxy_delays_answers() {
    let (_server, proxy) = proxied();
    let delay = Duration::from_millis(200);
    let mut kept = kept(&proxy);
    proxy.set_all(Conduct::Delay(delay));
    let start = Instant::now();
    ask_again(&mut kept);
    read_five(&mut kept);
    assert!(start.elapsed() >= delay);

    proxy.set_all(Conduct::Delay(Duration::from_secs(3600)));
    ask_again(&mut kept);
    assert_silent(&mut kept, Duration::from_millis(100));
    proxy.set_all(Conduct::Pass);
    read_five(&mut kept);
}

#[test]
fn a_proxy_truncates_answers() {
    let (_server, proxy) = proxied();
    let mut before = kept(&proxy);
    proxy.set_new(Conduct::Truncate(1000));
    let mut new = ask(proxy.address(), "/bytes/300000").expect("asked");
    assert_eq!(rest(&mut new).map(|bytes| bytes.len()), Ok(1000));
    ask_again(&mut before);
    read_five(&mut before);
    proxy.set_all(Conduct::Truncate(10));
    ask_again(&mut before);
    assert_eq!(rest(&mut before).as_deref(), Ok(&b"HTTP/1.1 2"[..]));
}
