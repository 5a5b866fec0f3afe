//! Simulation: the real driver of a trigger, several nodes at once, against a Kafka in memory, on one
//! thread and in virtual time. All chance comes from a seed: the same seed gives the same history.
//!
//! | file | what it is |
//! |---|---|
//! | [`time`], [`world`] | virtual time, what happens when, and all state but the drivers' |
//! | [`topics`], [`brokers`], [`group`] | the cluster: logs, brokers that go away, the group coordinator |
//! | [`member`], [`leaving`], [`fetch`], [`producer`] | what the Kafka client does in a node by itself |
//! | [`clients`], [`question`] | the same, as the traits that a driver uses |
//! | [`load`], [`function`] | the records, and what the function makes of them |
//! | [`plan`], [`stress`], [`fault`] | a case: cluster, manifest, load and faults, drawn from a seed |
//! | [`history`], [`acts`], [`node`], [`neighbour`], [`panics`] | runs a case |
//! | [`books`], [`oracle`], [`watch`], [`probes`] | what happened, and whether a promise was broken |
//! | [`trials`] | revisions that are tried, triggers that are held, and what is promised of both |
//! | [`shrink`] | the smallest case that breaks the same promise |
//! | [`toy`] | a simple driver and wrong ones, by which the simulation itself is tested |
//!
//! ```text
//! make simulate MINUTES=10                                             # others each time, until the time is over
//! cargo test --workspace --lib trigger::sim                             # all, 2,000 histories among them
//! TIDEGATE_SEED=5000 TIDEGATE_HISTORIES=20000 cargo test … ::histories  # others, or more
//! TIDEGATE_FAILURES=1 cargo test … ::histories                          # stops at the first that fails
//! TIDEGATE_SEED=17 cargo test … ::replay -- --nocapture                 # one of them, told line by line
//! ```
//!
//! What a model of a broker cannot show stays with the tests on real brokers: see each file for what
//! it does not model. Exactly-once has no model yet: there are no transactions.

mod acts;
mod append;
mod books;
mod brokers;
mod clients;
mod fault;
mod fetch;
mod function;
mod group;
mod history;
mod leaving;
mod load;
mod member;
mod neighbour;
mod node;
mod oracle;
mod panics;
mod plan;
mod probes;
mod producer;
mod question;
mod shrink;
mod stress;
mod tests;
mod time;
mod topics;
mod toy;
mod trials;
mod watch;
mod world;
