//! The state of a node as plain data, for the health report.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Serialize as _, Serializer};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::outside::Outside;
use super::reloads::Reloads;
use crate::engine::HttpCounts;
use crate::record::revision::{Digest, Origin};
use crate::trigger::{State, Status, Tally};

/// The state of a node. Each trigger updates its own status.
#[derive(Clone, Default)]
pub struct Overview {
    pub triggers: BTreeMap<String, watch::Receiver<Status>>,
    pub functions: BTreeMap<String, FunctionView>,
    /// Why the content of the manifest file was refused. The node still runs the last valid manifest.
    pub manifest_error: Option<String>,
    /// Where the node hears of new revisions.
    pub outside: Outside,
    /// What became of new revisions.
    pub reloads: Arc<Reloads>,
    /// What all triggers together may hold in memory.
    pub buffer_limit_bytes: u64,
    /// Whether the manifest was applied once. Before that, triggers may be missing here.
    pub started: bool,
    pub stopping: bool,
}

/// A function and its newest good revision.
#[derive(Clone, Debug, serde::Serialize)]
pub struct FunctionView {
    pub component: String,
    /// SHA-256 of the component.
    pub revision: Option<String>,
    /// Which publication of the component it is: `file`, or the version or entity tag of an object.
    pub origin: Option<String>,
    /// When it was published, in milliseconds since 1970-01-01 UTC, if the source tells that.
    pub published_ms: Option<i64>,
    /// Why the source of the component cannot be asked now. What serves goes on.
    pub away: Option<String>,
    /// Why the newest content of the component is not that revision.
    pub error: Option<String>,
    /// A newer revision, which has not served yet.
    #[serde(skip)]
    pub candidate: Option<Candidate>,
    /// The rollout of its newest build, unless that serves everything.
    pub rollout: Option<RolloutView>,
    /// The counts of its HTTP requests, as they are when this is serialized.
    #[serde(serialize_with = "shared")]
    pub http: Arc<HttpCounts>,
}

/// How far a new build of a function has come.
#[derive(Clone, Debug, serde::Serialize)]
pub struct RolloutView {
    /// SHA-256 of the component.
    pub revision: String,
    /// Which publication of the component it is.
    pub origin: String,
    /// `waiting` until its rollout begins, `trial` while it gets some of the records, or `withdrawn`.
    pub state: &'static str,
    /// Why it was withdrawn.
    pub reason: Option<String>,
    /// The stage that it is in, from 0, and how many there are before everything.
    pub stage: Option<u32>,
    pub stages: usize,
    /// What it gets in this stage: `shadow`, or a share of the keys such as `5%`.
    pub manner: Option<String>,
    /// When the first stage began and when this one did, in milliseconds since 1970-01-01 UTC.
    pub started_ms: Option<i64>,
    pub stage_started_ms: Option<i64>,
    /// What all nodes counted in this stage: the candidate's calls, and those of the revision that serves.
    pub candidate: Tally,
    pub stable: Tally,
}

/// A revision that is compiled and has not served yet.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub digest: Digest,
    pub origin: Origin,
    pub published_ms: Option<i64>,
}

fn shared<S: Serializer>(counts: &Arc<HttpCounts>, serializer: S) -> Result<S::Ok, S::Error> {
    counts.serialize(serializer)
}

impl Overview {
    /// Whether every trigger has a serving revision and no condition stops it.
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

    /// If a trigger waits for its function, this adds the reason to its status.
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
