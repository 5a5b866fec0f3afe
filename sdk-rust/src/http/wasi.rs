//! Requests by `wasi:http`.
//!
//! wstd has a client too, but it gives an error in a body as a text for debugging, and when a body is
//! not taken it tells that, and not why. So this speaks to `wasi:http` itself, on wstd's reactor.

use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{self, Either, Fuse, LocalBoxFuture};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, HeaderError, IncomingResponse, Method as WasiMethod, OutgoingBody,
    OutgoingRequest, Scheme, http_error_code,
};
use wasip2::io::streams::{OutputStream, StreamError};
use wstd::future::FutureExt as _;
use wstd::runtime::AsyncPollable;
use wstd::time::{Instant, Timer};

use super::{Error, ErrorKind, Request, Response, Result};

/// Most bytes that are read at once.
const CHUNK_BYTES: u64 = 64 << 10;
/// Most bytes of the headers of a request. The runtime ends the instance of one that has more.
const HEAD_BYTES: usize = 32 << 10;
/// What the runtime counts for a header beside its content.
const HEADER_BYTES: usize = 72;
/// No function has so long; longer ones do not fit into the clock of WASI.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The body of an answer.
pub(crate) struct Body {
    incoming: IncomingResponse,
    deadline: Option<Instant>,
    upload: Upload,
}

/// What is still to be sent of the request while its answer comes. Dropped before its end, the host knows
/// that the request is not complete.
type Upload = Fuse<LocalBoxFuture<'static, ()>>;

pub(super) async fn send(request: Request) -> Result<Response> {
    let about = request.about();
    let deadline = request.timeout.map(|timeout| Instant::now() + timeout.min(LONGEST).into());
    let (outgoing, body) = outgoing(request).map_err(|why| Error::new(ErrorKind::Request, &about, why))?;
    let asked = within(deadline, &about, exchange(outgoing, body)).await?;
    let (incoming, upload) = asked.map_err(|code| error(&code, &about))?;
    let status =
        StatusCode::from_u16(incoming.status()).map_err(|error| Error::new(ErrorKind::Response, &about, error))?;
    let entries = incoming.headers().entries().into_iter();
    // The host has checked them.
    let headers: HeaderMap = entries
        .filter_map(|(name, value)| {
            Some((HeaderName::try_from(name).ok()?, HeaderValue::from_maybe_shared(value).ok()?))
        })
        .collect();
    Ok(Response { about, status, headers, body: Body { incoming, deadline, upload } })
}

async fn exchange(
    outgoing: OutgoingRequest,
    bytes: Vec<u8>,
) -> core::result::Result<(IncomingResponse, Upload), ErrorCode> {
    let body = outgoing.body().map_err(|()| ErrorCode::HttpProtocolError)?;
    let pending = outgoing_handler::handle(outgoing, None)?;
    // If the body is not taken, the answer says why.
    let mut upload = upload(body, bytes).boxed_local().fuse();
    let answer = beside(&mut upload, answer(pending)).await?;
    Ok((answer, upload))
}

/// A host may answer before it has taken the body, and go on with either only if the other goes on.
async fn beside<T>(upload: &mut Upload, answer: impl Future<Output = T>) -> T {
    match future::select(pin!(answer), upload).await {
        Either::Left((answer, _)) => answer,
        Either::Right(((), answer)) => answer.await,
    }
}

/// The request as the host takes it and its body, or why the host would not.
fn outgoing(request: Request) -> core::result::Result<(OutgoingRequest, Vec<u8>), &'static str> {
    let Request { method, uri, mut headers, body, .. } = request;
    if !body.is_empty() || matches!(method, Method::POST | Method::PUT | Method::PATCH) {
        headers.insert(CONTENT_LENGTH, body.len().into());
    }
    let head_bytes = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + HEADER_BYTES);
    if head_bytes.sum::<usize>() > HEAD_BYTES {
        return Err("its headers are larger than 32 KiB");
    }
    let fields: Vec<_> = headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
    let fields = Fields::from_list(&fields).map_err(|error| match error {
        HeaderError::Forbidden => "it has a header that is the runtime's to set, such as `host` or `connection`",
        _ => "its headers cannot be sent",
    })?;
    let outgoing = OutgoingRequest::new(fields);
    let scheme = if uri.scheme_str() == Some("http") { Scheme::Http } else { Scheme::Https };
    outgoing.set_method(&wasi_method(&method)).map_err(|()| "the method cannot be used")?;
    outgoing
        .set_scheme(Some(&scheme))
        .and_then(|()| outgoing.set_authority(uri.authority().map(|authority| authority.as_str())))
        .and_then(|()| outgoing.set_path_with_query(uri.path_and_query().map(|path| path.as_str())))
        .map_err(|()| "the URL cannot be asked for")?;
    Ok((outgoing, body))
}

fn wasi_method(method: &Method) -> WasiMethod {
    match *method {
        Method::GET => WasiMethod::Get,
        Method::HEAD => WasiMethod::Head,
        Method::POST => WasiMethod::Post,
        Method::PUT => WasiMethod::Put,
        Method::DELETE => WasiMethod::Delete,
        Method::CONNECT => WasiMethod::Connect,
        Method::OPTIONS => WasiMethod::Options,
        Method::TRACE => WasiMethod::Trace,
        Method::PATCH => WasiMethod::Patch,
        _ => WasiMethod::Other(method.to_string()),
    }
}

/// Writes the body, up to its end or until nobody takes more of it.
async fn upload(body: OutgoingBody, bytes: Vec<u8>) {
    if let Ok(stream) = body.write()
        && write(&stream, &bytes).await.is_err()
    {
        return;
    }
    let _ = OutgoingBody::finish(body, None);
}

async fn write(stream: &OutputStream, mut bytes: &[u8]) -> core::result::Result<(), StreamError> {
    while !bytes.is_empty() {
        let room = usize::try_from(stream.check_write()?).unwrap_or(usize::MAX);
        if room == 0 {
            AsyncPollable::new(stream.subscribe()).wait_for().await;
            continue;
        }
        let (chunk, rest) = bytes.split_at(room.min(bytes.len()));
        stream.write(chunk)?;
        bytes = rest;
    }
    Ok(())
}

async fn answer(pending: FutureIncomingResponse) -> core::result::Result<IncomingResponse, ErrorCode> {
    loop {
        if let Some(answer) = pending.get() {
            return answer.unwrap_or(Err(ErrorCode::HttpProtocolError));
        }
        AsyncPollable::new(pending.subscribe()).wait_for().await;
    }
}

impl Body {
    pub(super) async fn read(self, about: &str) -> Result<Vec<u8>> {
        let Self { incoming, deadline, mut upload } = self;
        let read = beside(&mut upload, download(&incoming));
        within(deadline, about, read).await?.map_err(|code| error(&code, about))
    }
}

async fn download(incoming: &IncomingResponse) -> core::result::Result<Vec<u8>, ErrorCode> {
    let body = incoming.consume().map_err(|()| ErrorCode::HttpProtocolError)?;
    let stream = body.stream().map_err(|()| ErrorCode::HttpProtocolError)?;
    let mut bytes = Vec::new();
    loop {
        match stream.read(CHUNK_BYTES) {
            Ok(chunk) if chunk.is_empty() => AsyncPollable::new(stream.subscribe()).wait_for().await,
            Ok(chunk) if bytes.is_empty() => bytes = chunk,
            Ok(chunk) => bytes.extend(chunk),
            Err(StreamError::Closed) => return Ok(bytes),
            Err(StreamError::LastOperationFailed(error)) => {
                return Err(http_error_code(&error).unwrap_or(ErrorCode::HttpResponseIncomplete));
            }
        }
    }
}

async fn within<F: Future>(deadline: Option<Instant>, about: &str, future: F) -> Result<F::Output> {
    let Some(deadline) = deadline else { return Ok(future.await) };
    let late = |_| Error::new(ErrorKind::Timeout, about, "it took longer than the timeout of the request");
    future.timeout(Timer::at(deadline).wait()).await.map_err(late)
}

/// What the code of the host means to an author.
fn error(code: &ErrorCode, about: &str) -> Error {
    use ErrorCode as Code;
    use ErrorKind::{Connect, Denied, Request, Response, Timeout};
    let origin = about.split_once(' ').map_or(about, |(_, origin)| origin);
    let denied = format!("the manifest does not allow it; to allow it, write allow-hosts = [\"{origin}\"]");
    let other = format!("{code:?}");
    let (kind, why) = match code {
        Code::HttpRequestDenied => (Denied, denied.as_str()),
        Code::DestinationIpProhibited => {
            (Denied, "the name stands for an address that is not public, and that allow-networks does not allow")
        }
        Code::HttpRequestUriInvalid => (Request, "the URL cannot be asked for"),
        Code::HttpRequestMethodInvalid => (Request, "the method cannot be used"),
        Code::HttpRequestBodySize(_) => (Request, "the body of the request is larger than http.max-request"),
        Code::DnsTimeout => (Timeout, "the name was not found in time"),
        Code::ConnectionTimeout => (Timeout, "there was no connection in time"),
        Code::ConnectionReadTimeout => (Timeout, "the host was silent for too long"),
        Code::HttpResponseTimeout => (Timeout, "it took longer than http.timeout"),
        Code::ConnectionLimitReached => {
            (Connect, "no connection of http.connections was free in time, or the instance has 500 requests under way")
        }
        Code::DnsError(_) | Code::DestinationNotFound => (Connect, "the name was not found"),
        Code::ConnectionRefused => (Connect, "the connection was refused"),
        Code::DestinationIpUnroutable | Code::DestinationUnavailable => (Connect, "the host cannot be reached"),
        Code::TlsProtocolError | Code::TlsAlertReceived(_) => (Connect, "TLS failed"),
        Code::TlsCertificateError => (Connect, "the certificate of the host is not good"),
        Code::HttpResponseBodySize(_) => (Response, "the body of the answer is larger than http.max-response"),
        Code::HttpResponseHeaderSectionSize(_) => (Response, "the head of the answer is too large"),
        Code::ConnectionTerminated | Code::HttpResponseIncomplete => (Response, "the connection ended too early"),
        Code::HttpProtocolError => (Response, "the host does not speak HTTP"),
        Code::InternalError(Some(why)) => (Response, why.as_str()),
        _ => (Response, other.as_str()),
    };
    Error::new(kind, about, why)
}
