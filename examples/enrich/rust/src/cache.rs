//! Values that are remembered for a while. It is pure: time is an argument.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// Values by id, so many at most, and each for so long. For a new one the oldest goes.
pub struct Cache<T> {
    most: usize,
    age: Duration,
    values: HashMap<String, T>,
    /// When each was put, the oldest first.
    order: VecDeque<(Instant, String)>,
}

impl<T: Clone> Cache<T> {
    pub fn new(most: usize, age: Duration) -> Self {
        Self { most, age, values: HashMap::new(), order: VecDeque::new() }
    }

    /// The value, if there is one that is not too old.
    pub fn get(&mut self, id: &str, now: Instant) -> Option<T> {
        while self.order.front().is_some_and(|(put, _)| now.duration_since(*put) >= self.age) {
            self.forget();
        }
        self.values.get(id).cloned()
    }

    /// Remembers a value that was not there.
    pub fn put(&mut self, id: &str, value: T, now: Instant) {
        if self.order.len() >= self.most {
            self.forget();
        }
        self.values.insert(id.to_owned(), value);
        self.order.push_back((now, id.to_owned()));
    }

    /// Forgets the oldest.
    fn forget(&mut self) {
        if let Some((_, id)) = self.order.pop_front() {
            self.values.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_forgotten_when_it_is_too_old_or_when_there_are_too_many() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut cache = Cache::new(2, 60 * second);
        cache.put("a", 1, start);
        cache.put("b", 2, start + 30 * second);
        assert_eq!((cache.get("a", start + 59 * second), cache.get("c", start)), (Some(1), None));
        assert_eq!((cache.get("a", start + 60 * second), cache.get("b", start + 60 * second)), (None, Some(2)));
        cache.put("a", 3, start + 60 * second);
        cache.put("c", 4, start + 60 * second);
        let found = ["a", "b", "c"].map(|id| cache.get(id, start + 60 * second));
        assert_eq!(found, [Some(3), None, Some(4)]);
    }
}
