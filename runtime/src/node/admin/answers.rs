//! Does what a route says.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http_body_util::Full;
use hyper::body::{Body, Bytes};
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::access::Access;
use super::documents;
use super::problem::Problem;
use super::request::{self, Nothing, Why};
use super::routes::{Ask, Audience, Route, find};
use crate::manifest::Name;
use crate::node::metrics::Scrape;
use crate::node::overview::Overview;
use crate::node::relay::message::Message;
use crate::node::relay::steering::{self, Refusal};
use crate::node::steer::{Steer, Unsaid};

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
/// The description of the API, in OpenAPI 3.1.
pub(super) const DESCRIPTION: &str = include_str!("openapi.json");

/// Answers requests.
pub struct Admin {
    access: Access,
    overview: watch::Receiver<Overview>,
    steer: Arc<dyn Steer>,
}

impl Admin {
    pub fn new(access: Access, overview: watch::Receiver<Overview>, steer: Arc<dyn Steer>) -> Self {
        Self { access, overview, steer }
    }

    /// Answers one request. What is refused is answered with a problem.
    pub async fn answer<B>(&self, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (head, body) = request.into_parts();
        self.handle(&head, body).await.unwrap_or_else(Problem::response)
    }

    async fn handle<B>(&self, head: &Parts, body: B) -> Result<Response<Full<Bytes>>, Problem>
    where
        B: Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.access.check_host(&head.uri, &head.headers)?;
        let (route, name) = find(&head.method, head.uri.path())?;
        if route.audience == Audience::Trusted {
            self.access.check_caller(&head.headers)?;
        }
        match name {
            Some(name) if route.method == "POST" => {
                Access::check_origin(&head.headers)?;
                self.tell(route, &name, &head.headers, &request::read(body).await?)
            }
            name => self.show(route, name.as_ref(), &head.headers),
        }
    }

    fn show(&self, route: &Route, name: Option<&Name>, headers: &HeaderMap) -> Result<Response<Full<Bytes>>, Problem> {
        let overview = self.overview.borrow().clone();
        let code = if overview.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let view = || self.steer.view();
        Ok(match (route.ask, name) {
            (Ask::Alive, _) => respond(StatusCode::OK, TEXT, "ok\n"),
            (Ask::Ready, _) => respond(code, TEXT, if code.is_success() { "ready\n" } else { "not ready\n" }),
            (Ask::Health, _) => json(code, &overview.to_json()),
            (Ask::Metrics, _) => {
                let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
                let metrics = Scrape { overview, view: view(), heard: self.steer.heard() }.expose(accept);
                respond(StatusCode::OK, metrics.content_type, metrics.text)
            }
            (Ask::Description, _) => respond(StatusCode::OK, JSON, DESCRIPTION),
            (Ask::Revisions, Some(function)) => {
                let document = documents::revisions(function, &overview, view().as_ref());
                json(StatusCode::OK, &document.ok_or_else(|| unknown_function(function))?)
            }
            _ => json(StatusCode::OK, &documents::status(self.steer.node(), &overview, view().as_ref())),
        })
    }

    /// Says something to the fleet.
    fn tell(
        &self,
        route: &Route,
        name: &Name,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Response<Full<Bytes>>, Problem> {
        let is_known = {
            let overview = self.overview.borrow();
            match route.ask {
                Ask::Promote | Ask::Abort if !overview.functions.contains_key(&**name) => Err(unknown_function(name)),
                Ask::Pause | Ask::Resume if !overview.triggers.contains_key(&**name) => Err(unknown_trigger(name)),
                _ => Ok(()),
            }
        };
        is_known?;
        let (view, from, now) = (self.steer.view(), format!("admin of {}", self.steer.node()), now_ms());
        let why = |body| request::parse::<Why>(headers, body).map(|why| why.reason);
        let message = match route.ask {
            Ask::Pause => steering::pause(name, &why(body)?, &from, now),
            Ask::Abort => steering::abort(&view.ok_or_else(no_relay)?, name, &why(body)?, &from, now),
            ask => {
                let Nothing {} = request::parse(headers, body)?;
                match ask {
                    Ask::Promote => steering::promote(&view.ok_or_else(no_relay)?, name, &from, now),
                    _ => Ok(steering::resume(name)),
                }
            }
        };
        let message = message.map_err(|refusal| refused(&refusal))?;
        tracing::info!(%name, ask = ?route.ask, from, "the fleet is told, as somebody asked by the admin listener");
        self.say(message)
    }

    fn say(&self, message: Message) -> Result<Response<Full<Bytes>>, Problem> {
        self.steer.say(message).map_err(|unsaid| match unsaid {
            Unsaid::NoRelay => no_relay(),
            Unsaid::Busy => {
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "the relay is busy", unsaid.to_string())
            }
        })?;
        Ok(json(StatusCode::ACCEPTED, &json!({ "told": true })))
    }
}

fn unknown_function(name: &Name) -> Problem {
    let detail = format!("the manifest of this node has no function {name}");
    Problem::new(StatusCode::NOT_FOUND, "unknown-function", "there is no such function", detail)
}

fn unknown_trigger(name: &Name) -> Problem {
    let detail = format!("no trigger {name} runs on this node");
    Problem::new(StatusCode::NOT_FOUND, "unknown-trigger", "there is no such trigger", detail)
}

fn no_relay() -> Problem {
    let detail = Unsaid::NoRelay.to_string();
    Problem::new(StatusCode::CONFLICT, "no-relay", "the node is alone", detail)
}

fn refused(refusal: &Refusal) -> Problem {
    let detail = refusal.to_string();
    match refusal {
        Refusal::NoRollout(_) => Problem::new(StatusCode::CONFLICT, "no-rollout", "no rollout is under way", detail),
        Refusal::ReasonTooLong(_) => {
            Problem::new(StatusCode::BAD_REQUEST, "long-reason", "the reason is too long", detail)
        }
    }
}

fn json(code: StatusCode, value: &Value) -> Response<Full<Bytes>> {
    respond(code, JSON, format!("{value:#}\n"))
}

fn respond(code: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// Milliseconds since 1970 by the clock of this machine.
fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
