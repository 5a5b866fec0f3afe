//! Answers that stand in for the network, as golden cases give them. Each connection leads to a server
//! in memory, so that all else is as in production: who may be asked, how many at once, times, sizes,
//! connections that are used again. There is no TLS, and no name is looked up.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, TRANSFER_ENCODING};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};

use super::sent::{HttpDifference, HttpSent, HttpUnlike, read_headers};
use crate::engine::{HttpDialer, HttpFailure, HttpStream, http_target};
use crate::manifest::{Http, Origin};

/// Bytes that lie in each direction between client and server.
const PIPE_BYTES: usize = 64 << 10;
/// Requests without an answer that are kept to tell them; all are counted.
const MAX_KEPT: usize = 100;
/// Requests unlike what they had to be that are kept to tell them, with their bodies; all are counted.
const MAX_UNLIKE: usize = 10;
/// Tells the server the place of the answer that a request has. The server takes it away, and a function
/// that sets it is overwritten.
const PLACE: HeaderName = HeaderName::from_static("tidegate-answer");
/// Headers that the server writes, by what it sends.
const OF_THE_SERVER: [HeaderName; 3] = [CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION];

/// Whom a function asks for what: `GET https://api.example.com/customers/7`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HttpRequest {
    method: Method,
    origin: Origin,
    /// With the query. Begins with a slash.
    path: String,
}

impl HttpRequest {
    /// Reads a method and a URL, with one space between them.
    ///
    /// # Errors
    ///
    /// What is wrong with them.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (method, url) =
            text.split_once(' ').ok_or("a request is a method and a URL, such as \"GET https://api.example.com/7\"")?;
        let is_method = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
        let method = Method::from_bytes(method.as_bytes()).ok().filter(|_| is_method);
        let method = method.ok_or("a method is a word in capitals, such as GET")?;
        let uri: Option<Uri> = url.parse().ok();
        let known = uri.and_then(|uri| http_target(&uri));
        let (origin, path) = known.ok_or("the URL is none that could be asked for; write it as the function asks")?;
        Ok(Self { method, origin, path })
    }

    /// Whom it is for.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Whether these settings of a function let it through.
    pub fn is_allowed(&self, by: &Http) -> bool {
        by.allow_hosts.iter().any(|entry| entry.covers(&self.origin))
    }
}

impl fmt::Display for HttpRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, origin, path } = self;
        write!(f, "{method} {origin}{path}")
    }
}

/// An answer to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpAnswer {
    request: HttpRequest,
    sent: Option<HttpSent>,
    delay: Duration,
    reply: Reply,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Reply {
    Response { status: StatusCode, headers: HeaderMap, body: Bytes },
    Failure(HttpFailure),
}

impl HttpAnswer {
    /// A response.
    ///
    /// # Errors
    ///
    /// What no server could send.
    pub fn response(
        request: HttpRequest,
        status: u16,
        headers: &[(Vec<u8>, Vec<u8>)],
        body: Vec<u8>,
    ) -> Result<Self, String> {
        let code = StatusCode::from_u16(status).ok().filter(|_| (200..=599).contains(&status));
        let status = code.ok_or_else(|| format!("the status of an answer is 200 to 599, not {status}"))?;
        if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) && !body.is_empty() {
            return Err(format!("an answer of status {} has no body", status.as_u16()));
        }
        let headers = read_headers(headers)?;
        if let Some(name) = OF_THE_SERVER.iter().find(|name| headers.contains_key(*name)) {
            return Err(format!("the header {name} follows from the body: leave it out"));
        }
        let reply = Reply::Response { status, headers, body: body.into() };
        Ok(Self { request, sent: None, delay: Duration::ZERO, reply })
    }

    /// No answer, but a failure, by its name in `wasi:http`.
    ///
    /// # Errors
    ///
    /// There is no such failure.
    pub fn failure(request: HttpRequest, name: &str) -> Result<Self, String> {
        let all = HttpFailure::external();
        let found = all.iter().find(|(known, _)| *known == name);
        let (_, failure) = found.ok_or_else(|| {
            let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
            format!("no failure is called {name}; there are {}", names.join(", "))
        })?;
        Ok(Self { request, sent: None, delay: Duration::ZERO, reply: Reply::Failure(failure.clone()) })
    }

    /// The same, but so long after the request.
    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// The same, but the request has to carry this.
    #[must_use]
    pub fn to(self, sent: HttpSent) -> Self {
        Self { sent: Some(sent), ..self }
    }

    /// What it answers.
    pub fn request(&self) -> &HttpRequest {
        &self.request
    }
}

/// Answers, each for one request. Those of the same request are given in turn, in the order in which the
/// guest asks, however long each request takes.
pub struct HttpAnswers {
    all: Vec<HttpAnswer>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    left: HashMap<HttpRequest, VecDeque<usize>>,
    unanswered: Vec<HttpRequest>,
    unanswered_count: usize,
    /// Answers that were taken by a request whose body is not here yet, and is to be looked at.
    awaited: BTreeSet<usize>,
    /// By the places of their answers: the first ones.
    unlike: BTreeMap<usize, Vec<HttpDifference>>,
    unlike_count: usize,
}

/// What did not fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpLeft {
    /// Places of the answers that nobody asked for.
    pub answers: Vec<usize>,
    /// Requests that had no answer, by their text; the first 100 of them.
    pub requests: Vec<HttpRequest>,
    /// How many those were in all.
    pub request_count: usize,
    /// Requests that were unlike what their answers say, by the places of these; the first 10 of them.
    pub unlike: Vec<HttpUnlike>,
    /// How many those were in all.
    pub unlike_count: usize,
}

impl HttpAnswers {
    pub fn new(all: Vec<HttpAnswer>) -> Arc<Self> {
        let mut left: HashMap<HttpRequest, VecDeque<usize>> = HashMap::new();
        for (place, answer) in all.iter().enumerate() {
            left.entry(answer.request.clone()).or_default().push_back(place);
        }
        Arc::new(Self { all, state: Mutex::new(State { left, ..State::default() }) })
    }

    /// What did not fit until now.
    pub fn left(&self) -> HttpLeft {
        let state = self.lock();
        let mut answers: Vec<usize> = state.left.values().flatten().copied().collect();
        answers.sort_unstable();
        let mut requests = state.unanswered.clone();
        requests.sort_by_cached_key(HttpRequest::to_string);
        let mut unlike = state.unlike.clone();
        unlike.extend(state.awaited.iter().map(|place| (*place, vec![HttpDifference::Unfinished])));
        let unlike = unlike.into_iter().map(|(answer, differences)| HttpUnlike { answer, differences });
        HttpLeft {
            answers,
            requests,
            request_count: state.unanswered_count,
            unlike: unlike.take(MAX_UNLIKE).collect(),
            unlike_count: state.unlike_count + state.awaited.len(),
        }
    }

    /// The place of the next answer to a request. None: there is none any more, which is told in the end.
    fn take(&self, request: &HttpRequest) -> Option<usize> {
        let mut state = self.lock();
        if let Some(place) = state.left.get_mut(request).and_then(VecDeque::pop_front) {
            if self.all[place].sent.is_some() {
                state.awaited.insert(place);
            }
            return Some(place);
        }
        state.unanswered_count += 1;
        if state.unanswered.len() < MAX_KEPT {
            state.unanswered.push(request.clone());
        }
        None
    }

    async fn answer(&self, origin: Origin, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, HttpFailure> {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let method = request.method().clone();
        let (mut head, body) = request.into_parts();
        let place = head.headers.remove(&PLACE).and_then(|place| place.to_str().ok()?.parse::<usize>().ok());
        // A guest that is still sending would be told that, and not why.
        let body = body.collect().await.map_err(|_| HttpFailure::Ended)?.to_bytes();
        let answer = place.and_then(|place| Some((place, self.all.get(place)?)));
        let Some((place, answer)) = answer else {
            return Err(unanswered(&HttpRequest { method, origin, path }));
        };
        if let Some(sent) = &answer.sent {
            self.note(place, sent.differences(&head.headers, &body));
        }
        if !answer.delay.is_zero() {
            tokio::time::sleep(answer.delay).await;
        }
        match &answer.reply {
            Reply::Response { status, headers, body } => {
                let mut response = Response::new(Full::new(body.clone()));
                *response.status_mut() = *status;
                *response.headers_mut() = headers.clone();
                Ok(response)
            }
            Reply::Failure(failure) => Err(failure.clone()),
        }
    }

    /// The request that has this answer came as a whole.
    fn note(&self, place: usize, differences: Vec<HttpDifference>) {
        let mut state = self.lock();
        if !state.awaited.remove(&place) || differences.is_empty() {
            return;
        }
        state.unlike_count += 1;
        state.unlike.insert(place, differences);
        if state.unlike.len() > MAX_UNLIKE {
            state.unlike.pop_last();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HttpDialer for HttpAnswers {
    /// Marks the request with the answer that it gets.
    fn admit(&self, origin: &Origin, method: &Method, path: &str, headers: &mut HeaderMap) {
        let asked = HttpRequest { method: method.clone(), origin: origin.clone(), path: path.to_owned() };
        let place = self.take(&asked);
        headers.remove(&PLACE);
        if let Some(place) = place {
            headers.insert(PLACE, place.into());
        }
    }

    fn dial(self: Arc<Self>, origin: &Origin) -> Box<dyn HttpStream> {
        let (near, far) = duplex(PIPE_BYTES);
        let failure = Arc::new(OnceLock::new());
        let given = Given { stream: near, failure: failure.clone() };
        let origin = origin.clone();
        let service = service_fn(move |request| {
            let (answers, origin, failure) = (self.clone(), origin.clone(), failure.clone());
            async move {
                let answered = answers.answer(origin, request).await;
                answered.inspect_err(|own| drop(failure.set(own.clone())))
            }
        });
        let mut server = http1::Builder::new();
        // Nothing of an answer comes from the clock.
        server.auto_date_header(false);
        // What ends a connection early is what was asked for, or the client's doing.
        tokio::spawn(async move { drop(server.serve_connection(TokioIo::new(far), service).await) });
        Box::new(given)
    }
}

/// How a request fails that no answer is left for.
fn unanswered(request: &HttpRequest) -> HttpFailure {
    HttpFailure::Internal(format!("no answer is given to {request}, and nobody else is asked"))
}

/// The client's end of a connection in memory.
struct Given {
    stream: DuplexStream,
    /// What it ends in, if it is no ordinary end.
    failure: Arc<OnceLock<HttpFailure>>,
}

impl AsyncRead for Given {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let failure = self.failure.get().filter(|_| buffer.filled().len() == before);
        Poll::Ready(failure.map_or(Ok(()), |failure| Err(io::Error::other(failure.clone()))))
    }
}

impl AsyncWrite for Given {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
