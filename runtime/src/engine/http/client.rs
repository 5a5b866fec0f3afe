//! The HTTP client of one function. It checks requests against the manifest, sends them, and enforces the
//! limits of the manifest.

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

use super::body::{Download, DownloadLimit, Upload};
use super::connect::{Backend, Connector};
use super::counts::HttpCounts;
use super::dialer::HttpDialer;
use super::failure::Failure;
use super::refusals::Refusals;
use super::slot::Slot;
use super::{Caller, MAX_FIELDS_BYTES, grants};
use crate::manifest::{Function, Http};

/// How long an idle connection is kept.
const KEEP_IDLE: Duration = Duration::from_secs(30);
/// The maximum size of a response head on the wire, and of the data that is read ahead of a body. The buffer
/// may take up to twice as much, because of the data of one read.
const MAX_HEAD_BYTES: u32 = 64 << 10;
/// The flow control window of one HTTP/2 response.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
/// The flow control window of all responses of one HTTP/2 connection together.
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// After how much silence an HTTP/2 connection with waiting requests gets a ping, and how long the server
/// may take to answer it.
const HTTP2_PING: Duration = Duration::from_secs(10);

/// All instances of a function share one client, and with it the connections.
pub(in crate::engine) struct Client {
    pub(super) policy: Arc<Http>,
    counts: Arc<HttpCounts>,
    /// For each entry of `allow-hosts`, how many requests may run at once.
    slots: Vec<Arc<Semaphore>>,
    http: legacy::Client<Connector, Upload>,
    refusals: Arc<Refusals>,
    /// Replaces the network, if it is set.
    dialer: Option<Arc<dyn HttpDialer>>,
    #[cfg(test)]
    connector: Connector,
}

/// A request that the manifest allows.
pub(super) struct Admitted {
    /// The index of the entry of `allow-hosts` that allows the request.
    entry: usize,
    request: Request<WasiBody>,
}

/// Counts a request as failed when it is dropped, unless `counts` was cleared. So a request that is dropped
/// before its response comes also counts.
struct FailureGuard<'a> {
    counts: Option<&'a HttpCounts>,
}

impl Drop for FailureGuard<'_> {
    fn drop(&mut self) {
        if let Some(counts) = self.counts {
            counts.failed.add(1);
        }
    }
}

/// A response, and the limit that aborts its body at the deadline.
pub(super) struct TimedResponse {
    pub(super) response: Response<WasiBody>,
    pub(super) download_limit: DownloadLimit,
    pub(super) deadline: Instant,
}

impl Client {
    pub(super) fn new(function: &Function, backend: Backend, counts: Arc<HttpCounts>) -> Self {
        let policy = Arc::new(function.http.clone());
        let connections = policy.connections.get() as usize;
        let refusals = Arc::new(Refusals::new(function.name.clone()));
        let dialer = match &backend {
            Backend::Dialer(dialer) => Some(dialer.clone()),
            Backend::Network { .. } => None,
        };
        let connector = Connector::new(policy.clone(), backend, refusals.clone());
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

    /// How many more requests may run, and how many more connections may be opened, for an entry of
    /// `allow-hosts`.
    #[cfg(test)]
    pub(super) fn free(&self, entry: usize) -> (usize, usize) {
        (self.slots[entry].available_permits(), self.connector.free(entry))
    }

    /// Sends an admitted request and waits for the head of the response. Dropping the future, or the body of
    /// the response, aborts the request. A request that was not admitted is only counted.
    pub(super) async fn send(
        &self,
        admitted: Result<Admitted, Failure>,
        options: Option<RequestOptions>,
        caller: Caller,
    ) -> Result<TimedResponse, Failure> {
        self.counts.requests.add(1);
        let mut guard = FailureGuard { counts: Some(&self.counts) };
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
            guard.counts = None;
        }
        result
    }

    async fn try_send(
        &self,
        admitted: Result<Admitted, Failure>,
        options: RequestOptions,
        caller: Caller,
    ) -> Result<TimedResponse, Failure> {
        let longest = Instant::now() + self.policy.timeout;
        let deadline = caller.deadline.map_or(longest, |deadline| longest.min(deadline));
        let Admitted { entry, mut request } = admitted?;
        let permit = timeout_at(deadline, self.slots[entry].clone().acquire_owned()).await;
        let Ok(Ok(permit)) = permit else { return Err(Failure::NoConnection) };
        let captured = capture_connection(&mut request);
        let slot = Arc::new(Slot::new(permit, captured.clone()));
        let (parts, body) = request.into_parts();
        let (upload, upload_limit) = Upload::new(
            body,
            self.policy.max_request_bytes,
            caller.instance_dropped,
            slot.clone(),
            self.counts.clone(),
        );
        let request = Request::from_parts(parts, upload);
        let asked = timeout_at(deadline, self.ask(request, captured, options)).await;
        let (mut head, body) = asked.map_err(|_| Failure::Timeout)??.into_parts();
        head.headers = kept_headers(&head.headers).ok_or(Failure::HeadSize)?;
        let max_bytes = self.policy.max_response_bytes;
        if body.size_hint().lower() > max_bytes {
            return Err(Failure::ResponseSize(max_bytes));
        }
        let download = Download::new(body, max_bytes, options.between_bytes_timeout, slot, self.counts.clone());
        let download_limit = download.limit();
        upload_limit.end_at(deadline);
        Ok(TimedResponse { response: Response::from_parts(head, download.boxed_unsync()), download_limit, deadline })
    }

    /// Checks a new request of a guest against the manifest, and prepares it for sending. It replaces the
    /// URL by the normal form that was checked, so that the guest's spelling of the host is not used.
    pub(super) fn admit(&self, mut request: Request<WasiBody>) -> Result<Admitted, Failure> {
        let origin = grants::origin(request.uri()).ok_or(Failure::Url)?;
        let Some(entry) = grants::find(&self.policy, &origin) else {
            self.refusals.unlisted_host(&origin);
            return Err(Failure::Denied);
        };
        // With CONNECT, an allowed proxy would connect to any host.
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
        // The client sets this header itself, from the URL.
        request.headers_mut().remove(HOST);
        if let Some(dialer) = &self.dialer {
            let method = request.method().clone();
            dialer.admit(&origin, &method, &path, request.headers_mut());
        }
        Ok(Admitted { entry, request })
    }

    /// Gets a new or idle connection, sends the request, and waits for the head of the response.
    async fn ask(
        &self,
        request: Request<Upload>,
        mut captured: CaptureConnection,
        options: RequestOptions,
    ) -> Result<Response<Incoming>, Failure> {
        let policy = &self.policy;
        // The connector's own timeout gives a more exact error. So this one is a little longer.
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
        answer.map_err(|error| Failure::of_client_error(&error))
    }
}

/// Copies the headers of a response, so that they do not keep the receive buffer alive if the guest keeps
/// them. `None`: they are larger than the headers that a guest may create.
fn kept_headers(headers: &HeaderMap) -> Option<HeaderMap> {
    let entry_bytes = size_of::<HeaderName>() + size_of::<HeaderValue>();
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + entry_bytes).sum();
    if bytes > MAX_FIELDS_BYTES {
        return None;
    }
    let own = |value: &HeaderValue| HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| value.clone());
    Some(headers.iter().map(|(name, value)| (name.clone(), own(value))).collect())
}
