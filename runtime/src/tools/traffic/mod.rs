//! Numbered records: what `tidegate produce` makes and `tidegate consume --verify` checks.
//!
//! A *run* is what one command produced. Its records are numbered from 0, and keys take turns: record
//! `n` of a run with `k` keys has the key `key-{n mod k}` and is the `n div k`-th of it, from 0. So
//! run, number and number of keys tell all that order and loss can be judged by.
//!
//! A record carries them twice, so that they survive most functions:
//!
//! - in the header [`HEADER`], as `run=3kf90a2m number=20342 keys=100 count=50000`. Functions that
//!   leave the headers as they are may make of the value what they like.
//! - in the value, which is a JSON object of the wanted size:
//!   `{"run":"3kf90a2m","number":20342,"keys":100,"count":50000,"filler":"…"}`. Functions that leave
//!   the value as it is, or write these members again, may drop the headers and change the key. A
//!   value of less than [`NUMBERED_BYTES`] is filler alone.
//!
//! The header counts where both are. `count` is how many records the run has, left out if that was
//! not known when it began.
//!
//! All of this is pure: no IO, no clock. Time and random numbers are arguments.

mod numbers;
mod pace;
mod seen;
mod verify;

pub use numbers::{MAX_SIZE_BYTES, NumberedRecord, Numbers, Size};
pub use pace::Pace;
pub use verify::{Place, Scope, Summary, TooMuch, Verifier};

use std::fmt;

use crate::record::Record;

/// The header that carries a record's number.
pub const HEADER: &str = "numbered-record";

/// The smallest value that carries its number too.
pub const NUMBERED_BYTES: usize = 128;

/// The most keys of a run: a checker keeps a place in memory for each of them.
pub const MAX_KEYS: u32 = 1_000_000;

/// The largest count of a run, far beyond what a topic holds.
pub const MAX_RECORDS: u64 = 1 << 48;

/// What a numbered record carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Number {
    pub run: Run,
    /// From 0, less than [`MAX_RECORDS`].
    pub number: u64,
    /// How many keys the run has, from 1 to [`MAX_KEYS`].
    pub keys: u32,
    /// How many records the run has, if that was known.
    pub count: Option<u64>,
}

/// The name of a run: 8 of `a-z` and `0-9`, upper case taken as lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Run([u8; RUN_BYTES]);

const RUN_BYTES: usize = 8;

impl Run {
    /// A new name, which no other run is likely to have.
    pub fn random(rng: &mut fastrand::Rng) -> Self {
        const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
        Self(std::array::from_fn(|_| DIGITS[rng.usize(..DIGITS.len())]))
    }

    /// Reads a name. `None`: the text is not a name.
    pub fn read(text: &str) -> Option<Self> {
        let bytes: [u8; RUN_BYTES] = text.as_bytes().try_into().ok()?;
        bytes.iter().all(u8::is_ascii_alphanumeric).then(|| Self(bytes.map(|byte| byte.to_ascii_lowercase())))
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|&byte| fmt::Write::write_char(f, char::from(byte)))
    }
}

impl Number {
    /// The number of its key.
    pub fn key(&self) -> u32 {
        // Less than `keys`, which is 32 bits.
        (self.number % u64::from(self.keys)) as u32
    }

    /// Which record of its key it is, from 0.
    pub fn within_key(&self) -> u64 {
        self.number / u64::from(self.keys)
    }

    /// Reads the number of a record. `None`: the record is not numbered.
    pub fn of(record: &impl Record) -> Option<Self> {
        let header = record.headers().find(|header| header.name == HEADER.as_bytes());
        match header.and_then(|header| Self::from_header(header.value?)) {
            Some(number) => Some(number),
            None => Self::from_value(record.value()?),
        }
    }

    /// The value of the header.
    pub fn header(&self) -> String {
        let Self { run, number, keys, count } = self;
        let count = count.map(|count| format!(" count={count}")).unwrap_or_default();
        format!("run={run} number={number} keys={keys}{count}")
    }

    fn from_header(value: &[u8]) -> Option<Self> {
        let mut words = std::str::from_utf8(value).ok()?.split(' ');
        let mut next = |name: &str| words.next()?.strip_prefix(name)?.strip_prefix('=');
        let (run, number, keys) = (next("run")?, next("number")?, next("keys")?);
        let number = Self {
            run: Run::read(run)?,
            number: number.parse().ok()?,
            keys: keys.parse().ok()?,
            count: match words.next() {
                Some(count) => Some(count.strip_prefix("count=")?.parse().ok()?),
                None => None,
            },
        };
        if words.next().is_some() { None } else { number.checked() }
    }

    fn from_value(value: &[u8]) -> Option<Self> {
        #[derive(serde::Deserialize)]
        struct Members<'a> {
            run: &'a str,
            number: u64,
            keys: u32,
            count: Option<u64>,
        }
        if value.first() != Some(&b'{') {
            return None;
        }
        let Members { run, number, keys, count } = serde_json::from_slice(value).ok()?;
        Self { run: Run::read(run)?, number, keys, count }.checked()
    }

    fn checked(self) -> Option<Self> {
        let is_good = (1..=MAX_KEYS).contains(&self.keys)
            && self.number < MAX_RECORDS
            && self.count.is_none_or(|count| count > self.number && count <= MAX_RECORDS);
        is_good.then_some(self)
    }
}

#[cfg(test)]
mod tests;
