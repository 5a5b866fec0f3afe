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
use std::future::poll_fn;
use std::marker::PhantomData;
use std::rc::Rc;
use std::task::Poll;

use ::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::http::{Error, ErrorKind, Response, Result};

type Answering = dyn FnMut(&Request) -> Answer;

struct Fake {
    answering: Box<Answering>,
    asked: Rc<RefCell<Vec<Request>>>,
}

thread_local! {
    static FAKE: RefCell<Option<Fake>> = const { RefCell::new(None) };
}

/// Has this answer the requests that are made on this thread, as long as what it returns is kept.
///
/// # Panics
/// When this thread has answers already.
pub fn answer(answering: impl FnMut(&Request) -> Answer + 'static) -> Answers {
    let asked = Rc::new(RefCell::new(Vec::new()));
    let fake = Fake { answering: Box::new(answering), asked: asked.clone() };
    let before = FAKE.replace(Some(fake));
    assert!(before.is_none(), "this thread has answers already: keep one `Answers` at a time");
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
        FAKE.set(None);
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
pub struct Answer(std::result::Result<Head, ErrorKind>, Vec<u8>);

#[derive(Clone, Debug)]
struct Head {
    status: StatusCode,
    headers: HeaderMap,
}

impl Answer {
    /// An answer of this status, with neither headers nor body.
    ///
    /// # Panics
    /// When there is no such status.
    pub fn new(status: u16) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or_else(|_| panic!("{status} is not a status"));
        Self(Ok(Head { status, headers: HeaderMap::new() }), Vec::new())
    }

    /// No answer, but this error.
    pub fn failed(kind: ErrorKind) -> Self {
        Self(Err(kind), Vec::new())
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
        self.1 = body.into();
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

/// The body of an answer: all there.
pub(crate) struct Body(Vec<u8>);

impl Body {
    pub(crate) async fn read(self, _about: &str) -> Result<Vec<u8>> {
        Ok(self.0)
    }
}

pub(crate) async fn send(request: crate::http::Request) -> Result<Response> {
    wait_a_turn().await;
    let about = request.about();
    let Answer(head, body) = asked(request).ok_or_else(|| {
        let why = "there is no HTTP but in a component: in a test, give answers with `testing::http::answer`";
        Error::new(ErrorKind::Connect, &about, why)
    })?;
    match head {
        Ok(Head { status, headers }) => Ok(Response { about, status, headers, body: Body(body) }),
        Err(kind) => Err(Error::new(kind, &about, format_args!("the test answers with the error {kind:?}"))),
    }
}

fn asked(request: crate::http::Request) -> Option<Answer> {
    let headers = request.headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
    let request = Request {
        method: request.method.to_string(),
        url: request.uri.to_string(),
        headers: headers.collect(),
        body: request.body,
    };
    FAKE.with_borrow_mut(|fake| {
        let fake = fake.as_mut()?;
        let answer = (fake.answering)(&request);
        fake.asked.borrow_mut().push(request);
        Some(answer)
    })
}

/// Lets others go first, once, as they would while a request is under way.
async fn wait_a_turn() {
    let mut waited = false;
    poll_fn(|context| {
        if waited {
            return Poll::Ready(());
        }
        waited = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
