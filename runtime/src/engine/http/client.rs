//! The client of one function: from a request to an answer, within the limits of the manifest.

use std::sync::Arc;
use std::time::Duration;

use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, Uri};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};
use wasmtime_wasi_http::{RequestOptions, WasiBody};

use super::body::{Download, Upload, Watch};
use super::connect::{Connector, Reach};
use super::counts::HttpCounts;
use super::dialer::HttpDialer;
use super::failure::Failure;
use super::refusals::Refusals;
use super::slot::Slot;
use super::{Caller, MAX_FIELDS_BYTES, grants};
use crate::manifest::{Function, Http};

/// How long a connection without a request is kept.
const KEEP_IDLE: Duration = Duration::from_secs(30);
/// Most bytes of the head of an answer as it comes, and of what is read ahead of one; with what comes
/// in one read, at most twice as much.
const MAX_HEAD_BYTES: u32 = 64 << 10;
/// Most bytes of one answer that HTTP/2 sends ahead.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
/// Most bytes of all answers of one connection that HTTP/2 sends ahead.
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// How long a connection of HTTP/2 is trusted that says nothing while requests wait.
const HTTP2_PING: Duration = Duration::from_secs(10);

/// Shared by all instances of a function, so that they share its connections.
pub(in crate::engine) struct Client {
    pub(super) policy: Arc<Http>,
    counts: Arc<HttpCounts>,
    /// Requests that may be under way, by the entries of `allow-hosts`.
    slots: Vec<Arc<Semaphore>>,
    http: legacy::Client<Connector, Upload>,
    refusals: Arc<Refusals>,
    /// What stands in for the network.
    dialer: Option<Arc<dyn HttpDialer>>,
    #[cfg(test)]
    connector: Connector,
}

/// A request that the manifest allows.
pub(super) struct Admitted {
    /// The place in `allow-hosts` of what allows it.
    entry: usize,
    request: Request<WasiBody>,
}

/// Counts a request as failed, also one that is dropped before it has an answer.
struct Unanswered<'a> {
    counts: Option<&'a HttpCounts>,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let Some(counts) = self.counts {
            counts.failed.add(1);
        }
    }
}

/// An answer, and what ends it at its time.
pub(super) struct Answer {
    pub(super) response: Response<WasiBody>,
    pub(super) watch: Watch,
    pub(super) deadline: Instant,
}

impl Client {
    pub(super) fn new(function: &Function, reach: Reach, counts: Arc<HttpCounts>) -> Self {
        let policy = Arc::new(function.http.clone());
        let connections = policy.connections.get() as usize;
        let refusals = Arc::new(Refusals::new(function.name.clone()));
        let dialer = match &reach {
            Reach::Other(dialer) => Some(dialer.clone()),
            Reach::Network { .. } => None,
        };
        let connector = Connector::new(policy.clone(), reach, refusals.clone());
        #[cfg(test)]
        let counted = connector.clone();
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout(KEEP_IDLE)
            .pool_max_idle_per_host(connections)
            .http1_max_buf_size(MAX_HEAD_BYTES as usize)
            .http2_max_header_list_size(MAX_HEAD_BYTES)
            .http2_initial_stream_window_size(STREAM_WINDOW_BYTES)
            .http2_initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .http2_keep_alive_interval(HTTP2_PING)
            .http2_keep_alive_timeout(HTTP2_PING)
            .build(connector);
        let slots = policy.allow_hosts.iter().map(|_| Arc::new(Semaphore::new(connections))).collect();
        Self {
            policy,
            counts,
            slots,
            http,
            refusals,
            dialer,
            #[cfg(test)]
            connector: counted,
        }
    }

    /// Further requests that may be under way by an entry, and connections that may be made.
    #[cfg(test)]
    pub(super) fn free(&self, entry: usize) -> (usize, usize) {
        (self.slots[entry].available_permits(), self.connector.free(entry))
    }

    /// Sends a request that was admitted, and waits for the head of its answer. Dropping the future, or
    /// the body that comes of it, ends the request. One that was not admitted is counted.
    pub(super) async fn send(
        &self,
        admitted: Result<Admitted, Failure>,
        options: Option<RequestOptions>,
        caller: Caller,
    ) -> Result<Answer, Failure> {
        self.counts.requests.add(1);
        let mut unanswered = Unanswered { counts: Some(&self.counts) };
        let result = self.try_send(admitted, options.unwrap_or_default(), caller).await;
        let failed = match &result {
            Ok(_) => false,
            Err(failure) if failure.is_refusal() => {
                self.counts.refused.add(1);
                false
            }
            Err(_) => true,
        };
        if !failed {
            unanswered.counts = None;
        }
        result
    }

    async fn try_send(
        &self,
        admitted: Result<Admitted, Failure>,
        options: RequestOptions,
        caller: Caller,
    ) -> Result<Answer, Failure> {
        let longest = Instant::now() + self.policy.timeout;
        let deadline = caller.deadline.map_or(longest, |deadline| longest.min(deadline));
        let Admitted { entry, mut request } = admitted?;
        let permit = timeout_at(deadline, self.slots[entry].clone().acquire_owned()).await;
        let Ok(Ok(permit)) = permit else { return Err(Failure::NoConnection) };
        let captured = capture_connection(&mut request);
        let slot = Arc::new(Slot::new(permit, captured.clone()));
        let (parts, body) = request.into_parts();
        let (upload, limit) =
            Upload::new(body, self.policy.max_request_bytes, caller.gone, slot.clone(), self.counts.clone());
        let request = Request::from_parts(parts, upload);
        let asked = timeout_at(deadline, self.ask(request, captured, options)).await;
        let (mut head, body) = asked.map_err(|_| Failure::Timeout)??.into_parts();
        head.headers = kept_headers(&head.headers).ok_or(Failure::HeadSize)?;
        let max_bytes = self.policy.max_response_bytes;
        if body.size_hint().lower() > max_bytes {
            return Err(Failure::ResponseSize(max_bytes));
        }
        let download = Download::new(body, max_bytes, options.between_bytes_timeout, slot, self.counts.clone());
        let watch = download.watch();
        limit.at(deadline);
        Ok(Answer { response: Response::from_parts(head, download.boxed_unsync()), watch, deadline })
    }

    /// Holds a request against the manifest when the guest makes it, and makes of it what is sent: to
    /// the host as the manifest knows it, whatever the guest's spelling.
    pub(super) fn admit(&self, mut request: Request<WasiBody>) -> Result<Admitted, Failure> {
        let origin = grants::origin(request.uri()).ok_or(Failure::Url)?;
        let Some(entry) = grants::find(&self.policy, &origin) else {
            self.refusals.unlisted_host(&origin);
            return Err(Failure::Denied);
        };
        // It would make a proxy connect to anybody.
        if request.method() == Method::CONNECT {
            return Err(Failure::Method);
        }
        let max_bytes = self.policy.max_request_bytes;
        let length = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length > max_bytes) {
            return Err(Failure::RequestSize(max_bytes));
        }
        let path = grants::path(request.uri());
        let uri = format!("{origin}{path}").parse::<Uri>().map_err(|_| Failure::Url)?;
        *request.uri_mut() = uri;
        // The client writes it, by the URL.
        request.headers_mut().remove(HOST);
        if let Some(dialer) = &self.dialer {
            let method = request.method().clone();
            dialer.admit(&origin, &method, &path, request.headers_mut());
        }
        Ok(Admitted { entry, request })
    }

    /// From the connection, new or used before, to the head of the answer.
    async fn ask(
        &self,
        request: Request<Upload>,
        mut captured: CaptureConnection,
        options: RequestOptions,
    ) -> Result<Response<Incoming>, Failure> {
        let policy = &self.policy;
        // The connector knows better what took so long, so that it has a little more time to say it.
        let longest = policy.connect_timeout + Duration::from_millis(100);
        let connect = options.connect_timeout.map_or(longest, |asked| asked.min(longest));
        let first_byte =
            options.first_byte_timeout.map_or(policy.first_byte_timeout, |asked| asked.min(policy.first_byte_timeout));
        let mut asking = self.http.request(request);
        let connected = async { drop(captured.wait_for_connection_metadata().await) };
        let answer = tokio::select! {
            biased;
            answer = &mut asking => answer,
            () = connected => timeout(first_byte, asking).await.map_err(|_| Failure::Silence)?,
            () = tokio::time::sleep(connect) => return Err(Failure::ConnectTimeout),
        };
        answer.map_err(|error| Failure::behind(&error))
    }
}

/// The head of an answer without what it shares with the buffer that it came in, since a guest may
/// keep it. `None`: it is larger than one that a guest may make.
fn kept_headers(headers: &HeaderMap) -> Option<HeaderMap> {
    let entry_bytes = size_of::<HeaderName>() + size_of::<HeaderValue>();
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + entry_bytes).sum();
    if bytes > MAX_FIELDS_BYTES {
        return None;
    }
    let own = |value: &HeaderValue| HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| value.clone());
    Some(headers.iter().map(|(name, value)| (name.clone(), own(value))).collect())
}
