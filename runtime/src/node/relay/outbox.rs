//! What a node still has to write. Pure: time is an argument.
//!
//! For each key only the newest value waits. While a record of a key is being written, a newer one of the
//! same key waits, so they arrive in order. Limit: [`MOST`] records wait. Beyond that, the oldest hint is
//! given up, because a hint may be lost.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::kafka::notices::Write;

/// How many records may wait.
pub const MOST: usize = 1_000;
/// How many records may be written at once.
const MOST_SENT: usize = crate::kafka::notices::WRITES;
/// The pause after a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// Whether a record may be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worth {
    /// It may, if too many records wait.
    Droppable,
    Kept,
}

#[derive(Clone, Debug)]
struct Entry {
    key: Vec<u8>,
    value: Option<Vec<u8>>,
    worth: Worth,
}

/// The records that are not written yet.
#[derive(Debug, Default)]
pub struct Outbox {
    waiting: VecDeque<Entry>,
    sent: BTreeMap<u64, Entry>,
    last_token: u64,
    paused_until: Option<Instant>,
    /// How many records were given up.
    pub dropped: u64,
}

impl Outbox {
    /// Adds a record, or replaces the one of its key that waits.
    pub fn push(&mut self, key: Vec<u8>, value: Option<Vec<u8>>, worth: Worth) {
        let entry = Entry { key, value, worth };
        if let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.key == entry.key) {
            *waiting = entry;
            return;
        }
        if self.waiting.len() >= MOST {
            self.dropped += 1;
            match self.waiting.iter().position(|waiting| waiting.worth == Worth::Droppable) {
                Some(oldest) => drop(self.waiting.remove(oldest)),
                None if worth == Worth::Droppable => return,
                // There are fewer functions, triggers and nodes than that.
                None => drop(self.waiting.pop_front()),
            }
        }
        self.waiting.push_back(entry);
    }

    /// The next record to write. It counts as being written from now on.
    pub fn next(&mut self, now: Instant) -> Option<Write> {
        if self.sent.len() >= MOST_SENT || self.paused_until.is_some_and(|until| now < until) {
            return None;
        }
        let is_free = |entry: &Entry| self.sent.values().all(|sent| sent.key != entry.key);
        let place = self.waiting.iter().position(is_free)?;
        let entry = self.waiting.remove(place)?;
        self.last_token += 1;
        let write = Write { token: self.last_token, key: entry.key.clone(), value: entry.value.clone() };
        self.sent.insert(self.last_token, entry);
        Some(write)
    }

    /// A record was written, or will never be.
    pub fn done(&mut self, token: u64) {
        self.sent.remove(&token);
        self.paused_until = None;
    }

    /// A record was not written. It is tried again, unless a newer one of its key waits.
    pub fn failed(&mut self, token: u64, now: Instant) {
        self.paused_until = Some(now + PAUSE);
        let Some(entry) = self.sent.remove(&token) else { return };
        if self.waiting.iter().all(|waiting| waiting.key != entry.key) {
            self.waiting.push_front(entry);
        }
    }

    /// No result will come for any record that is being written.
    pub fn all_failed(&mut self, now: Instant) {
        let tokens: Vec<u64> = self.sent.keys().rev().copied().collect();
        for token in tokens {
            self.failed(token, now);
        }
    }

    /// Whether everything was written.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.sent.is_empty()
    }

    /// When the pause after a failure is over, if a record waits for that.
    pub fn next_due(&self) -> Option<Instant> {
        self.paused_until.filter(|_| !self.waiting.is_empty() && self.sent.len() < MOST_SENT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(outbox: &mut Outbox, key: &str, value: &str, worth: Worth) {
        outbox.push(key.into(), Some(value.into()), worth);
    }

    fn next(outbox: &mut Outbox, now: Instant) -> Option<(u64, String)> {
        let write = outbox.next(now)?;
        Some((write.token, String::from_utf8(write.value.unwrap_or_default()).expect("text")))
    }

    #[test]
    fn only_the_newest_value_of_a_key_is_written_and_values_of_a_key_keep_their_order() {
        let now = Instant::now();
        let mut outbox = Outbox::default();
        push(&mut outbox, "a", "a1", Worth::Kept);
        push(&mut outbox, "b", "b1", Worth::Kept);
        push(&mut outbox, "a", "a2", Worth::Kept);
        assert_eq!(next(&mut outbox, now), Some((1, "a2".to_owned())));
        push(&mut outbox, "a", "a3", Worth::Kept);
        assert_eq!(next(&mut outbox, now), Some((2, "b1".to_owned())));
        assert_eq!(next(&mut outbox, now), None, "a2 is still being written");
        outbox.done(1);
        assert_eq!(next(&mut outbox, now), Some((3, "a3".to_owned())));
        outbox.failed(3, now);
        outbox.done(2);
        assert_eq!(next(&mut outbox, now), Some((4, "a3".to_owned())), "a success ends the pause");
        push(&mut outbox, "a", "a4", Worth::Kept);
        outbox.failed(4, now);
        assert_eq!((next(&mut outbox, now), outbox.next_due()), (None, Some(now + PAUSE)));
        assert_eq!(next(&mut outbox, now + PAUSE), Some((5, "a4".to_owned())));
        outbox.done(5);
        assert!(outbox.is_empty());
    }

    #[test]
    fn hints_are_given_up_first() {
        let now = Instant::now();
        let mut outbox = Outbox::default();
        push(&mut outbox, "kept", "kept", Worth::Kept);
        for hint in 0..2 * MOST {
            push(&mut outbox, &hint.to_string(), "hint", Worth::Droppable);
        }
        push(&mut outbox, "last", "last", Worth::Kept);
        assert_eq!((outbox.waiting.len(), outbox.dropped), (MOST, MOST as u64 + 2));
        assert_eq!(next(&mut outbox, now), Some((1, "kept".to_owned())));
        assert!(outbox.waiting.iter().any(|entry| entry.key == b"last"));
    }
}
