//! The running node: what decides which triggers and revisions run, and what shows how they do.

pub mod admin;
mod adoption;
mod artifacts;
mod edges;
pub mod overview;
pub mod supervisor;
#[cfg(test)]
mod tests;
