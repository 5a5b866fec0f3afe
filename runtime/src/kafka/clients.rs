//! STUB
#![allow(clippy::unimplemented)]
use super::*;
use crate::manifest::{Cluster, Trigger};
use crate::record::Topics;
use std::sync::Arc;
pub struct KafkaClients;
impl KafkaClients {
    pub fn new(_: Arc<Cluster>, _: Arc<Cluster>, _: Arc<Trigger>, _: Arc<Topics>, _: Arc<str>) -> Self {
        Self
    }
}
pub struct StubBroker;
impl Broker for StubBroker {
    type Record = Fetched;
    fn next_event(&mut self) -> Option<Event> {
        None
    }
    fn take(&mut self, _: usize, _: impl FnMut(Partition, Taken<Fetched>)) -> usize {
        0
    }
    fn subscribe(&mut self, _: &[String]) -> Result<(), Error> {
        Ok(())
    }
    fn assign(&mut self, _: &[Position]) -> Result<(), Error> {
        Ok(())
    }
    fn unassign(&mut self, _: &[Position]) -> Result<(), Error> {
        Ok(())
    }
    fn is_lost(&self) -> bool {
        false
    }
    fn flow(&mut self, _: Partition, _: bool) -> Result<(), Error> {
        Ok(())
    }
    fn pause(&mut self, _: Partition, _: bool) -> Result<(), Error> {
        Ok(())
    }
    fn seek(&mut self, _: &[Position]) -> Result<(), Error> {
        Ok(())
    }
    fn commit(&mut self, _: u64, _: &[Position]) -> Result<(), Error> {
        Ok(())
    }
    fn ask(&mut self, _: Question) {}
    fn close(&mut self) {}
    fn is_closed(&self) -> bool {
        true
    }
}
impl Clients for KafkaClients {
    type Broker = StubBroker;
    type Sink = KafkaSink;
    fn broker(&mut self, _: u64) -> Result<StubBroker, Error> {
        Ok(StubBroker)
    }
    fn sink(&mut self, _: Batching) -> Result<KafkaSink, Error> {
        unimplemented!()
    }
    async fn wait(&self) {}
}
