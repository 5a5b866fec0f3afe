//! The nodes: when their loops have turns, when they stand still, and when they are gone.

use std::sync::Weak;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::probes::Probes;
use super::time::ms;
use super::trials::Told;
use super::world::{Event, Node, Spot, World};
use crate::engine::Completion;
use crate::trigger::clock::Now;
use crate::trigger::status::{State, Status};

/// Most turns of a node in a virtual second in which nothing came for it.
const MOST_TURNS: u32 = 5_000;
/// Conditions that stay although all is done: an open breaker has nothing left to probe with, and a
/// broker that takes little metadata does so for good.
const RESTING: [&str; 2] = ["most-fail", "metadata-cut"];

impl Node {
    pub fn new(number: usize) -> Self {
        Self {
            name: format!("node-{number}"),
            incarnation: 0,
            alive: false,
            stopping: false,
            stopping_since: None,
            frozen_until: Duration::ZERO,
            stalled_until: Duration::ZERO,
            turn: None,
            ticket: 0,
            member: None,
            completions: None,
            status: None,
            instances_refused_until: Duration::ZERO,
            adopted_at: Duration::ZERO,
            revisions: Vec::new(),
            told: Told::default(),
            tells: Vec::new(),
            probes: Probes::default(),
            neighbours: Vec::new(),
            alone_since: Duration::ZERO,
            bug: None,
            broke: false,
            undisturbed_since: Duration::ZERO,
            awake_since: Duration::ZERO,
            runs_since: Duration::ZERO,
            woken: false,
            added_by: None,
            idle_turns: (Duration::ZERO, 0),
        }
    }

    pub fn begin(&mut self, now: Duration, completions: mpsc::Sender<Completion>, status: watch::Receiver<Status>) {
        self.incarnation += 1;
        (self.alive, self.stopping, self.awake_since) = (true, false, now);
        (self.frozen_until, self.stalled_until) = (Duration::ZERO, Duration::ZERO);
        (self.turn, self.member, self.bug, self.broke) = (None, None, None, false);
        self.stopping_since = None;
        (self.told, self.tells) = (Told::default(), Vec::new());
        (self.completions, self.status) = (Some(completions), Some(status));
    }

    /// Revisions that it keeps, and the calls that run of them, be they of partitions that are others' by now.
    pub fn revisions(&self) -> (usize, usize) {
        let kept = || self.revisions.iter().filter_map(Weak::upgrade);
        (kept().count(), kept().map(|running| running.load(Ordering::Relaxed)).sum())
    }

    pub fn state(&self) -> Option<State> {
        Some(self.status.as_ref()?.borrow().state)
    }

    /// Nothing is wrong that would end by itself.
    pub fn rests(&self) -> bool {
        let Some(status) = &self.status else { return false };
        let status = status.borrow();
        !status.conditions.is_empty() && status.conditions.iter().all(|condition| RESTING.contains(&condition.code))
    }

    /// It shows a condition.
    pub fn says(&self, code: &str) -> bool {
        self.status.as_ref().is_some_and(|status| status.borrow().conditions.iter().any(|known| known.code == code))
    }

    pub fn reason(&self) -> Option<String> {
        self.status.as_ref()?.borrow().reason.clone()
    }
}

impl World {
    /// The clients of a node that stood still go on.
    pub fn kick_node(&mut self, node: usize) {
        let own: Vec<u64> = self.producers.iter().filter(|(_, known)| known.node == node).map(|(&id, _)| id).collect();
        own.into_iter().for_each(|producer| self.pump(producer));
    }

    pub fn kill_node(&mut self, node: usize) {
        self.tell(|world| format!("{} is gone", world.nodes[node].name));
        let seat = &mut self.nodes[node];
        (seat.alive, seat.stopping, seat.turn, seat.member) = (false, false, None, None);
        (seat.completions, seat.status) = (None, None);
        // From now on nothing that it wrote is its own.
        for producer in self.producers.values_mut().filter(|known| known.node == node) {
            producer.alive = false;
        }
    }

    pub fn freeze_node(&mut self, node: usize, lasts: Duration, whole: bool) {
        let until = self.now() + lasts;
        let seat = &mut self.nodes[node];
        let stands = if whole { &mut seat.frozen_until } else { &mut seat.stalled_until };
        *stands = until.max(*stands);
        seat.awake_since = until.max(seat.awake_since);
        if whole && seat.alive {
            self.agenda.add(until, Event::Kick { node });
        }
    }

    /// Whether this is the node's turn, and what time it is.
    pub fn begin_turn(&mut self, node: usize, ticket: u64) -> Option<Now> {
        let now = self.now();
        let seat = &mut self.nodes[node];
        if seat.ticket != ticket || !seat.alive {
            return None;
        }
        seat.turn = None;
        let stands = seat.frozen_until.max(seat.stalled_until);
        if stands > now {
            self.plan_turn(node, stands);
            return None;
        }
        if let Some(told) = seat.tells.pop() {
            if told.tried != seat.told.tried || told.serving != seat.told.serving {
                seat.probes.forget();
                seat.adopted_at = now;
            }
            seat.told = told;
            seat.tells.clear();
        }
        let woken = std::mem::take(&mut seat.woken);
        let (since, count) = &mut seat.idle_turns;
        if woken || now > *since + ms(1_000) {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        if *count > MOST_TURNS {
            *count = 0;
            self.violation("no busy loop", format!("node {node} has {MOST_TURNS} turns, and nothing came for it"));
        }
        Some(self.clock.reading())
    }

    /// How many revisions a node keeps on which nothing runs and waits: no call, be it of a partition that is
    /// another's by now, and no outcome for a producer that is given up.
    pub fn revisions_at_rest(&self, node: usize) -> Option<usize> {
        let seat = &self.nodes[node];
        let (revisions, running) = seat.revisions();
        let mut producers = self.producers.values().filter(|known| known.node == node && known.alive);
        let waits = producers.any(|known| known.outstanding > 0 || known.abandoned);
        let rests = seat.alive && running == 0 && !waits && self.now() >= seat.adopted_at + ms(1_000);
        rests.then_some(revisions)
    }

    /// Whether the loop breaks here. It does so once.
    pub fn breaks(&mut self, node: usize, spot: Spot) -> bool {
        let seat = &mut self.nodes[node];
        let breaks = seat.bug.take_if(|planted| *planted == spot).is_some();
        seat.broke |= breaks;
        breaks
    }

    /// What a loop was told in this turn it can have acted on.
    pub fn end_turn(&mut self, node: usize) {
        let Some(member) = self.nodes[node].member else { return };
        let Some(member) = self.members.get_mut(&member) else { return };
        if std::mem::take(&mut member.told_of_loss) {
            member.owned.values_mut().for_each(|fetcher| fetcher.grant = 0);
        }
    }
}
