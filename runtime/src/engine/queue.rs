//! The jobs that wait for the one thread that compiles.
//!
//! Each source has at most one job here, its newest: older ones would compile what nobody wants any
//! more. A source keeps its place when its job is replaced, so each waits for at most one job of every
//! other one, and for the one that is under way.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, PoisonError};

/// Bounded by the number of sources, and by those that wait for jobs without one.
pub(super) struct Queue<T> {
    waiting: Mutex<Waiting<T>>,
    changed: Condvar,
}

struct Waiting<T> {
    jobs: VecDeque<(Option<PathBuf>, T)>,
    is_closed: bool,
}

impl<T> Queue<T> {
    pub(super) fn new() -> Self {
        Self { waiting: Mutex::new(Waiting { jobs: VecDeque::new(), is_closed: false }), changed: Condvar::new() }
    }

    /// Adds a job. One of the same source that still waits is replaced and given back. A job without
    /// a source is never replaced.
    pub(super) fn push(&self, source: Option<PathBuf>, job: T) -> Option<T> {
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

    /// Waits for the next job. `None`: there will be no more.
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

    /// Jobs that wait are still done; then [`Queue::pop`] ends.
    pub(super) fn close(&self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).is_closed = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_job_of_a_source_replaces_the_one_that_waits() {
        let queue = Queue::new();
        let source = |name: &str| Some(PathBuf::from(name));
        assert_eq!(queue.push(source("slow"), 1), None);
        assert_eq!(queue.push(source("other"), 2), None);
        assert_eq!(queue.push(source("slow"), 3), Some(1));
        assert_eq!(queue.push(source("slow"), 4), Some(3));
        queue.close();
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order, [4, 2], "a source keeps its place");
    }

    #[test]
    fn a_source_that_comes_again_stands_behind_the_others() {
        let queue = Queue::new();
        let source = |name: &str| Some(PathBuf::from(name));
        queue.push(source("slow"), 1);
        queue.push(source("other"), 2);
        assert_eq!(queue.pop(), Some(1));
        queue.push(source("slow"), 3);
        assert_eq!((queue.pop(), queue.pop()), (Some(2), Some(3)));
    }

    #[test]
    fn jobs_without_a_source_are_all_done() {
        let queue = Queue::new();
        assert_eq!((queue.push(None, 1), queue.push(None, 2)), (None, None));
        assert_eq!((queue.pop(), queue.pop()), (Some(1), Some(2)));
    }
}
