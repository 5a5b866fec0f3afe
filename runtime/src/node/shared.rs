//! What holds for the whole fleet, as the supervisor and the relay share it.

use std::collections::BTreeMap;

use serde::Deserialize;
use tokio::sync::mpsc;

use super::relay::fleet::View;
use super::relay::message::{Abort, Publication, Rollout};
use crate::manifest::Name;
use crate::record::revision::{Digest, Origin};
use crate::trigger::CandidateStatus;

/// The fleet, as this node knows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fleet {
    /// Whether the relay's topic was read to its end, so that what it says is known.
    pub is_known: bool,
    pub view: View,
}

/// What this node says to the others.
#[derive(Clone, Debug, PartialEq)]
pub enum Word {
    Rollout { function: Name, rollout: Rollout },
    Abort { function: Name, abort: Abort },
}

/// Tells the others. What cannot be told now is told again later, because it is still to be said then.
pub type Speaker = mpsc::Sender<Word>;

impl Fleet {
    /// Why a publication of a function must not serve, if somebody said so.
    pub fn aborted(&self, function: &Name, digest: Digest, origin: &Origin) -> Option<&str> {
        let abort = self.view.aborts.get(function)?;
        if abort.digest == digest && abort.origin == *origin {
            return Some(&abort.reason);
        }
        let is_it = |earlier: &_| is_same(earlier, digest, origin);
        abort.earlier.iter().any(is_it).then_some("it was withdrawn earlier")
    }

    /// The rollout of a publication, under way or ended well.
    pub fn rollout(&self, function: &Name, digest: Digest, origin: &Origin) -> Option<&Rollout> {
        let rollout = self.view.rollouts.get(function)?;
        (rollout.digest == digest && rollout.origin == *origin).then_some(rollout)
    }

    /// How candidates of a function do on the other nodes, as those said last.
    pub fn candidates(&self, function: &Name, own: &str) -> Vec<CandidateStatus> {
        let others = self.view.nodes.iter().filter(|(name, _)| *name != own);
        others.flat_map(|(_, node)| candidates(&node.status.status, function)).collect()
    }
}

fn is_same(publication: &Publication, digest: Digest, origin: &Origin) -> bool {
    publication.digest == digest && publication.origin == *origin
}

/// What matters here of the status of a node.
#[derive(Default, Deserialize)]
#[serde(default)]
struct NodeReport {
    triggers: BTreeMap<String, TriggerReport>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TriggerReport {
    function: String,
    candidate: Option<CandidateStatus>,
}

/// A status that makes no sense says nothing.
fn candidates(status: &serde_json::Value, function: &Name) -> Vec<CandidateStatus> {
    let report = NodeReport::deserialize(status).unwrap_or_default();
    let of_function = report.triggers.into_values().filter(|trigger| trigger.function == **function);
    of_function.filter_map(|trigger| trigger.candidate).collect()
}
