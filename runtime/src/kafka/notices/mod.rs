//! A small topic through which nodes tell each other something.
//!
//! The topic is compacted and has one partition. Every node reads it whole, without a consumer group, then
//! follows it, and writes to it. One thread does all of this for one topic. It goes on whatever happens:
//! brokers may be away for hours, and the topic may be deleted and created again, in which case it is read
//! from its beginning again.
//!
//! Limits: [`WRITES`] records may be written at once, and [`NOTICES`] notices wait for their receiver. If
//! the receiver is slow, the thread takes no more records from the client, and the client stops fetching. An
//! idle topic costs two fetch requests a second.
//!
//! This module does not know what the records mean. They may contain anything.

mod follower;

use std::sync::Arc;
use std::thread;

use tokio::sync::mpsc;

use super::client::Error;
use crate::manifest::Cluster;

/// How many writes wait for the thread, and also how many may be without an acknowledgement.
pub const WRITES: usize = 64;
/// How many notices wait for their receiver.
pub const NOTICES: usize = 64;

/// What the thread needs to know.
#[derive(Clone)]
pub struct Settings {
    pub cluster: Arc<Cluster>,
    pub topic: String,
    /// The name of the node. It is the id of the clients.
    pub node: String,
    pub absent: Absent,
}

/// What is done if the topic does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// It is created. If the brokers refuse this, the thread waits for the topic.
    Create,
    /// The thread waits for it.
    Wait,
}

/// A record to write to the topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Comes back with [`Notice::Written`].
    pub token: u64,
    pub key: Vec<u8>,
    /// `None` deletes the record of this key.
    pub value: Option<Vec<u8>>,
}

/// One thing that happened to the topic.
#[derive(Debug)]
pub enum Notice {
    /// The records that follow are those from the beginning of the topic on.
    Begin(Beginning),
    Record {
        key: Option<Vec<u8>>,
        value: Option<Vec<u8>>,
    },
    /// All records were delivered that the topic contained at the last [`Notice::Begin`].
    CaughtUp,
    /// A write has ended. On an error the record may have been written nevertheless.
    Written {
        token: u64,
        result: Result<(), Error>,
    },
    /// The topic is not as it should be. It is used nevertheless. Reported once for each topic.
    Unfit(Unfit),
    /// The topic cannot be read or written now. The thread tries again until that works.
    Trouble(Error),
    /// The trouble is over.
    Fine,
}

/// Which topic is read from its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// The one that was read before, or the first one.
    Same,
    /// Another one: the topic was deleted and created again.
    New,
}

/// What is wrong with the topic itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("the topic has {0} partitions instead of 1, and only partition 0 is used")]
    Partitions(usize),
    #[error("the topic is not compacted (cleanup.policy=compact), so the brokers will delete records that are needed")]
    NotCompacted,
}

/// The two ends of the thread. If `writes` is dropped, the thread ends, and writes without an acknowledgement
/// are given up. If the thread ends by itself, `notices` ends.
pub struct Notices {
    pub writes: mpsc::Sender<Write>,
    pub notices: mpsc::Receiver<Notice>,
}

impl Notices {
    /// Starts the thread.
    pub fn start(settings: Settings) -> Result<Self, Error> {
        let (writes, to_write) = mpsc::channel(WRITES);
        let (sender, notices) = mpsc::channel(NOTICES);
        let main = move || follower::run(settings, to_write, &sender);
        thread::Builder::new().name("kafka-notices".to_owned()).spawn(main).map_err(|error| Error::local(&error))?;
        Ok(Self { writes, notices })
    }
}
