//! A member of the group, on the client's side: what librdkafka's own thread does for a consumer.
//!
//! Modelled: joining, heartbeats, rebalance events of which at most one is unanswered, assignments
//! that are lost (the member's session ended while it or the coordinator was away), a loop that does
//! not poll for too long, commits, leaving. From a rebalance event until its answer nothing is
//! handed out, and everything that was fetched is thrown away.
//! What it fetches stands in [`fetch`](super::fetch).

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::brokers::{Condition, Request};
use super::fetch::{Fetcher, Queue};
use super::group::{Ask, Granted, Reply};
use super::plan::Protocol;
use super::time::ms;
use super::topics::Place;
use super::world::{Event, World};
use crate::kafka::broker::Event as Told;
use crate::kafka::{Error, ErrorKind, Position};

pub struct Member {
    pub node: usize,
    pub subscription: Vec<usize>,
    /// What the coordinator calls it. `None`: it is not in the group.
    pub id: Option<u64>,
    pub generation: u64,
    /// A request that is not answered, by its number.
    waits_for: Option<u64>,
    /// The broker that has it.
    asked: usize,
    joins: bool,
    next_ticket: u64,
    /// It has to join again.
    rejoins: bool,
    /// When the coordinator answered last, and when the loop polled last.
    heard: Duration,
    pub polled: Duration,
    pub events: VecDeque<Told>,
    /// The rebalance event that is not answered.
    pub pending: Option<Pending>,
    /// It was told since it joined what it owns, be it nothing.
    was_told: bool,
    /// What is assigned once a revocation is answered, be it nothing.
    then: Option<Vec<Granted>>,
    pub lost: bool,
    /// The loop was told of a loss in this turn.
    pub told_of_loss: bool,
    /// What it owns, and so fetches.
    pub owned: BTreeMap<Place, Fetcher>,
    pub queue: Queue,
    /// Numbers of the commits that did not end, and which broker has them.
    pub commits: BTreeMap<u64, usize>,
    /// The last commit that ended failed.
    pub commit_failed: bool,
    /// When it was told last to give something back.
    revoked_at: Duration,
    pub closing: Closing,
}

#[derive(Clone, Debug)]
pub enum Pending {
    Assign(Vec<Granted>),
    Revoke(Vec<Place>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    No,
    Asked,
    Leaving,
    Closed,
}

/// An error as the client reports it.
pub fn error(name: &str) -> Error {
    let kind = match name {
        "_ALL_BROKERS_DOWN" => ErrorKind::Unreachable,
        "_TIMED_OUT" => ErrorKind::Timeout,
        "UNKNOWN_TOPIC_OR_PART" | "_UNKNOWN_TOPIC" => ErrorKind::UnknownTopic,
        "_UNKNOWN_PARTITION" => ErrorKind::UnknownPartition,
        "ILLEGAL_GENERATION" | "STALE_MEMBER_EPOCH" => ErrorKind::Fenced,
        "OFFSET_METADATA_TOO_LARGE" => ErrorKind::MetadataTooLarge,
        "MSG_SIZE_TOO_LARGE" => ErrorKind::TooLarge,
        "_BAD_MSG" => ErrorKind::Damaged,
        "GROUP_AUTHORIZATION_FAILED" | "TOPIC_AUTHORIZATION_FAILED" => ErrorKind::Denied,
        _ => ErrorKind::Other,
    };
    Error { name: name.to_owned(), ..Error::new(kind, format!("simulated {name}")) }
}

impl World {
    pub fn new_member(&mut self, node: usize, queue_bytes: u64) -> u64 {
        let now = self.now();
        let member = Member {
            node,
            subscription: Vec::new(),
            id: None,
            generation: 0,
            waits_for: None,
            asked: 0,
            joins: false,
            next_ticket: 0,
            rejoins: false,
            heard: now,
            polled: now,
            events: VecDeque::new(),
            pending: None,
            was_told: false,
            then: None,
            lost: false,
            told_of_loss: false,
            owned: BTreeMap::new(),
            queue: Queue::new(queue_bytes),
            commits: BTreeMap::new(),
            commit_failed: false,
            revoked_at: now,
            closing: Closing::No,
        };
        let id = self.client_id();
        self.members.insert(id, member);
        self.nodes[node].member = Some(id);
        id
    }

    /// The client is gone, without a word to the group.
    pub fn drop_member(&mut self, member: u64) {
        self.members.remove(&member);
    }

    pub fn member(&mut self, member: u64) -> Option<&mut Member> {
        self.members.get_mut(&member)
    }

    pub fn subscribe(&mut self, member: u64, topics: Vec<usize>) {
        let Some(known) = self.member(member) else { return };
        let first = known.subscription.is_empty();
        (known.subscription, known.rejoins) = (topics, true);
        if first {
            let soon = self.latency();
            self.after(soon, Event::Heartbeat { member });
        }
    }

    /// Its thread looks what is to be said to the coordinator.
    pub fn heartbeat(&mut self, member: u64) {
        let interval = self.cluster.heartbeat;
        let (now, session, max_poll) = (self.now(), self.cluster.session, self.cluster.max_poll);
        let consumer = self.cluster.protocol == Protocol::Consumer;
        let Some(known) = self.member(member) else { return };
        if known.closing == Closing::Closed {
            return;
        }
        self.after(interval, Event::Heartbeat { member });
        let Some(known) = self.member(member) else { return };
        if known.closing != Closing::No {
            return self.go_on_closing(member);
        }
        if known.id.is_some() && now > known.polled + max_poll {
            let id = known.id;
            known.events.push_back(Told::Error(error("_MAX_POLL_EXCEEDED")));
            self.lose(member);
            if let Some(id) = id {
                self.ask(member, Ask::Leave { id });
            }
            return;
        }
        // A member of the consumer protocol leaves it to the coordinator to expire it.
        if known.id.is_some() && !known.joins && !consumer && now > known.heard + session {
            return self.lose(member);
        }
        if known.waits_for.is_none() {
            self.speak(member);
        }
    }

    /// Says to the coordinator what is to be said now.
    fn speak(&mut self, member: u64) {
        let protocol = self.cluster.protocol;
        let Some(known) = self.member(member) else { return };
        if known.closing != Closing::No {
            return;
        }
        let mut owned: Vec<Place> = known.owned.keys().copied().collect();
        let subscription = known.subscription.clone();
        let ask = match (protocol, known.id) {
            (Protocol::Consumer, None) if known.lost || known.pending.is_some() => return,
            (Protocol::Consumer, id) => {
                if let Some(Pending::Assign(granted)) = &known.pending {
                    owned.extend(granted.iter().map(|granted| granted.place));
                    owned.sort();
                }
                Ask::Report { id, subscription, owned }
            }
            (_, id) if id.is_none() || known.rejoins => match (&known.pending, id) {
                (Some(_), Some(id)) => Ask::Heartbeat { id, generation: known.generation },
                (Some(_), None) => return,
                (None, _) if protocol == Protocol::Eager && !owned.is_empty() => {
                    self.emit_revoked(member, owned, false);
                    return;
                }
                (None, id) => {
                    known.rejoins = false;
                    Ask::Join { id, subscription, owned }
                }
            },
            (_, Some(id)) => Ask::Heartbeat { id, generation: known.generation },
            (_, None) => return,
        };
        self.ask(member, ask);
    }

    /// Sends a request to the coordinator.
    pub fn ask(&mut self, member: u64, ask: Ask) {
        let broker = self.coordinator;
        let reachable = self.brokers[broker].condition != Condition::Dead;
        let there = self.latency();
        let Some(known) = self.member(member) else { return };
        known.next_ticket += 1;
        let ticket = known.next_ticket;
        if let Ask::Join { .. } = ask {
            known.joins = true;
        }
        (known.waits_for, known.asked) = (Some(ticket), broker);
        if reachable {
            self.after(there, Event::Arrive { broker, request: Request::of_member(member, ticket, ask) });
        } else {
            known.waits_for = None;
            known.rejoins |= std::mem::take(&mut known.joins);
        }
    }

    /// A coordinator is away: what it was asked is asked again.
    pub fn group_connections_broke(&mut self, broker: usize) {
        let members: Vec<u64> = self.members.keys().copied().collect();
        for member in members {
            let Some(known) = self.member(member) else { continue };
            if known.asked == broker {
                known.waits_for = None;
                known.rejoins |= std::mem::take(&mut known.joins);
            }
            let with_it = known.commits.iter().filter(|(_, asked)| **asked == broker);
            let with_it: Vec<u64> = with_it.map(|(&number, _)| number).collect();
            for number in with_it {
                let soon = self.between(ms(1), ms(500));
                self.after(soon, Event::CommitEnds { member, number, result: Err("_TRANSPORT") });
            }
        }
    }

    pub fn on_reply(&mut self, member: u64, ticket: u64, reply: Reply) {
        let now = self.now();
        let Some(known) = self.member(member) else { return };
        if known.waits_for != Some(ticket) {
            return;
        }
        (known.waits_for, known.joins, known.heard) = (None, false, now);
        match reply {
            Reply::Fine => {}
            Reply::RebalanceInProgress => {
                known.rejoins = true;
                // Else it is said after the answer.
                if known.pending.is_none() {
                    self.speak(member);
                }
            }
            Reply::Unknown => {
                if known.closing == Closing::No {
                    self.lose(member);
                } else {
                    self.closed(member);
                }
            }
            Reply::Left => {
                if known.closing == Closing::Leaving {
                    self.closed(member);
                }
            }
            Reply::Assigned { id, generation, places } => {
                if known.closing != Closing::No {
                    known.id = Some(id);
                    return;
                }
                (known.id, known.generation) = (Some(id), generation);
                self.reconcile(member, places);
            }
        }
    }

    /// What it owns is to become this.
    fn reconcile(&mut self, member: u64, granted: Vec<Granted>) {
        let consumer = self.cluster.protocol == Protocol::Consumer;
        let Some(known) = self.member(member) else { return };
        if known.pending.is_some() || known.lost {
            // Said again after the answer.
            known.rejoins |= !consumer;
            return;
        }
        let first = !std::mem::replace(&mut known.was_told, true);
        let gone: Vec<Place> =
            known.owned.keys().filter(|place| granted.iter().all(|new| new.place != **place)).copied().collect();
        let new: Vec<Granted> =
            granted.into_iter().filter(|granted| !known.owned.contains_key(&granted.place)).collect();
        if !gone.is_empty() {
            (known.then, known.rejoins) = (Some(new), !consumer);
            self.emit_revoked(member, gone, false);
        } else if !consumer || first || !new.is_empty() {
            self.emit_assigned(member, new);
        }
    }

    fn emit_assigned(&mut self, member: u64, granted: Vec<Granted>) {
        let positions = granted.iter().map(|granted| self.position(granted.place)).collect();
        self.tell(|world| {
            let places: Vec<Place> = granted.iter().map(|granted| granted.place).collect();
            format!("{}: assigned {}", world.who(member), world.places(&places))
        });
        self.note_known(member, &granted);
        self.stand_still(member, Pending::Assign(granted), Told::Assigned(positions));
    }

    pub fn emit_revoked(&mut self, member: u64, places: Vec<Place>, lost: bool) {
        let partitions = places.iter().map(|&place| self.position(place)).collect();
        self.tell(|world| {
            let how = if lost { "lost" } else { "revoked" };
            format!("{}: {how} {}", world.who(member), world.places(&places))
        });
        let now = self.now();
        self.member(member).into_iter().for_each(|known| known.revoked_at = now);
        self.stand_still(member, Pending::Revoke(places), Told::Revoked { partitions, lost });
    }

    /// Reports a rebalance. Until it is answered nothing comes, and what came is of no use any more.
    fn stand_still(&mut self, member: u64, pending: Pending, told: Told) {
        let Some(known) = self.member(member) else { return };
        known.pending = Some(pending);
        known.events.push_back(told);
        known.queue.clear();
        known.owned.values_mut().for_each(Fetcher::start_again);
        let node = known.node;
        self.wake(node);
    }

    fn position(&self, place: Place) -> Position {
        Position::of(&self.topics[place.topic].name, place.partition)
    }

    pub fn who(&self, member: u64) -> String {
        self.members.get(&member).map_or("nobody".to_owned(), |known| self.nodes[known.node].name.clone())
    }

    /// The group has given its partitions to others, or may have.
    fn lose(&mut self, member: u64) {
        let Some(known) = self.member(member) else { return };
        (known.id, known.rejoins, known.joins) = (None, true, false);
        (known.waits_for, known.was_told) = (None, false);
        known.then = None;
        known.lost = true;
        let owned: Vec<Place> = known.owned.keys().copied().collect();
        match known.pending {
            Some(_) => {}
            None if owned.is_empty() => known.lost = false,
            None => self.emit_revoked(member, owned, true),
        }
    }

    /// The loop answers an assignment: these places, from these offsets on.
    pub fn assign(&mut self, member: u64, positions: Vec<(Place, Option<i64>)>) {
        let Some(known) = self.member(member) else { return };
        let granted = match known.pending.take() {
            Some(Pending::Assign(granted)) => granted,
            other => {
                known.pending = other;
                if known.closing == Closing::No {
                    self.violation("group protocol", "an assignment is answered that was not offered".to_owned());
                } else {
                    self.answered_while_closing(member);
                }
                return;
            }
        };
        if known.closing != Closing::No {
            return self.answered_while_closing(member);
        }
        let mut given: Vec<Place> = positions.iter().map(|(place, _)| *place).collect();
        given.sort();
        let mut offered: Vec<Place> = granted.iter().map(|granted| granted.place).collect();
        offered.sort();
        if given != offered {
            self.violation("group protocol", "the answer to an assignment names other partitions".to_owned());
        }
        for (place, offset) in positions {
            let grant = granted.iter().find(|granted| granted.place == place).map_or(0, |granted| granted.grant);
            let start = self.topics[place.topic].log(place.partition).map_or(0, |log| log.start);
            let offset = offset.unwrap_or(start);
            self.tell(|world| format!("{}: starts {} at {offset}", world.who(member), world.place(place)));
            self.note_start(place, offset);
            let incarnation = self.topics[place.topic].incarnation;
            let Some(known) = self.member(member) else { return };
            known.owned.insert(place, Fetcher::new(grant, incarnation, offset));
            let node = known.node;
            self.books.let_go(node, place);
            self.disturb(member);
        }
        self.rebalance_answered(member);
    }

    /// The loop answers a revocation.
    pub fn unassign(&mut self, member: u64) {
        let Some(known) = self.member(member) else { return };
        let places = match known.pending.take() {
            Some(Pending::Revoke(places)) => places,
            other => {
                known.pending = other;
                if known.closing == Closing::No {
                    self.violation("group protocol", "a revocation is answered that was not asked for".to_owned());
                } else {
                    self.answered_while_closing(member);
                }
                return;
            }
        };
        let since = known.revoked_at;
        self.check_gives_back(member, since, &places);
        let Some(known) = self.member(member) else { return };
        known.owned.retain(|place, _| !places.contains(place));
        self.tell(|world| format!("{}: gives back {}", world.who(member), world.places(&places)));
        self.rebalance_answered(member);
    }

    /// While it closes any answer gives everything back.
    fn answered_while_closing(&mut self, member: u64) {
        let Some(known) = self.member(member) else { return };
        known.pending = None;
        known.owned.clear();
        self.go_on_closing(member);
    }

    fn rebalance_answered(&mut self, member: u64) {
        let consumer = self.cluster.protocol == Protocol::Consumer;
        let Some(known) = self.member(member) else { return };
        let owned: Vec<Place> = known.owned.keys().copied().collect();
        if known.closing != Closing::No {
            return self.go_on_closing(member);
        }
        if known.lost {
            if owned.is_empty() {
                known.lost = false;
                self.speak(member);
            } else {
                self.emit_revoked(member, owned, true);
            }
            return;
        }
        if let Some(new) = known.then.take() {
            return self.emit_assigned(member, new);
        }
        if known.waits_for.is_none() && (known.rejoins || consumer) {
            self.speak(member);
        }
        self.fetch_all(member);
    }

    fn disturb(&mut self, member: u64) {
        let now = self.now();
        let Some(node) = self.members.get(&member).map(|known| known.node) else { return };
        let seat = &mut self.nodes[node];
        seat.undisturbed_since = seat.undisturbed_since.max(now);
    }
}
