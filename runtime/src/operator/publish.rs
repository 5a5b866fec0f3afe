//! Publishes a component: checks it as a node would, writes it to the store, and waits for the fleet if that is asked.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;

use super::place::{self, took};
use super::table::size;
use super::trial::prove;
use super::wait::{Before, served};
use crate::engine::Engine;
use crate::manifest::{Component, Function, Manifest, ObjectName, Registry};
use crate::node::relay::console::Console;
use crate::record::revision::Digest;
use crate::registry::s3::archive::{Archive, Sent, Upload};
use crate::registry::s3::{Failure as StoreFailure, S3};
use crate::tools::Failure;
use crate::tools::output;

/// What is published, and where.
pub struct Order {
    pub component: PathBuf,
    pub object: ObjectName,
    /// The functions of the manifest whose component the object is.
    pub functions: Vec<Arc<Function>>,
    /// Who publishes it.
    pub publisher: String,
    /// How long to wait until the fleet serves it. [`None`]: not at all.
    pub wait: Option<Duration>,
    /// Publish also what the newest version is already.
    pub force: bool,
}

impl Order {
    /// Where a component goes: an object by its address, or that of a function.
    pub fn target(target: &str, manifest: Option<&Manifest>) -> Result<(ObjectName, Vec<Arc<Function>>), Failure> {
        if !target.contains(':') {
            let manifest =
                manifest.ok_or_else(|| Failure::usage(format!("which object is {target}? There is no manifest")))?;
            let (_, object) = place::object(manifest, target)?;
            return Ok((object.clone(), of_object(manifest, object)));
        }
        let object: ObjectName = target.parse().map_err(|why| Failure::usage(format!("{target}: {why}")))?;
        let functions = manifest.map(|manifest| of_object(manifest, &object)).unwrap_or_default();
        Ok((object, functions))
    }
}

fn of_object(manifest: &Manifest, object: &ObjectName) -> Vec<Arc<Function>> {
    let is_it = |function: &&Arc<Function>| function.component == Component::Object(object.clone());
    manifest.functions.values().filter(is_it).cloned().collect()
}

/// Publishes a component.
pub async fn publish(engine: &Engine, manifest: Option<&Manifest>, order: &Order) -> Result<(), Failure> {
    let path = order.component.display();
    let bytes = Bytes::from(std::fs::read(&order.component).with_context(|| format!("cannot read {path}"))?);
    let registry = manifest.map(|manifest| manifest.registry.clone()).unwrap_or_default();
    check_size(&bytes, &registry).map_err(|error| error.context(path.to_string()))?;
    // Whoever waits in vain should know before anything is published.
    let following = match order.wait {
        Some(limit) => Some((limit, follow(manifest, order).await?)),
        None => None,
    };
    let proven = prove(engine, bytes.clone(), manifest, &order.functions).await.context(path.to_string())?;
    for warning in &proven.warnings {
        eprintln!("warning: {warning}");
    }
    if order.functions.is_empty() {
        eprintln!("warning: no function of a manifest is {}: it was checked without its grants", order.object);
    }
    output::print(&format!("{path}: {}, {}, a node would run it", size(bytes.len() as u64), proven.digest.short()))?;

    let store = Arc::new(S3::new(registry.clone()));
    let newest = same_as_newest(&store, &order.object, &bytes, proven.digest, registry.max_bytes).await;
    if newest.map_err(anyhow::Error::from)? && !order.force {
        return Ok(output::print(&format!(
            "{} is that already: nothing was published. To publish the same bytes anew: --force",
            order.object
        ))?);
    }
    let start = Instant::now();
    let upload = Upload { bytes: bytes.clone(), digest: proven.digest, publisher: order.publisher.clone() };
    let bar = bar(bytes.len() as u64);
    let (counting, all) = (bar.clone(), bytes.len() as u64);
    let sent: Sent = Arc::new(move |more| counting.set_position((counting.position() + more).min(all)));
    let written = store.put(&order.object, &upload, &sent).await;
    bar.finish_and_clear();
    let origin = written.map_err(anyhow::Error::from)?;
    output::print(&format!("uploaded to {} in {}: {origin}", order.object, took(start.elapsed())))?;
    let published = Instant::now();
    if let Some((limit, (mut console, before))) = following {
        return served(&mut console, before.published(proven.digest, origin), published, limit).await;
    }
    Ok(())
}

/// The relay, and what it says before anything is published.
async fn follow(manifest: Option<&Manifest>, order: &Order) -> Result<(Console, Before), Failure> {
    let none =
        || Failure::usage(format!("--wait: no function of a manifest is {}, so no node serves it", order.object));
    let manifest = manifest.ok_or_else(none)?;
    let function = order.functions.first().ok_or_else(none)?;
    let is_called = manifest.triggers.values().any(|trigger| trigger.function == function.name);
    if !is_called {
        let name = &function.name;
        return Err(Failure::usage(format!("--wait: no trigger calls {name}, so no node serves it")));
    }
    let console = place::needed_console(manifest).await?;
    let before = Before::new(&function.name, console.view());
    Ok((console, before))
}

fn check_size(bytes: &Bytes, registry: &Registry) -> anyhow::Result<()> {
    if bytes.len() as u64 <= registry.max_bytes {
        return Ok(());
    }
    let (bytes, most) = (size(bytes.len() as u64), size(registry.max_bytes));
    Err(anyhow!("a node would refuse it: it has {bytes}, and [registry] max-size allows {most}"))
}

/// Whether these bytes are the newest version already.
async fn same_as_newest(
    archive: &impl Archive,
    object: &ObjectName,
    bytes: &Bytes,
    digest: Digest,
    most_bytes: u64,
) -> Result<bool, StoreFailure> {
    let history = archive.history(object, 1).await?;
    let Some(newest) = history.first().filter(|it| !it.is_deletion && it.bytes == bytes.len() as u64) else {
        return Ok(false);
    };
    let known = archive.facts(object, newest).await?.digest;
    let known = match known {
        Some(known) => known,
        None => archive.digest(object, newest, most_bytes).await?,
    };
    Ok(known == digest)
}

/// The progress of an upload, on a terminal only.
fn bar(bytes: u64) -> ProgressBar {
    let bar = ProgressBar::new(bytes);
    if let Ok(style) =
        ProgressStyle::with_template("{bar:40} {binary_bytes}/{binary_total_bytes}  {binary_bytes_per_sec}  {eta}")
    {
        bar.set_style(style);
    }
    bar
}
