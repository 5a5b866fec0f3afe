//! Durations, sizes and whole numbers. Their limits and defaults are part of the type, so that
//! parser, error messages and schema cannot disagree.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};

use super::words::{Spelling, SpellingVisitor, spelled};

pub(super) const SECOND: u64 = 1_000;
pub(super) const MINUTE: u64 = 60 * SECOND;
pub(super) const HOUR: u64 = 60 * MINUTE;
pub(super) const DAY: u64 = 24 * HOUR;
pub(super) const KIB: u64 = 1 << 10;
pub(super) const MIB: u64 = 1 << 20;
pub(super) const GIB: u64 = 1 << 30;
pub(super) const TIB: u64 = 1 << 40;

/// A type with an order, so that fields of different types can be compared.
pub(super) trait Amount: Default + fmt::Display {
    fn amount(&self) -> u64;
}

/// A duration with its limits and default in milliseconds.
pub(super) struct Period<const MIN: u64, const MAX: u64, const DEFAULT: u64>(pub(super) Duration);

impl<const MIN: u64, const MAX: u64, const DEFAULT: u64> Spelling for Period<MIN, MAX, DEFAULT> {
    const NOUN: &'static str = "duration";

    fn expected() -> String {
        let [min, max, default] = [MIN, MAX, DEFAULT].map(period);
        format!("a duration from {min} to {max} such as \"{default}\"")
    }

    fn spelled(text: &str) -> Option<Self> {
        let duration = humantime::parse_duration(text).ok()?;
        let allowed = Duration::from_millis(MIN)..=Duration::from_millis(MAX);
        allowed.contains(&duration).then_some(Self(duration))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "default": period(DEFAULT) })
    }
}

impl<const MIN: u64, const MAX: u64, const DEFAULT: u64> Default for Period<MIN, MAX, DEFAULT> {
    fn default() -> Self {
        Self(Duration::from_millis(DEFAULT))
    }
}

impl<const MIN: u64, const MAX: u64, const DEFAULT: u64> Amount for Period<MIN, MAX, DEFAULT> {
    /// Nanoseconds; the longest limit is 30 days.
    fn amount(&self) -> u64 {
        u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX)
    }
}

impl<const MIN: u64, const MAX: u64, const DEFAULT: u64> fmt::Display for Period<MIN, MAX, DEFAULT> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

spelled!(Period<MIN, MAX, DEFAULT>; const MIN: u64, const MAX: u64, const DEFAULT: u64);

/// Writes a duration as in a manifest.
fn period(ms: u64) -> String {
    humantime::format_duration(Duration::from_millis(ms)).to_string()
}

/// A number of bytes with its limits and default.
pub(super) struct Size<const MIN: u64, const MAX: u64, const DEFAULT: u64>(pub(super) u64);

impl<const MIN: u64, const MAX: u64, const DEFAULT: u64> Spelling for Size<MIN, MAX, DEFAULT> {
    const NOUN: &'static str = "size";

    fn expected() -> String {
        let [min, max, default] = [MIN, MAX, DEFAULT].map(size);
        format!("a size from {min} to {max} such as \"{default}\"")
    }

    fn spelled(text: &str) -> Option<Self> {
        let bytes = text.parse::<bytesize::ByteSize>().ok()?.as_u64();
        (MIN..=MAX).contains(&bytes).then_some(Self(bytes))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "default": size(DEFAULT) })
    }
}

impl<const MIN: u64, const MAX: u64, const DEFAULT: u64> Default for Size<MIN, MAX, DEFAULT> {
    fn default() -> Self {
        Self(DEFAULT)
    }
}

impl<const MIN: u64, const MAX: u64, const DEFAULT: u64> Amount for Size<MIN, MAX, DEFAULT> {
    fn amount(&self) -> u64 {
        self.0
    }
}

impl<const MIN: u64, const MAX: u64, const DEFAULT: u64> fmt::Display for Size<MIN, MAX, DEFAULT> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&size(self.0))
    }
}

spelled!(Size<MIN, MAX, DEFAULT>; const MIN: u64, const MAX: u64, const DEFAULT: u64);

/// Writes a size as in a manifest, in the largest unit that gives a whole number.
fn size(bytes: u64) -> String {
    let units = [(TIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", bytes / unit),
        None => format!("{bytes}B"),
    }
}

/// The default of a [`Whole`] that has none.
pub(super) const NO_DEFAULT: u64 = u64::MAX;

/// The largest number in TOML.
pub(super) const NO_MAXIMUM: u64 = i64::MAX as u64;

/// A whole number with its limits and default.
pub(super) struct Whole<const MIN: u64, const MAX: u64, const DEFAULT: u64>(pub(super) u64);

impl<const MIN: u64, const MAX: u64, const DEFAULT: u64> Default for Whole<MIN, MAX, DEFAULT> {
    fn default() -> Self {
        Self(DEFAULT)
    }
}

impl<const MIN: u64, const MAX: u64, const DEFAULT: u64> Amount for Whole<MIN, MAX, DEFAULT> {
    fn amount(&self) -> u64 {
        self.0
    }
}

impl<const MIN: u64, const MAX: u64, const DEFAULT: u64> fmt::Display for Whole<MIN, MAX, DEFAULT> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<const MIN: u64, const MAX: u64, const DEFAULT: u64> Visitor<'_> for Whole<MIN, MAX, DEFAULT> {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match MAX {
            NO_MAXIMUM => write!(f, "a whole number from {MIN} on"),
            _ => write!(f, "a whole number from {MIN} to {MAX}"),
        }
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self, E> {
        match u64::try_from(number) {
            Ok(number) if (MIN..=MAX).contains(&number) => Ok(Self(number)),
            _ => Err(E::invalid_value(serde::de::Unexpected::Signed(number), &self)),
        }
    }
}

impl<'de, const MIN: u64, const MAX: u64, const DEFAULT: u64> Deserialize<'de> for Whole<MIN, MAX, DEFAULT> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_i64(Self::default())
    }
}

impl<const MIN: u64, const MAX: u64, const DEFAULT: u64> JsonSchema for Whole<MIN, MAX, DEFAULT> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "whole number".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut schema = json_schema!({ "type": "integer", "minimum": MIN, "maximum": MAX });
        if DEFAULT != NO_DEFAULT {
            schema.insert("default".to_owned(), DEFAULT.into());
        }
        schema
    }
}
