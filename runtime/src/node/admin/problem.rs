//! What is answered if a request is refused: problem details as in [RFC 9457].
//!
//! `type` is a relative reference, `/problems/NAME`. The names never change. Nothing is served there.
//!
//! [RFC 9457]: https://www.rfc-editor.org/rfc/rfc9457

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use serde_json::json;

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub status: StatusCode,
    /// Its stable name.
    pub name: &'static str,
    pub title: &'static str,
    /// For people: what is wrong with this request, and what to do.
    pub detail: String,
    /// The methods that are allowed, if the problem is the method.
    pub allow: Option<&'static str>,
}

impl Problem {
    pub fn new(status: StatusCode, name: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self { status, name, title, detail: detail.into(), allow: None }
    }

    pub fn response(self) -> Response<Full<Bytes>> {
        let Self { status, name, title, detail, allow } = self;
        let body = json!({
            "type": format!("/problems/{name}"),
            "title": title,
            "status": status.as_u16(),
            "detail": detail,
        });
        let mut response = Response::new(Full::new(format!("{body:#}\n").into()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(allow) = allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
