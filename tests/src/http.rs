//! An HTTP server on the loopback interface that tests have functions ask. It counts what it sees.
//!
//! | path | answer |
//! |---|---|
//! | `/hello` | `hello` |
//! | `/host` | the host that the request was for, with its version of HTTP |
//! | `/bytes/N` | N bytes, their number in the head |
//! | `/chunks/N` | N chunks of 1 KiB, their number not told |
//! | `/customers/N` | what is known of customer N, as JSON |
//! | `/echo` | the body of the request |
//! | `/through` | the body of the request, piece by piece as it comes |
//! | `/take` | none, before the body of the request is over |
//! | `/to?URL` | a redirect |
//! | `/status/N` | an answer of status N, without a body |
//! | `/head/N` | a head of more than N bytes |
//! | `/never` | none |
//! | `/stall` | ten bytes and then nothing, and no end |
//! | `/trickle` | a byte every 10 ms, without end |
//! | `/endless` | chunks of 16 KiB, without end |
//! | `/short` | ten bytes of a hundred, and the end of the connection |
//! | `/together/N` | 1 KiB, as soon as N such requests are under way at once |

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::time::Interval;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{ServerConfig, crypto, pki_types};

/// A server that ends when it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    scheme: &'static str,
    seen: Arc<Seen>,
    certificate: Option<(TempDir, PathBuf)>,
    _runtime: Runtime,
}

#[derive(Debug, Default)]
struct Seen {
    connections: AtomicUsize,
    open: AtomicUsize,
    requests: AtomicUsize,
    active: AtomicUsize,
    peak: AtomicUsize,
    taken: AtomicUsize,
    broken: AtomicUsize,
    together: watch::Sender<usize>,
}

impl Server {
    /// Plain HTTP/1.1.
    pub fn start() -> Server {
        Server::serve(None)
    }

    /// HTTP/1.1 and HTTP/2 by TLS, with a certificate for `localhost` that nobody trusts but who is
    /// told of [`Server::certificate`].
    pub fn start_tls() -> Server {
        let folder = tempfile::tempdir().expect("a folder for the certificate");
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let path = folder.path().join("certificate.pem");
        std::fs::write(&path, made.cert.pem()).expect("the certificate is written");
        let key = pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let mut config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .expect("a certificate and its key");
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let mut server = Server::serve(Some(TlsAcceptor::from(Arc::new(config))));
        server.certificate = Some((folder, path));
        server
    }

    fn serve(tls: Option<TlsAcceptor>) -> Server {
        // A thousand connections are files of this process too.
        let files = getrlimit(Resource::Nofile);
        let _ = setrlimit(Resource::Nofile, Rlimit { current: files.maximum, maximum: files.maximum });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("http-server")
            .enable_all()
            .build()
            .expect("threads for the server");
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).expect("a free port");
        let (address, seen) = (listener.local_addr().expect("a bound address"), Arc::new(Seen::default()));
        let scheme = if tls.is_some() { "https" } else { "http" };
        runtime.spawn(accept(listener, tls, seen.clone()));
        Server { address, scheme, seen, certificate: None, _runtime: runtime }
    }

    /// Such as `http://127.0.0.1:1234`, as `allow-hosts` takes it.
    pub fn origin(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// The same by the name `localhost`.
    pub fn named(&self) -> String {
        self.as_host("localhost")
    }

    /// The same by any name.
    pub fn as_host(&self, name: &str) -> String {
        format!("{}://{name}:{}", self.scheme, self.address.port())
    }

    /// The file that makes a client trust it.
    pub fn certificate(&self) -> &Path {
        &self.certificate.as_ref().expect("it speaks TLS").1
    }

    /// The same, if it speaks TLS.
    pub fn trusted(&self) -> Option<&str> {
        self.certificate.as_ref().map(|(_, path)| path.to_str().expect("text"))
    }

    /// Connections that were ever made.
    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// Connections that are open.
    pub fn open(&self) -> usize {
        self.seen.open.load(Ordering::SeqCst)
    }

    /// Requests that were ever made.
    pub fn requests(&self) -> usize {
        self.seen.requests.load(Ordering::SeqCst)
    }

    /// Requests whose answer is not complete.
    pub fn active(&self) -> usize {
        self.seen.active.load(Ordering::SeqCst)
    }

    /// Requests to `/take` whose body came to its end.
    pub fn taken(&self) -> usize {
        self.seen.taken.load(Ordering::SeqCst)
    }

    /// Requests to `/take` whose body broke off.
    pub fn broken(&self) -> usize {
        self.seen.broken.load(Ordering::SeqCst)
    }

    /// The most that were ever active at once.
    pub fn peak(&self) -> usize {
        self.seen.peak.load(Ordering::SeqCst)
    }
}

/// Counts as long as it lives.
struct Counted(Arc<Seen>, fn(&Seen) -> &AtomicUsize);

impl Counted {
    fn new(seen: &Arc<Seen>, count: fn(&Seen) -> &AtomicUsize) -> (Counted, usize) {
        let now = count(seen).fetch_add(1, Ordering::SeqCst) + 1;
        (Counted(seen.clone(), count), now)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1(&self.0).fetch_sub(1, Ordering::SeqCst);
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, seen: Arc<Seen>) {
    loop {
        // A client that is gone already is none.
        let Ok((stream, _)) = listener.accept().await else { continue };
        seen.connections.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(connection(stream, tls.clone(), seen.clone()));
    }
}

async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, seen: Arc<Seen>) {
    let _open = Counted::new(&seen, |seen| &seen.open);
    let service = service_fn(move |request| {
        let seen = seen.clone();
        async move { Ok::<_, Infallible>(answer(request, seen).await) }
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    // Whatever ends a connection is what a test wanted.
    match tls {
        None => drop(builder.serve_connection(TokioIo::new(stream), service).await),
        Some(tls) => {
            if let Ok(stream) = tls.accept(stream).await {
                drop(builder.serve_connection(TokioIo::new(stream), service).await);
            }
        }
    }
}

async fn answer(request: Request<Incoming>, seen: Arc<Seen>) -> Response<Script> {
    seen.requests.fetch_add(1, Ordering::SeqCst);
    let (active, now) = Counted::new(&seen, |seen| &seen.active);
    seen.peak.fetch_max(now, Ordering::SeqCst);
    let path = request.uri().path().to_owned();
    let (route, number) = match path[1..].split_once('/') {
        Some((route, number)) => (route, number.parse().expect("a number")),
        None => (&path[1..], 0),
    };
    let script = |chunk: Bytes, chunks, then| Script { chunk, chunks, then, pause: None, _active: active };
    let bytes = |count| Bytes::from(vec![b'x'; count]);
    match route {
        "hello" => Response::new(script("hello".into(), 1, Then::End)),
        "host" => {
            let authority = request.uri().authority().map(ToString::to_string);
            let header = request.headers().get("host").map(|host| host.to_str().expect("text").to_owned());
            let host = header.or(authority).unwrap_or_default();
            Response::new(script(format!("{:?} {host}", request.version()).into(), 1, Then::End))
        }
        "bytes" => with_header("content-length", &number.to_string(), script(bytes(number), 1, Then::End)),
        "chunks" => Response::new(script(bytes(1 << 10), number, Then::End)),
        "customers" => {
            let customer =
                format!("{{\"id\": \"{number}\", \"name\": \"Name {number}\", \"city\": \"City {number}\"}}");
            Response::new(script(customer.into(), 1, Then::End))
        }
        "echo" => {
            let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            Response::new(script(body, 1, Then::End))
        }
        "through" => Response::new(script(bytes(0), 0, Then::Through(request.into_body()))),
        "take" => {
            let is_whole = request.into_body().collect().await.is_ok();
            let count = if is_whole { &seen.taken } else { &seen.broken };
            count.fetch_add(1, Ordering::SeqCst);
            Response::new(script(bytes(0), 0, Then::End))
        }
        "to" => {
            let mut response =
                with_header("location", request.uri().query().unwrap_or(""), script(bytes(1), 1, Then::End));
            *response.status_mut() = hyper::StatusCode::FOUND;
            response
        }
        "status" => {
            let mut response = Response::new(script(bytes(0), 0, Then::End));
            let status = u16::try_from(number).ok().and_then(|number| hyper::StatusCode::from_u16(number).ok());
            *response.status_mut() = status.expect("a status");
            response
        }
        "head" => with_header("x-large", &"x".repeat(number), script(bytes(1), 1, Then::End)),
        "never" => {
            let script = script(bytes(0), 0, Then::End);
            // Who does not read does not see either that the other side is gone.
            if request.into_body().collect().await.is_ok() {
                std::future::pending::<()>().await;
            }
            Response::new(script)
        }
        "stall" => Response::new(script(bytes(10), 1, Then::Nothing)),
        "trickle" => {
            let pause = Some(tokio::time::interval(Duration::from_millis(10)));
            Response::new(Script { pause, ..script(bytes(1), usize::MAX, Then::End) })
        }
        "endless" => Response::new(script(bytes(16 << 10), usize::MAX, Then::End)),
        "short" => with_header("content-length", "100", script(bytes(10), 1, Then::Break)),
        "together" => {
            seen.together.send_modify(|count| *count += 1);
            // It does not close: the sender is at hand.
            let _ = seen.together.subscribe().wait_for(|count| *count >= number).await;
            Response::new(script(bytes(1 << 10), 1, Then::End))
        }
        _ => panic!("no such path: {path}"),
    }
}

fn with_header(name: &'static str, value: &str, script: Script) -> Response<Script> {
    let mut response = Response::new(script);
    response.headers_mut().insert(name, value.parse().expect("a header's value"));
    response
}

/// A body: so many chunks, and what comes then.
struct Script {
    chunk: Bytes,
    chunks: usize,
    then: Then,
    pause: Option<Interval>,
    _active: Counted,
}

enum Then {
    End,
    Nothing,
    Break,
    Broken,
    Through(Incoming),
}

impl Body for Script {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.chunks > 0 {
            if let Some(pause) = &mut self.pause {
                ready!(pause.poll_tick(context));
            }
            self.chunks -= 1;
            return Poll::Ready(Some(Ok(Frame::data(self.chunk.clone()))));
        }
        match &mut self.then {
            Then::Through(incoming) => Pin::new(incoming).poll_frame(context).map_err(io::Error::other),
            Then::End => Poll::Ready(None),
            Then::Nothing => Poll::Pending,
            Then::Break => {
                // What it has is sent when a body has no more for now.
                self.then = Then::Broken;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Then::Broken => Poll::Ready(Some(Err(io::Error::other("told to break")))),
        }
    }
}
