//! Tidegate: serverless functions on Kafka.
//!
//! A manifest binds functions, which are WASI components, to topics. Read ARCHITECTURE.md first:
//! it shows the path of a record through the modules below and the rules that hold between them.

pub mod admin;
pub mod batch;
pub mod budget;
pub mod capability;
pub mod cli;
pub mod columns;
mod counted;
pub mod dev;
pub mod engine;
mod files;
pub mod golden;
pub mod invoke;
#[allow(unsafe_code)]
pub mod kafka;
pub mod manifest;
pub mod ndjson;
pub mod outcome;
pub mod overview;
pub mod record;
pub mod registry;
pub mod revision;
pub mod supervisor;
mod throttle;
pub mod toolchain;
pub mod traffic;
pub mod trigger;
