//! Harness for tests of Tidegate against real peers.
//!
//! A test starts an Apache Kafka ([`kafka::Kafka`]), runs the `tidegate` binary against it
//! ([`node::Node`]) and compares what arrives on the topics with what an oracle says must arrive
//! ([`model::Model`]). If a test wants one, a server of S3 and SQS is there too ([`aws::Aws`]). A
//! [`proxy::Proxy`] breaks the connections to any of them. Everything is a child process on the
//! loopback interface that ends with the test process, however that ends.
//!
//! Nothing here waits by sleeping for a guessed time: [`wait::until`] polls a condition, and the
//! limits it takes only decide when a test that will fail does so.
//!
//! Helpers panic when they cannot do their part; the message says what was tried, where, and what
//! the other side wrote last.

pub mod aws;
pub mod chance;
pub mod functions;
pub mod http;
pub mod kafka;
pub mod load;
pub mod model;
pub mod net;
pub mod node;
pub mod place;
pub mod process;
pub mod proxy;
pub mod signer;
pub mod stream;
pub mod wait;
