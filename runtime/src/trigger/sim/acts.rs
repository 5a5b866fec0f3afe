//! What the plan of a history says is done: faults begin and end, and nodes are told of revisions.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use super::fault::{Fault, What};
use super::function::{Revision, SimInvoker};
use super::history::{History, SETTLES};
use super::neighbour::Neighbour;
use super::time::ms;
use super::trials::{End, Flaw, Told, Tried};
use super::world::{Event, lock};
use crate::trigger::driver::Command;
use crate::trigger::trial::Manner;

impl History<'_> {
    /// A node starts, and is told what all others were told.
    pub(super) fn inform(&mut self, node: usize) {
        self.adopt(node);
        if self.tried.is_some() {
            self.try_on(node);
        }
        if self.held {
            self.command(node, Command::Hold { reason: Some("held".to_owned()) });
        }
    }

    fn all(&self) -> std::ops::Range<usize> {
        0..self.drivers.len()
    }

    /// A node is told to take on the revision that serves.
    fn adopt(&mut self, node: usize) {
        let invoker = self.invoker(node, self.revision);
        self.command(node, Command::Adopt { invoker, revision: self.revision.digest() });
    }

    fn invoker(&mut self, node: usize, revision: Revision) -> Box<SimInvoker> {
        let running = Arc::new(AtomicUsize::new(0));
        lock(&self.world).nodes[node].revisions.push(Arc::downgrade(&running));
        Box::new(SimInvoker {
            world: self.world.clone(),
            node,
            revision,
            most: self.trigger.instances.max.get() as usize,
            topics: self.topics.clone(),
            running,
        })
    }

    pub(super) fn command(&mut self, node: usize, command: Command) {
        let Some(commands) = &self.commands[node] else { return };
        let resumes = matches!(command, Command::Hold { reason: None });
        // One that takes no commands will be found to be stuck.
        if commands.try_send(command).is_err() {
            return;
        }
        let mut world = lock(&self.world);
        let tried = self.tried.map(|(_, tried)| tried);
        let told = Told { serving: Some(self.revision), tried, held: self.held && !resumes };
        world.served_flawed |= self.revision.flaw != Flaw::None;
        world.served.insert(self.revision.digest().to_string());
        world.nodes[node].tells.push(told);
        world.wake(node);
    }

    fn next_revision(&mut self, flaw: Flaw) -> Revision {
        self.newest += 1;
        Revision { number: self.newest, flaw }
    }

    fn publish(&mut self, flaw: Flaw) {
        self.revision = self.next_revision(flaw);
        self.all().for_each(|node| self.adopt(node));
    }

    fn try_out(&mut self, number: usize, flaw: Flaw, manner: Manner) {
        let revision = self.next_revision(flaw);
        {
            let mut world = lock(&self.world);
            world.books.on_trial.insert(revision.number);
            world.books.any_trial = true;
        }
        self.tried = Some((number, Tried { revision, manner }));
        self.stage += 1;
        self.all().for_each(|node| self.try_on(node));
    }

    fn try_on(&mut self, node: usize) {
        let Some((_, Tried { revision, manner })) = self.tried else { return };
        let (stage, invoker) = (self.stage, self.invoker(node, revision));
        self.command(node, Command::TryOut { invoker, revision: revision.digest(), stage, manner });
    }

    fn steer(&mut self, manner: Manner) {
        let Some((_, tried)) = &mut self.tried else { return };
        tried.manner = manner;
        self.stage += 1;
        let stage = self.stage;
        self.all().for_each(|node| self.command(node, Command::Steer { stage, manner }));
    }

    fn hold(&mut self, held: bool) {
        self.held = held;
        let reason = held.then(|| "held".to_owned());
        self.all().for_each(|node| self.command(node, Command::Hold { reason: reason.clone() }));
    }

    /// The trial that the fault of this number began ends, unless another one replaced it.
    fn end_trial(&mut self, number: usize, ends: End) {
        let Some((_, Tried { revision, .. })) = self.tried.take_if(|(began, _)| *began == number) else { return };
        if ends != End::Withdrawn {
            self.revision = revision;
            lock(&self.world).books.on_trial.remove(&revision.number);
        }
        for node in self.all() {
            match ends {
                End::Withdrawn => self.command(node, Command::Withdraw),
                End::Promoted => self.command(node, Command::Promote),
                End::Adopted => self.adopt(node),
            }
        }
    }

    fn fault_of(&self, number: usize) -> Option<Fault> {
        self.case.faults.iter().find(|(known, _)| *known == number).map(|(_, fault)| fault.clone())
    }

    pub(super) fn fault(&mut self, number: usize) {
        let Some(fault) = self.fault_of(number) else { return };
        let lasts = fault.lasts;
        {
            let mut world = lock(&self.world);
            world.tell(|_| format!("FAULT {number}: {fault}"));
            world.disturbances += usize::from(lasts > Duration::ZERO && fault.what.disturbs());
            let settles = match fault.what {
                // The client is only given up after a while.
                What::PartitionForgotten { .. } => ms(200_000),
                What::ProducerBreaks { .. } | What::ConsumerBreaks { .. } | What::LoopBreaks { .. } => ms(60_000),
                What::Neighbours { .. } | What::Steered { .. } | What::TriedOut { flaw: Flaw::None, .. } => {
                    Duration::ZERO
                }
                _ => SETTLES,
            };
            world.undisturbed_in(settles);
            if fault.what.troubles_clients() {
                world.calm_since = world.calm_since.max(fault.over_at() + settles);
            }
        }
        let base = self.case.nodes;
        match fault.what {
            What::NodeKilled { node } => self.kill(node % base),
            What::NodeStops { node } => self.stop(node % base),
            What::NodeAdded => {
                let node = self.add_node();
                lock(&self.world).nodes[node].added_by = Some(number);
                self.start(node);
            }
            What::Published { broken } => {
                let flaw = if broken { Flaw::Retries } else { Flaw::None };
                self.publish(flaw);
            }
            What::TriedOut { flaw, manner, .. } => self.try_out(number, flaw, manner),
            What::Steered { manner } => self.steer(manner),
            What::Held => self.hold(true),
            What::NodeFreezes { node } => lock(&self.world).freeze_node(node % base, lasts, true),
            What::NodeStalls { node } => lock(&self.world).freeze_node(node % base, lasts, false),
            What::InstancesRefused { node } => {
                let mut world = lock(&self.world);
                let until = world.now() + lasts;
                world.nodes[node % base].instances_refused_until = until;
            }
            What::ProducerBreaks { node } => lock(&self.world).break_producer(node % base),
            What::MemberRefused { node } => lock(&self.world).refuse_member(node % base),
            What::LoopBreaks { node, spot } => lock(&self.world).nodes[node % base].bug = Some(spot),
            What::Neighbours { node, count } => {
                let node = node % base;
                let budget = &self.budgets[node];
                let added = (0..count).map(|_| Neighbour::new(budget.share(), number));
                let mut world = lock(&self.world);
                if world.nodes[node].neighbours.is_empty() {
                    world.nodes[node].neighbours.extend(added);
                    world.after(Duration::ZERO, Event::Grow { node });
                }
            }
            What::ConsumerBreaks { node } => lock(&self.world).break_member(node % base),
            What::PartitionForgotten { node, place } => lock(&self.world).forget_partition(node % base, place),
            what => lock(&self.world).cluster_fault(&what),
        }
    }

    fn stop(&mut self, node: usize) {
        if self.drivers[node].is_some() {
            let mut world = lock(&self.world);
            let now = world.now();
            (world.nodes[node].stopping, world.nodes[node].stopping_since) = (true, Some(now));
            drop(world);
            self.command(node, Command::Stop);
        }
    }

    pub(super) fn relief(&mut self, number: usize) {
        let Some(fault) = self.fault_of(number) else { return };
        {
            let mut world = lock(&self.world);
            world.tell(|_| format!("OVER {number}: {fault}"));
            if fault.what.disturbs() {
                world.disturbances -= 1;
                // A client that was made anew again and again waits the longer.
                let settles = if matches!(fault.what, What::FetchFails { .. }) { ms(60_000) } else { SETTLES };
                world.undisturbed_in(settles);
            }
        }
        let base = self.case.nodes;
        match fault.what {
            What::NodeKilled { node } | What::NodeStops { node } => self.start(node % base),
            What::NodeAdded => {
                let found = lock(&self.world).nodes.iter().position(|seat| seat.added_by == Some(number));
                match found {
                    Some(node) if number.is_multiple_of(2) => self.stop(node),
                    Some(node) => self.kill(node),
                    None => {}
                }
            }
            What::Neighbours { node, .. } => {
                let mut world = lock(&self.world);
                let now = world.now();
                let seat = &mut world.nodes[node % base];
                seat.neighbours.retain(|known| known.added_by != number);
                seat.alone_since = now;
            }
            What::Published { broken: true } => {
                self.publish(Flaw::None);
            }
            What::TriedOut { ends, .. } => self.end_trial(number, ends),
            What::Held => self.hold(false),
            what => lock(&self.world).cluster_relief(&what),
        }
    }
}
