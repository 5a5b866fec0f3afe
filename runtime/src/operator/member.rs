//! The nodes of a fleet as somebody sees them who has just read the relay. Pure: time is an argument.

use std::sync::Arc;

use super::report::Report;
use crate::node::relay::fleet::{LIVE, Node, Presence, View};
use crate::node::relay::message::NodeStatus;

/// A node of the fleet.
#[derive(Clone, Debug)]
pub struct Member {
    pub name: String,
    pub standing: Standing,
    /// How old its last status is, in milliseconds. By its clock and this machine's, so it can be a little wrong.
    pub age_ms: i64,
    pub status: Arc<NodeStatus>,
    pub report: Report,
}

/// Whether a node runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    Live,
    /// It said that it stops.
    Stopped,
    /// Nothing was heard of it for a while, and it did not say that it stops.
    Gone,
}

impl Standing {
    /// The word for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Stopped => "stopped",
            Self::Gone => "gone",
        }
    }
}

impl Member {
    pub fn is_live(&self) -> bool {
        self.standing == Standing::Live
    }
}

/// The nodes, by name. `now_ms` is the time in milliseconds since 1970.
pub fn members(view: &View, now_ms: i64) -> Vec<Member> {
    let member = |(name, node): (&String, &Node)| {
        let age_ms = now_ms.saturating_sub(node.status.at_ms).max(0);
        Member {
            name: name.clone(),
            standing: standing(node.presence, age_ms),
            age_ms,
            status: node.status.clone(),
            report: Report::read(&node.status.status),
        }
    };
    view.nodes.iter().map(member).collect()
}

/// A status that was in the topic before says when it was written, and nothing else is known.
fn standing(presence: Presence, age_ms: i64) -> Standing {
    match presence {
        Presence::Live => Standing::Live,
        Presence::Stopped => Standing::Stopped,
        Presence::Gone => Standing::Gone,
        Presence::Expected if u128::try_from(age_ms).unwrap_or(0) < LIVE.as_millis() => Standing::Live,
        Presence::Expected => Standing::Gone,
    }
}

#[cfg(test)]
pub mod testing {
    //! Fleets for tests.

    use std::time::{Duration, Instant};

    use serde_json::Value;

    use crate::node::relay::fleet::Fleet;
    use crate::node::relay::message::{Message, NodeStatus};

    /// A fleet that was read to its end and is followed.
    pub fn fleet() -> Fleet {
        let now = Instant::now();
        let mut fleet = Fleet::new("", "", Duration::ZERO, now);
        fleet.caught_up(now);
        fleet
    }

    /// A node says something about itself.
    pub fn say(fleet: &mut Fleet, node: &str, at_ms: i64, stopping: bool, status: Value) {
        let (version, process) = ("0.1.0".to_owned(), format!("process of {node}"));
        let status = NodeStatus { node: node.to_owned(), process, at_ms, version, stopping, status };
        fleet.apply(Message::Node { name: node.to_owned(), status: Some(status) }, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use serde_json::json;

    use super::*;
    use crate::node::relay::fleet::Fleet;
    use testing::say;

    #[test]
    fn nodes_whose_status_was_there_before_are_judged_by_its_time() {
        let mut fleet = Fleet::new("", "", Duration::ZERO, Instant::now());
        for (node, at_ms, stopping) in [("a", 1_000_000, false), ("b", 960_000, false), ("c", 1_000_000, true)] {
            say(&mut fleet, node, at_ms, stopping, json!({}));
        }
        // The clock of this one is ahead.
        say(&mut fleet, "d", 9_000_000, false, json!({}));
        fleet.caught_up(Instant::now());
        let found: Vec<_> = members(fleet.view(), 1_005_000).iter().map(|it| (it.standing, it.age_ms)).collect();
        use Standing::{Gone, Live, Stopped};
        assert_eq!(found, [(Live, 5_000), (Gone, 45_000), (Stopped, 5_000), (Live, 0)]);
    }
}
