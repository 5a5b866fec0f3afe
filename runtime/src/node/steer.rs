//! How the admin listener knows the fleet and speaks to it.

use std::sync::Arc;

use super::relay::fleet::View;
use super::relay::message::Message;
use crate::registry::hints::HintCounts;

/// Knows the fleet and speaks to it. One implementation asks the relay of the node, one is in the tests.
pub trait Steer: Send + Sync + 'static {
    /// The name of this node.
    fn node(&self) -> &str;

    /// What is known of the fleet. `None`: there is no relay.
    fn view(&self) -> Option<View>;

    /// Says something to all nodes. It holds when it comes back from the topic.
    fn say(&self, message: Message) -> Result<(), Unsaid>;

    /// What was heard from outside.
    fn heard(&self) -> Heard;
}

/// Why nothing was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsaid {
    #[error("this node has no relay to the others: add [control] to the manifest")]
    NoRelay,
    #[error("the relay has too much to do: try again in a moment")]
    Busy,
}

/// Counts of what was heard.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// Records of the relay's topic without a meaning for this node. `None`: there is no relay.
    pub ignored: Option<u64>,
    /// The events of the queue. `None`: there is no queue.
    pub hints: Option<Arc<HintCounts>>,
}
