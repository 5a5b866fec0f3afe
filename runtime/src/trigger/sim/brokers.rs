//! Brokers that go away and come back, and the requests that hang on them.
//!
//! A broker is up, frozen (connections stay, requests wait in its sockets and are executed when it
//! thaws, whatever became of their senders) or dead (connections break; what was not executed is
//! lost, and so may be the answer to what was). With replication others take over what an absent
//! broker leads, a dead one's soon, a frozen one's after its session. Not modelled: the loss of
//! acknowledged records, partitions of the network, controllers.

use std::time::Duration;

use super::group::Ask;
use super::producer::Written;
use super::time::ms;
use super::world::{Event, World};

/// How long clients wait for an answer before they break the connection.
pub const REQUEST_TIMEOUT: Duration = ms(8_000);
/// The broker that coordinates the group, when it is there.
pub const COORDINATOR: usize = 1;
/// How long the cluster waits for a broker that says nothing.
const BROKER_SESSION: Duration = ms(6_000);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    #[default]
    Up,
    Frozen,
    Dead,
}

#[derive(Default)]
pub struct Broker {
    pub condition: Condition,
    /// How often its connections broke.
    pub epoch: u64,
    /// Requests in its sockets while it is frozen.
    sockets: Vec<Request>,
    /// Who leads its partitions and does its other tasks while it is away.
    pub replaced_by: Option<usize>,
    /// It has a quota: so long it lets a producer wait for each message.
    pub throttle: Option<Duration>,
    /// It accepts no messages for now: too few replicas are in sync.
    pub refuses_writes: bool,
    /// Its answers take so much longer.
    pub slow: Duration,
}

/// What clients send.
pub enum Request {
    Produce(Written),
    Group { member: u64, ticket: u64, ask: Ask },
}

impl Broker {
    pub fn is_reachable(&self) -> bool {
        self.condition != Condition::Dead
    }
}

impl World {
    /// A request reaches a broker.
    pub fn arrive(&mut self, broker: usize, request: Request) {
        match self.brokers[broker].condition {
            Condition::Up => self.execute(broker, request),
            Condition::Frozen => self.brokers[broker].sockets.push(request),
            // Its sender learns that the connection broke.
            Condition::Dead => {}
        }
    }

    fn execute(&mut self, broker: usize, request: Request) {
        match request {
            Request::Produce(written) => self.append(broker, written),
            Request::Group { member, ticket, ask } => self.coordinate(broker, member, ticket, ask),
        }
    }

    pub fn freeze(&mut self, broker: usize) {
        if self.brokers[broker].condition != Condition::Up {
            return;
        }
        self.tell(|_| format!("broker {broker} freezes"));
        self.brokers[broker].condition = Condition::Frozen;
        let epoch = self.brokers[broker].epoch;
        self.after(REQUEST_TIMEOUT, Event::Broken { broker });
        self.after(BROKER_SESSION, Event::Election { broker, epoch });
        self.disturb_all();
    }

    pub fn kill_broker(&mut self, broker: usize) {
        if self.brokers[broker].condition != Condition::Up {
            return;
        }
        self.tell(|_| format!("broker {broker} dies"));
        let gone = &mut self.brokers[broker];
        gone.condition = Condition::Dead;
        gone.epoch += 1;
        gone.sockets.clear();
        let epoch = gone.epoch;
        let notice = self.between(Duration::ZERO, ms(5));
        self.after(notice, Event::Broken { broker });
        let election = self.between(ms(200), ms(3_000));
        self.after(election, Event::Election { broker, epoch });
        self.disturb_all();
    }

    /// A broker is itself again: up, and leads what is its own.
    pub fn recover(&mut self, broker: usize) {
        let before = self.brokers[broker].condition;
        if before == Condition::Up {
            return;
        }
        self.tell(|_| format!("broker {broker} is back"));
        self.brokers[broker].condition = Condition::Up;
        let was_replaced = self.brokers[broker].replaced_by.take().is_some();
        // The clock of a coordinator that stood still jumps: it may expire its members before it
        // looks at what they sent meanwhile.
        let expires_first = before == Condition::Frozen && self.chance(50);
        if COORDINATOR == broker && (was_replaced || before == Condition::Dead || !expires_first) {
            self.group_sessions_restart();
        }
        if expires_first && self.coordinator == broker {
            self.expire_members();
        }
        self.coordinator = self.led_by(COORDINATOR);
        let waiting = std::mem::take(&mut self.brokers[broker].sockets);
        if was_replaced {
            // What waited is for a leader of an older epoch, and refused.
            self.clients_lost_connection(broker);
        } else {
            waiting.into_iter().for_each(|request| self.execute(broker, request));
        }
        self.disturb_all();
        self.kick_all();
    }

    /// Others lead what an absent broker led.
    pub fn elect(&mut self, broker: usize, epoch: u64) {
        let gone = &self.brokers[broker];
        if gone.condition == Condition::Up || gone.epoch != epoch || !self.cluster.replicated {
            return;
        }
        let count = self.brokers.len();
        let others = (1..count).map(|step| (broker + step) % count);
        let heir = others.into_iter().find(|&other| self.brokers[other].condition == Condition::Up);
        let Some(heir) = heir else { return };
        self.tell(|_| format!("broker {heir} leads what broker {broker} led"));
        self.brokers[broker].replaced_by = Some(heir);
        if self.coordinator == broker {
            self.coordinator = heir;
            self.group_sessions_restart();
        }
        self.disturb_all();
        self.kick_all();
    }

    /// Connections to a broker are broken, or those who wait for it give up.
    pub fn connections_broke(&mut self, broker: usize) {
        match self.brokers[broker].condition {
            Condition::Up => return,
            Condition::Frozen => self.after(REQUEST_TIMEOUT, Event::Broken { broker }),
            Condition::Dead => {}
        }
        self.clients_lost_connection(broker);
    }

    fn clients_lost_connection(&mut self, broker: usize) {
        self.group_connections_broke(broker);
        let producers: Vec<u64> = self.producers.keys().copied().collect();
        for producer in producers {
            self.producer_lost_connection(producer, broker);
        }
    }

    /// Clients find the brokers again.
    pub fn kick_all(&mut self) {
        let producers: Vec<u64> = self.producers.keys().copied().collect();
        for producer in producers {
            let soon = self.latency();
            self.after(soon, Event::Linger { producer });
        }
    }

    /// From now on nothing that takes long is taken for stuck, for a while.
    pub fn disturb_all(&mut self) {
        let now = self.now();
        self.nodes.iter_mut().for_each(|node| node.undisturbed_since = node.undisturbed_since.max(now));
    }
}
