//! The failures of requests, and their error codes in `wasi:http`.

use std::error::Error as StdError;
use std::io;

use tokio_rustls::rustls;
use wasmtime_wasi_http::Error;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;

/// Why a request got no response, or an incomplete one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("the manifest does not allow it")]
    Denied,
    #[error("the name resolves to an address that is not public")]
    Prohibited,
    #[error("the URL is invalid")]
    Url,
    #[error("the method is not allowed")]
    Method,
    #[error("the lookup of the name timed out")]
    DnsTimeout,
    #[error("the name was not found: {0}")]
    Dns(String),
    #[error("no connection was free before the timeout")]
    NoConnection,
    #[error("the connection was refused")]
    Refused,
    #[error("there is no route to the address")]
    Unroutable,
    #[error("the host cannot be reached")]
    Unavailable,
    #[error("the connection was not established before the timeout")]
    ConnectTimeout,
    #[error("TLS failed")]
    Tls,
    #[error("the certificate is invalid")]
    Certificate,
    #[error("the server ended the TLS handshake with alert {0}")]
    TlsAlert(u8),
    #[error("the body of the request is larger than {0} bytes")]
    RequestSize(u64),
    #[error("the body of the response is larger than {0} bytes")]
    ResponseSize(u64),
    #[error("the head of the response is too large")]
    HeadSize,
    #[error("the server sent nothing for too long")]
    Silence,
    #[error("the request took too long")]
    Timeout,
    #[error("the connection was closed before the response was complete")]
    Ended,
    #[error("the server does not speak HTTP, or the function did not finish the body of the request")]
    Protocol,
    /// A failure that a dialer reports.
    #[error("{0}")]
    Internal(String),
}

impl Failure {
    /// The failures that the server or the network causes, with their names in `wasi:http`.
    pub fn external() -> [(&'static str, Self); 12] {
        [
            ("DNS-timeout", Self::DnsTimeout),
            ("DNS-error", Self::Dns("the name was not found".to_owned())),
            ("destination-unavailable", Self::Unavailable),
            ("destination-IP-prohibited", Self::Prohibited),
            ("destination-IP-unroutable", Self::Unroutable),
            ("connection-refused", Self::Refused),
            ("connection-terminated", Self::Ended),
            ("connection-timeout", Self::ConnectTimeout),
            ("connection-read-timeout", Self::Silence),
            ("TLS-certificate-error", Self::Certificate),
            ("HTTP-response-timeout", Self::Timeout),
            ("HTTP-protocol-error", Self::Protocol),
        ]
    }

    /// Converts the error of a TCP connection that could not be opened.
    pub(super) fn of_connect(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::TimedOut => Self::ConnectTimeout,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Self::Unroutable,
            _ => Self::Unavailable,
        }
    }

    /// Converts the error of a TLS handshake.
    pub(super) fn of_tls(error: &io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::InvalidCertificate(_)) => Self::Certificate,
            Some(rustls::Error::AlertReceived(alert)) => Self::TlsAlert(u8::from(*alert)),
            None if error.kind() == io::ErrorKind::UnexpectedEof => Self::Ended,
            None if error.kind() == io::ErrorKind::ConnectionReset => Self::Ended,
            _ => Self::Tls,
        }
    }

    /// Converts an error of the HTTP client. If one of its causes is a [`Failure`], the result is that one.
    pub(super) fn of_client_error(error: &(dyn StdError + 'static)) -> Self {
        let causes = || std::iter::successors(Some(error), cause);
        if let Some(failure) = causes().find_map(own) {
            return failure.clone();
        }
        let http = causes().find_map(|cause| cause.downcast_ref::<hyper::Error>());
        let is_io = causes().any(|cause| cause.is::<io::Error>());
        match http {
            Some(http) if http.is_parse_too_large() => Self::HeadSize,
            Some(http) if http.is_incomplete_message() || http.is_closed() || http.is_canceled() => Self::Ended,
            _ if is_io => Self::Ended,
            _ => Self::Protocol,
        }
    }

    /// Whether the manifest does not allow the request.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Denied | Self::Prohibited)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Denied => Self::HttpRequestDenied,
            Failure::Prohibited => Self::DestinationIpProhibited,
            Failure::Url => Self::HttpRequestUriInvalid,
            Failure::Method => Self::HttpRequestMethodInvalid,
            Failure::DnsTimeout => Self::DnsTimeout,
            Failure::Dns(reason) => Self::DnsError { rcode: Some(reason), info_code: None },
            Failure::NoConnection => Self::ConnectionLimitReached,
            Failure::Refused => Self::ConnectionRefused,
            Failure::Unroutable => Self::DestinationIpUnroutable,
            Failure::Unavailable => Self::DestinationUnavailable,
            Failure::ConnectTimeout => Self::ConnectionTimeout,
            Failure::Tls => Self::TlsProtocolError,
            Failure::Certificate => Self::TlsCertificateError,
            Failure::TlsAlert(alert) => Self::TlsAlertReceived { alert_id: Some(alert), alert_message: None },
            Failure::RequestSize(most) => Self::HttpRequestBodySize(Some(most)),
            Failure::ResponseSize(most) => Self::HttpResponseBodySize(Some(most)),
            Failure::HeadSize => Self::HttpResponseHeaderSectionSize(None),
            Failure::Silence => Self::ConnectionReadTimeout,
            Failure::Timeout => Self::HttpResponseTimeout,
            Failure::Ended => Self::ConnectionTerminated,
            Failure::Protocol => Self::HttpProtocolError,
            Failure::Internal(reason) => Self::InternalError(Some(reason)),
        }
    }
}

/// The [`Failure`] in an error. An [`io::Error`] may contain one without naming it as its source.
fn own<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Failure> {
    let inside = || error.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref();
    error.downcast_ref().or_else(inside)
}

fn cause<'a>(error: &&'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    (*error).source()
}

/// The code of an error that ended the body of a response. `None`: this error does not occur in bodies.
pub(super) fn code_of_body(error: &Error) -> Option<ErrorCode> {
    match error {
        Error::HttpResponseBodySize(most) => Some(ErrorCode::HttpResponseBodySize(*most)),
        Error::ConnectionReadTimeout => Some(ErrorCode::ConnectionReadTimeout),
        Error::HttpResponseTimeout => Some(ErrorCode::HttpResponseTimeout),
        Error::ConnectionTerminated => Some(ErrorCode::ConnectionTerminated),
        Error::HttpProtocolError => Some(ErrorCode::HttpProtocolError),
        _ => None,
    }
}
