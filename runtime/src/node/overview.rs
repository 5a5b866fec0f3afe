//! What a node shows of itself: plain data, for health and for people.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Serialize as _, Serializer};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::engine::HttpCounts;
use crate::trigger::{State, Status};

/// A node at a glance. Each trigger keeps its own status fresh.
#[derive(Clone, Default)]
pub struct Overview {
    pub triggers: BTreeMap<String, watch::Receiver<Status>>,
    pub functions: BTreeMap<String, FunctionView>,
    /// Why the manifest file is not what runs.
    pub manifest_error: Option<String>,
    /// The manifest is applied: what is missing here is not about to start.
    pub started: bool,
    pub stopping: bool,
}

/// A function and its newest good revision.
#[derive(Clone, Debug, serde::Serialize)]
pub struct FunctionView {
    pub component: String,
    /// SHA-256 of the component.
    pub revision: Option<String>,
    /// Why the newest bytes are not that revision.
    pub error: Option<String>,
    /// What it does by HTTP. These numbers are those of the moment in which they are looked at.
    #[serde(serialize_with = "shared")]
    pub http: Arc<HttpCounts>,
}

fn shared<S: Serializer>(counts: &Arc<HttpCounts>, serializer: S) -> Result<S::Ok, S::Error> {
    counts.serialize(serializer)
}

impl Overview {
    /// Every trigger has a serving revision and nothing keeps it from working.
    pub fn is_ready(&self) -> bool {
        self.started && !self.stopping && self.triggers.values().all(|status| status.borrow().state == State::Running)
    }

    /// The document behind `/health`: `status` is `ok`, `starting`, `degraded` or `stopping`.
    pub fn to_json(&self) -> Value {
        let triggers: BTreeMap<_, _> =
            self.triggers.iter().map(|(name, status)| (name, self.explained(&status.borrow()))).collect();
        let starting = !self.started || triggers.values().any(|status| status.state == State::Starting);
        let ready = self.is_ready();
        let degraded = triggers.values().any(|status| !matches!(status.state, State::Running | State::Starting));
        let status = match () {
            () if self.stopping => "stopping",
            () if degraded => "degraded",
            () if starting => "starting",
            () if ready => "ok",
            () => "degraded",
        };
        json!({
            "status": status,
            "triggers": triggers,
            "functions": self.functions,
            "manifest": { "error": self.manifest_error },
        })
    }

    /// A trigger that waits for its function says why.
    fn explained(&self, status: &Status) -> Status {
        let mut status = status.clone();
        if status.revision.is_none()
            && let Some(error) = self.functions.get(&status.function).and_then(|function| function.error.clone())
        {
            status.state = State::Degraded;
            status.reason = Some(error);
        }
        status
    }
}
