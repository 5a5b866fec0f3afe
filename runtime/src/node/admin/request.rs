//! The bodies of requests: their limits, and what they say.

use std::time::Duration;

use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::StatusCode;
use hyper::body::{Body, Bytes};
use hyper::header::{CONTENT_TYPE, HeaderMap};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// The largest body, in bytes.
pub const MOST_BYTES: usize = 16 << 10;
/// How long a client may take to send it.
const LIMIT: Duration = Duration::from_secs(5);

/// The body of a request that may say why.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Why {
    #[serde(default)]
    pub reason: String,
}

/// The body of a request that has nothing to say.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// Reads a body. A problem if it is too large or does not come in time.
pub async fn read<B>(body: B) -> Result<Bytes, Problem>
where
    B: Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let collected = tokio::time::timeout(LIMIT, Limited::new(body, MOST_BYTES).collect());
    match collected.await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let detail = format!("a body has at most {MOST_BYTES} bytes");
            Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "the body is too large", detail))
        }
        Ok(Err(error)) => Err(bad_body(format!("the body could not be read: {error}"))),
        Err(_) => {
            let detail = format!("the body did not come within {LIMIT:?}");
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "too-slow", "the body is late", detail))
        }
    }
}

/// Understands a body. No body says nothing.
pub fn parse<T: DeserializeOwned + Default>(headers: &HeaderMap, body: &[u8]) -> Result<T, Problem> {
    if body.is_empty() {
        return Ok(T::default());
    }
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        let detail = "send the header Content-Type: application/json, or no body";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-json", "the body is not JSON", detail));
    }
    serde_json::from_slice(body).map_err(|error| bad_body(error.to_string()))
}

fn bad_body(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad-body", "the body cannot be understood", detail)
}
