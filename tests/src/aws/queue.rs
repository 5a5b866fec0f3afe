//! A queue of SQS, as a client sees it that is not the one under test.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::client::Client;
use crate::wait;

/// A queue. Every method panics if the server refuses, or is not there.
#[derive(Debug, Clone)]
pub struct Queue {
    client: Arc<Client>,
    url: String,
    arn: String,
}

/// How many messages a queue has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// To be received.
    pub visible: u64,
    /// Received, and neither deleted nor visible again.
    pub invisible: u64,
}

impl Count {
    pub fn total(self) -> u64 {
        self.visible + self.invisible
    }
}

impl Queue {
    pub(super) fn create(client: Arc<Client>, name: &str, visibility: Duration) -> Queue {
        let answer = client.call(&json!({"do": "create_queue", "queue": name, "visibility_s": visibility.as_secs()}));
        let member = |name: &str| answer[name].as_str().expect("a queue has a URL and an ARN").to_owned();
        Queue { url: member("url"), arn: member("arn"), client }
    }

    /// The address that the server gave it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The same queue by another way to the server, such as a proxy's address.
    pub fn url_by(&self, endpoint: &str) -> String {
        let path = self.url.splitn(4, '/').nth(3).expect("the URL of a queue has a path");
        format!("{endpoint}/{path}")
    }

    pub fn arn(&self) -> &str {
        &self.arn
    }

    /// Puts a message into it, whatever its body.
    #[track_caller]
    pub fn send(&self, body: &str) {
        self.send_all([body.to_owned()]);
    }

    /// Puts many messages into it, ten in a request. SQS takes no empty body and 1 MiB in a request.
    #[track_caller]
    pub fn send_all(&self, bodies: impl IntoIterator<Item = String>) {
        let bodies: Vec<String> = bodies.into_iter().collect();
        self.call(json!({"do": "send", "bodies": bodies}));
    }

    /// Receives and deletes messages until there were so many, and returns their bodies. S3 promises
    /// no order.
    #[track_caller]
    pub fn take(&self, count: usize, limit: Duration) -> Vec<String> {
        let mut bodies = Vec::new();
        let enough = wait::try_some(limit, || {
            let taken = self.call(json!({"do": "take"}));
            let taken = taken.as_array().expect("a list of bodies").iter();
            bodies.extend(taken.map(|body| body.as_str().expect("a body is text").to_owned()));
            (bodies.len() >= count).then_some(())
        });
        assert!(enough.is_some(), "{} messages of {count} after {limit:?}: {bodies:#?}", bodies.len());
        bodies
    }

    /// How many messages it has.
    #[track_caller]
    pub fn count(&self) -> Count {
        let answer = self.call(json!({"do": "count"}));
        let member = |name: &str| answer[name].as_u64().expect("a number of messages");
        Count { visible: member("visible"), invisible: member("invisible") }
    }

    /// Throws all its messages away.
    #[track_caller]
    pub fn purge(&self) {
        self.call(json!({"do": "purge"}));
    }

    #[track_caller]
    fn call(&self, mut command: Value) -> Value {
        command["url"] = self.url.as_str().into();
        self.client.call(&command)
    }
}
