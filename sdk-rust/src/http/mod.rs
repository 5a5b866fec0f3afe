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
//!     let url = format!("https://api.example.com/customers/{}", order.customer);
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
//! In a test there is nobody to ask: [`testing::http`](crate::testing::http) gives the answers.

mod error;
mod request;
mod response;
#[cfg(target_arch = "wasm32")]
mod wasi;

#[cfg(not(target_arch = "wasm32"))]
use crate::testing::http as transport;
#[cfg(target_arch = "wasm32")]
use wasi as transport;

pub use error::{Error, ErrorKind, Result};
pub use request::Request;
pub use response::Response;

/// Asks for a URL: [`Request::get`], sent.
///
/// # Errors
/// See [`Request::send`].
pub async fn get(url: impl AsRef<str>) -> Result<Response> {
    Request::get(url).send().await
}
