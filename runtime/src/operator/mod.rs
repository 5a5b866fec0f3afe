//! What operators and authors do with a whole fleet, without access to any node: publish a component, look at its
//! history, go back, steer rollouts and triggers, and look at the nodes. They need the manifest, the store of the
//! components, and the topic of the relay.
//!
//! | module | |
//! |---|---|
//! | [`place`] | where a function's component is, and how the fleet is reached |
//! | [`report`], [`member`] | what nodes say about themselves. Pure |
//! | [`trial`] | whether a component would run on a node |
//! | [`publish`], [`rollback`] | write a new version |
//! | [`wait`] | follows the fleet until it serves a version |
//! | [`history`], [`revisions`] | the versions of a component, and where they serve |
//! | [`fleet`], [`status`] | how the nodes, triggers and functions do |
//! | [`steer`] | promotes, aborts, pauses and resumes |
//! | [`online`] | tries what a manifest needs: buckets, queue, topics, rights |
//!
//! They read the relay as it is, and write single messages to it. Nodes act on these as on those of other nodes.

pub(crate) mod fleet;
pub(crate) mod history;
pub(crate) mod member;
pub(crate) mod online;
pub(crate) mod place;
pub(crate) mod publish;
pub(crate) mod report;
pub(crate) mod revisions;
pub(crate) mod rollback;
pub(crate) mod status;
pub(crate) mod steer;
pub(crate) mod table;
pub(crate) mod trial;
pub(crate) mod wait;
