//! All that touches a broker.
//!
//! The Kafka client is librdkafka, through rdkafka for its build, its configuration and the life of
//! a client, and through its C queues for the data path: batches of records and reports are taken
//! from queues by one loop, without threads of ours; the only callback wakes that loop. `unsafe` code lives in
//! this module only, behind types that cannot be used wrongly.

pub mod broker;
pub mod cleanup;
pub mod client;
pub mod clients;
pub mod create;
pub mod embedded;
mod error;
mod fetched;
mod list;
mod member;
mod metadata;
mod murmur2;
mod produce;
mod queue;
pub mod reader;
pub mod scan;
mod settings;
pub mod sink;
pub mod source;
#[cfg(test)]
mod tests;
pub mod wake;

pub use broker::{
    Acknowledgement, Batching, Broker, Clients, Event, Question, Reader, Refusal, Sink, Taken, TopicsQuestion,
};
pub use client::{Error, ErrorKind, Metadata, keep_memory};
pub use clients::{Blueprint, KafkaClients};
pub use fetched::{Detached, Fetched};
pub use list::Position;
pub use reader::KafkaReader;
pub use settings::check_properties;
pub use sink::KafkaSink;
pub use source::Source;
pub use wake::Wake;

/// A partition among the topics of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition {
    /// Place of the topic in the list of the trigger's topics.
    pub topic: usize,
    pub number: i32,
}
