//! All that the simulation consists of, apart from the drivers: the cluster, the clients' insides,
//! the functions' instances, and the books. One lock holds it; only one thread ever asks for it.
//!
//! Everything that takes time is an [`Event`] in the [agenda](super::time::Agenda). What happens in
//! a node's own process (answers that come in, timers of its clients, calls that end) waits while
//! the node is frozen.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::books::{Books, Found};
use super::brokers::{Broker, COORDINATOR, Request};
use super::function::Ending;
use super::group::{Group, Reply};
use super::load::{DEAD, INPUTS, Item, TOPICS};
use super::member::Member;
use super::neighbour::Neighbour;
use super::oracle::Violation;
use super::plan::Cluster;
use super::probes::Probes;
use super::producer::{Acknowledged, Producer};
use super::question::Asked;
use super::time::{Agenda, Clock, ms};
use super::topics::{Place, Topic};
use super::trials::Told;
use crate::engine::Completion;
use crate::manifest::Trigger;
use crate::trigger::status::Status;

pub type Shared = Arc<Mutex<World>>;

/// What happens at a moment.
pub enum Event {
    /// A node's turn, unless another one was planned since.
    Turn {
        node: usize,
        ticket: u64,
    },
    /// The next record of the load is produced.
    Load(usize),
    /// A fault begins, or ends. The numbers are those of the plan.
    Fault(usize),
    Relief(usize),
    /// A node starts.
    Start {
        node: usize,
    },
    /// A request reaches a broker.
    Arrive {
        broker: usize,
        request: Request,
    },
    /// What hung on a broker is given up by those who wait for it.
    Broken {
        broker: usize,
    },
    /// A partition's leader is away for long: another broker leads it.
    Election {
        broker: usize,
        epoch: u64,
    },
    /// The group coordinator looks at its clock.
    Coordinator,
    Reply {
        member: u64,
        ticket: u64,
        reply: Reply,
    },
    CommitEnds {
        member: u64,
        number: u64,
        result: Result<(), &'static str>,
    },
    Heartbeat {
        member: u64,
    },
    GiveUpLeaving {
        member: u64,
    },
    Fetch {
        member: u64,
        place: Place,
        version: u64,
    },
    TopicsChanged,
    Linger {
        producer: u64,
    },
    Acknowledged(Acknowledged),
    CallEnds {
        node: usize,
        ending: Box<Ending>,
    },
    Question {
        node: usize,
        asked: Asked,
    },
    /// A node that stood still goes on: its clients have things to send.
    Kick {
        node: usize,
    },
    /// Every second: is anything stuck?
    Watch,
    /// More often: is too much in memory?
    Weigh,
    /// Other triggers of a node take memory.
    Grow {
        node: usize,
    },
}

/// A node, as far as the world knows it.
pub struct Node {
    pub name: String,
    /// How often it was started.
    pub incarnation: u32,
    pub alive: bool,
    /// It was told to stop, and when.
    pub stopping: bool,
    pub stopping_since: Option<Duration>,
    /// The whole process stands still until then.
    pub frozen_until: Duration,
    /// Only its loop does.
    pub stalled_until: Duration,
    /// When its next turn is, and which one that is.
    pub turn: Option<Duration>,
    pub ticket: u64,
    /// Its newest member and producer. Older ones may still be closing.
    pub member: Option<u64>,
    pub completions: Option<mpsc::Sender<Completion>>,
    pub status: Option<watch::Receiver<Status>>,
    pub instances_refused_until: Duration,
    /// When it was given a revision last, and the calls that run of each, as long as it keeps the revision.
    pub adopted_at: Duration,
    pub revisions: Vec<Weak<AtomicUsize>>,
    /// Which revisions it was told of, as far as it has obeyed, and what it will obey at its next turn.
    pub told: Told,
    pub tells: Vec<Told>,
    /// What it was called with while its breaker was open.
    pub probes: Probes,
    /// Other triggers that run there.
    pub neighbours: Vec<Neighbour>,
    /// When the last of them went.
    pub alone_since: Duration,
    /// Where its loop finds a bug, and whether it did.
    pub bug: Option<Spot>,
    pub broke: bool,
    /// From when on nothing disturbs it, as far as the faults go.
    pub undisturbed_since: Duration,
    /// Since when it runs and does not stand still.
    pub awake_since: Duration,
    /// Since when it says that it runs, as far as was looked.
    pub runs_since: Duration,
    /// The fault that it is part of.
    pub added_by: Option<usize>,
    /// Turns since then in which nothing came.
    pub idle_turns: (Duration, u32),
    /// Something came for it since its last turn.
    pub woken: bool,
}

/// Where a loop finds a bug that the simulation plants: in the midst of what it does there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spot {
    Take,
    Call,
    Send,
}

/// What of a partition cannot be fetched.
#[derive(Clone, Debug)]
pub enum Unreadable {
    /// Access is denied.
    All,
    /// One batch is damaged. `None`: the next one that is fetched.
    Batch(Option<Range<i64>>),
}

/// What a node may hold.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    pub budget_bytes: u64,
    /// What may come beyond that within a turn.
    pub slack_bytes: u64,
    /// How much more the outcome of a call takes on its way to the host than its values have.
    pub outcome_weight: usize,
}

pub struct World {
    pub clock: Clock,
    pub agenda: Agenda,
    pub rng: fastrand::Rng,
    pub cluster: Cluster,
    pub trigger: Arc<Trigger>,
    pub items: Arc<Vec<Item>>,
    pub topics: Vec<Topic>,
    pub brokers: Vec<Broker>,
    pub coordinator: usize,
    pub group: Group,
    pub members: BTreeMap<u64, Member>,
    pub producers: BTreeMap<u64, Producer>,
    pub nodes: Vec<Node>,
    pub books: Books,
    pub story: Story,
    pub violations: Vec<Violation>,
    pub memory: Memory,
    /// Partitions of which records cannot be fetched, and which these are.
    pub unreadable: BTreeMap<Place, Unreadable>,
    /// For each partition the record that is to be handled next, and since when.
    pub owed: BTreeMap<Place, (usize, Duration)>,
    /// From when on brokers and clients work as they should.
    pub calm_since: Duration,
    /// Faults that go on now.
    pub disturbances: usize,
    /// How much longer than usual all records together may take.
    pub patience: Duration,
    /// The digests of all revisions that served at some time.
    pub served: BTreeSet<String>,
    /// A revision with a flaw served at some time: shadows may differ from it.
    pub served_flawed: bool,
    /// Something waited for a person at some time.
    pub has_paused: bool,
    next_client: u64,
}

/// The history in words, line by line, if anybody wants to read it.
pub struct Story {
    pub told: bool,
    pub lines: Vec<String>,
}

pub fn lock(world: &Shared) -> MutexGuard<'_, World> {
    // A driver that panicked is a violation by itself; the books are sound all the same.
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub fn new(
        cluster: Cluster,
        trigger: Arc<Trigger>,
        items: Vec<Item>,
        memory: Memory,
        rng: fastrand::Rng,
        told: bool,
    ) -> Self {
        let topics = (0..TOPICS.len()).map(|topic| match topic {
            _ if topic < INPUTS && !trigger.topics.iter().any(|name| name == TOPICS[topic]) => {
                Topic::new(TOPICS[topic], 0)
            }
            _ if topic < INPUTS => Topic::new(TOPICS[topic], cluster.partitions),
            DEAD => Topic::new(TOPICS[topic], 1),
            _ => Topic::new(TOPICS[topic], cluster.outputs),
        });
        let books = Books::new(&items, &trigger);
        Self {
            clock: Clock::new(),
            agenda: Agenda::default(),
            rng,
            topics: topics.collect(),
            brokers: (0..cluster.brokers).map(|_| Broker::default()).collect(),
            coordinator: COORDINATOR,
            group: Group::new(&cluster),
            members: BTreeMap::new(),
            producers: BTreeMap::new(),
            nodes: Vec::new(),
            books,
            story: Story { told, lines: Vec::new() },
            violations: Vec::new(),
            memory,
            unreadable: BTreeMap::new(),
            owed: BTreeMap::new(),
            calm_since: Duration::ZERO,
            disturbances: 0,
            patience: Duration::ZERO,
            served: BTreeSet::new(),
            served_flawed: false,
            has_paused: false,
            items: Arc::new(items),
            trigger,
            cluster,
            next_client: 1,
        }
    }

    pub fn now(&self) -> Duration {
        self.clock.now()
    }

    /// Plans an event after a time.
    pub fn after(&mut self, time: Duration, event: Event) {
        self.agenda.add(self.clock.now() + time, event);
    }

    /// A time between these two.
    pub fn between(&mut self, least: Duration, most: Duration) -> Duration {
        least + (most - least).mul_f64(self.rng.f64())
    }

    /// How long something takes over the network, one way.
    pub fn latency(&mut self) -> Duration {
        match self.rng.u32(..50) {
            0 => self.between(ms(5), ms(150)),
            _ => self.between(Duration::from_micros(100), ms(2)),
        }
    }

    pub fn chance(&mut self, of_a_hundred: u32) -> bool {
        self.rng.u32(..100) < of_a_hundred
    }

    pub fn client_id(&mut self) -> u64 {
        self.next_client += 1;
        self.next_client
    }

    /// Tells what happens.
    pub fn tell(&mut self, line: impl FnOnce(&Self) -> String) {
        if self.story.told {
            let line = format!("{:>11.6} {}", self.now().as_secs_f64(), line(self));
            self.story.lines.push(line);
        }
    }

    pub fn place(&self, place: Place) -> String {
        format!("{}/{}", self.topics[place.topic].name, place.partition)
    }

    pub fn places<'a>(&self, places: impl IntoIterator<Item = &'a Place>) -> String {
        let names: Vec<_> = places.into_iter().map(|&place| self.place(place)).collect();
        if names.is_empty() { "nothing".to_owned() } else { names.join(" ") }
    }

    /// The place of a partition, by the names that drivers use.
    pub fn find(&self, topic: &str, partition: i32) -> Option<Place> {
        let topic = self.topics.iter().position(|known| known.name == topic)?;
        Some(Place { topic, partition })
    }

    /// Which broker leads a partition, if any does now.
    pub fn leader(&self, place: Place) -> Option<usize> {
        let topic = &self.topics[place.topic];
        topic.log(place.partition)?;
        let home = (place.topic * 7 + usize::try_from(place.partition).ok()?) % self.brokers.len();
        let leader = self.led_by(home);
        self.brokers[leader].is_reachable().then_some(leader)
    }

    /// Who does what is this broker's task.
    pub fn led_by(&self, home: usize) -> usize {
        self.brokers[home].replaced_by.unwrap_or(home)
    }

    /// Something came for a node: it gets a turn soon.
    pub fn wake(&mut self, node: usize) {
        self.nodes[node].woken = true;
        let soon = match self.rng.u32(..30) {
            0 => self.between(ms(1), ms(8)),
            _ => self.between(Duration::from_micros(10), Duration::from_micros(400)),
        };
        self.plan_turn(node, self.now() + soon);
    }

    /// A node gets a turn at this time at the latest.
    pub fn plan_turn(&mut self, node: usize, at: Duration) {
        let now = self.now();
        let seat = &mut self.nodes[node];
        if !seat.alive || seat.turn.is_some_and(|planned| planned <= at) {
            return;
        }
        let at = at.max(now);
        seat.turn = Some(at);
        seat.ticket += 1;
        let ticket = seat.ticket;
        self.agenda.add(at, Event::Turn { node, ticket });
    }

    pub fn is_frozen(&self, node: usize) -> bool {
        self.nodes[node].frozen_until > self.now()
    }

    /// The node in whose process something happens.
    fn node_of(&self, event: &Event) -> Option<usize> {
        let of_member = |member: &u64| self.members.get(member).map(|member| member.node);
        match event {
            Event::Reply { member, .. }
            | Event::CommitEnds { member, .. }
            | Event::Heartbeat { member }
            | Event::GiveUpLeaving { member }
            | Event::Fetch { member, .. } => of_member(member),
            Event::Linger { producer } | Event::Acknowledged(Acknowledged { producer, .. }) => {
                self.producers.get(producer).map(|producer| producer.node)
            }
            Event::CallEnds { node, .. } | Event::Question { node, .. } => Some(*node),
            _ => None,
        }
    }

    /// Lets an event happen. What needs the drivers comes back.
    pub fn handle(&mut self, event: Event) -> Option<Event> {
        if let Some(node) = self.node_of(&event)
            && self.is_frozen(node)
        {
            let thaws = self.nodes[node].frozen_until;
            self.agenda.add(thaws, event);
            return None;
        }
        match event {
            Event::Load(id) => self.produce(id),
            Event::Arrive { broker, request } => self.arrive(broker, request),
            Event::Broken { broker } => self.connections_broke(broker),
            Event::Election { broker, epoch } => self.elect(broker, epoch),
            Event::Coordinator => self.coordinator_looks(),
            Event::Reply { member, ticket, reply } => self.on_reply(member, ticket, reply),
            Event::CommitEnds { member, number, result } => self.commit_ended(member, number, result),
            Event::Heartbeat { member } => self.heartbeat(member),
            Event::GiveUpLeaving { member } => self.closed(member),
            Event::Fetch { member, place, version } => self.fetched(member, place, version),
            Event::TopicsChanged => self.group_topics_changed(),
            Event::Linger { producer } => self.linger_over(producer),
            Event::Acknowledged(acknowledged) => self.on_acknowledged(&acknowledged),
            Event::CallEnds { node, ending } => self.call_ends(node, *ending),
            Event::Kick { node } => self.kick_node(node),
            Event::Weigh => self.weigh(),
            Event::Grow { node } => self.neighbours_grow(node),
            other => return Some(other),
        }
        None
    }

    /// A record of the load is produced to its topic.
    fn produce(&mut self, id: usize) {
        let items = self.items.clone();
        let item = &items[id];
        let timestamp_ms = self.clock.timestamp_ms();
        let topic = &mut self.topics[item.topic];
        let count = topic.count();
        if count == 0 {
            self.books.never_produced(id);
            return;
        }
        let partition = match usize::try_from(count) == Ok(self.cluster.partitions) {
            true => item.partition,
            // Another number of partitions: keys are elsewhere.
            false => (item.key.map_or(id, |key| key as usize) * 31 + 7) as i32 % count,
        };
        let place = Place { topic: item.topic, partition };
        let incarnation = topic.incarnation;
        let Some(log) = topic.log_mut(place.partition) else { return };
        log.skip(item.gap);
        let offset = log.append(timestamp_ms, id);
        self.books.produced(id, Found { place, incarnation, offset, at: self.clock.now() });
        if self.group.crossed.contains(&place) {
            self.books.removed(&[id]);
        }
        self.tell(|world| {
            let key = item.key.map_or("no key".to_owned(), |key| format!("key k{key}"));
            format!("record {id} is {} at {offset}, {key}: {item}", world.place(place))
        });
        self.data_arrived(place);
    }
}
