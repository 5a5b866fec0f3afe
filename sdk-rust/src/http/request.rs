//! A request, built call by call.

use std::fmt;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use serde::Serialize;

use super::{Error, ErrorKind, Response, Result, transport};

/// A request, to be sent with [`send`](Request::send).
///
/// ```
/// use std::time::Duration;
/// use tidegate_sdk::http::{self, Request};
///
/// # async fn create(order: &serde_json::Value, token: &str) -> http::Result<()> {
/// let response = Request::post("https://api.example.com/orders")
///     .header("authorization", format!("Bearer {token}"))
///     .json(order)
///     .timeout(Duration::from_secs(5))
///     .send()
///     .await?;
/// # Ok(())
/// # }
/// ```
///
/// What is wrong with it (a URL that is none, a header that cannot be) is told by `send`.
#[must_use = "a request is made when it is sent"]
pub struct Request {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) timeout: Option<Duration>,
    /// The first mistake that was made.
    mistake: Option<String>,
}

macro_rules! methods {
    ($($name:ident $method:ident)*) => {$(
        #[doc = concat!("A ", stringify!($method), " of this URL.")]
        pub fn $name(url: impl AsRef<str>) -> Self {
            Self::of(Ok(Method::$method), url.as_ref())
        }
    )*};
}

impl Request {
    methods! { get GET head HEAD post POST put PUT patch PATCH delete DELETE }

    /// A request of another method.
    pub fn new(method: &str, url: impl AsRef<str>) -> Self {
        Self::of(Method::from_bytes(method.as_bytes()), url.as_ref())
    }

    fn of(method: core::result::Result<Method, http::method::InvalidMethod>, url: &str) -> Self {
        let mut request = Self {
            method: Method::GET,
            uri: Uri::default(),
            headers: HeaderMap::new(),
            body: Vec::new(),
            timeout: None,
            mistake: None,
        };
        match method {
            Ok(method) => request.method = method,
            Err(_) => request.has_mistake("the method cannot be used"),
        }
        match url.parse::<Uri>() {
            Ok(uri) if matches!(uri.scheme_str(), Some("http" | "https")) => request.uri = uri,
            Ok(_) => request.has_mistake("the URL does not start with https:// or http://"),
            Err(error) => request.has_mistake(format_args!("the URL is invalid: {error}")),
        }
        request
    }

    /// Adds a header. Names may repeat.
    pub fn header(mut self, name: impl AsRef<str>, value: impl AsRef<[u8]>) -> Self {
        let name = name.as_ref();
        match (HeaderName::try_from(name), HeaderValue::from_bytes(value.as_ref())) {
            (Ok(name), Ok(value)) => drop(self.headers.append(name, value)),
            (Err(_), _) => self.has_mistake(format_args!("`{name}` is not the name of a header")),
            (_, Err(_)) => self.has_mistake(format_args!("the value of the header `{name}` cannot be sent")),
        }
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets the body to this, written as JSON, and `content-type` with it unless there is one.
    pub fn json(mut self, value: &(impl Serialize + ?Sized)) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => self.body = body,
            Err(error) => self.has_mistake(format_args!("the body has no form in JSON: {error}")),
        }
        self.headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
        self
    }

    /// How long all of it may take: until the body of the answer has been read. The manifest's limits
    /// hold besides, and so does the deadline of the function.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sends it, and waits for the head of the answer. Nothing is tried again, and no redirect is
    /// followed.
    ///
    /// # Errors
    /// When the request is not one, when the manifest does not allow it, when there is no answer. An
    /// answer of any status is an answer.
    pub async fn send(mut self) -> Result<Response> {
        match self.mistake.take() {
            Some(mistake) => Err(Error::new(ErrorKind::Request, &self.about(), mistake)),
            None => transport::send(self).await,
        }
    }

    /// Method and origin: what is told of it where others read.
    pub(crate) fn about(&self) -> String {
        let Self { method, uri, .. } = self;
        match (uri.scheme_str(), uri.host()) {
            (Some(scheme), Some(host)) => {
                let port = uri.port().map(|port| format!(":{port}")).unwrap_or_default();
                format!("{method} {scheme}://{host}{port}")
            }
            _ => method.to_string(),
        }
    }

    fn has_mistake(&mut self, mistake: impl fmt::Display) {
        self.mistake.get_or_insert_with(|| mistake.to_string());
    }
}

/// Without headers and body, in which secrets may stand.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request({})", self.about())
    }
}
