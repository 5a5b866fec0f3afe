//! Tools around topics, for people at a terminal: numbered records that can be checked for loss,
//! repeats and order, and records as lines of JSON.

pub mod ndjson;
pub mod traffic;
