//! Runs one history: several drivers, one cluster, virtual time, until all is done or a promise is
//! broken.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::clients::SimClients;
use super::function::Revision;
use super::oracle::Violation;
use super::plan::Case;
use super::question;
use super::stress::Stress;
use super::time::ms;
use super::trials::{Flaw, Tried};
use super::watch::retry_time;
use super::world::{Event, Node, Shared, World, lock};
use crate::manifest::{self, Trigger};
use crate::record::Topics;
use crate::trigger::Context;
use crate::trigger::budget::Budget;
use crate::trigger::clock::Now;
use crate::trigger::driver::{Command, Driver, Parts, Turn};
use crate::trigger::lane::Steering;
use crate::trigger::status::Status;

/// How long after a fault everything may still be slow.
pub(super) const SETTLES: Duration = ms(20_000);
/// How long after the last fault all is to be done, beside the time that retries take.
const LIMIT: Duration = ms(180_000);

/// What a history drives.
pub trait Drives {
    fn turn(&mut self, now: Now) -> Turn;

    /// A turn broke, as the simulation planned it.
    fn recover(&mut self, panic: &(dyn Any + Send), now: Now);
}

impl Drives for Driver<SimClients> {
    fn turn(&mut self, now: Now) -> Turn {
        Self::turn(self, now)
    }

    fn recover(&mut self, panic: &(dyn Any + Send), now: Now) {
        Self::recover(self, panic, now);
    }
}

/// Makes the driver of a node.
pub type Make = dyn Fn(Parts<SimClients>, Now) -> Box<dyn Drives> + Sync;

/// The real one.
pub fn real(parts: Parts<SimClients>, now: Now) -> Box<dyn Drives> {
    Box::new(Driver::new(parts, now))
}

/// What came of a history.
#[derive(Debug, Default)]
pub struct Report {
    pub violations: Vec<Violation>,
    pub story: Vec<String>,
    pub turns: u64,
    /// Effects that nobody could take back.
    pub strays: u64,
    /// Tries of the function beyond the first of each record.
    pub repeats: u64,
}

pub(super) struct History<'a> {
    pub(super) case: &'a Case,
    pub(super) make: &'a Make,
    pub(super) world: Shared,
    pub(super) trigger: Arc<Trigger>,
    pub(super) cluster: Arc<manifest::Cluster>,
    pub(super) topics: Arc<Topics>,
    pub(super) drivers: Vec<Option<Box<dyn Drives>>>,
    pub(super) commands: Vec<Option<mpsc::Sender<Command>>>,
    /// What runs on each node.
    pub(super) budgets: Vec<Arc<Budget>>,
    /// The one that serves.
    pub(super) revision: Revision,
    /// The one that is tried, and by which fault.
    pub(super) tried: Option<(usize, Tried)>,
    pub(super) held: bool,
    /// The number of the newest revision.
    pub(super) newest: u32,
    pub(super) stage: u32,
    pub(super) turns: u64,
}

/// Runs a case. The story is told line by line if asked for.
pub fn run(case: &Case, make: &Make, told: bool) -> Report {
    let text = case.text();
    let manifest = manifest::parse("tidegate.toml".as_ref(), &text, &|_| None);
    let manifest = manifest.unwrap_or_else(|errors| panic!("{errors}\n{text}"));
    let trigger = manifest.triggers["t"].clone();
    let rng = fastrand::Rng::with_seed(case.seed ^ 0x5eed);
    let world = World::new(case.cluster.clone(), trigger.clone(), case.items.clone(), case.memory, rng, told);
    let topics = Topics::new(trigger.output.as_deref(), &trigger.allow_topics, trigger.dead_letters.as_deref());
    let mut history = History {
        case,
        make,
        world: Arc::new(Mutex::new(world)),
        cluster: manifest.clusters["main"].clone(),
        trigger,
        topics: Arc::new(topics),
        drivers: Vec::new(),
        commands: Vec::new(),
        budgets: Vec::new(),
        revision: Revision { number: 1, flaw: Flaw::None },
        tried: None,
        held: false,
        newest: 1,
        stage: 0,
        turns: 0,
    };
    history.begin();
    history.go_on();
    history.end()
}

impl History<'_> {
    fn begin(&mut self) {
        for node in 0..self.case.nodes {
            self.add_node();
            let mut world = lock(&self.world);
            let late = world.between(Duration::ZERO, ms(1_000));
            world.after(late, Event::Start { node });
        }
        let mut world = lock(&self.world);
        for (id, item) in self.case.items.iter().enumerate() {
            world.agenda.add(item.at, Event::Load(id));
        }
        for (number, fault) in &self.case.faults {
            world.agenda.add(fault.at, Event::Fault(*number));
            if fault.lasts > Duration::ZERO {
                world.agenda.add(fault.over_at(), Event::Relief(*number));
            }
        }
        world.after(ms(1_000), Event::Watch);
        if self.case.stress == Stress::Memory {
            world.after(Duration::ZERO, Event::Weigh);
        }
        world.after(Duration::ZERO, Event::Coordinator);
        let failing = self.case.items.iter().filter(|item| item.fate != super::load::Fate::Ok).count();
        if failing * 4 > self.case.items.len() {
            // The breaker may open; then one record after another is tried, with pauses. What waits meanwhile is
            // watched by how long they were.
            world.patience = ms(35_000) * failing as u32;
        }
    }

    fn go_on(&mut self) {
        loop {
            let event = {
                let mut world = lock(&self.world);
                if !world.violations.is_empty() {
                    return;
                }
                let World { agenda, clock, .. } = &mut *world;
                let Some(event) = agenda.pop(clock) else { return };
                world.handle(event)
            };
            match event {
                None => {}
                Some(Event::Turn { node, ticket }) => self.turn(node, ticket),
                Some(Event::Start { node }) => self.start(node),
                Some(Event::Question { node, asked }) => question::answer(&self.world, node, asked),
                Some(Event::Fault(number)) => self.fault(number),
                Some(Event::Relief(number)) => self.relief(number),
                Some(Event::Watch) if self.watch() => return,
                Some(Event::Watch) => {}
                Some(_) => lock(&self.world).violation("simulation", "an event that nobody handles".to_owned()),
            }
        }
    }

    fn end(mut self) -> Report {
        let mut world = lock(&self.world);
        if world.violations.is_empty() {
            world.judge();
            self.judge_rest(&mut world);
        }
        let tries: usize = world.books.pages.iter().map(|page| page.tries.len().saturating_sub(1)).sum();
        let report = Report {
            violations: std::mem::take(&mut world.violations),
            story: std::mem::take(&mut world.story.lines),
            turns: self.turns,
            strays: world.books.strays,
            repeats: tries as u64,
        };
        drop(world);
        self.drivers.clear();
        // Questions that were not answered may hold clients, which ask the world when they go.
        let rest = std::mem::take(&mut lock(&self.world).agenda);
        drop(rest);
        report
    }

    /// When nothing is left to be done, a node keeps one revision, and another trigger may have all the memory
    /// that no client was granted.
    fn judge_rest(&self, world: &mut World) {
        // Nobody waits for records that are not in their topic any more: they may be in work.
        let removed = world.books.pages.iter().any(|page| page.removed && page.found.is_some());
        if !world.finished() || world.has_paused || removed {
            return;
        }
        let budget_bytes = self.case.memory.budget_bytes;
        let now = world.now();
        for node in 0..world.nodes.len() {
            let seat = &world.nodes[node];
            let Some(revisions) = world.revisions_at_rest(node) else { continue };
            if revisions > 1 {
                world.violation("nothing grows", format!("node {node} keeps revisions that were replaced"));
                return;
            }
            // A trigger notices within some seconds that others went, if it has nothing to do.
            if seat.alone_since > Duration::ZERO && now < seat.alone_since + SETTLES {
                continue;
            }
            let mut another = self.budgets[node].share();
            another.hold(budget_bytes / 4 + budget_bytes / 2 - budget_bytes / 20);
            if !another.has_room_for(0) {
                let text = format!("on node {node} memory counts as held that nobody holds");
                world.violation("nothing grows", text);
            }
        }
    }

    /// `true`: the history is over.
    fn watch(&mut self) -> bool {
        let mut world = lock(&self.world);
        world.after(ms(1_000), Event::Watch);
        world.watch();
        let (now, quiet) = (world.now(), self.case.quiet_at());
        if now < quiet {
            return false;
        }
        if world.finished() {
            return true;
        }
        // Records of a key that fail one after another each have their time.
        let mut failing: BTreeMap<(usize, i32), u32> = BTreeMap::new();
        for item in self.case.items.iter().filter(|item| item.fate != super::load::Fate::Ok) {
            *failing.entry((item.topic, item.partition)).or_default() += 1;
        }
        let most = failing.values().copied().max().unwrap_or(0).max(2);
        let retries = most * retry_time(&self.trigger.retry) + world.patience;
        if now > quiet + LIMIT + retries {
            let text = format!("{:?} after the last fault {}", now - quiet, world.unfinished());
            world.violation("nothing stuck", text);
            return true;
        }
        false
    }

    pub(super) fn add_node(&mut self) -> usize {
        let mut world = lock(&self.world);
        let node = world.nodes.len();
        world.nodes.push(Node::new(node));
        self.drivers.push(None);
        self.commands.push(None);
        self.budgets.push(Budget::new(self.case.memory.budget_bytes));
        node
    }

    /// A node starts, unless it runs.
    pub(super) fn start(&mut self, node: usize) {
        if self.drivers[node].is_some() {
            let mut world = lock(&self.world);
            if world.nodes[node].stopping {
                world.after(ms(300), Event::Start { node });
            }
            return;
        }
        let most = self.trigger.instances.max.get() as usize;
        let (commands, commands_in) = mpsc::channel(32);
        let (completions, completions_in) = mpsc::channel(4 * most);
        let (status, shown) = watch::channel(Status::default());
        let (now, name, seed) = {
            let mut world = lock(&self.world);
            let now = world.now();
            let seat = &mut world.nodes[node];
            seat.begin(now, completions, shown);
            let name = seat.name.clone();
            world.tell(|_| format!("{name} starts"));
            (world.clock.reading(), name, world.rng.u64(..))
        };
        let context = Context {
            trigger: self.trigger.clone(),
            cluster: self.cluster.clone(),
            output_cluster: self.cluster.clone(),
            topics: self.topics.clone(),
            budget: self.budgets[node].clone(),
            node: name.into(),
        };
        let parts = Parts {
            context: Arc::new(context),
            clients: SimClients { world: self.world.clone(), node, topics: self.topics.clone() },
            commands: commands_in,
            completions: completions_in,
            status,
            steering: Steering::ByCalls,
            rng: fastrand::Rng::with_seed(seed),
        };
        self.drivers[node] = Some((self.make)(parts, now));
        self.commands[node] = Some(commands);
        self.inform(node);
    }

    pub(super) fn kill(&mut self, node: usize) {
        let Some(driver) = self.drivers[node].take() else { return };
        lock(&self.world).kill_node(node);
        self.commands[node] = None;
        drop(driver);
    }

    fn turn(&mut self, node: usize, ticket: u64) {
        let now = {
            let mut world = lock(&self.world);
            let Some(now) = world.begin_turn(node, ticket) else { return };
            now
        };
        let Some(driver) = self.drivers[node].as_mut() else { return };
        self.turns += 1;
        let turn = catch_unwind(AssertUnwindSafe(|| driver.turn(now)));
        let mut world = lock(&self.world);
        world.end_turn(node);
        let soon = world.now() + Duration::from_micros(20);
        match turn {
            Ok(Turn::Again) => world.plan_turn(node, soon),
            Ok(Turn::Park(until)) => {
                let until = world.clock.moment(until).max(soon);
                world.plan_turn(node, until);
            }
            Ok(Turn::Over) => {
                let expected = world.nodes[node].stopping;
                world.kill_node(node);
                if !expected {
                    world.violation("nothing stuck", format!("node {node} ends without being told to"));
                }
                drop(world);
                self.commands[node] = None;
                self.drivers[node] = None;
            }
            Err(panic) if std::mem::take(&mut world.nodes[node].broke) => {
                world.tell(|_| format!("node {node} breaks"));
                world.plan_turn(node, soon);
                drop(world);
                if catch_unwind(AssertUnwindSafe(|| driver.recover(&*panic, now))).is_err() {
                    lock(&self.world).violation("no panic", format!("node {node} breaks again as it recovers"));
                }
            }
            Err(panic) => {
                let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
                let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
                world.violation("no panic", format!("node {node}: {text}"));
            }
        }
    }
}
