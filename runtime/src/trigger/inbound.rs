//! The receiving end of a channel that can be waited on without taking anything.

use tokio::sync::mpsc;

/// A receiver, and what came while it was waited for.
pub struct Inbound<T> {
    receiver: mpsc::Receiver<T>,
    first: Option<T>,
    closed: bool,
}

impl<T> Inbound<T> {
    pub fn new(receiver: mpsc::Receiver<T>) -> Self {
        Self { receiver, first: None, closed: false }
    }

    /// The next one, without waiting.
    pub fn try_next(&mut self) -> Option<T> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        match self.receiver.try_recv() {
            Ok(next) => Some(next),
            Err(mpsc::error::TryRecvError::Empty) => None,
            Err(mpsc::error::TryRecvError::Disconnected) => {
                self.closed = true;
                None
            }
        }
    }

    /// Whether nothing will come any more.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Waits until there is one. Nothing is lost if it is not waited for to the end.
    pub async fn ready(&mut self) {
        if self.first.is_some() {
            return;
        }
        if self.closed {
            return std::future::pending().await;
        }
        self.first = self.receiver.recv().await;
        self.closed = self.first.is_none();
    }
}
