//! Shows the versions of a function's component.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use super::history::{Known, Revision, json, state, table};
use super::member::members;
use super::place::{self, now_ms};
use crate::manifest::{Manifest, ObjectName};
use crate::registry::s3::archive::{Archive, Facts, Version};
use crate::registry::s3::{Failure as StoreFailure, S3};
use crate::tools::Failure;
use crate::tools::display::{COLUMNS, wrapped};
use crate::tools::output;

/// How many versions are asked about at once.
const AT_ONCE: usize = 8;
/// How many lines a reason has at most.
const REASON_LINES: usize = 4;

/// Prints the newest versions of a function's component, at most `limit`.
pub async fn show(manifest: &Manifest, function: &str, limit: usize, as_json: bool) -> Result<(), Failure> {
    let (_, object) = place::object(manifest, function)?;
    let store = Arc::new(S3::new(manifest.registry.clone()));
    let (console, found) = tokio::join!(place::console(manifest), with_facts(&store, object, limit));
    let found = found.map_err(anyhow::Error::from)?;
    let console = match console {
        Some(Ok(console)) => Some(console),
        Some(Err(error)) => {
            eprintln!("warning: it is not known what the fleet makes of them: {error:#}");
            None
        }
        None => None,
    };
    let members = console.as_ref().map(|console| members(console.view(), now_ms())).unwrap_or_default();
    let known = console.as_ref().map(|console| Known { view: console.view(), members: &members });
    let revision = |(at, (version, facts)): (usize, (Version, Facts))| {
        let state = state(&version, at == 0, function, known.as_ref());
        Revision { version, facts, state }
    };
    let revisions: Vec<Revision> = found.into_iter().enumerate().map(revision).collect();
    if as_json {
        return Ok(output::print(&format!("{:#}", json(&revisions)))?);
    }
    if revisions.is_empty() {
        return Ok(output::print(&format!("{object} was never published: tidegate publish FILE.wasm {function}"))?);
    }
    output::print(&text(&revisions, now_ms()))?;
    Ok(())
}

fn text(revisions: &[Revision], now_ms: i64) -> String {
    let mut lines = Vec::new();
    let mut rows = table(revisions, now_ms).lines().into_iter();
    lines.extend(rows.next());
    for (row, revision) in rows.zip(revisions) {
        lines.push(row);
        let detail = revision.state.detail().map(|detail| wrapped(detail, COLUMNS - 4, REASON_LINES));
        lines.extend(detail.into_iter().flatten().map(|line| format!("    {line}")));
    }
    lines.join("\n")
}

/// The newest versions with what their metadata say.
pub async fn with_facts(
    archive: &impl Archive,
    object: &ObjectName,
    limit: usize,
) -> Result<Vec<(Version, Facts)>, StoreFailure> {
    let history = archive.history(object, limit).await?;
    let asked = history.into_iter().map(|version| async move {
        let facts = if version.is_deletion { Facts::default() } else { archive.facts(object, &version).await? };
        Ok((version, facts))
    });
    stream::iter(asked).buffered(AT_ONCE).try_collect().await
}
