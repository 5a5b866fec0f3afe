//! Which revisions a trigger's records go to: one serves, and another one may be tried beside it.
//!
//! Whenever a candidate comes, goes, or gets another share of the keys, all records that are in no call are routed
//! anew. Those that are in a call are when it gives them back. Calls of a candidate that was let go may end, and their
//! outcomes count; what they fail runs by the revision that serves.

use std::sync::Arc;

use super::flow::Flow;
use super::trial::{Manner, Trial};
use crate::engine::Invoker;
use crate::kafka::Sink;
use crate::record::revision::Digest;
use crate::record::{OwnedRecord, Record};

impl<R: Record + From<OwnedRecord>, S: Sink> Flow<R, S> {
    /// A revision serves from the next call on. A candidate of the same digest is let go.
    pub fn adopt(&mut self, revision: &Digest, invoker: Box<dyn Invoker>) {
        let name: Arc<str> = revision.to_string().into();
        let is_candidate = self.lanes.candidate().is_some_and(|lane| lane.revision == name);
        self.lanes.adopt(name, invoker);
        if is_candidate && self.lanes.withdraw() {
            self.merge_routes();
        }
    }

    /// A revision is tried. An earlier candidate is let go.
    pub fn try_out(&mut self, revision: &Digest, invoker: Box<dyn Invoker>, stage: u32, manner: Manner) {
        self.withdraw();
        let trial = Trial::new(*revision, self.trigger.ordering, stage, manner);
        self.lanes.try_out(revision.to_string().into(), invoker, trial);
        self.reroute();
    }

    /// The candidate enters another stage.
    pub fn steer(&mut self, stage: u32, manner: Manner) {
        if self.lanes.steer(stage, manner) {
            self.reroute();
        }
    }

    /// The candidate serves from now on.
    pub fn promote(&mut self) {
        if self.lanes.promote() {
            self.merge_routes();
        }
    }

    /// The candidate is let go.
    pub fn withdraw(&mut self) {
        if self.lanes.withdraw() {
            self.reroute();
        }
    }

    fn reroute(&mut self) {
        let split = self.lanes.split();
        self.partitions.iter_mut().for_each(|assigned| assigned.reroute(split));
    }

    fn merge_routes(&mut self) {
        self.partitions.iter_mut().for_each(|assigned| assigned.window.merge_routes());
    }
}
