//! Where a function's component is, and how the fleet is reached, as the manifest says.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::anyhow;

use crate::manifest::{Component, Function, Manifest, Name, ObjectName};
use crate::node::relay::console::{Console, LIMIT};
use crate::tools::Failure;

/// The object of a function's component.
///
/// # Errors
///
/// There is no such function, or its component is a file, which has no versions.
pub fn object<'a>(manifest: &'a Manifest, function: &str) -> Result<(&'a Arc<Function>, &'a ObjectName), Failure> {
    let found = self::function(manifest, function)?;
    match &found.component {
        Component::Object(object) => Ok((found, object)),
        Component::File(path) => Err(Failure::usage(format!(
            "the component of {function} is the file {}: a file has no versions, and nodes take on what is in it. \
             Replace the file on each node, or move the component to S3: component = \"s3://BUCKET/KEY\"",
            path.display()
        ))),
    }
}

/// A function of the manifest.
pub fn function<'a>(manifest: &'a Manifest, name: &str) -> Result<&'a Arc<Function>, Failure> {
    manifest.functions.get(name).ok_or_else(|| unknown("function", name, manifest.functions.keys(), manifest))
}

/// The name of a trigger of the manifest.
pub fn trigger<'a>(manifest: &'a Manifest, name: &str) -> Result<&'a Name, Failure> {
    let found = manifest.triggers.get(name).map(|trigger| &trigger.name);
    found.ok_or_else(|| unknown("trigger", name, manifest.triggers.keys(), manifest))
}

fn unknown<'a>(kind: &str, name: &str, all: impl Iterator<Item = &'a Name>, manifest: &Manifest) -> Failure {
    let names: Vec<&str> = all.map(|name| &**name).collect();
    let path = manifest.path.display();
    Failure::usage(if names.is_empty() {
        format!("{path} declares no {kind}")
    } else {
        format!("{path} has no {kind} {name:?}; it has {}", names.join(", "))
    })
}

/// The relay of the fleet, read to its end. [`None`]: the manifest has no `[control]`.
pub async fn console(manifest: &Manifest) -> Option<anyhow::Result<Console>> {
    let control = manifest.control.as_ref()?;
    let Some(cluster) = manifest.clusters.get(&control.cluster) else {
        return Some(Err(anyhow!("[control] names the cluster {}, which is not declared", control.cluster)));
    };
    let opened = Console::open(cluster, &control.topic, &control.fleet, LIMIT).await;
    Some(opened.map_err(|trouble| anyhow!("cannot reach the fleet: {trouble}")))
}

/// The relay, for those who can do nothing without it.
///
/// # Errors
///
/// There is none, or it cannot be read.
pub async fn needed_console(manifest: &Manifest) -> Result<Console, Failure> {
    match console(manifest).await {
        Some(console) => Ok(console?),
        None => Err(no_control(manifest)),
    }
}

/// The manifest does not say how the nodes talk to each other.
pub fn no_control(manifest: &Manifest) -> Failure {
    let cluster = manifest.clusters.keys().next().map_or("main", |name| &**name);
    Failure::usage(format!(
        "{} has no [control], so nobody but a node itself knows how it does. Add this, also to the manifest of the \
         nodes:\n\n    [control]\n    cluster = \"{cluster}\"",
        manifest.path.display()
    ))
}

/// Milliseconds since 1970 by the clock of this machine.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A duration in words, such as `812 ms` or `3.4 s`.
pub fn took(duration: Duration) -> String {
    match duration.as_millis() {
        ms @ 0..1_000 => format!("{ms} ms"),
        _ => format!("{:.1} s", duration.as_secs_f64()),
    }
}
