//! A trigger that runs, with what it serves, tries, and was told.

use std::sync::Arc;

use crate::engine::PoolError;
use crate::manifest::{Cluster, Trigger};
use crate::node::adoption::{Adoption, Offer};
use crate::node::edges::Serve;
use crate::record::Topics;
use crate::trigger::Manner;

/// What instances of a trigger are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// All records, save those of a trial.
    Serving,
    /// A trial.
    Trial,
}

/// A trigger as the manifest declares it. If this changes, the trigger is stopped and started again, because
/// it needs new clients.
#[derive(Clone, PartialEq)]
pub(super) struct Wanted {
    pub(super) trigger: Arc<Trigger>,
    pub(super) cluster: Arc<Cluster>,
    pub(super) output_cluster: Arc<Cluster>,
}

pub(super) enum Phase<T> {
    Running(Box<Running<T>>),
    /// The trigger drains. If the manifest still declares it, it is started again when it has stopped.
    Stopping,
}

pub(super) struct Running<T> {
    pub(super) handle: T,
    pub(super) topics: Arc<Topics>,
    pub(super) wanted: Wanted,
    pub(super) serving: Adoption,
    pub(super) trial: Adoption,
    /// The stage that the trial is to be in, and the one that the trigger was told.
    pub(super) wanted_stage: (u32, Manner),
    pub(super) given: (u32, Manner),
    /// Why it is paused on all nodes.
    pub(super) held: Option<String>,
}

impl<T> Running<T> {
    pub(super) fn adoption(&mut self, lane: Lane) -> &mut Adoption {
        match lane {
            Lane::Serving => &mut self.serving,
            Lane::Trial => &mut self.trial,
        }
    }

    /// Gives the trigger instances that have started. One that does not respond may respond later, so this is
    /// retried like a failure of the machine.
    pub(super) fn hand_over<P>(&mut self, lane: Lane, pool: P, offer: &Offer) -> Result<(), PoolError>
    where
        T: Serve<P>,
    {
        let (stage, manner) = self.wanted_stage;
        let taken = match lane {
            Lane::Serving => self.handle.adopt(pool, offer.digest),
            Lane::Trial => self.handle.try_out(pool, offer.digest, stage, manner),
        };
        if lane == Lane::Trial {
            self.given = self.wanted_stage;
        }
        taken.map_err(|error| PoolError::Machine(error.to_string()))
    }
}
