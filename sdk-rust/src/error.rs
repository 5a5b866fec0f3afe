//! What a function answers with when it cannot handle a record.

use std::fmt;

/// The result of a function, or of anything that fails as a function does.
pub type Result<T> = core::result::Result<T, Error>;

/// Why a record was not handled, and whether to try it again.
///
/// - [`Error::retry`]: it may succeed later. The record is tried again after a backoff, up to the
///   trigger's `retry.attempts` and `retry.max-age`; later records of its key wait for it.
/// - [`Error::reject`]: it never will. It is given up now: to the dead letter topic, or as
///   `on-exhausted` says.
///
/// The `?` operator turns any [`std::error::Error`] into a **retry**. Most errors that reach a
/// function come from its surroundings (a service that is down, a time-out), and the two mistakes
/// do not weigh the same: retrying what cannot succeed costs a few attempts and ends in the same
/// place, rejecting what could have succeeded gives the record up. Where an error means bad input,
/// say so with [`or_reject`](OrReject::or_reject):
///
/// ```
/// use tidegate_sdk::{Error, Message, OrReject, Record, Result};
///
/// fn double(record: Record) -> Result<Message> {
///     let number: i64 = record.value_str()?.parse().or_reject()?;
///     let doubled = number.checked_mul(2).ok_or_else(|| Error::reject("too large"))?;
///     Ok(record.with_value(doubled.to_string()))
/// }
///
/// let record = tidegate_sdk::testing::Record::new().value("ten");
/// assert_eq!(double(record.view()), Err(Error::reject("invalid digit found in string")));
/// ```
///
/// The reason is for people: it is written to the log and into the header `tidegate-reason` of the
/// dead letter, where it is cut after 1,000 bytes. An error made by `?` or `or_reject` gives the
/// reasons of its sources too, outermost first, separated by `: `.
///
/// Like `anyhow::Error` this type does not implement [`std::error::Error`]; that is what lets `?`
/// convert every type that does.
#[derive(Clone, PartialEq, Eq)]
pub struct Error {
    pub(crate) kind: Kind,
    pub(crate) reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Retry,
    Reject,
}

impl Error {
    /// It may succeed later: try the record again.
    ///
    /// Takes anything that can be displayed, also an `anyhow::Error`, of which it gives all causes.
    pub fn retry(reason: impl fmt::Display) -> Self {
        Self { kind: Kind::Retry, reason: format!("{reason:#}") }
    }

    /// It will never succeed: give the record up now, to the dead letter topic, or as `on-exhausted` says.
    ///
    /// Takes anything that can be displayed, also an `anyhow::Error`, of which it gives all causes.
    pub fn reject(reason: impl fmt::Display) -> Self {
        Self { kind: Kind::Reject, reason: format!("{reason:#}") }
    }

    /// Whether the record is to be tried again.
    pub fn is_retry(&self) -> bool {
        self.kind == Kind::Retry
    }

    /// Whether the record is to be given up.
    pub fn is_reject(&self) -> bool {
        self.kind == Kind::Reject
    }

    /// Why.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({:?})", self.kind, self.reason)
    }
}

impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        Self { kind: Kind::Retry, reason: chain(&error) }
    }
}

/// The texts of an error and its sources, without those that an outer one already repeats.
fn chain(error: &dyn std::error::Error) -> String {
    let mut reason = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let text = inner.to_string();
        if !reason.contains(&text) {
            reason.push_str(": ");
            reason.push_str(&text);
        }
        source = inner.source();
    }
    reason
}

/// Says of an error that it is a reject, where `?` alone would make it a retry.
///
/// ```
/// use tidegate_sdk::{OrReject, Result};
///
/// fn port(text: &str) -> Result<u16> {
///     Ok(text.parse().or_reject()?)
/// }
///
/// assert!(port("80,5").is_err_and(|error| error.is_reject()));
/// ```
pub trait OrReject<T> {
    /// The same result, its error made a reject with the same reason.
    fn or_reject(self) -> Result<T>;
}

impl<T, E: Into<Error>> OrReject<T> for core::result::Result<T, E> {
    fn or_reject(self) -> Result<T> {
        self.map_err(|error| Error { kind: Kind::Reject, ..error.into() })
    }
}
