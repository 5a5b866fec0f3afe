//! The Kafka clients. No other module talks to brokers.
//!
//! The Kafka client is librdkafka. The rdkafka crate builds it and creates its configuration. The data path
//! uses the C queues of librdkafka directly: one loop takes batches of records and delivery reports from
//! queues, without additional threads, and the only callback wakes this loop. Almost all `unsafe` code of
//! the runtime is in this module, behind types with a safe interface.

pub mod broker;
pub mod cleanup;
pub mod client;
pub mod clients;
pub mod create;
mod describe;
pub mod embedded;
mod error;
mod fetched;
mod list;
mod member;
mod metadata;
mod murmur2;
pub mod notices;
mod produce;
mod queue;
pub mod reader;
pub mod scan;
mod settings;
pub mod sink;
pub mod source;
pub mod survey;
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
pub use wake::{Wake, block_until};

/// A partition of one of the topics of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition {
    /// The index of the topic in the list of the trigger's topics.
    pub topic: usize,
    pub number: i32,
}
