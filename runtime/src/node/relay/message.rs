//! What nodes tell each other, as keys and values of the relay's topic. Pure.
//!
//! A key is text: `FLEET/KIND/NAME`. A value is JSON, and a record without a value takes back what the key
//! says. A newer node may write kinds and fields that this one does not know. It ignores them.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::manifest::Name;
use crate::record::revision::{Digest, Origin};

/// One record of the topic. `None` in place of a value: the record takes back what was said before.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    Hint(Hint),
    Node { name: String, status: Option<NodeStatus> },
    Abort { function: Name, abort: Option<Abort> },
    Rollout { function: Name, rollout: Option<Rollout> },
    Pause { trigger: Name, pause: Option<Pause> },
}

/// An object in S3 may have changed. This says only that it is worth a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    pub bucket: String,
    /// The key of the object. It may contain any character.
    pub key: String,
    /// The id that S3 gave to the version of the object.
    pub version: Option<String>,
    pub etag: Option<String>,
    /// When it was said, in milliseconds since 1970 by the clock of the sender.
    pub at_ms: i64,
    /// The node that said it.
    pub from: String,
}

/// What a node says about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    pub node: String,
    /// A random text that is another one after each start of the process.
    pub process: String,
    /// When it was said, in milliseconds since 1970 by the clock of the sender. It grows with each status of
    /// a process.
    pub at_ms: i64,
    /// The version of Tidegate.
    pub version: String,
    /// This is the last status of the process.
    #[serde(default)]
    pub stopping: bool,
    /// The state of the node. This module does not look at it.
    #[serde(default)]
    pub status: Value,
}

/// A revision must not serve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abort {
    pub digest: Digest,
    /// Which publication of the component it was.
    pub origin: Origin,
    #[serde(default)]
    pub reason: String,
    pub at_ms: i64,
    /// The node, or the person, that said it.
    pub from: String,
    /// Revisions of the function that were aborted before, the last one first. They must not serve either.
    #[serde(default)]
    pub earlier: Vec<Publication>,
}

/// A publication of a component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publication {
    pub digest: Digest,
    pub origin: Origin,
}

/// A revision is being rolled out, or has been. How its manifest says that this is done, see
/// [`crate::manifest::Rollout`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    pub digest: Digest,
    /// Which publication of the component it is.
    pub origin: Origin,
    /// When it was published, in milliseconds since 1970, if its source tells that. By it a node that has not heard of
    /// this publication knows that its own is older.
    #[serde(default)]
    pub published_ms: Option<i64>,
    /// When the first stage began, in milliseconds since 1970 by the clock of who said it.
    pub started_ms: i64,
    /// The stage that it is in, from 0.
    #[serde(default)]
    pub stage: u32,
    /// When that stage began.
    #[serde(default)]
    pub stage_started_ms: i64,
    /// The revision serves everything.
    #[serde(default)]
    pub promoted: bool,
    /// The node, or the person, that said it.
    pub from: String,
}

/// A trigger must not take records until it is resumed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    pub at_ms: i64,
    pub from: String,
    #[serde(default)]
    pub reason: String,
}

/// Why a record has no meaning for this node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ignored {
    /// Several fleets may share a topic.
    #[error("it belongs to another fleet")]
    OtherFleet,
    /// A hint that was taken back. There is nothing to do.
    #[error("it takes back a hint")]
    HintRemoved,
    #[error("its key is not FLEET/KIND/NAME")]
    Key,
    #[error("its kind is {0:?}, which this version does not know")]
    Kind(String),
    #[error("its key names {0:?}, which is not a valid name")]
    Name(String),
    #[error("its value is not valid: {0}")]
    Value(String),
}

impl Ignored {
    /// Whether such records belong in the topic.
    pub fn is_normal(&self) -> bool {
        matches!(self, Self::OtherFleet | Self::HintRemoved)
    }
}

/// The value of a hint.
#[derive(Serialize, Deserialize)]
struct HintValue {
    version: Option<String>,
    etag: Option<String>,
    at_ms: i64,
    from: String,
}

impl Message {
    /// Reads a record of a fleet.
    pub fn parse(fleet: &str, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Self, Ignored> {
        let key = key.and_then(|key| str::from_utf8(key).ok()).ok_or(Ignored::Key)?;
        let (its_fleet, rest) = key.split_once('/').ok_or(Ignored::Key)?;
        if its_fleet != fleet {
            return Err(Ignored::OtherFleet);
        }
        let (kind, name) = rest.split_once('/').ok_or(Ignored::Key)?;
        match kind {
            "hint" => hint(name, value),
            "node" => node(name, value),
            "abort" => Ok(Self::Abort { function: valid(name)?, abort: value.map(read).transpose()? }),
            "rollout" => Ok(Self::Rollout { function: valid(name)?, rollout: value.map(read).transpose()? }),
            "pause" => Ok(Self::Pause { trigger: valid(name)?, pause: value.map(read).transpose()? }),
            kind => Err(Ignored::Kind(kind.to_owned())),
        }
    }

    /// The key of the record.
    pub fn key(&self, fleet: &str) -> Vec<u8> {
        let key = match self {
            Self::Hint(hint) => format!("{fleet}/hint/{}/{}", hint.bucket, hint.key),
            Self::Node { name, .. } => format!("{fleet}/node/{name}"),
            Self::Abort { function, .. } => format!("{fleet}/abort/{function}"),
            Self::Rollout { function, .. } => format!("{fleet}/rollout/{function}"),
            Self::Pause { trigger, .. } => format!("{fleet}/pause/{trigger}"),
        };
        key.into_bytes()
    }

    /// The value of the record.
    pub fn value(&self) -> Option<Vec<u8>> {
        match self {
            Self::Hint(Hint { version, etag, at_ms, from, .. }) => Some(write(&HintValue {
                version: version.clone(),
                etag: etag.clone(),
                at_ms: *at_ms,
                from: from.clone(),
            })),
            Self::Node { status, .. } => status.as_ref().map(write),
            Self::Abort { abort, .. } => abort.as_ref().map(write),
            Self::Rollout { rollout, .. } => rollout.as_ref().map(write),
            Self::Pause { pause, .. } => pause.as_ref().map(write),
        }
    }
}

fn hint(name: &str, value: Option<&[u8]>) -> Result<Message, Ignored> {
    let (bucket, key) = name.split_once('/').ok_or(Ignored::Key)?;
    if bucket.is_empty() || key.is_empty() {
        return Err(Ignored::Key);
    }
    let HintValue { version, etag, at_ms, from } = read(value.ok_or(Ignored::HintRemoved)?)?;
    Ok(Message::Hint(Hint { bucket: bucket.to_owned(), key: key.to_owned(), version, etag, at_ms, from }))
}

fn node(name: &str, value: Option<&[u8]>) -> Result<Message, Ignored> {
    if name.is_empty() {
        return Err(Ignored::Name(String::new()));
    }
    let status: Option<NodeStatus> = value.map(read).transpose()?;
    match status {
        Some(status) if status.node != name => Err(Ignored::Value(format!("it is the status of {:?}", status.node))),
        status => Ok(Message::Node { name: name.to_owned(), status }),
    }
}

fn valid(name: &str) -> Result<Name, Ignored> {
    Name::new(name).map_err(|_| Ignored::Name(name.to_owned()))
}

fn read<T: DeserializeOwned>(value: &[u8]) -> Result<T, Ignored> {
    serde_json::from_slice(value).map_err(|error| Ignored::Value(error.to_string()))
}

/// Maps with keys that are not text cannot be written as JSON. No value here has one.
fn write(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).expect("a name")
    }

    fn parse(key: &str, value: &str) -> Result<Message, Ignored> {
        Message::parse("f", Some(key.as_bytes()), Some(value.as_bytes()))
    }

    #[test]
    fn a_message_is_read_as_it_is_written() {
        let digest = Digest::of(b"x");
        let origin = Origin::Version("v1".to_owned());
        let (from, reason) = ("n1".to_owned(), "it traps".to_owned());
        let hint = Hint {
            bucket: "b".to_owned(),
            key: "a//é\u{1}/f.wasm".to_owned(),
            version: Some("v".to_owned()),
            etag: None,
            at_ms: 5,
            from: from.clone(),
        };
        let status = NodeStatus {
            node: "n.1".to_owned(),
            process: "p".to_owned(),
            at_ms: 7,
            version: "0.1.0".to_owned(),
            stopping: true,
            status: json!({"a": [1]}),
        };
        let earlier = vec![Publication { digest: Digest::of(b"y"), origin: Origin::File }];
        let abort =
            Abort { digest, origin: origin.clone(), reason: reason.clone(), at_ms: 1, from: from.clone(), earlier };
        let (stage, promoted) = (2, true);
        let rollout = Rollout {
            digest,
            origin,
            published_ms: Some(1),
            started_ms: 1,
            stage,
            stage_started_ms: 3,
            promoted,
            from: from.clone(),
        };
        let pause = Pause { at_ms: 1, from, reason };
        for message in [
            Message::Hint(hint),
            Message::Node { name: "n.1".to_owned(), status: Some(status) },
            Message::Node { name: "n.1".to_owned(), status: None },
            Message::Abort { function: name("f"), abort: Some(abort) },
            Message::Abort { function: name("f"), abort: None },
            Message::Rollout { function: name("f"), rollout: Some(rollout) },
            Message::Rollout { function: name("f"), rollout: None },
            Message::Pause { trigger: name("t"), pause: Some(pause) },
            Message::Pause { trigger: name("t"), pause: None },
        ] {
            let (key, value) = (message.key("f"), message.value());
            assert_eq!(Message::parse("f", Some(&key), value.as_deref()), Ok(message));
        }
    }

    #[test]
    fn records_without_a_meaning_are_ignored_with_a_reason() {
        assert_eq!(Message::parse("f", None, None), Err(Ignored::Key));
        assert_eq!(Message::parse("f", Some(b"f/hint/\xff"), None), Err(Ignored::Key));
        assert_eq!(Message::parse("f", Some(b"f/hint/b/k"), None), Err(Ignored::HintRemoved));
        for key in ["", "f", "f/pause", "f/hint/b", "f/hint//k", "f/hint/b/"] {
            assert_eq!(parse(key, "{}"), Err(Ignored::Key), "{key}");
        }
        assert_eq!(parse("g/pause/t", "{}"), Err(Ignored::OtherFleet));
        assert_eq!(parse("f/dance/t", "{}"), Err(Ignored::Kind("dance".to_owned())));
        assert_eq!(parse("f/pause/T", r#"{"at_ms":1,"from":"n"}"#), Err(Ignored::Name("T".to_owned())));
        assert_eq!(parse("f/node/", "{}").map_err(|ignored| ignored.is_normal()), Err(false));
        for (key, value) in [
            ("f/pause/t", ""),
            ("f/pause/t", "{}"),
            ("f/pause/t", r#"{"at_ms":"1","from":"n"}"#),
            ("f/abort/a", r#"{"digest":"00","at_ms":1,"from":"n"}"#),
            ("f/node/a", r#"{"node":"b","process":"p","at_ms":1,"version":"1"}"#),
        ] {
            assert!(matches!(parse(key, value), Err(Ignored::Value(_))), "{key} {value}");
        }
    }

    #[test]
    fn unknown_fields_are_left_out() {
        let pause = Pause { at_ms: 1, from: "n".to_owned(), reason: String::new() };
        let expected = Message::Pause { trigger: name("t"), pause: Some(pause) };
        assert_eq!(parse("f/pause/t", r#"{"at_ms":1,"from":"n","mood":{"good":true}}"#), Ok(expected));
    }
}
