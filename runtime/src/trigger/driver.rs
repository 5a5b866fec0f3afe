//! STUB. The signatures that the simulated cluster is written against; the body comes by another hand.
#![allow(dead_code)]

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, watch};

use super::clock::Now;
use super::status::Status;
use super::Context;
use crate::engine::{Completion, Invoker};
use crate::kafka::Clients;
use crate::record::revision::Digest;

/// What a trigger is told.
pub enum Command {
    /// New calls go to this revision; those that run end on the old one.
    Adopt { invoker: Box<dyn Invoker>, revision: Digest },
    /// Finish what runs, commit, leave the group.
    Stop,
}

/// What a driver is made of.
pub struct Parts<C: Clients> {
    pub context: Arc<Context>,
    pub clients: C,
    pub commands: mpsc::Receiver<Command>,
    pub completions: mpsc::Receiver<Completion>,
    pub status: watch::Sender<Status>,
    pub rng: fastrand::Rng,
}

/// What to do after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// There is more to do at once.
    Again,
    /// Nothing until something comes (an event, a record, an acknowledgement, a completion, a
    /// command, an answer), or until this time.
    Park(Instant),
    /// The trigger was stopped and is gone.
    Over,
}

/// The loop of a trigger, without waiting: each turn does all that can be done now.
pub struct Driver<C: Clients> {
    parts: Parts<C>,
}

impl<C: Clients> Driver<C> {
    pub fn new(parts: Parts<C>, _now: Now) -> Self {
        Self { parts }
    }

    pub fn turn(&mut self, _now: Now) -> Turn {
        Turn::Over
    }
}
