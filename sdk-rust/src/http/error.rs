//! Why there is no answer to a request.

use std::fmt;

/// The result of a request.
pub type Result<T> = core::result::Result<T, Error>;

/// Why there is no answer, or no end of its body.
///
/// `?` in a function turns it into a retry, like any error; see [`crate::Error`]. The text names
/// method and origin, as `GET https://api.example.com: the connection was refused`, but neither path
/// nor query, because a reason ends up in the log and in dead letters, and secrets stand in URLs.
#[derive(Clone, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    text: String,
}

/// The kinds of errors, where a function wants to tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The manifest does not allow the host, or the address that its name stands for.
    Denied,
    /// It took longer than the request's `timeout` or the limits of the manifest.
    Timeout,
    /// There was no connection: the name is unknown, the host refused, TLS failed, or none was free.
    Connect,
    /// The request is not one: a bad URL, method or header, a head or a body that is too large.
    Request,
    /// The answer broke off, is too large, or is not what it should be.
    Response,
}

impl Error {
    /// `about` is method and origin of the request.
    pub(crate) fn new(kind: ErrorKind, about: &str, why: impl fmt::Display) -> Self {
        Self { kind, text: format!("{about}: {why}") }
    }

    /// What kind of error it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({:?})", self.kind, self.text)
    }
}

impl std::error::Error for Error {}
