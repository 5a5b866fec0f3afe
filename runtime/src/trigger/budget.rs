//! What this node holds of records and outputs, all triggers together.
//!
//! Half of the limit is reserved in equal parts, so that no trigger can starve another; the other
//! half goes to whoever needs it. Reaching the limit makes a trigger stop taking records.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The most that the Kafka client of one trigger fetches ahead in one queue.
const MAX_QUEUE_BYTES: u64 = 16 << 20;
/// Most partitions of a trigger whose records wait in a queue of their own, beside the queue that all
/// others share. The client fills each of these queues up to the same limit.
pub const MAX_HELD: usize = 4;
const QUEUES: u64 = 1 + MAX_HELD as u64;
/// The most that one trigger leaves unacknowledged. More costs memory and gains nothing.
const MAX_OUTSTANDING_BYTES: u64 = 16 << 20;

/// The budget of a node.
#[derive(Debug)]
pub struct Budget {
    limit_bytes: AtomicU64,
    triggers: AtomicU64,
    /// What triggers hold beyond their reserves.
    common_bytes: AtomicU64,
}

impl Budget {
    pub fn new(limit_bytes: u64) -> Arc<Self> {
        Arc::new(Self {
            limit_bytes: AtomicU64::new(limit_bytes),
            triggers: AtomicU64::new(0),
            common_bytes: AtomicU64::new(0),
        })
    }

    /// Changes the limit. What is held already stays.
    pub fn set_limit(&self, limit_bytes: u64) {
        self.limit_bytes.store(limit_bytes, Ordering::Relaxed);
    }

    /// The share of one more trigger.
    pub fn share(self: &Arc<Self>) -> Share {
        self.triggers.fetch_add(1, Ordering::Relaxed);
        Share { budget: self.clone(), common_bytes: 0, held_bytes: 0, granted_bytes: 0 }
    }

    fn common_limit(&self) -> u64 {
        self.limit_bytes.load(Ordering::Relaxed) / 2
    }

    fn reserve(&self) -> u64 {
        self.common_limit() / self.triggers.load(Ordering::Relaxed).max(1)
    }
}

/// What one trigger holds.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    held_bytes: u64,
    /// The part of it that counts against the common half.
    common_bytes: u64,
    /// What each queue of the trigger's client may hold, as it was told when it was made.
    granted_bytes: u64,
}

impl Share {
    /// What a client that is made now may fetch ahead in one queue. It keeps that for life.
    pub fn grant_queue(&mut self) -> u64 {
        self.granted_bytes = (self.budget.reserve() / 2 / QUEUES).min(MAX_QUEUE_BYTES);
        self.granted_bytes
    }

    /// What the client may fetch ahead in all its queues.
    pub fn prefetch_bytes(&self) -> u64 {
        QUEUES * self.granted_bytes
    }

    /// What the trigger holds.
    pub fn held_bytes(&self) -> u64 {
        self.held_bytes
    }

    /// What may be unacknowledged.
    pub fn outstanding_bytes(&self) -> u64 {
        (self.budget.reserve() / 2).clamp(1, MAX_OUTSTANDING_BYTES)
    }

    /// Says what the trigger holds now.
    pub fn hold(&mut self, held_bytes: u64) {
        let common = held_bytes.saturating_sub(self.budget.reserve());
        if common > self.common_bytes {
            self.budget.common_bytes.fetch_add(common - self.common_bytes, Ordering::Relaxed);
        } else {
            self.budget.common_bytes.fetch_sub(self.common_bytes - common, Ordering::Relaxed);
        }
        (self.held_bytes, self.common_bytes) = (held_bytes, common);
    }

    /// Whether the trigger may take in more, and so much beyond what it holds. Beside what its client may
    /// fetch ahead, half of its reserve is its own: a client that was made when the node had fewer triggers
    /// keeps a queue that may exceed the reserve of today, and nobody empties it but by taking.
    pub fn has_room_for(&self, more: u64) -> bool {
        let (after, reserve) = (self.held_bytes + more, self.budget.reserve());
        let beyond = more.min(after.saturating_sub(reserve));
        after < reserve
            || after.saturating_sub(self.prefetch_bytes()) < reserve / 2
            || self.budget.common_bytes.load(Ordering::Relaxed) + beyond < self.budget.common_limit()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.hold(0);
        self.budget.triggers.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first of many triggers gets a large queue, and counts with it when others have come.
    #[test]
    fn a_client_counts_with_what_it_was_granted() {
        let budget = Budget::new(512 << 20);
        let mut first = budget.share();
        let granted = first.grant_queue();
        let _others: Vec<_> = (0..99).map(|_| budget.share()).collect();
        assert_eq!(first.prefetch_bytes(), QUEUES * granted);
        assert!(first.grant_queue() < granted, "the next client gets less");
    }

    #[test]
    fn what_a_client_was_granted_does_not_keep_its_trigger_from_its_own_part() {
        let budget = Budget::new(1 << 20);
        let mut first = budget.share();
        first.grant_queue();
        let mut others: Vec<_> = (0..9).map(|_| budget.share()).collect();
        for other in &mut others {
            other.grant_queue();
            other.hold(other.prefetch_bytes() + (1 << 20));
        }
        first.hold(first.prefetch_bytes());
        assert!(first.prefetch_bytes() > budget.reserve());
        assert!(first.has_room_for(0), "it holds nothing, whatever others do");
        first.hold(first.prefetch_bytes() + budget.reserve() / 2);
        assert!(!first.has_room_for(0));
    }

    #[test]
    fn one_trigger_cannot_take_what_is_reserved_for_another() {
        let budget = Budget::new(1_000);
        let (mut greedy, mut modest) = (budget.share(), budget.share());
        greedy.hold(700);
        assert!(greedy.has_room_for(0));
        greedy.hold(750);
        assert!(!greedy.has_room_for(0), "its 250 and the common 500 are used up");
        assert!(modest.has_room_for(0), "its own 250 are not");
        modest.hold(250);
        assert!(!modest.has_room_for(0));
        drop(greedy);
        assert!(modest.has_room_for(0));
    }
}
