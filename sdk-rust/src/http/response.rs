//! An answer: its head, and its body that may still be on its way.

use std::fmt;

use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;

use super::{Error, ErrorKind, Result, transport};

/// An answer. Its body is read when it is asked for; dropping it ends the request.
///
/// A host may answer before it has taken the whole body of the request, which is then sent on while the
/// body of the answer is read. So read it, also if it is of no interest, where a request that is cut off
/// would do harm.
#[must_use = "an answer of any status is one: see `error_for_status`"]
pub struct Response {
    pub(crate) about: String,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: transport::Body,
}

impl Response {
    /// The status, such as 200.
    pub fn status(&self) -> u16 {
        self.status.as_u16()
    }

    /// Whether the status is one of success, 200 to 299.
    pub fn is_success(&self) -> bool {
        self.status.is_success()
    }

    /// The first header of this name, whatever its case; `None` too when it is not text.
    pub fn header(&self, name: impl AsRef<str>) -> Option<&str> {
        self.headers.get(name.as_ref()).and_then(|value| value.to_str().ok())
    }

    /// All headers, their names in lower case.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()))
    }

    /// The answer, if its status is one of success.
    ///
    /// # Errors
    /// A reject for a status from 400 to 499, but for 408, 425 and 429: the request is at fault, and
    /// so would the next one be. A retry for these three, from 500, and for a redirect, which nobody
    /// followed. Where a status means something else to you, ask for it before.
    ///
    /// ```
    /// use tidegate_sdk::{Message, Record, Result, http};
    ///
    /// async fn name(record: Record<'_>) -> Result<Option<Message<'_>>> {
    ///     let response = http::get("https://api.example.com/customers/7").await?;
    ///     if response.status() == 404 {
    ///         return Ok(None);
    ///     }
    ///     Ok(Some(record.with_value(response.error_for_status()?.text().await?)))
    /// }
    /// ```
    pub fn error_for_status(self) -> crate::Result<Self> {
        let Self { about, status, .. } = &self;
        // `StatusCode` writes number and name.
        let reason = || format!("{about}: the answer is {status}");
        match self.status() {
            200..300 => Ok(self),
            408 | 425 | 429 => Err(crate::Error::retry(reason())),
            400..500 => Err(crate::Error::reject(reason())),
            _ => Err(crate::Error::retry(reason())),
        }
    }

    /// Reads the body.
    ///
    /// # Errors
    /// When the body breaks off, takes too long or is too large.
    pub async fn bytes(self) -> Result<Vec<u8>> {
        self.body.read(&self.about).await
    }

    /// Reads the body as text.
    ///
    /// # Errors
    /// As [`bytes`](Response::bytes), and when it is not UTF-8.
    pub async fn text(self) -> Result<String> {
        let bytes = self.body.read(&self.about).await?;
        String::from_utf8(bytes).map_err(|error| {
            let why = format_args!("the answer is not text: {}", error.utf8_error());
            Error::new(ErrorKind::Response, &self.about, why)
        })
    }

    /// Reads the body as JSON.
    ///
    /// # Errors
    /// As [`bytes`](Response::bytes), and when it is not JSON of this shape; the text says where.
    pub async fn json<T: DeserializeOwned>(self) -> Result<T> {
        let bytes = self.body.read(&self.about).await?;
        serde_json::from_slice(&bytes).map_err(|error| {
            Error::new(ErrorKind::Response, &self.about, format_args!("bad JSON in the answer: {error}"))
        })
    }
}

/// Without headers and body, in which secrets may stand.
impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Response({}: {})", self.about, self.status)
    }
}
