//! Learns from an SQS queue which objects it is time to look at.
//!
//! A message is deleted when what it says was acted upon, or when it says nothing to this node's manifest. One that
//! could not be acted upon comes again, to this node or another one, when its visibility timeout is over. So a
//! queue of any number of nodes loses nothing; and what it would lose, the next look of the registry finds.

mod connection;
mod event;
pub mod probe;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, Message};
use tokio::task::AbortHandle;
use url::Url;

use self::connection::{POLL_S, client};
use super::s3::failure;
use crate::manifest::ObjectName;

/// The most messages of one poll, as SQS allows.
const MOST: i32 = 10;
/// The pause after a poll that failed. Each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What to do about objects that may have changed.
pub trait Act: Send + Sync + 'static {
    /// Whether the manifest names the object.
    fn concerns(&self, object: &ObjectName) -> bool;

    /// Looks at objects, and tells other nodes. `false`: it has to be done again.
    fn act(&self, objects: BTreeSet<ObjectName>) -> impl Future<Output = bool> + Send;
}

/// What came from the queue since the node started.
#[derive(Debug, Default, serde::Serialize)]
pub struct HintCounts {
    /// Messages that were received. One that comes again counts again.
    pub received: AtomicU64,
    /// Of these, the ones that cannot be understood. They are deleted.
    pub malformed: AtomicU64,
    /// Of these, the ones about nothing that the manifest names. They are deleted.
    pub irrelevant: AtomicU64,
    /// Of these, the ones that could not be acted upon. They come again.
    pub failed: AtomicU64,
    /// Polls that failed.
    pub failed_polls: AtomicU64,
}

/// A queue that is followed, until this is dropped.
pub struct Hints {
    task: AbortHandle,
    pub counts: Arc<HintCounts>,
}

impl Drop for Hints {
    /// The message that a poll was about to get comes again when its visibility timeout is over.
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Hints {
    /// Follows a queue. Has to be called within a tokio runtime.
    pub fn follow(queue: &Url, region: Option<String>, act: Arc<impl Act>) -> Self {
        let counts = Arc::<HintCounts>::default();
        let follower =
            Follower { queue: queue.clone(), region, act, counts: counts.clone(), rng: fastrand::Rng::new() };
        Self { task: tokio::spawn(follower.run()).abort_handle(), counts }
    }
}

struct Follower<A> {
    queue: Url,
    region: Option<String>,
    act: Arc<A>,
    counts: Arc<HintCounts>,
    rng: fastrand::Rng,
}

impl<A: Act> Follower<A> {
    async fn run(mut self) {
        let client = client(&self.queue, self.region.clone()).await;
        let mut away: Option<Duration> = None;
        loop {
            let poll = client.receive_message().queue_url(self.queue.as_str()).wait_time_seconds(POLL_S);
            match poll.max_number_of_messages(MOST).send().await {
                Ok(received) => {
                    if away.take().is_some() {
                        tracing::info!(queue = %self.queue, "the queue of events answers again");
                    }
                    self.handle(&client, received.messages.unwrap_or_default()).await;
                }
                Err(error) => {
                    self.counts.failed_polls.fetch_add(1, Ordering::Relaxed);
                    let reason = failure(&error).reason;
                    let pause = away.map_or(FIRST_PAUSE, |pause| (pause * 2).min(LONGEST_PAUSE));
                    if away.replace(pause).is_none() {
                        tracing::warn!(
                            queue = %self.queue,
                            "the queue of events cannot be read, which is tried again; until then new revisions are \
                             found by looking every [registry] reconcile: {reason}"
                        );
                    }
                    // Not all nodes at once.
                    tokio::time::sleep(pause.mul_f64(0.75 + self.rng.f64() / 4.0)).await;
                }
            }
        }
    }

    async fn handle(&self, client: &Client, messages: Vec<Message>) {
        let (mut concerned, mut done, mut waiting) = (BTreeSet::new(), Vec::new(), Vec::new());
        for message in messages {
            self.counts.received.fetch_add(1, Ordering::Relaxed);
            let Some(handle) = message.receipt_handle else { continue };
            match event::parse(message.body.as_deref().unwrap_or_default()) {
                Ok(event) => {
                    let relevant: Vec<_> =
                        event.objects.into_iter().filter(|object| self.act.concerns(object)).collect();
                    if relevant.is_empty() {
                        self.counts.irrelevant.fetch_add(1, Ordering::Relaxed);
                        done.push(handle);
                    } else {
                        concerned.extend(relevant);
                        waiting.push(handle);
                    }
                }
                Err(malformed) => {
                    if self.counts.malformed.fetch_add(1, Ordering::Relaxed) == 0 {
                        tracing::warn!(
                            queue = %self.queue,
                            message = message.message_id,
                            "a message of the queue of events is deleted, because it cannot be understood; further \
                             ones are only counted: {malformed}"
                        );
                    }
                    done.push(handle);
                }
            }
        }
        self.delete(client, done).await;
        if waiting.is_empty() {
            return;
        }
        if self.act.act(concerned).await {
            self.delete(client, waiting).await;
        } else {
            self.counts.failed.fetch_add(waiting.len() as u64, Ordering::Relaxed);
        }
    }

    /// What cannot be deleted comes again, which does no harm.
    async fn delete(&self, client: &Client, handles: Vec<String>) {
        if handles.is_empty() {
            return;
        }
        let entries: Result<Vec<_>, _> = handles
            .into_iter()
            .enumerate()
            .map(|(at, handle)| {
                DeleteMessageBatchRequestEntry::builder().id(at.to_string()).receipt_handle(handle).build()
            })
            .collect();
        let Ok(entries) = entries else { return };
        let deleted = client.delete_message_batch().queue_url(self.queue.as_str()).set_entries(Some(entries));
        if let Err(error) = deleted.send().await {
            tracing::debug!(queue = %self.queue, "messages come again: {}", failure(&error).reason);
        }
    }
}
