//! Tidegate: serverless functions on Kafka.
//!
//! A manifest binds functions, which are WASI components, to topics. Read ARCHITECTURE.md first:
//! it shows the path of a record through the modules below and the rules that hold between them.

pub mod author;
pub mod cli;
mod counted;
pub mod engine;
mod files;
mod histogram;
#[allow(unsafe_code)]
pub mod kafka;
mod log;
pub mod manifest;
pub mod node;
mod operator;
pub mod record;
pub mod registry;
mod signals;
mod throttle;
pub mod tools;
pub mod trigger;
