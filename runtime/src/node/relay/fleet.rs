//! What is known of all nodes, and what holds for the whole fleet. Pure: time is an argument.
//!
//! The log of the topic decides. Two nodes that have read the same records know the same, in whatever
//! portions they have read them. While the topic is read from its beginning, what was known before still
//! holds. It is compared with the topic when that was read to its end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::message::{Abort, Message, NodeStatus, Pause, Rollout};
use crate::kafka::notices::Beginning;
use crate::manifest::Name;

/// How long a node counts as live after its last status.
pub const LIVE: Duration = Duration::from_secs(30);
/// How long a node is shown that is not live any more.
const KEPT: Duration = Duration::from_secs(3_600);

/// Whether a node runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Its status came a short while ago, by the clock of this node.
    Live,
    /// Its status was in the topic before this node read it. It is too early to say more.
    Expected,
    /// It said that it stops.
    Stopped,
    /// Nothing was heard of it for a while.
    Gone,
}

/// A node as this one sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub status: Arc<NodeStatus>,
    pub presence: Presence,
    /// When the status was read.
    since: Instant,
    /// Whether the node wrote the status while this node was following the topic.
    heard: bool,
    /// When this node asked for the status to be taken back.
    taken_back: Option<Instant>,
}

/// What holds for the fleet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View {
    pub nodes: BTreeMap<String, Node>,
    pub aborts: BTreeMap<Name, Abort>,
    pub rollouts: BTreeMap<Name, Rollout>,
    pub pauses: BTreeMap<Name, Pause>,
    /// The other process that runs under the name of this node.
    pub twin: Option<String>,
}

/// A difference to what was known before. `None` in place of a value: it does not hold any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Abort {
        function: Name,
        abort: Option<Abort>,
    },
    Rollout {
        function: Name,
        rollout: Option<Rollout>,
    },
    Pause {
        trigger: Name,
        pause: Option<Pause>,
    },
    /// A node came, went, or changed its presence.
    Nodes,
    /// Another process runs under the name of this node, or does not any more.
    Twin(Option<String>),
}

/// What is said in the topic, for each key. `None`: it was taken back.
#[derive(Debug, Default)]
struct Said {
    nodes: BTreeMap<String, Option<NodeStatus>>,
    aborts: BTreeMap<Name, Option<Abort>>,
    rollouts: BTreeMap<Name, Option<Rollout>>,
    pauses: BTreeMap<Name, Option<Pause>>,
}

/// What this node knows.
#[derive(Debug)]
pub struct Fleet {
    name: String,
    process: String,
    view: View,
    twin_since: Instant,
    /// Set while the topic is read from its beginning.
    rereading: Option<(Beginning, Said)>,
    /// How much longer than others this node keeps a node that is gone.
    jitter: Duration,
}

impl Fleet {
    /// The fleet as seen by a node and process. With different jitter, only the first node takes back the
    /// status of a node that is gone.
    pub fn new(name: &str, process: &str, jitter: Duration, now: Instant) -> Self {
        Self {
            name: name.to_owned(),
            process: process.to_owned(),
            view: View::default(),
            twin_since: now,
            rereading: Some((Beginning::Same, Said::default())),
            jitter,
        }
    }

    pub fn view(&self) -> &View {
        &self.view
    }

    /// The topic is read from its beginning now.
    pub fn begin(&mut self, beginning: Beginning) {
        // What was known before is compared with the new topic also if reading it begins once more.
        let earlier = self.rereading.as_ref().map_or(Beginning::Same, |(earlier, _)| *earlier);
        let beginning = if earlier == Beginning::New { earlier } else { beginning };
        self.rereading = Some((beginning, Said::default()));
    }

    /// The topic was read to its end. Returns the differences, and what must be written again, because the
    /// topic was created again and does not contain it.
    pub fn caught_up(&mut self, now: Instant) -> (Vec<Change>, Vec<Message>) {
        let Some((beginning, mut said)) = self.rereading.take() else { return Default::default() };
        let mut rewrites = Vec::new();
        let is_new = beginning == Beginning::New;
        complete(&mut said.aborts, &self.view.aborts, is_new, |function, abort| {
            rewrites.push(Message::Abort { function, abort: Some(abort) });
        });
        complete(&mut said.rollouts, &self.view.rollouts, is_new, |function, rollout| {
            rewrites.push(Message::Rollout { function, rollout: Some(rollout) });
        });
        complete(&mut said.pauses, &self.view.pauses, is_new, |trigger, pause| {
            rewrites.push(Message::Pause { trigger, pause: Some(pause) });
        });
        let mut changes = Vec::new();
        for (function, abort) in said.aborts {
            changes.extend(self.apply_here(Message::Abort { function, abort }, now));
        }
        for (function, rollout) in said.rollouts {
            changes.extend(self.apply_here(Message::Rollout { function, rollout }, now));
        }
        for (trigger, pause) in said.pauses {
            changes.extend(self.apply_here(Message::Pause { trigger, pause }, now));
        }
        let mut nodes_changed = false;
        if !is_new {
            // Nodes write their statuses again anyway, so a new topic may lack them for a while.
            let before = self.view.nodes.len();
            self.view.nodes.retain(|name, _| matches!(said.nodes.get(name), Some(Some(_))));
            nodes_changed = self.view.nodes.len() != before;
        }
        for (name, status) in said.nodes {
            nodes_changed |= match status {
                // A node that is known wrote this while the topic was read. Of others this cannot be said.
                Some(status) => self.set_status(status, now, self.view.nodes.contains_key(&name)),
                None => self.view.nodes.remove(&name).is_some(),
            };
        }
        changes.extend(nodes_changed.then_some(Change::Nodes));
        (changes, rewrites)
    }

    /// Takes the next record of the topic.
    pub fn apply(&mut self, message: Message, now: Instant) -> Vec<Change> {
        let Some((_, said)) = &mut self.rereading else { return self.apply_here(message, now) };
        match message {
            Message::Hint(_) => {}
            Message::Node { name, status } => drop(said.nodes.insert(name, status)),
            Message::Abort { function, abort } => drop(said.aborts.insert(function, abort)),
            Message::Rollout { function, rollout } => drop(said.rollouts.insert(function, rollout)),
            Message::Pause { trigger, pause } => drop(said.pauses.insert(trigger, pause)),
        }
        Vec::new()
    }

    fn apply_here(&mut self, message: Message, now: Instant) -> Vec<Change> {
        match message {
            Message::Hint(_) => Vec::new(),
            Message::Node { name, status: None } => {
                self.view.nodes.remove(&name).map(|_| Change::Nodes).into_iter().collect()
            }
            Message::Node { status: Some(status), .. } => {
                let twin = self.look_for_twin(&status, now);
                let changed = self.set_status(status, now, true);
                twin.into_iter().chain(changed.then_some(Change::Nodes)).collect()
            }
            Message::Abort { function, abort } => {
                let changed = replace(&mut self.view.aborts, &function, abort.clone());
                changed.then_some(Change::Abort { function, abort }).into_iter().collect()
            }
            Message::Rollout { function, rollout } => {
                let changed = replace(&mut self.view.rollouts, &function, rollout.clone());
                changed.then_some(Change::Rollout { function, rollout }).into_iter().collect()
            }
            Message::Pause { trigger, pause } => {
                let changed = replace(&mut self.view.pauses, &trigger, pause.clone());
                changed.then_some(Change::Pause { trigger, pause }).into_iter().collect()
            }
        }
    }

    /// A status under the name of this node that another process wrote while this one runs.
    fn look_for_twin(&mut self, status: &NodeStatus, now: Instant) -> Option<Change> {
        if status.node != self.name || status.process == self.process {
            return None;
        }
        let twin = (!status.stopping).then(|| status.process.clone());
        self.twin_since = now;
        let changed = twin != self.view.twin;
        self.view.twin.clone_from(&twin);
        changed.then_some(Change::Twin(twin))
    }

    /// Stores a status. Returns whether the presence of the node changed.
    fn set_status(&mut self, status: NodeStatus, now: Instant, heard: bool) -> bool {
        let known = self.view.nodes.get(&status.node);
        // The same status again: the topic was read again, or a record is there twice.
        if known.is_some_and(|known| known.status.process == status.process && known.status.at_ms == status.at_ms) {
            return false;
        }
        let before = known.map(|known| known.presence);
        let name = status.node.clone();
        let mut node = Node { status: Arc::new(status), presence: Presence::Gone, since: now, heard, taken_back: None };
        node.presence = node.presence_at(now);
        let changed = before != Some(node.presence);
        self.view.nodes.insert(name, node);
        changed
    }

    /// Notices that time has passed.
    pub fn pass_time(&mut self, now: Instant) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut changed = false;
        for node in self.view.nodes.values_mut() {
            let presence = node.presence_at(now);
            changed |= std::mem::replace(&mut node.presence, presence) != presence;
        }
        changes.extend(changed.then_some(Change::Nodes));
        if self.view.twin.is_some() && now >= self.twin_since + LIVE {
            self.view.twin = None;
            changes.push(Change::Twin(None));
        }
        changes
    }

    /// The nodes whose statuses are to be taken back, because nothing was heard of them for an hour. Each is
    /// returned again after another hour, if nobody has taken its status back until then.
    pub fn forget(&mut self, now: Instant) -> Vec<Message> {
        let (kept, own) = (KEPT + self.jitter, &self.name);
        let mut forgotten = Vec::new();
        for (name, node) in &mut self.view.nodes {
            if name != own && !node.is_awaited() && now >= node.kept_since() + kept {
                node.taken_back = Some(now);
                forgotten.push(Message::Node { name: name.clone(), status: None });
            }
        }
        forgotten
    }

    /// When [`Fleet::pass_time`] or [`Fleet::forget`] has something to do, if no record comes before.
    pub fn next_due(&self) -> Option<Instant> {
        let kept = KEPT + self.jitter;
        let others = self.view.nodes.iter().filter(|(name, node)| node.is_awaited() || **name != self.name);
        let nodes =
            others.map(|(_, node)| if node.is_awaited() { node.since + LIVE } else { node.kept_since() + kept });
        nodes.chain(self.view.twin.as_ref().map(|_| self.twin_since + LIVE)).min()
    }
}

impl Node {
    fn presence_at(&self, now: Instant) -> Presence {
        match () {
            () if self.status.stopping => Presence::Stopped,
            () if now >= self.since + LIVE => Presence::Gone,
            () if self.heard => Presence::Live,
            () => Presence::Expected,
        }
    }

    /// Since when the node is shown although it is not live.
    fn kept_since(&self) -> Instant {
        self.taken_back.unwrap_or(self.since)
    }

    /// Whether another status should come soon.
    fn is_awaited(&self) -> bool {
        matches!(self.presence, Presence::Live | Presence::Expected)
    }
}

/// Adds what was known and is not in the topic. In a new topic it is missing, and `rewrite` gets it. In the
/// same topic it was taken back, and the brokers have already deleted the record that says so.
fn complete<T: Clone>(
    said: &mut BTreeMap<Name, Option<T>>,
    known: &BTreeMap<Name, T>,
    is_new: bool,
    mut rewrite: impl FnMut(Name, T),
) {
    for (name, value) in known {
        said.entry(name.clone()).or_insert_with(|| {
            let kept = is_new.then(|| value.clone());
            if let Some(value) = &kept {
                rewrite(name.clone(), value.clone());
            }
            kept
        });
    }
}

/// Sets or removes an entry. Returns whether this changed the map.
fn replace<T: PartialEq>(map: &mut BTreeMap<Name, T>, name: &Name, value: Option<T>) -> bool {
    if map.get(name) == value.as_ref() {
        return false;
    }
    match value {
        Some(value) => drop(map.insert(name.clone(), value)),
        None => drop(map.remove(name)),
    }
    true
}

#[cfg(test)]
mod tests;
