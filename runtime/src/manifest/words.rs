//! The words of the manifest: types that are written as one string. Each type has its spelling, limits and default,
//! so that parser, error messages and schema cannot disagree.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};

use super::brokers::addresses;
use super::diagnostic::{either, nearest};
use super::hosts::{AllowedHost, Network};
use super::urls::{Endpoint, Queue};
use super::{Component, Member, Name, OnExhausted, Ordering};

/// A type that is written as a string.
pub(super) trait Spelling: Sized {
    /// Its name in an error.
    const NOUN: &'static str;
    /// All words that it can be, if there is a list.
    const WORDS: &'static [&'static str] = &[];

    /// Completes "expected …".
    fn expected() -> String;
    fn spelled(text: &str) -> Option<Self>;
    fn schema() -> Schema;
}

pub(super) struct SpellingVisitor<T>(pub(super) PhantomData<T>);

impl<T: Spelling> Visitor<'_> for SpellingVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&T::expected())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        T::spelled(text).ok_or_else(|| {
            let hint = match nearest(text, T::WORDS.iter().copied()) {
                Some(word) => format!("; did you mean \"{word}\"?"),
                None => String::new(),
            };
            E::custom(format!("invalid {}, expected {}{hint}", T::NOUN, T::expected()))
        })
    }
}

/// Makes serde and schemars use a type's [`Spelling`].
macro_rules! spelled {
    ($type:ty $(; $($generics:tt)*)?) => {
        impl<'de, $($($generics)*)?> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(SpellingVisitor(PhantomData))
            }
        }

        impl<$($($generics)*)?> JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                <Self as Spelling>::NOUN.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                <Self as Spelling>::schema()
            }
        }
    };
}

pub(super) use spelled;

/// Gives each value of an enum a word. The default comes first.
macro_rules! choice {
    ($type:ty: $($word:literal => $value:expr),+) => {
        impl Spelling for $type {
            const NOUN: &'static str = "word";
            const WORDS: &'static [&'static str] = &[$($word),+];

            fn expected() -> String {
                either(Self::WORDS)
            }

            fn spelled(text: &str) -> Option<Self> {
                match text {
                    $($word => Some($value),)+
                    _ => None,
                }
            }

            fn schema() -> Schema {
                json_schema!({ "type": "string", "enum": Self::WORDS, "default": Self::WORDS[0] })
            }
        }

        spelled!($type);
    };
}

choice!(OnExhausted: "dead-letter" => Self::DeadLetter, "pause" => Self::Pause, "skip" => Self::Skip);
choice!(Ordering: "key" => Self::Key, "partition" => Self::Partition, "none" => Self::None);
choice!(Member: "dynamic" => Self::Dynamic, "static" => Self::Static);

/// The words for [`super::Reuse`].
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum ReuseWord {
    #[default]
    Pooled,
    Fresh,
}

choice!(ReuseWord: "pooled" => Self::Pooled, "fresh" => Self::Fresh);

/// The words for [`super::Delivery`], including those that only a later version will support.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum DeliveryWord {
    #[default]
    AtLeastOnce,
    Later,
}

choice!(DeliveryWord:
    "at-least-once" => Self::AtLeastOnce,
    "exactly-once" => Self::Later,
    "at-most-once" => Self::Later
);

impl Spelling for Name {
    const NOUN: &'static str = "name";

    fn expected() -> String {
        "a name: 1 to 63 of a-z, 0-9 and '-', the first one a letter".to_owned()
    }

    fn spelled(text: &str) -> Option<Self> {
        Self::new(text).ok()
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^[a-z][a-z0-9-]{0,62}$" })
    }
}

spelled!(Name);

/// The name of a Kafka topic.
pub(super) struct Topic(pub(super) String);

impl Spelling for Topic {
    const NOUN: &'static str = "topic name";

    fn expected() -> String {
        "a topic name: 1 to 249 of a-z, A-Z, 0-9, '.', '_' and '-', and not \".\" or \"..\"".to_owned()
    }

    fn spelled(text: &str) -> Option<Self> {
        let legal = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        let named = (1..=249).contains(&text.len()) && text.bytes().all(legal);
        (named && text != "." && text != "..").then(|| Self(text.to_owned()))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^[a-zA-Z0-9._-]{1,249}$" })
    }
}

spelled!(Topic);

/// The name of a consumer group.
pub(super) struct Group(pub(super) String);

impl Spelling for Group {
    const NOUN: &'static str = "group";

    fn expected() -> String {
        "the name of a consumer group: 1 to 249 characters, none of them a control character".to_owned()
    }

    fn spelled(text: &str) -> Option<Self> {
        let named = (1..=249).contains(&text.chars().count()) && !text.contains(char::is_control);
        named.then(|| Self(text.to_owned()))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "maxLength": 249 })
    }
}

spelled!(Group);

/// Addresses of brokers, in the form in which librdkafka takes them.
pub(super) struct Brokers(pub(super) String);

impl Spelling for Brokers {
    const NOUN: &'static str = "list of brokers";

    fn expected() -> String {
        "host:port, several separated by commas, such as \"kafka-1:9092,kafka-2:9092\"".to_owned()
    }

    fn spelled(text: &str) -> Option<Self> {
        addresses(text).map(|_| Self(text.trim().to_owned()))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "examples": ["kafka-1:9092,kafka-2:9092"] })
    }
}

spelled!(Brokers);

/// An address to listen on.
pub(super) struct Listen(pub(super) SocketAddr);

/// The default address of the admin server.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7070);

impl Default for Listen {
    fn default() -> Self {
        Self(LISTEN)
    }
}

impl Spelling for Listen {
    const NOUN: &'static str = "address";

    fn expected() -> String {
        format!("an IP address and a port such as \"{LISTEN}\" or \"[::]:7070\"")
    }

    fn spelled(text: &str) -> Option<Self> {
        let local = text.strip_prefix("localhost:");
        let text = local.map_or(text.to_owned(), |port| format!("{}:{port}", Ipv4Addr::LOCALHOST));
        text.parse().ok().map(Self)
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "default": LISTEN.to_string() })
    }
}

spelled!(Listen);

/// A path in the file system, relative to the folder of the manifest or absolute.
pub(super) struct FilePath(pub(super) PathBuf);

impl Spelling for FilePath {
    const NOUN: &'static str = "path";

    fn expected() -> String {
        "a path, relative to the folder of the manifest".to_owned()
    }

    fn spelled(text: &str) -> Option<Self> {
        (!text.is_empty() && !text.contains('\0')).then(|| Self(text.into()))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "minLength": 1 })
    }
}

spelled!(FilePath);

/// A region of AWS, or what another store calls one.
pub(super) struct Region(pub(super) String);

impl Spelling for Region {
    const NOUN: &'static str = "region";

    fn expected() -> String {
        "a region: 1 to 63 of a-z, A-Z, 0-9, '_' and '-', such as \"eu-central-1\"".to_owned()
    }

    fn spelled(text: &str) -> Option<Self> {
        let legal = |b: u8| b.is_ascii_alphanumeric() || b"_-".contains(&b);
        let named = (1..=63).contains(&text.len()) && text.bytes().all(legal);
        named.then(|| Self(text.to_owned()))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^[a-zA-Z0-9_-]{1,63}$", "examples": ["eu-central-1"] })
    }
}

spelled!(Region);

/// The name of an environment variable of this node.
pub(super) struct Variable(pub(super) String);

impl Spelling for Variable {
    const NOUN: &'static str = "variable";

    fn expected() -> String {
        "the name of an environment variable such as \"API_KEY\"".to_owned()
    }

    fn spelled(text: &str) -> Option<Self> {
        (!text.is_empty() && !text.contains(['=', '\0'])).then(|| Self(text.to_owned()))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "minLength": 1 })
    }
}

spelled!(Variable);

/// Makes serde and schemars read a type by its [`FromStr`], whose error is `<what it is>, expected
/// <what it should be>`.
macro_rules! entry {
    ($type:ty, $noun:literal, $schema:expr) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(EntryVisitor($noun, PhantomData))
            }
        }

        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                $noun.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

struct EntryVisitor<T>(&'static str, PhantomData<T>);

impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for EntryVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

entry!(
    AllowedHost,
    "a host with its scheme such as \"https://api.example.com\"",
    json_schema!({ "type": "string", "pattern": "^[hH][tT][tT][pP][sS]?://[^/?#@\\\\]+/?$" })
);
entry!(
    Network,
    "a network such as \"10.0.0.0/8\"",
    json_schema!({ "type": "string", "pattern": "^[0-9a-fA-F.:]+(/[0-9]{1,3})?$" })
);
entry!(
    Component,
    "the path of a file, or an object in S3 such as \"s3://bucket/path/name.wasm\"",
    json_schema!({ "type": "string", "minLength": 1, "examples": ["functions/name.wasm", "s3://bucket/path/name.wasm"] })
);
entry!(
    Endpoint,
    "a URL such as \"http://localhost:9000\"",
    json_schema!({ "type": "string", "pattern": "^[hH][tT][tT][pP][sS]?://[^/?#@\\\\\\s][^?#\\\\\\s]*$" })
);
entry!(
    Queue,
    "the URL of a queue such as \"https://sqs.eu-central-1.amazonaws.com/123456789012/tidegate\"",
    json_schema!({ "type": "string", "pattern": "^[hH][tT][tT][pP][sS]?://[^/?#@\\\\\\s]+/[^?#\\\\\\s]+$" })
);
