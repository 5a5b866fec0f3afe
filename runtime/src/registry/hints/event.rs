//! What a message of the queue says: which objects it is time to look at. Pure.
//!
//! Understood are the notifications of S3 (format 2.x, [S3 event message structure]), the same within a message of
//! SNS, and the events of EventBridge. Of all that they say only bucket and key count, because what there is now is
//! asked of S3.
//!
//! [S3 event message structure]: https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html

use percent_encoding::percent_decode_str;
use serde::Deserialize;

use crate::manifest::ObjectName;

/// How often a message may be wrapped: EventBridge or S3 within SNS.
const MOST_WRAPPERS: usize = 2;

/// What a message is about.
#[derive(Debug, PartialEq, Eq)]
pub struct Event {
    /// Objects to look at, without repetitions. Empty: it is about none, such as the test event that S3 sends when a
    /// notification is configured.
    pub objects: Vec<ObjectName>,
}

/// A message that cannot be understood, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(String);

impl Malformed {
    fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// The parts of all forms that are needed. Whatever else is there is not looked at.
#[derive(Deserialize)]
struct Message {
    #[serde(rename = "Event")]
    event: Option<String>,
    #[serde(rename = "Records")]
    records: Option<Vec<Record>>,
    #[serde(rename = "Type")]
    kind: Option<String>,
    #[serde(rename = "Message")]
    message: Option<String>,
    source: Option<String>,
    detail: Option<Detail>,
}

#[derive(Deserialize)]
struct Record {
    #[serde(rename = "eventVersion")]
    version: Option<String>,
    #[serde(rename = "eventSource")]
    source: Option<String>,
    s3: Option<Detail>,
}

#[derive(Deserialize)]
struct Detail {
    bucket: Option<Bucket>,
    object: Option<Object>,
}

#[derive(Deserialize)]
struct Bucket {
    name: String,
}

#[derive(Deserialize)]
struct Object {
    key: String,
}

/// Reads the body of a message.
pub fn parse(body: &str) -> Result<Event, Malformed> {
    let mut body = body.to_owned();
    for _ in 0..=MOST_WRAPPERS {
        let message: Message = serde_json::from_str(&body).map_err(|error| Malformed::new(error.to_string()))?;
        if message.kind.as_deref() == Some("Notification") {
            body = message.message.ok_or_else(|| Malformed::new("a notification of SNS without a message"))?;
            continue;
        }
        return event(message);
    }
    Err(Malformed::new("a message within too many others"))
}

fn event(message: Message) -> Result<Event, Malformed> {
    if message.event.as_deref() == Some("s3:TestEvent") {
        return Ok(Event { objects: Vec::new() });
    }
    let mut objects = Vec::new();
    if let Some(records) = message.records {
        for record in records {
            if !matches!(record.source.as_deref(), Some("aws:s3")) {
                return Err(Malformed::new(format!("an event of {:?}, not of S3", record.source.unwrap_or_default())));
            }
            if !record.version.as_deref().is_some_and(|version| version.starts_with("2.")) {
                let version = record.version.unwrap_or_default();
                return Err(Malformed::new(format!("events of version {version:?}, and 2.x is known")));
            }
            objects.push(name(record.s3, decoded)?);
        }
    } else if let Some(source) = message.source {
        if source != "aws.s3" {
            return Err(Malformed::new(format!("an event of {source:?}, not of S3")));
        }
        objects.push(name(message.detail, |key| Ok(key.to_owned()))?);
    } else {
        return Err(Malformed::new("neither a notification of S3 nor an event of EventBridge"));
    }
    objects.sort();
    objects.dedup();
    Ok(Event { objects })
}

fn name(detail: Option<Detail>, decode: impl Fn(&str) -> Result<String, Malformed>) -> Result<ObjectName, Malformed> {
    let Some(Detail { bucket: Some(bucket), object: Some(object) }) = detail else {
        return Err(Malformed::new("an event without bucket or object"));
    };
    ObjectName::new(&bucket.name, &decode(&object.key)?)
        .map_err(|error| Malformed::new(format!("an object that cannot be: {error}")))
}

/// A key as notifications of S3 write it: encoded like a form.
fn decoded(key: &str) -> Result<String, Malformed> {
    let plain = key.replace('+', " ");
    let decoded = percent_decode_str(&plain).decode_utf8();
    decoded.map(String::from).map_err(|_| Malformed::new(format!("the key {key:?} is not UTF-8")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notification(records: &str) -> String {
        format!("{{\"Records\":[{records}]}}")
    }

    fn record(key: &str) -> String {
        format!(
            "{{\"eventVersion\":\"2.6\",\"eventSource\":\"aws:s3\",\"eventName\":\"ObjectCreated:Put\",\"s3\":{{\
             \"bucket\":{{\"name\":\"fns\"}},\"object\":{{\"key\":\"{key}\"}}}}}}"
        )
    }

    #[track_caller]
    fn check(body: &str, keys: &[&str]) {
        let objects = keys.iter().map(|key| ObjectName::new("fns", key).expect("a name")).collect();
        assert_eq!(parse(body), Ok(Event { objects }));
    }

    #[test]
    fn the_keys_of_notifications_are_encoded_like_forms() {
        check(&notification(&record("fn/hello+world%2B%C3%A9.wasm")), &["fn/hello world+é.wasm"]);
        check(&notification(&record("fn%2Fenrich.wasm")), &["fn/enrich.wasm"]);
        assert!(parse(&notification(&record("%ff.wasm"))).is_err());
    }

    #[test]
    fn an_object_is_named_once_however_many_events_are_about_it() {
        let records = [record("a.wasm"), record("b.wasm"), record("a.wasm")].join(",");
        check(&notification(&records), &["a.wasm", "b.wasm"]);
    }

    #[test]
    fn a_notification_may_come_within_one_of_sns() {
        let wrapped = |body: &str| {
            let body = serde_json::Value::from(body);
            format!("{{\"Type\":\"Notification\",\"MessageId\":\"1\",\"Message\":{body}}}")
        };
        let body = notification(&record("a.wasm"));
        check(&wrapped(&body), &["a.wasm"]);
        assert!(parse(&wrapped(&wrapped(&wrapped(&body)))).is_err());
        assert!(parse("{\"Type\":\"Notification\"}").is_err());
    }

    #[test]
    fn an_event_of_eventbridge_has_its_key_as_it_is() {
        let body = "{\"detail-type\":\"Object Created\",\"source\":\"aws.s3\",\"detail\":{\"bucket\":{\"name\":\
                    \"fns\"},\"object\":{\"key\":\"a+b%20.wasm\",\"version-id\":\"1\"}}}";
        check(body, &["a+b%20.wasm"]);
    }

    #[test]
    fn a_test_event_is_about_nothing() {
        check("{\"Service\":\"Amazon S3\",\"Event\":\"s3:TestEvent\",\"Bucket\":\"fns\"}", &[]);
        check("{\"Records\":[]}", &[]);
    }

    #[test]
    fn what_is_not_understood_is_refused_with_a_reason() {
        let other_source = record("a.wasm").replace("aws:s3", "aws:ses");
        let other_version = record("a.wasm").replace("2.6", "3.0");
        let nested = "[".repeat(100_000);
        for body in ["", "{}", "[]", "null", "\"Records\"", "{\"Records\":[{}]}", "{\"Records\":7}", &nested] {
            assert!(parse(body).is_err(), "{body:.100}");
        }
        for record in [&*other_source, &other_version, &record(""), &record("folder/")] {
            assert!(parse(&notification(record)).is_err(), "{record}");
        }
    }

    /// Real messages of S3, of other stores, and bad ones: see the README beside them.
    #[test]
    fn real_messages_are_understood_and_bad_ones_refused() {
        // These say nothing, or name an object that no manifest names.
        let harmless = ["bad_records_empty", "bad_sns_within_sns", "bad_key_cut_percent", "bad_key_percent_no_hex"];
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/registry/testdata/events");
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_stem().and_then(|name| name.to_str()).expect("a name").to_owned();
            let Ok(body) = std::fs::read_to_string(&path) else { continue };
            let found = parse(&body);
            if name == "README" || harmless.contains(&&*name) {
                continue;
            } else if name.starts_with("bad_") {
                assert!(found.is_err(), "{name}: {found:?}");
            } else {
                let is_test = name.ends_with("test_event");
                assert!(found.is_ok_and(|event| event.objects.is_empty() == is_test), "{name}");
            }
        }
    }
}
