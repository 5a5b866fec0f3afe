//! The group coordinator: members, generations, assignments, committed positions.
//!
//! Three protocols as their members see them. *Cooperative* and *eager* are the classic one: a join
//! barrier that waits for all members up to the rebalance time-out, then one generation for all; a
//! cooperative member that has to give something back joins again afterwards. *Consumer* (KIP-848):
//! no barrier, every member is told by its heartbeats what it may own by now. Members that are silent
//! for a session time-out are expired; commits are fenced by member and generation.
//!
//! Not modelled: static members, transactional offsets, authorization, the expiry of offsets.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::brokers::{Condition, Request};
use super::plan::{Cluster, Protocol};
use super::time::ms;
use super::topics::Place;
use super::world::{Event, World};

/// How often the coordinator looks at its clock.
const LOOK: Duration = ms(100);
/// How long the first member of a group waits for others.
const INITIAL_DELAY: Duration = ms(200);

/// What a member asks its coordinator.
#[derive(Clone, Debug)]
pub enum Ask {
    Join {
        id: Option<u64>,
        subscription: Vec<usize>,
        owned: Vec<Place>,
    },
    /// Of the classic protocols.
    Heartbeat {
        id: u64,
        generation: u64,
    },
    /// Of the consumer protocol; joins too.
    Report {
        id: Option<u64>,
        subscription: Vec<usize>,
        owned: Vec<Place>,
    },
    Leave {
        id: u64,
    },
    Commit {
        id: Option<u64>,
        generation: u64,
        number: u64,
        positions: Vec<Stored>,
    },
}

/// A position that is committed, or is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub place: Place,
    pub offset: i64,
    pub metadata: String,
    /// The incarnation of the topic that the member fetches.
    pub incarnation: u32,
}

/// What the coordinator answers.
#[derive(Clone, Debug)]
pub enum Reply {
    /// All is well.
    Fine,
    RebalanceInProgress,
    /// The member was expired, or is of an older generation.
    Unknown,
    Assigned {
        id: u64,
        generation: u64,
        places: Vec<Granted>,
    },
    Left,
}

/// A partition given to a member. The number tells it from any other time that it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    pub place: Place,
    pub grant: u64,
}

/// A member, as the coordinator knows it.
struct Seat {
    client: u64,
    seen: Duration,
    subscription: Vec<usize>,
    /// It waits for the join barrier with this request.
    joined: Option<u64>,
    owned: Vec<Place>,
    assigned: BTreeMap<Place, u64>,
    /// Of the consumer protocol: since when it is to give something back.
    revoking_since: Option<Duration>,
    generation: u64,
}

pub struct Group {
    protocol: Protocol,
    generation: u64,
    seats: BTreeMap<u64, Seat>,
    /// The join barrier: since when, and when it ends at the latest.
    barrier: Option<(Duration, Duration)>,
    offsets: BTreeMap<Place, Stored>,
    /// Partitions for which something was committed across the deletion of their topic, onto the one that
    /// was made anew.
    pub crossed: BTreeSet<Place>,
    /// How many partitions each topic had when a member found last that nothing is committed for it.
    begun: BTreeMap<usize, i32>,
    /// The last time each partition was given to a member.
    grants: BTreeMap<Place, u64>,
    /// Of the consumer protocol: who is to own what.
    target: BTreeMap<Place, u64>,
    next: u64,
}

impl Group {
    pub fn new(cluster: &Cluster) -> Self {
        Self {
            protocol: cluster.protocol,
            generation: 0,
            seats: BTreeMap::new(),
            barrier: None,
            offsets: BTreeMap::new(),
            crossed: BTreeSet::new(),
            begun: BTreeMap::new(),
            grants: BTreeMap::new(),
            target: BTreeMap::new(),
            next: 0,
        }
    }

    pub fn committed(&self, place: Place) -> Option<&Stored> {
        self.offsets.get(&place)
    }

    /// A member looks what is committed for a topic that has so many partitions now. As long as that is
    /// nothing, the group begins with all of them.
    pub fn looked_at(&mut self, topic: usize, partitions: i32) {
        if self.offsets.keys().all(|place| place.topic != topic) {
            self.begun.insert(topic, partitions);
        }
    }

    /// With how many partitions of a topic the group began.
    pub fn begun(&self, topic: usize) -> i32 {
        self.begun.get(&topic).copied().unwrap_or(0)
    }

    /// The number under which a partition was given to somebody last.
    pub fn grant(&self, place: Place) -> Option<u64> {
        self.grants.get(&place).copied()
    }

    /// A topic is gone, and what was committed for it.
    pub fn forget_topic(&mut self, topic: usize) {
        self.offsets.retain(|place, _| place.topic != topic);
        self.crossed.retain(|place| place.topic != topic);
        self.begun.remove(&topic);
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Who gets which partition: everyone about as many, and, but for the eager protocol, everyone
    /// keeps what it has as far as that goes.
    fn spread(&self, places: &[Place]) -> BTreeMap<Place, u64> {
        let mut target = BTreeMap::new();
        let count = self.seats.len();
        if count == 0 {
            return target;
        }
        let most = places.len().div_ceil(count);
        let mut loads: BTreeMap<u64, usize> = self.seats.keys().map(|&id| (id, 0)).collect();
        let mut open = Vec::new();
        for (index, &place) in places.iter().enumerate() {
            let able = |id: &u64| self.seats[id].subscription.contains(&place.topic);
            let owner = self.seats.iter().find(|(_, seat)| seat.owned.contains(&place)).map(|(&id, _)| id);
            let wish = match self.protocol {
                // Moves everything, as the range assignor does when members come and go.
                Protocol::Eager => self.seats.keys().nth((index + self.generation as usize) % count).copied(),
                _ => owner,
            };
            match wish.filter(|id| able(id) && loads[id] < most) {
                Some(id) => {
                    *loads.entry(id).or_default() += 1;
                    target.insert(place, id);
                }
                None => open.push(place),
            }
        }
        for place in open {
            let able = loads.iter().filter(|(id, _)| self.seats[id].subscription.contains(&place.topic));
            if let Some((&id, _)) = able.min_by_key(|(id, load)| (**load, **id)) {
                *loads.entry(id).or_default() += 1;
                target.insert(place, id);
            }
        }
        target
    }
}

impl World {
    fn subscribed_places(&self) -> Vec<Place> {
        let mut places = Vec::new();
        for (topic, known) in self.topics.iter().enumerate() {
            if self.group.seats.values().any(|seat| seat.subscription.contains(&topic)) {
                places.extend((0..known.count()).map(|partition| Place { topic, partition }));
            }
        }
        places
    }

    /// A request of a member reached the broker.
    pub fn coordinate(&mut self, broker: usize, member: u64, ticket: u64, ask: Ask) {
        if broker != self.coordinator {
            // Whoever asked finds the coordinator again and asks once more.
            if let Ask::Commit { number, .. } = ask {
                self.end_commit(member, number, Err("NOT_COORDINATOR"));
            } else {
                self.reply(member, ticket, Reply::Fine);
            }
            return;
        }
        let now = self.now();
        match ask {
            Ask::Join { id, subscription, owned } => self.join(member, ticket, id, subscription, owned),
            Ask::Heartbeat { id, generation } => {
                let barrier = self.group.barrier.is_some();
                let current = self.group.generation;
                let reply = match self.group.seats.get_mut(&id) {
                    Some(_) if generation != current => Reply::Unknown,
                    Some(seat) => {
                        seat.seen = now;
                        if barrier { Reply::RebalanceInProgress } else { Reply::Fine }
                    }
                    None => Reply::Unknown,
                };
                self.reply(member, ticket, reply);
            }
            Ask::Report { id, subscription, owned } => self.reported(member, ticket, id, subscription, owned),
            Ask::Leave { id } => {
                self.expire(id, "leaves");
                self.reply(member, ticket, Reply::Left);
            }
            Ask::Commit { id, generation, number, positions } => {
                let result = self.store(id, generation, positions);
                self.end_commit(member, number, result);
            }
        }
    }

    fn reply(&mut self, member: u64, ticket: u64, reply: Reply) {
        let back = self.latency() + self.brokers[self.coordinator].slow;
        self.after(back, Event::Reply { member, ticket, reply });
    }

    fn end_commit(&mut self, member: u64, number: u64, result: Result<(), &'static str>) {
        let back = self.latency() + self.brokers[self.coordinator].slow;
        self.after(back, Event::CommitEnds { member, number, result });
    }

    fn join(&mut self, client: u64, ticket: u64, id: Option<u64>, subscription: Vec<usize>, owned: Vec<Place>) {
        let now = self.now();
        let id = match id {
            Some(id) if !self.group.seats.contains_key(&id) => return self.reply(client, ticket, Reply::Unknown),
            Some(id) => id,
            None => self.group.number(),
        };
        let seat = self.group.seats.entry(id).or_insert_with(|| Seat::new(client, now));
        (seat.seen, seat.joined, seat.subscription, seat.owned) = (now, Some(ticket), subscription, owned);
        self.begin_barrier();
        self.try_to_complete();
    }

    fn begin_barrier(&mut self) {
        let now = self.now();
        let timeout = self.cluster.rebalance_timeout;
        self.group.barrier.get_or_insert((now, now + timeout));
    }

    /// The barrier ends when all have joined, or when it is too late for the rest.
    fn try_to_complete(&mut self) {
        let now = self.now();
        let Some((since, deadline)) = self.group.barrier else { return };
        if now >= deadline {
            self.group.seats.retain(|_, seat| seat.joined.is_some());
        }
        let waits = self.group.seats.values().any(|seat| seat.joined.is_none());
        if waits || self.group.generation == 0 && now < since + INITIAL_DELAY {
            return;
        }
        self.group.barrier = None;
        self.group.generation += 1;
        let generation = self.group.generation;
        let mut target = self.group.spread(&self.subscribed_places());
        if self.group.protocol == Protocol::Cooperative {
            // What another one still owns is given on when that one has given it back.
            target.retain(|place, id| {
                self.group.seats.iter().all(|(other, seat)| other == id || !seat.owned.contains(place))
            });
        }
        self.tell(|world| format!("group: generation {generation} of {} members", world.group.seats.len()));
        let ids: Vec<u64> = self.group.seats.keys().copied().collect();
        for id in ids {
            let places: Vec<Place> =
                target.iter().filter(|(_, owner)| **owner == id).map(|(&place, _)| place).collect();
            self.give(id, &places);
            let Some(seat) = self.group.seats.get_mut(&id) else { continue };
            seat.generation = generation;
            let (client, ticket) = (seat.client, seat.joined.take().unwrap_or(0));
            let places = seat.granted();
            self.reply(client, ticket, Reply::Assigned { id, generation, places });
        }
    }

    /// A member has exactly these partitions from now on. What it owned already it keeps.
    fn give(&mut self, id: u64, places: &[Place]) {
        let Some(mut seat) = self.group.seats.remove(&id) else { return };
        let mut assigned = BTreeMap::new();
        for &place in places {
            let kept = seat.assigned.get(&place).copied().filter(|_| seat.owned.contains(&place));
            let grant = kept.unwrap_or_else(|| {
                let grant = self.group.number();
                self.group.grants.insert(place, grant);
                grant
            });
            assigned.insert(place, grant);
        }
        seat.assigned = assigned;
        self.group.seats.insert(id, seat);
    }

    /// A heartbeat of the consumer protocol.
    fn reported(&mut self, client: u64, ticket: u64, id: Option<u64>, subscription: Vec<usize>, owned: Vec<Place>) {
        let now = self.now();
        let (id, is_new) = match id {
            Some(id) if !self.group.seats.contains_key(&id) => return self.reply(client, ticket, Reply::Unknown),
            Some(id) => (id, false),
            None => (self.group.number(), true),
        };
        let seat = self.group.seats.entry(id).or_insert_with(|| Seat::new(client, now));
        let changed = is_new || seat.subscription != subscription;
        (seat.seen, seat.subscription, seat.owned) = (now, subscription, owned);
        if changed {
            self.retarget();
        }
        let target: Vec<Place> =
            self.group.target.iter().filter(|(_, owner)| **owner == id).map(|(&place, _)| place).collect();
        // What another one was given stays its own until it reports that it has given it back.
        let free = |place: &Place| {
            let others = self.group.seats.iter().filter(|(other, _)| **other != id);
            others.into_iter().all(|(_, seat)| !seat.owned.contains(place) && !seat.assigned.contains_key(place))
        };
        let places: Vec<Place> = target.into_iter().filter(free).collect();
        let Some(seat) = self.group.seats.get(&id) else { return };
        let gives_back = seat.owned.iter().any(|place| !places.contains(place));
        let before: Vec<Place> = seat.assigned.keys().copied().collect();
        let changed = before != places;
        if gives_back {
            // It keeps them, as far as others are concerned.
            let Some(seat) = self.group.seats.get_mut(&id) else { return };
            seat.revoking_since.get_or_insert(now);
        } else {
            self.give(id, &places);
        }
        let epoch = if changed || is_new { self.group.number() } else { 0 };
        let Some(seat) = self.group.seats.get_mut(&id) else { return };
        if !gives_back {
            seat.revoking_since = None;
        }
        seat.generation = seat.generation.max(epoch);
        let generation = seat.generation;
        let granted = seat.granted().into_iter().filter(|granted| places.contains(&granted.place)).collect();
        self.reply(client, ticket, Reply::Assigned { id, generation, places: granted });
    }

    fn retarget(&mut self) {
        self.group.target = self.group.spread(&self.subscribed_places());
    }

    fn expire(&mut self, id: u64, how: &str) {
        if self.group.seats.remove(&id).is_none() {
            return;
        }
        self.tell(|_| format!("group: member {id} {how}"));
        self.rebalance();
    }

    /// The group is spread anew.
    pub fn rebalance(&mut self) {
        match self.group.protocol {
            Protocol::Consumer => self.retarget(),
            _ if self.group.seats.is_empty() => self.group.barrier = None,
            _ => {
                self.begin_barrier();
                self.try_to_complete();
            }
        }
    }

    /// Somebody noticed that topics came, went or grew.
    pub fn group_topics_changed(&mut self) {
        if self.brokers[self.coordinator].condition == Condition::Up {
            self.rebalance();
        } else {
            self.after(ms(1_000), Event::TopicsChanged);
        }
    }

    pub fn coordinator_looks(&mut self) {
        self.after(LOOK, Event::Coordinator);
        self.expire_members();
    }

    /// The coordinator looks at its clock.
    pub fn expire_members(&mut self) {
        if self.brokers[self.coordinator].condition != Condition::Up {
            return;
        }
        let now = self.now();
        let (session, timeout) = (self.cluster.session, self.cluster.rebalance_timeout);
        let silent = |seat: &Seat| {
            // Who waits for the barrier need not say anything.
            seat.joined.is_none() && now > seat.seen + session
                || seat.revoking_since.is_some_and(|since| now > since + timeout)
        };
        let expired: Vec<u64> = self.group.seats.iter().filter(|(_, seat)| silent(seat)).map(|(&id, _)| id).collect();
        for id in expired {
            self.expire(id, "is expired");
        }
        self.try_to_complete();
    }

    pub fn group_sessions_restart(&mut self) {
        let now = self.now();
        self.group.seats.values_mut().for_each(|seat| seat.seen = now);
    }

    fn store(&mut self, id: Option<u64>, generation: u64, positions: Vec<Stored>) -> Result<(), &'static str> {
        let classic = self.group.protocol != Protocol::Consumer;
        let Some(seat) = id.and_then(|id| self.group.seats.get_mut(&id)) else { return Err("UNKNOWN_MEMBER_ID") };
        if classic && generation != self.group.generation {
            return Err("ILLEGAL_GENERATION");
        }
        if !classic && generation != seat.generation {
            return Err("STALE_MEMBER_EPOCH");
        }
        if classic {
            seat.seen = self.clock.now();
        }
        let mut result = Ok(());
        for stored in positions {
            if stored.metadata.len() > self.cluster.metadata_limit {
                result = Err("OFFSET_METADATA_TOO_LARGE");
                continue;
            }
            if self.topics[stored.place.topic].log(stored.place.partition).is_none() {
                result = Err("UNKNOWN_TOPIC_OR_PART");
                continue;
            }
            self.excuse_crossing(&stored);
            self.check_commit(&stored);
            self.group.offsets.insert(stored.place, stored);
        }
        result
    }
}

impl Seat {
    fn new(client: u64, now: Duration) -> Self {
        Self {
            client,
            seen: now,
            subscription: Vec::new(),
            joined: None,
            owned: Vec::new(),
            assigned: BTreeMap::new(),
            revoking_since: None,
            generation: 0,
        }
    }

    fn granted(&self) -> Vec<Granted> {
        self.assigned.iter().map(|(&place, &grant)| Granted { place, grant }).collect()
    }
}

impl Request {
    pub fn of_member(member: u64, ticket: u64, ask: Ask) -> Self {
        Self::Group { member, ticket, ask }
    }
}
