//! Tools around topics, for people at a terminal: producing, consuming and recording, numbered records
//! that can be checked for loss, repeats and order, and records as lines of JSON.
//!
//! The command line is their caller; they know nothing of its flags.

pub(crate) mod connection;
pub(crate) mod consume;
pub(crate) mod display;
mod failure;
pub(crate) mod lines;
pub mod ndjson;
pub(crate) mod output;
pub(crate) mod produce;
pub(crate) mod progress;
pub(crate) mod record;
pub mod traffic;

pub(crate) use failure::Failure;
