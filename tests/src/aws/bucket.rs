//! A bucket of S3, as a client sees it that is not the one under test.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::Queue;
use super::client::Client;

/// A bucket. Every method panics if the server refuses, or is not there.
#[derive(Debug, Clone)]
pub struct Bucket {
    client: Arc<Client>,
    name: String,
}

/// What is known of an object that is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// None: its bucket keeps no versions.
    pub version: Option<String>,
    pub etag: String,
    pub size: u64,
}

/// An entry in the list of a key's versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// `null` in a bucket that keeps no versions.
    pub id: String,
    /// What a client gets that names no version.
    pub latest: bool,
    /// It says that the object is deleted, and has no bytes.
    pub marker: bool,
    pub etag: String,
    pub size: u64,
}

impl Bucket {
    pub(super) fn create(client: Arc<Client>, name: &str, versioned: bool) -> Bucket {
        client.call(&json!({"do": "create_bucket", "bucket": name, "versioned": versioned}));
        Bucket { client, name: name.to_owned() }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// From now on sends events of these kinds into a queue, such as `s3:ObjectCreated:*`. The first
    /// message in the queue is the test event with which S3 tries it.
    #[track_caller]
    pub fn notify(&self, queue: &Queue, events: &[&str]) {
        self.call(json!({"do": "notify", "queue_arn": queue.arn(), "events": events}));
    }

    /// Stores the bytes of a file, in one request.
    #[track_caller]
    pub fn put(&self, key: &str, file: &Path) -> Object {
        object(&self.call(json!({"do": "put", "key": key, "path": file}))).expect("what was just put is there")
    }

    /// The same in two parts, of which the first has 5 MiB. The file must have more than that.
    #[track_caller]
    pub fn put_multipart(&self, key: &str, file: &Path) -> Object {
        let answer = self.call(json!({"do": "put_multipart", "key": key, "path": file}));
        object(&answer).expect("what was just put is there")
    }

    /// Has the server copy an object, or an older version of it, to the same key or another.
    #[track_caller]
    pub fn copy(&self, source: &str, version: Option<&str>, key: &str) -> Object {
        let answer = self.call(json!({"do": "copy", "source": source, "version": version, "key": key}));
        object(&answer).expect("what was just copied is there")
    }

    /// Deletes an object. If the bucket keeps versions, this adds a delete marker, whose id is returned.
    #[track_caller]
    pub fn delete(&self, key: &str) -> Option<String> {
        text(&self.call(json!({"do": "delete", "key": key, "version": null})))
    }

    /// Deletes one version for good. Without its delete marker an object is there again.
    #[track_caller]
    pub fn delete_version(&self, key: &str, version: &str) {
        self.call(json!({"do": "delete", "key": key, "version": version}));
    }

    /// All versions of a key, newest first. Empty: there never was such an object.
    #[track_caller]
    pub fn versions(&self, key: &str) -> Vec<Version> {
        let answer = self.call(json!({"do": "versions", "key": key}));
        let entries = answer.as_array().expect("a list of versions");
        let version = |entry: &Value| Version {
            id: text(&entry["id"]).expect("a version has an id"),
            latest: entry["latest"].as_bool().expect("a version is the latest or not"),
            marker: entry["marker"].as_bool().expect("a version is a marker or not"),
            etag: text(&entry["etag"]).expect("a version has an etag"),
            size: entry["size"].as_u64().expect("a version has a size"),
        };
        entries.iter().map(version).collect()
    }

    /// What is known of an object, or of a version of it. None: there is none, or it is deleted.
    #[track_caller]
    pub fn head(&self, key: &str, version: Option<&str>) -> Option<Object> {
        object(&self.call(json!({"do": "head", "key": key, "version": version})))
    }

    /// Writes the bytes of an object, or of a version of it, to a file.
    #[track_caller]
    pub fn get(&self, key: &str, version: Option<&str>, file: &Path) -> Object {
        let answer = self.call(json!({"do": "get", "key": key, "version": version, "path": file}));
        object(&answer).expect("an object was read")
    }

    #[track_caller]
    fn call(&self, mut command: Value) -> Value {
        command["bucket"] = self.name.as_str().into();
        self.client.call(&command)
    }
}

fn object(answer: &Value) -> Option<Object> {
    answer.is_object().then(|| Object {
        version: text(&answer["version"]),
        etag: text(&answer["etag"]).expect("an object has an etag"),
        size: answer["size"].as_u64().expect("an object has a size"),
    })
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}
