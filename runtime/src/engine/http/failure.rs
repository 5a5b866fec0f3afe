//! Why a request has no answer, or the answer no end: what a guest is told by the codes of wasi:http.

use std::error::Error as StdError;
use std::io;

use tokio_rustls::rustls;
use wasmtime_wasi_http::Error;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;

/// What ended a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("the manifest does not allow it")]
    Denied,
    #[error("the name stands for an address that is not public")]
    Prohibited,
    #[error("the URL is invalid")]
    Url,
    #[error("the method cannot be used")]
    Method,
    #[error("the name was not found in time")]
    DnsTimeout,
    #[error("the name was not found: {0}")]
    Dns(String),
    #[error("no connection was free in time")]
    NoConnection,
    #[error("the connection was refused")]
    Refused,
    #[error("there is no way to the address")]
    Unroutable,
    #[error("the host cannot be reached")]
    Unavailable,
    #[error("there was no connection in time")]
    ConnectTimeout,
    #[error("TLS failed")]
    Tls,
    #[error("the certificate is not good")]
    Certificate,
    #[error("the host refused TLS with alert {0}")]
    TlsAlert(u8),
    #[error("the body of the request is larger than {0} bytes")]
    RequestSize(u64),
    #[error("the body of the answer is larger than {0} bytes")]
    ResponseSize(u64),
    #[error("the head of the answer is too large")]
    HeadSize,
    #[error("the host was silent for too long")]
    Silence,
    #[error("all of it took too long")]
    Timeout,
    #[error("the connection ended too early")]
    Ended,
    #[error("the other side does not speak HTTP, or the function did not finish its body or was ended before")]
    Protocol,
    /// What stands in for the network says so.
    #[error("{0}")]
    Internal(String),
}

impl Failure {
    /// Those that the other side, or the way there, is to blame for, by their names in `wasi:http`.
    pub fn of_others() -> [(&'static str, Self); 12] {
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

    /// Of a connection that could not be made.
    pub(super) fn of_connect(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::TimedOut => Self::ConnectTimeout,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Self::Unroutable,
            _ => Self::Unavailable,
        }
    }

    /// Of a connection on which TLS could not be agreed on.
    pub(super) fn of_tls(error: &io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::InvalidCertificate(_)) => Self::Certificate,
            Some(rustls::Error::AlertReceived(alert)) => Self::TlsAlert(u8::from(*alert)),
            None if error.kind() == io::ErrorKind::UnexpectedEof => Self::Ended,
            None if error.kind() == io::ErrorKind::ConnectionReset => Self::Ended,
            _ => Self::Tls,
        }
    }

    /// Of what the client reports: our own failure, if one is behind it.
    pub(super) fn behind(error: &(dyn StdError + 'static)) -> Self {
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

    /// What was done wrong by the rules of the manifest, not by the other side.
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

/// Our own failure, also inside an error of a connection, which does not name it as its cause.
fn own<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Failure> {
    let inside = || error.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref();
    error.downcast_ref().or_else(inside)
}

fn cause<'a>(error: &&'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    (*error).source()
}

/// The code of an error that ended the body of an answer. `None` for those that no body ends in.
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
