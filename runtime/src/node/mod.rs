//! The running node: what decides which triggers and revisions run, and what shows how they do.

pub mod admin;
pub mod overview;
pub mod supervisor;
