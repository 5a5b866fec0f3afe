//! The records that are fed in, and what the function does with each.
//!
//! What a record's fate is stands in its value, for whoever reads a history; the simulated function
//! looks it up by the number at the beginning of the value.

use std::fmt;
use std::time::Duration;

use super::time::ms;

/// Topics of every history, in the order of [`Place::topic`](super::topics::Place): what is read,
/// then what is written.
pub const TOPICS: [&str; 5] = ["orders", "returns", "out", "audit", "dead"];
/// How many of [`TOPICS`] are read, at most.
pub const INPUTS: usize = 2;
pub const OUT: usize = 2;
pub const AUDIT: usize = 3;
pub const DEAD: usize = 4;

/// What the function does with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Ok,
    /// Asks for another try until it has been tried so often.
    RetryUntil(u32),
    AlwaysRetry,
    Reject,
    /// Breaks its whole call.
    Trap,
    /// Breaks its call until it has been tried so often.
    TrapUntil(u32),
    /// Emits a message that the broker refuses for good.
    TooLarge,
    /// The client cannot read it whole: the function must not see it.
    Unreadable,
}

/// A record of the load.
#[derive(Clone, Debug)]
pub struct Item {
    pub at: Duration,
    pub topic: usize,
    pub partition: i32,
    /// `None`: a null key.
    pub key: Option<u32>,
    pub fate: Fate,
    /// How long the function takes for it.
    pub takes: Duration,
    /// The topics that it emits a message to, in order.
    pub messages: Vec<usize>,
    /// Offsets without records in front of it.
    pub gap: i64,
    /// Bytes that its value is filled up with, and those of a header.
    pub padding: usize,
    pub header_bytes: usize,
    /// Its messages are as large as it is.
    pub copied: bool,
}

impl Item {
    pub fn key_bytes(&self) -> Option<Vec<u8>> {
        self.key.map(|key| format!("k{key}").into_bytes())
    }

    pub fn value(&self, id: usize) -> Vec<u8> {
        format!("{id} {self}{}", ".".repeat(self.padding)).into_bytes()
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fate {
            Fate::Ok => write!(f, "ok")?,
            Fate::RetryUntil(tries) => write!(f, "retries until try {tries}")?,
            Fate::AlwaysRetry => write!(f, "always retries")?,
            Fate::Reject => write!(f, "is rejected")?,
            Fate::Trap => write!(f, "traps")?,
            Fate::TrapUntil(tries) => write!(f, "traps until try {tries}")?,
            Fate::TooLarge => write!(f, "emits too large a message")?,
            Fate::Unreadable => write!(f, "cannot be read")?,
        }
        for &topic in &self.messages {
            write!(f, " > {}", TOPICS[topic])?;
        }
        Ok(())
    }
}

/// The number at the beginning of a value.
pub fn id_of(value: &[u8]) -> Option<usize> {
    let digits = value.split(|byte| *byte == b' ').next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// How a load is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub records: usize,
    pub inputs: usize,
    /// Of each input topic.
    pub partitions: i32,
    pub keys: u32,
    /// Of a hundred records so many fail in some way.
    pub failing: u32,
    /// Of the failing ones so many ask for a retry for ever. A few of them can hold much up.
    pub hopeless: u32,
    /// Of a hundred records so many have gaps in front of them.
    pub gaps: u32,
    pub slow: bool,
    pub over: Duration,
}

impl Shape {
    pub fn draw(rng: &mut fastrand::Rng) -> Self {
        let failing = [0, 0, 3, 10, 30, 90][rng.usize(..6)];
        let records = if rng.u32(..4) == 0 { rng.usize(150..300) } else { rng.usize(30..150) };
        Self {
            // Many failing ones take long: the trigger only probes.
            records: if failing >= 30 { records.min(60) } else { records },
            inputs: if rng.u32(..4) == 0 { 2 } else { 1 },
            partitions: rng.i32(1..=6),
            keys: [1, 3, 10, 50, 1_000][rng.usize(..5)],
            failing,
            hopeless: [0, 10, 50][rng.usize(..3)],
            gaps: [0, 0, 10, 100][rng.usize(..4)],
            slow: rng.bool(),
            over: ms(rng.u64(100..25_000)),
        }
    }

    pub fn items(&self, rng: &mut fastrand::Rng) -> Vec<Item> {
        let mut items: Vec<Item> = (0..self.records).map(|_| self.item(rng)).collect();
        items.sort_by_key(|item| item.at);
        items
    }

    fn item(&self, rng: &mut fastrand::Rng) -> Item {
        let fate = if rng.u32(..100) < self.failing { self.failure(rng) } else { Fate::Ok };
        let messages = match rng.u32(..20) {
            0..3 => Vec::new(),
            3..14 => vec![OUT],
            14..17 => vec![OUT, AUDIT],
            17 => vec![AUDIT],
            18 => vec![OUT, OUT, OUT],
            _ => vec![OUT; rng.usize(4..12)],
        };
        let slow = self.slow && rng.u32(..5) == 0;
        Item {
            // A backlog first, then a stream.
            at: if rng.u32(..3) == 0 { Duration::ZERO } else { self.over.mul_f64(rng.f64()) },
            topic: rng.usize(..self.inputs),
            // Keys move to partitions as a keyed producer would have put them, see below.
            partition: 0,
            key: (rng.u32(..15) > 0).then(|| rng.u32(..self.keys)),
            fate,
            takes: if slow { ms(rng.u64(1..200)) } else { Duration::from_micros(rng.u64(5..300)) },
            messages: if fate == Fate::TooLarge && messages.is_empty() { vec![OUT] } else { messages },
            gap: if rng.u32(..100) < self.gaps { [1, 2, 40, 100_000][rng.usize(..4)] } else { 0 },
            padding: if rng.u32(..10) == 0 { rng.usize(..2_000) } else { rng.usize(..50) },
            header_bytes: 1,
            copied: false,
        }
        .placed(self.partitions, rng)
    }

    fn failure(&self, rng: &mut fastrand::Rng) -> Fate {
        if rng.u32(..100) < self.hopeless {
            return Fate::AlwaysRetry;
        }
        match rng.u32(..12) {
            0..4 => Fate::RetryUntil(rng.u32(2..5)),
            4..7 => Fate::Reject,
            7 => Fate::Trap,
            8 => Fate::TrapUntil(rng.u32(2..4)),
            9 => Fate::TooLarge,
            10 => Fate::Unreadable,
            _ => Fate::RetryUntil(2),
        }
    }
}

impl Item {
    /// Leaves out what only a driver with all its parts can cope with.
    pub fn make_plain(&mut self) {
        if matches!(self.fate, Fate::TooLarge | Fate::Trap | Fate::TrapUntil(_)) {
            self.fate = Fate::Reject;
        }
        self.takes = self.takes.min(ms(20));
    }

    fn placed(mut self, partitions: i32, rng: &mut fastrand::Rng) -> Self {
        self.partition = match self.key {
            // Some other spread than that of the outputs, so that partitions mix.
            Some(key) => (key.wrapping_mul(2_654_435_761) >> 16) as i32 % partitions,
            None => rng.i32(0..partitions),
        };
        self
    }
}
