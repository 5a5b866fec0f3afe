//! Answers to the requests of a function under test. With the feature `http`.
//!
//! ```
//! use tidegate_sdk::testing::http::{self, Answer};
//! use tidegate_sdk::{Message, Record, Result, testing};
//!
//! #[tidegate_sdk::function]
//! async fn enrich(record: Record) -> Result<Message> {
//!     let url = format!("https://api.example.com/names/{}", tidegate_sdk::http::escape(record.key_str()?));
//!     let response = tidegate_sdk::http::get(url).await?.error_for_status()?;
//!     Ok(record.with_value(response.text().await?))
//! }
//!
//! let asked = http::answer(|request| match request.url.as_str() {
//!     "https://api.example.com/names/7" => Answer::new(200).body("Ada"),
//!     _ => Answer::new(404),
//! });
//! let outcome = testing::run::<enrich>(["7", "8"].map(|key| testing::Record::new().key(key)));
//!
//! assert_eq!(outcome.messages[0].value_str(), "Ada");
//! assert!(outcome.failures[0].error.is_reject());
//! assert_eq!(asked.requests().len(), 2);
//! ```
//!
//! Without them every request fails: a test asks nobody.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::rc::Rc;

use ::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::http::ErrorKind;
use crate::http::host::{self, Head};

/// Has this answer the requests that are made on this thread, as long as what it returns is kept.
///
/// # Panics
/// When this thread has answers already.
pub fn answer(mut answering: impl FnMut(&Request) -> Answer + 'static) -> Answers {
    let asked = Rc::new(RefCell::new(Vec::new()));
    let kept = asked.clone();
    let is_first = host::begin_answers(move |request| {
        let request = Request::of(request);
        let answer = answering(&request);
        kept.borrow_mut().push(request);
        answer.0
    });
    assert!(is_first, "this thread has answers already: keep one `Answers` at a time");
    Answers { asked, _of_this_thread: PhantomData }
}

/// Answers are given until this is dropped.
#[derive(Debug)]
#[must_use = "without it, no answers are given any more: keep it in a variable"]
pub struct Answers {
    asked: Rc<RefCell<Vec<Request>>>,
    _of_this_thread: PhantomData<*const ()>,
}

impl Answers {
    /// The requests that were made so far, in their order.
    pub fn requests(&self) -> Vec<Request> {
        self.asked.borrow().clone()
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        host::end_answers();
    }
}

/// A request as it would have been sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method, such as `GET`.
    pub method: String,
    /// The URL.
    pub url: String,
    /// Names, in lower case, and values of the headers.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body; empty if there is none.
    pub body: Vec<u8>,
}

impl Request {
    fn of(request: crate::http::Request) -> Self {
        let headers = request.headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
        Self {
            method: request.method.to_string(),
            url: request.uri.to_string(),
            headers: headers.collect(),
            body: request.body,
        }
    }

    /// The first header of this name, in lower case, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(own, _)| own == name);
        found.and_then(|(_, value)| std::str::from_utf8(value).ok())
    }

    /// The body read as JSON.
    ///
    /// # Panics
    /// When it is not JSON of this shape.
    pub fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("bad JSON in the request: {error}"))
    }
}

/// What a request is answered with.
#[derive(Clone, Debug)]
pub struct Answer(Result<Head, ErrorKind>);

impl Answer {
    /// An answer of this status, with neither headers nor body.
    ///
    /// # Panics
    /// When there is no such status.
    pub fn new(status: u16) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or_else(|_| panic!("{status} is not a status"));
        Self(Ok(Head { status, headers: HeaderMap::new(), body: Vec::new() }))
    }

    /// No answer, but this error.
    pub fn failed(kind: ErrorKind) -> Self {
        Self(Err(kind))
    }

    /// Adds a header.
    ///
    /// # Panics
    /// When it cannot be one.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Ok(head) = &mut self.0 {
            let name = HeaderName::try_from(name).expect("the name of a header");
            head.headers.append(name, HeaderValue::try_from(value).expect("the value of a header"));
        }
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        if let Ok(head) = &mut self.0 {
            head.body = body.into();
        }
        self
    }

    /// Sets the body to this, written as JSON.
    ///
    /// # Panics
    /// When it has no form in JSON.
    #[must_use]
    pub fn json(self, value: &(impl Serialize + ?Sized)) -> Self {
        self.body(serde_json::to_vec(value).expect("a value with a form in JSON"))
    }
}
