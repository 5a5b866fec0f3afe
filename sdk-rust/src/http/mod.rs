//! HTTP, for [async functions](crate#async-functions). With the feature `http`.
//!
//! ```
//! use tidegate_sdk::{Record, Result, http};
//!
//! #[derive(serde::Deserialize)]
//! struct Order { customer: String }
//!
//! #[derive(serde::Deserialize, serde::Serialize)]
//! struct Customer { name: String, city: String }
//!
//! #[tidegate_sdk::function(json, concurrent = 64)]
//! async fn customer(order: Order) -> Result<Customer> {
//!     let url = format!("https://api.example.com/customers/{}", http::escape(order.customer));
//!     let response = http::get(url).await?.error_for_status()?;
//!     Ok(response.json().await?)
//! }
//! ```
//!
//! It is the `wasi:http` of the runtime, which has TLS, connections that are used again, and HTTP/2.
//! The manifest says who may be asked, and how long and how large it may be; nobody, if it says
//! nothing:
//!
//! ```toml
//! [function.customer]
//! allow-hosts = ["https://api.example.com"]
//! ```
//!
//! `?` makes of an [`Error`] a retry. An answer of any status is an answer;
//! [`error_for_status`](Response::error_for_status) makes an error of those that are none of success.
//!
//! A request that is tried again is made again: give what it changes a name of its own, such as the
//! record's topic, partition and offset in a header `idempotency-key`.
//!
//! # Limits
//!
//! One instance has at most 500 requests under way, waiting ones included, and an answer counts until
//! its body was read or dropped. The next one fails at once with [`ErrorKind::Connect`]; so does one for
//! which no connection of `http.connections` was free in time. The headers of a request may take 32 KiB,
//! each with 72 bytes more than its content, and a path with its query 16 KiB: a larger one fails with
//! [`ErrorKind::Request`]. Those of an answer may take as much, or it fails with [`ErrorKind::Response`].
//! Bodies and times are bounded by the manifest, times also by the function's deadline.
//!
//! In a test there is nobody to ask: [`testing::http`](crate::testing::http) gives the answers.

mod error;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod host;
mod request;
mod response;
#[cfg(target_arch = "wasm32")]
mod wasi;

#[cfg(not(target_arch = "wasm32"))]
use host as transport;
#[cfg(target_arch = "wasm32")]
use wasi as transport;

pub use error::{Error, ErrorKind, Result};
pub use request::Request;
pub use response::Response;

/// A part of a URL: a segment of its path, or a name or a value in its query. All but letters, digits,
/// `-`, `.`, `_` and `~` is written as `%` and two digits.
///
/// What comes from records needs it: with a `/` or a `?` in it, it would ask for something else.
///
/// ```
/// use tidegate_sdk::http;
///
/// assert_eq!(http::escape("7/../8?a=ü"), "7%2F..%2F8%3Fa%3D%C3%BC");
/// ```
pub fn escape(part: impl AsRef<[u8]>) -> String {
    let mut escaped = String::new();
    for &byte in part.as_ref() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => escaped.push(char::from(byte)),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

/// Asks for a URL: [`Request::get`], sent.
///
/// # Errors
/// See [`Request::send`].
pub async fn get(url: impl AsRef<str>) -> Result<Response> {
    Request::get(url).send().await
}
