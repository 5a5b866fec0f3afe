//! The admin listener: says how the node does, and takes what people say to the fleet.
//!
//! | path | answer |
//! |---|---|
//! | `GET /livez` | 200 as long as the process answers |
//! | `GET /readyz` | 200 if every trigger has a serving revision and no condition stops it, otherwise 503 |
//! | `GET /metrics` | the metrics, as text of Prometheus |
//! | `GET /health` | as `/readyz`, with the reasons: JSON with the state of every trigger and function |
//! | `GET /v1/status` | JSON: this node, and what it knows of its fleet |
//! | `GET /v1/functions/{name}/revisions` | JSON: the revisions of a function that this node knows |
//! | `POST /v1/functions/{name}/rollout/promote`, `…/abort` | 202, and the fleet is told |
//! | `POST /v1/triggers/{name}/pause`, `…/resume` | 202, and the fleet is told |
//! | `GET /v1/openapi.json` | this API for programs |
//!
//! `/livez`, `/readyz` and `/metrics` are for everybody, because probes have no secrets. The others want the token of
//! the manifest, if it sets one, as `Authorization: Bearer TOKEN` ([RFC 6750]); if not, they answer only on the
//! loopback interface. Whatever is refused is answered with a [`problem`].
//!
//! A POST writes to the relay and does nothing else: all nodes act when they read it there. Browsers are kept out: on
//! a loopback listener `Host` must be a loopback name or address, and a POST must not come from a page of another
//! host. `access` says how.
//!
//! `listener` bounds connections and the time of a head, `request` size and time of a body. `routes` is the table of
//! paths, `answers` does what a route says, and `documents` makes its JSON.
//!
//! [RFC 6750]: https://www.rfc-editor.org/rfc/rfc6750

mod access;
mod answers;
mod documents;
mod listener;
mod problem;
mod request;
mod routes;
#[cfg(test)]
mod tests;

pub use self::access::Access;
pub use self::answers::Admin;
pub use self::listener::{bind, serve};
