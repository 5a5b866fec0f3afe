//! Metrics of functions, of the node, and of what it hears from outside.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Scrape;
use super::families::{Families, Labels, labels};
use crate::engine::HttpSnapshot;
use crate::node::relay::fleet::Presence;
use crate::registry::hints::HintCounts;

pub fn write(scrape: &Scrape, families: &mut Families<'_>) -> fmt::Result {
    http(scrape, families)?;
    revisions(scrape, families)?;
    outside(scrape, families)?;
    let overview = &scrape.overview;
    families.gauges(
        "tidegate_buffer_limit_bytes",
        "What all triggers of the node together may hold in memory.",
        [(Labels::new(), overview.buffer_limit_bytes)],
    )?;
    families.gauges(
        "tidegate_manifest_refused",
        "1 while the content of the manifest file is refused and the last valid one is in use, otherwise 0.",
        [(Labels::new(), u64::from(overview.manifest_error.is_some()))],
    )?;
    families.gauges(
        "tidegate_node_ready",
        "1 if every trigger has a serving revision and no condition stops it, otherwise 0.",
        [(Labels::new(), u64::from(overview.is_ready()))],
    )?;
    let version = env!("CARGO_PKG_VERSION");
    families.facts("tidegate_build", "The version of Tidegate. Always 1.", [labels([("version", version)])])
}

/// HTTP requests of functions.
fn http(scrape: &Scrape, families: &mut Families<'_>) -> fmt::Result {
    let functions = &scrape.overview.functions;
    let all: Vec<_> = functions.iter().map(|(name, view)| (name.as_str(), view.http.snapshot())).collect();
    let mut family = |name: &str, help: &str, count: fn(&HttpSnapshot) -> u64| {
        families.counters(name, help, all.iter().map(|(name, counts)| (labels([("function", name)]), count(counts))))
    };
    family("tidegate_http_requests", "HTTP requests of the function, refused ones included.", |it| it.requests)?;
    family("tidegate_http_requests_refused", "HTTP requests that the manifest does not allow.", |it| it.refused)?;
    family(
        "tidegate_http_requests_failed",
        "HTTP requests that got no response, or an incomplete one, for another reason.",
        |it| it.failed,
    )?;
    family("tidegate_http_received_bytes", "Bytes of the bodies that functions received by HTTP.", |it| it.bytes_in)?;
    family("tidegate_http_sent_bytes", "Bytes of the bodies that functions sent by HTTP.", |it| it.bytes_out)
}

/// Revisions of functions, and what became of new ones.
fn revisions(scrape: &Scrape, families: &mut Families<'_>) -> fmt::Result {
    let overview = &scrape.overview;
    let results = overview.functions.keys().flat_map(|name| {
        let results = overview.reloads.of(name);
        [("adopted", results.adopted), ("refused", results.refused)]
            .map(|(result, count)| (labels([("function", name), ("result", result)]), count))
    });
    families.counters(
        "tidegate_reloads",
        "New revisions that began to serve a trigger, and contents that were refused before or at their start.",
        results,
    )?;
    let newest = overview.functions.iter().filter_map(|(name, view)| {
        let (revision, origin) = (view.revision.as_deref()?, view.origin.as_deref()?);
        Some(labels([("function", name), ("revision", revision), ("origin", origin)]))
    });
    families.facts("tidegate_revision", "The newest good revision of the function. Always 1.", newest)?;
    families.histograms(
        "tidegate_compile_seconds",
        "Time from the arrival of a component until it is compiled or refused, the wait for other compilations included.",
        [(Labels::new(), overview.reloads.compile_time())],
    )
}

/// One of the counts.
type Count = fn(&HintCounts) -> &AtomicU64;

/// The queue of events, and the relay between nodes.
fn outside(scrape: &Scrape, families: &mut Families<'_>) -> fmt::Result {
    let results: [(&str, Count); 3] = [
        ("malformed", |counts| &counts.malformed),
        ("irrelevant", |counts| &counts.irrelevant),
        ("failed", |counts| &counts.failed),
    ];
    let hints = scrape.heard.hints.as_deref();
    let value = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let of_results = hints
        .iter()
        .flat_map(|counts| results.iter().map(|(result, count)| (labels([("result", result)]), value(count(counts)))));
    // Those that are neither of these were acted upon, or are being acted upon.
    let acted = hints.map(|counts| {
        let others: u64 = results.iter().map(|(_, count)| value(count(counts))).sum();
        (labels([("result", "acted")]), value(&counts.received).saturating_sub(others))
    });
    families.counters(
        "tidegate_hints",
        "Messages of the event queue by what became of them: acted upon, malformed, irrelevant, or failed and to come again.",
        of_results.chain(acted),
    )?;
    families.counters(
        "tidegate_hint_polls_failed",
        "Polls of the event queue that failed.",
        hints.map(|counts| (Labels::new(), value(&counts.failed_polls))),
    )?;
    families.counters(
        "tidegate_relay_records_ignored",
        "Records of the relay's topic that have no meaning for this node.",
        scrape.heard.ignored.map(|ignored| (Labels::new(), ignored)),
    )?;
    let nodes = scrape.view.iter().map(|view| {
        let live = view.nodes.values().filter(|node| node.presence == Presence::Live).count();
        (Labels::new(), live as u64)
    });
    families.gauges(
        "tidegate_fleet_live_nodes",
        "Nodes of the fleet that are known to be live, this one included.",
        nodes,
    )
}
