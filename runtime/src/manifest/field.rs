//! A value of the manifest as it was found: absent, broken, or given; and where.
//!
//! Serde stops at its first error. A [`Field`] keeps an error as a value, so that one pass finds all errors. A check
//! can tell "not given" from "given but broken", and says nothing about consequences of the latter.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::ops::Deref;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_spanned::Spanned;

use super::Name;
use super::diagnostic::{Diagnostic, Report, Span};

/// A value and its place.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) span: Span,
    pub(super) value: T,
}

impl<T> At<T> {
    pub(super) fn new(span: &Span, value: T) -> Self {
        Self { span: span.clone(), value }
    }

    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> At<U> {
        At { span: self.span, value: change(self.value) }
    }
}

/// The value of a key.
#[derive(Default)]
pub(super) enum Field<T> {
    /// The key is not there.
    #[default]
    Absent,
    /// The value does not fit. The message is serde's: `<what it is>, expected <what it should be>`.
    Broken(At<String>),
    Given(At<T>),
}

impl<T> Field<T> {
    /// The value. An error is reported if it is broken.
    pub(super) fn given(self, report: &mut Report) -> Option<At<T>> {
        match self {
            Self::Absent => None,
            Self::Given(at) => Some(at),
            Self::Broken(at) => {
                let (title, label) = explain(&at.value);
                report.add(Diagnostic::new(&at.span, title, label));
                None
            }
        }
    }

    /// The value. An error is reported if it is broken or absent. If it is absent, the error stands under `owner`, the
    /// name of its table, with an example of what to write.
    pub(super) fn required(self, what: &str, owner: &At<Name>, example: &str, report: &mut Report) -> Option<At<T>> {
        if self.is_absent() {
            let title = format!("`{}` has no `{what}`", owner.value);
            let label = format!("needs `{what}`");
            let help = format!("add {example}");
            report.add(Diagnostic::new(&owner.span, title, label).help(help));
        }
        self.given(report)
    }

    /// The value, or the default of its type if it is absent or broken. An error is reported if it is broken.
    pub(super) fn or_default(self, report: &mut Report) -> T
    where
        T: Default,
    {
        self.given(report).map(|at| at.value).unwrap_or_default()
    }

    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    pub(super) fn is_broken(&self) -> bool {
        matches!(self, Self::Broken(_))
    }
}

/// Splits serde's message into title and label. Quoted values are cut off, see [`super::diagnostic`].
fn explain(message: &str) -> (String, String) {
    let (found, label) = match message.rfind(", expected ") {
        Some(at) => (&message[..at], message[at + 2..].trim_end()),
        None => (message.trim_end(), ""),
    };
    let title = found.split(['`', '"']).next().unwrap_or(found);
    let title = title.trim_end().replace("map", "table").replace("sequence", "array");
    let label = label.replace("expected a map", "expected a table");
    (title, label.replace("expected a sequence", "expected an array in brackets"))
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Attempt<T>>::deserialize(deserializer)?;
        let span = spanned.span();
        Ok(match spanned.into_inner().0 {
            Ok(value) => Self::Given(At { span, value }),
            Err(value) => Self::Broken(At { span, value }),
        })
    }
}

/// A deserialized `T`, or the error message.
struct Attempt<T>(Result<T, String>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Attempt<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = T::deserialize(NoArray(deserializer));
        Ok(Self(value.map_err(|error| error.to_string())))
    }
}

/// Serde also reads a struct from an array of its values. This wrapper allows only a table.
struct NoArray<D>(D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for NoArray<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_struct(name, fields, OnlyTable(visitor))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// Refuses everything except a table, with the message of the inner visitor.
struct OnlyTable<V>(V);

impl<'de, V: Visitor<'de>> Visitor<'de> for OnlyTable<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(map)
    }
}

/// In the schema a field looks like its value.
impl<T: JsonSchema> JsonSchema for Field<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// A key that the author of the manifest chose.
#[derive(Clone)]
pub(super) struct Key(At<String>);

impl Deref for Key {
    type Target = At<String>;

    fn deref(&self) -> &At<String> {
        &self.0
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.value.cmp(&other.value)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<String>::deserialize(deserializer)?;
        Ok(Self(At { span: spanned.span(), value: spanned.into_inner() }))
    }
}

impl JsonSchema for Key {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        String::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        str::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        String::json_schema(generator)
    }
}
