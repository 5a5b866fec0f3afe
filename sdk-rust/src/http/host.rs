//! Requests where there is no host to send them: a test gives the answers, or every request fails.

use std::cell::RefCell;
use std::future::poll_fn;
use std::task::Poll;

use http::{HeaderMap, StatusCode};

use super::{Error, ErrorKind, Request, Response, Result};

/// What a request is answered with.
pub(crate) type Answer = core::result::Result<Head, ErrorKind>;

#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// Answers requests.
type Answering = dyn FnMut(Request) -> Answer;

thread_local! {
    static ANSWERING: RefCell<Option<Box<Answering>>> = const { RefCell::new(None) };
}

/// Has this answer the requests of this thread until [`end_answers`]. False: something answers already,
/// and goes on to do so.
pub(crate) fn begin_answers(answering: impl FnMut(Request) -> Answer + 'static) -> bool {
    ANSWERING.with_borrow_mut(|current| {
        let is_free = current.is_none();
        if is_free {
            *current = Some(Box::new(answering));
        }
        is_free
    })
}

pub(crate) fn end_answers() {
    ANSWERING.set(None);
}

/// The body of an answer: all there.
pub(crate) struct Body(Vec<u8>);

impl Body {
    pub(super) async fn read(self, _about: &str) -> Result<Vec<u8>> {
        Ok(self.0)
    }
}

pub(super) async fn send(request: Request) -> Result<Response> {
    wait_a_turn().await;
    let about = request.about();
    let answer = ANSWERING.with_borrow_mut(|answering| answering.as_mut().map(|answering| answering(request)));
    let why = "there is no HTTP but in a component: in a test, give answers with `testing::http::answer`";
    match answer.ok_or_else(|| Error::new(ErrorKind::Connect, &about, why))? {
        Ok(Head { status, headers, body }) => Ok(Response { about, status, headers, body: Body(body) }),
        Err(kind) => Err(Error::new(kind, &about, format_args!("the test answers with the error {kind:?}"))),
    }
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
