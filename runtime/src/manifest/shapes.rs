//! Values that can be written in more than one way.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use toml::value::{Datetime, Offset};

use super::field::Field;
use super::words::{FilePath, Spelling, Topic};
use super::{Name, Start};

/// The value of a property. librdkafka takes text, but numbers and booleans need no quotes in the manifest.
pub(super) struct Scalar(pub(super) String);

struct ScalarVisitor;

impl Visitor<'_> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a string; a key with a dot in it needs quotes: \"client.rack\" = \"a\"")
    }

    fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar(text.to_owned()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Scalar, E> {
        Ok(Scalar(number.to_string()))
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Scalar, E> {
        Ok(Scalar(truth.to_string()))
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

impl JsonSchema for Scalar {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "scalar".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "integer", "boolean"] })
    }
}

/// `"topic"` or `{ cluster = "other", topic = "topic" }`.
pub(super) enum RawOutput {
    Topic(Topic),
    Elsewhere(RawElsewhere),
}

/// An output topic on a cluster that is named.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(
    default,
    deny_unknown_fields,
    rename_all = "kebab-case",
    expecting = "{ cluster = \"other\", topic = \"topic\" }"
)]
#[schemars(extend("required" = ["topic"]))]
pub(super) struct RawElsewhere {
    /// The cluster to write to. Without it: the one that the trigger reads from.
    pub cluster: Field<Name>,
    /// The topic. Required.
    pub topic: Field<Topic>,
}

struct OutputVisitor;

impl<'de> Visitor<'de> for OutputVisitor {
    type Value = RawOutput;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("\"topic\" or { cluster = \"other\", topic = \"topic\" }")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<RawOutput, E> {
        let invalid = || E::custom(format!("invalid topic name, expected {}", Topic::expected()));
        Topic::spelled(text).map(RawOutput::Topic).ok_or_else(invalid)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawOutput, A::Error> {
        RawElsewhere::deserialize(MapAccessDeserializer::new(map)).map(RawOutput::Elsewhere)
    }
}

impl<'de> Deserialize<'de> for RawOutput {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OutputVisitor)
    }
}

impl JsonSchema for RawOutput {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "output".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let elsewhere = generator.subschema_for::<RawElsewhere>();
        json_schema!({ "anyOf": [Topic::schema(), elsewhere] })
    }
}

/// `"path"` or `{ path = "path", write = true }`.
pub(super) enum RawFolder {
    Path(FilePath),
    Table(RawFolderTable),
}

/// A folder that may be writable.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(
    default,
    deny_unknown_fields,
    rename_all = "kebab-case",
    expecting = "\"path\" or { path = \"path\", write = true }"
)]
#[schemars(extend("required" = ["path"]))]
pub(super) struct RawFolderTable {
    /// The folder, relative to the folder of the manifest. Required.
    pub path: Field<FilePath>,
    /// Whether the function may change what is in it. It may not, if nothing is said.
    pub write: Field<bool>,
}

struct FolderVisitor;

impl<'de> Visitor<'de> for FolderVisitor {
    type Value = RawFolder;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("\"path\" or { path = \"path\", write = true }")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<RawFolder, E> {
        let invalid = || E::custom(format!("invalid path, expected {}", FilePath::expected()));
        FilePath::spelled(text).map(RawFolder::Path).ok_or_else(invalid)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawFolder, A::Error> {
        RawFolderTable::deserialize(MapAccessDeserializer::new(map)).map(RawFolder::Table)
    }
}

impl<'de> Deserialize<'de> for RawFolder {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FolderVisitor)
    }
}

impl JsonSchema for RawFolder {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "folder".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let table = generator.subschema_for::<RawFolderTable>();
        json_schema!({ "anyOf": [FilePath::schema(), table] })
    }
}

const START: &str = "\"earliest\", \"latest\", a time such as \"2026-01-31T00:00:00Z\", \
                     or offsets by partition such as { 0 = 1234 }";

/// TOML has times of its own, so a time needs no quotes.
impl<'de> Deserialize<'de> for Start {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let start = match toml::Value::deserialize(deserializer)? {
            toml::Value::String(text) if text == "earliest" => Some(Self::Earliest),
            toml::Value::String(text) if text == "latest" => Some(Self::Latest),
            toml::Value::String(text) => text.parse().ok().and_then(timestamp),
            toml::Value::Datetime(time) => timestamp(time),
            toml::Value::Table(table) => offsets(&table),
            _ => None,
        };
        start.ok_or_else(|| D::Error::custom(format!("invalid start, expected {START}")))
    }
}

impl JsonSchema for Start {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "start".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "default": "earliest",
            "anyOf": [
                { "type": "string", "enum": ["earliest", "latest"] },
                { "type": "string", "format": "date-time" },
                {
                    "type": "object",
                    "patternProperties": { "^[0-9]+$": { "type": "integer", "minimum": 0 } },
                    "additionalProperties": false,
                    "minProperties": 1,
                },
            ],
        })
    }
}

/// A point in time. It needs a date, a time and an offset from UTC, and must not lie before 1970.
fn timestamp(time: Datetime) -> Option<Start> {
    let east_minutes = match time.offset? {
        Offset::Z => 0,
        Offset::Custom { minutes } => i64::from(minutes),
    };
    let utc = Datetime { offset: Some(Offset::Z), ..time };
    let utc = humantime::parse_rfc3339(&utc.to_string()).ok()?;
    let since_1970 = utc.duration_since(std::time::UNIX_EPOCH).ok()?;
    let millis = i64::try_from(since_1970.as_millis()).ok()? - east_minutes * 60_000;
    (millis >= 0).then_some(Start::Timestamp { millis })
}

fn offsets(table: &toml::Table) -> Option<Start> {
    let mut offsets = BTreeMap::new();
    for (partition, offset) in table {
        let partition = partition.parse::<i32>().ok().filter(|partition| *partition >= 0)?;
        let offset = offset.as_integer().filter(|offset| *offset >= 0)?;
        offsets.insert(partition, offset);
    }
    (!offsets.is_empty()).then_some(Start::Offsets(offsets))
}
