//! Tests of the client against a simple server, without guests.

use std::net::Ipv4Addr;
use std::sync::atomic::AtomicUsize;

use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt as _, Empty, StreamBody};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::super::client::TimedResponse;
use super::super::connect::LookUp;
use super::super::failure::Failure;
use super::*;

/// How long a test waits for a condition before it fails.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Default)]
struct Server {
    port: u16,
    made: AtomicUsize,
    open: AtomicUsize,
}

impl Server {
    async fn start() -> Arc<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let port = listener.local_addr().expect("a bound address").port();
        let server = Arc::new(Self { port, ..Self::default() });
        let seen = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                seen.made.fetch_add(1, Ordering::SeqCst);
                seen.open.fetch_add(1, Ordering::SeqCst);
                let seen = seen.clone();
                tokio::spawn(async move {
                    serve(stream).await;
                    seen.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        server
    }

    fn made(&self) -> usize {
        self.made.load(Ordering::SeqCst)
    }

    fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

/// Sends a response as soon as the head of a request is complete. After a request for `/early` it reads
/// nothing more.
async fn serve(mut stream: TcpStream) {
    let mut read = Vec::new();
    while stream.read_buf(&mut read).await.is_ok_and(|bytes| bytes > 0) {
        if !read.windows(4).any(|end| end == b"\r\n\r\n") {
            continue;
        }
        if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await.is_err() {
            return;
        }
        if read.windows(6).any(|path| path == b"/early") {
            std::future::pending::<()>().await;
        }
        read.clear();
    }
}

/// A client that resolves every name to the loopback address.
fn client(keys: &str) -> Client {
    let function = function(&format!("{keys}\nallow-networks = [\"127.0.0.0/8\"]"));
    let look_up: LookUp = |_, port| Ok(vec![(Ipv4Addr::LOCALHOST, port).into()]);
    Client::new(&function, Backend::Network { tls: None, look_up }, Arc::default())
}

async fn send(client: &Client, url: &str, body: WasiBody) -> Result<TimedResponse, Failure> {
    let request = hyper::Request::builder().method("POST").uri(url).body(body).expect("a request");
    client.send(client.admit(request), None, Caller { instance_dropped: Arc::default(), deadline: None }).await
}

async fn get(client: &Client, url: &str) -> Result<Bytes, Failure> {
    let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
    let answer = send(client, url, body).await?;
    Ok(answer.response.into_body().collect().await.expect("all of it").to_bytes())
}

async fn until(mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("the condition becomes true");
}

#[tokio::test]
async fn idle_connections_to_other_hosts_do_not_block_a_request() {
    let server = Server::start().await;
    let port = server.port;
    let client = client(&format!("allow-hosts = [\"http://*.example.com:{port}\"]\nhttp = {{ connections = 1 }}"));
    for round in 0..3 {
        for host in 0..10 {
            let answer = get(&client, &format!("http://h{host}.example.com:{port}/")).await;
            assert_eq!(answer.as_deref(), Ok(b"hello".as_slice()), "round {round}, host {host}");
        }
    }
    until(|| server.open() <= 1).await;
    assert!(server.made() <= 28, "{}: the first host's connection is used again", server.made());
}

#[tokio::test]
async fn connections_to_one_host_are_used_again() {
    let server = Server::start().await;
    let origin = format!("http://one.example.com:{}", server.port);
    let client = client(&format!("allow-hosts = [\"{origin}\"]\nhttp = {{ connections = 2 }}"));
    for _ in 0..10 {
        get(&client, &origin).await.expect("an answer");
    }
    assert!(server.made() <= 3, "{}", server.made());
}

/// Sends a body that does not end. The server sends its response at once and does not read the body.
async fn check_upload_ends(body: WasiBody) {
    let server = Server::start().await;
    let origin = format!("http://one.example.com:{}", server.port);
    let keys = format!(
        "allow-hosts = [\"{origin}\"]\nhttp = {{ connections = 1, timeout = \"500ms\", max-request = \"1GiB\" }}"
    );
    let client = client(&keys);
    let answer = send(&client, &format!("{origin}/early"), body).await.expect("an answer");
    let text = answer.response.into_body().collect().await.expect("all of it").to_bytes();
    assert_eq!(&*text, b"hello");
    assert_eq!(client.free(0), (0, 1), "the upload is still under way");
    until(|| client.free(0) == (1, 2)).await;
}

#[tokio::test]
async fn an_upload_without_data_ends_at_the_timeout() {
    check_upload_ends(StreamBody::new(futures_util::stream::pending()).boxed_unsync()).await;
}

#[tokio::test]
async fn an_upload_that_the_server_does_not_read_ends_at_the_timeout() {
    let chunk = || Some((Ok(Frame::data(Bytes::from_static(&[b'x'; 4096]))), ()));
    let endless = futures_util::stream::unfold((), move |()| std::future::ready(chunk()));
    let body = StreamBody::new(endless).boxed_unsync();
    check_upload_ends(body).await;
}

#[tokio::test]
async fn the_body_of_a_dropped_instance_is_not_complete() {
    let server = Server::start().await;
    let origin = format!("http://one.example.com:{}", server.port);
    let client = client(&format!("allow-hosts = [\"{origin}\"]"));
    let instance_dropped = Arc::new(AtomicBool::new(true));
    let nothing_more = StreamBody::new(futures_util::stream::empty()).boxed_unsync();
    let request = hyper::Request::post(format!("{origin}/early")).body(nothing_more).expect("a request");
    let failure = client.send(client.admit(request), None, Caller { instance_dropped, deadline: None }).await.err();
    assert_eq!(failure, Some(Failure::Protocol));
}
