//! The running node: decides which triggers and revisions run, and reports their state.

pub mod admin;
mod adoption;
mod artifacts;
mod edges;
mod metrics;
pub mod news;
mod outside;
pub mod overview;
pub mod relay;
mod reloads;
mod rollout;
mod shared;
pub mod steer;
pub mod supervisor;
#[cfg(test)]
mod tests;
