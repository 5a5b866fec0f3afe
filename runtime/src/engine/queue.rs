//! The queue of jobs for the one thread that compiles.
//!
//! Each source has at most one job in the queue, the newest. An older job would compile an outdated
//! component. A new job takes the position of the one it replaces. So a job waits for at most one job of
//! each other source, and for the running one.

use crate::manifest::Component;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};

/// The length is bounded by the number of sources plus the number of callers that wait for a job without a
/// source.
pub(super) struct Queue<T> {
    waiting: Mutex<Waiting<T>>,
    changed: Condvar,
}

struct Waiting<T> {
    jobs: VecDeque<(Option<Component>, T)>,
    is_closed: bool,
}

impl<T> Queue<T> {
    pub(super) fn new() -> Self {
        Self { waiting: Mutex::new(Waiting { jobs: VecDeque::new(), is_closed: false }), changed: Condvar::new() }
    }

    /// Adds a job. If a job of the same source is still in the queue, it is replaced and returned. A job
    /// without a source is never replaced.
    pub(super) fn push(&self, source: Option<Component>, job: T) -> Option<T> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let older = waiting.jobs.iter_mut().find(|(other, _)| other.is_some() && *other == source);
        let replaced = match older {
            Some((_, older)) => Some(std::mem::replace(older, job)),
            None => {
                waiting.jobs.push_back((source, job));
                None
            }
        };
        self.changed.notify_one();
        replaced
    }

    /// Waits for the next job. `None`: the queue is closed and empty.
    pub(super) fn pop(&self) -> Option<T> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some((_, job)) = waiting.jobs.pop_front() {
                return Some(job);
            }
            if waiting.is_closed {
                return None;
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Closes the queue. [`Queue::pop`] still returns the jobs that are in it, and then `None`.
    pub(super) fn close(&self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).is_closed = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_job_of_a_source_replaces_the_waiting_one() {
        let queue = Queue::new();
        let source = |name: &str| Some(Component::File(name.into()));
        assert_eq!(queue.push(source("slow"), 1), None);
        assert_eq!(queue.push(source("other"), 2), None);
        assert_eq!(queue.push(source("slow"), 3), Some(1));
        assert_eq!(queue.push(source("slow"), 4), Some(3));
        queue.close();
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order, [4, 2], "a source keeps its position");
    }

    #[test]
    fn the_next_job_of_a_source_is_queued_behind_the_others() {
        let queue = Queue::new();
        let source = |name: &str| Some(Component::File(name.into()));
        queue.push(source("slow"), 1);
        queue.push(source("other"), 2);
        assert_eq!(queue.pop(), Some(1));
        queue.push(source("slow"), 3);
        assert_eq!((queue.pop(), queue.pop()), (Some(2), Some(3)));
    }

    #[test]
    fn jobs_without_a_source_are_never_replaced() {
        let queue = Queue::new();
        assert_eq!((queue.push(None, 1), queue.push(None, 2)), (None, None));
        assert_eq!((queue.pop(), queue.pop()), (Some(1), Some(2)));
    }
}
