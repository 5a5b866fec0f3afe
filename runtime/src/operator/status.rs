//! The state of a fleet as text for a terminal of 80 columns.

use anyhow::anyhow;

use super::fleet::{Problem, Summary};
use super::place::{self, now_ms};
use super::table::{Table, compact, span};
use crate::counted::counted;
use crate::manifest::Manifest;
use crate::tools::Failure;
use crate::tools::display::{COLUMNS, wrapped};
use crate::tools::output;

/// How many lines a reason has at most.
const REASON_LINES: usize = 4;

/// Prints how the fleet does.
///
/// # Errors
///
/// It is not known, or something is wrong with the fleet, which is printed before.
pub async fn show(manifest: &Manifest, as_json: bool) -> Result<(), Failure> {
    let console = place::needed_console(manifest).await?;
    let fleet = manifest.control.as_ref().map(|control| control.fleet.to_string()).unwrap_or_default();
    let summary = Summary::of(&fleet, console.view(), now_ms());
    if as_json {
        output::print(&format!("{:#}", summary.json()))?;
    } else {
        output::print(&text(&summary, now_ms()).join("\n"))?;
    }
    if summary.is_well {
        return Ok(());
    }
    Err(Failure::Failed(anyhow!("{} in fleet {fleet}", counted(summary.problems.len(), "problem"))))
}

fn text(summary: &Summary, now_ms: i64) -> Vec<String> {
    let mut lines = nodes(summary).lines();
    let triggers = triggers(summary);
    if !triggers.is_empty() {
        lines.push(String::new());
        lines.extend(triggers.lines());
        let paused = summary.triggers.iter().filter_map(|(name, row)| Some((name, row.paused.as_ref()?)));
        lines.extend(paused.flat_map(|(name, paused)| {
            let since = span(now_ms.saturating_sub(paused.since_ms));
            let reason = if paused.reason.is_empty() { String::new() } else { format!(": {}", paused.reason) };
            indented(&format!("{name} was paused {since} ago by {}{reason}", paused.by))
        }));
    }
    let functions = functions(summary);
    if !functions.is_empty() {
        lines.push(String::new());
        lines.extend(functions.lines());
    }
    if !summary.problems.is_empty() {
        lines.push(String::new());
        lines.extend(summary.problems.iter().flat_map(problem));
    }
    lines
}

fn or_none(text: Option<impl ToString>) -> String {
    text.map_or_else(|| "-".to_owned(), |text| text.to_string())
}

fn nodes(summary: &Summary) -> Table {
    let mut table = Table::new(&[("NODE", 30), ("VERSION", 10), ("PRESENCE", 8), ("HEARD", 8), ("STATUS", 10)]);
    for node in &summary.nodes {
        let heard = span(node.status_age_ms);
        let status = or_none(node.status.as_ref());
        table.row([node.name.clone(), node.version.clone(), node.presence.word().to_owned(), heard, status]);
    }
    table
}

fn triggers(summary: &Summary) -> Table {
    let mut table = Table::new(&[
        ("TRIGGER", 22),
        ("STATE", 8),
        ("NODES", 5),
        ("PARTS", 6),
        ("HANDLED", 7),
        ("FAILED", 6),
        ("DEAD", 6),
        ("LAG", 6),
    ]);
    for (name, row) in &summary.triggers {
        let counts = row.counts;
        table.row([
            name.clone(),
            if row.nodes == 0 { "-".to_owned() } else { row.state.clone() },
            row.nodes.to_string(),
            compact(row.partitions),
            compact(counts.handled),
            compact(counts.failed),
            compact(counts.dead_letters),
            or_none(row.lag.map(compact)),
        ]);
    }
    table
}

fn functions(summary: &Summary) -> Table {
    let mut table = Table::new(&[("FUNCTION", 20), ("REVISION", 12), ("SERVES", 10), ("ROLLOUT", 30)]);
    for (name, row) in &summary.functions {
        let short = |revision: &String| revision.chars().take(12).collect::<String>();
        let rollout = row.rollout.as_ref().map(|it| format!("{} in stage {}", short(&it.revision), it.stage + 1));
        let serves = format!("{} of {}", row.serving, row.nodes);
        table.row([name.clone(), or_none(row.revision.as_ref().map(short)), serves, or_none(rollout)]);
    }
    table
}

fn problem(problem: &Problem) -> Vec<String> {
    let mut place = Vec::new();
    place.extend(problem.node.as_ref().map(|node| format!("node {node}")));
    place.extend(problem.trigger.as_ref().map(|trigger| format!("trigger {trigger}")));
    place.extend(problem.function.as_ref().map(|function| format!("function {function}")));
    let place = if place.is_empty() { "the fleet".to_owned() } else { place.join(", ") };
    let mut lines = wrapped(&format!("{}  {place}", problem.code), COLUMNS, 2);
    lines.extend(indented(&problem.reason));
    lines
}

fn indented(text: &str) -> Vec<String> {
    wrapped(text, COLUMNS - 2, REASON_LINES).into_iter().map(|line| format!("  {line}")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::member::testing::{fleet, say};
    use super::*;
    use crate::tools::display::width;

    #[test]
    fn a_fleet_fits_eighty_columns() {
        let mut fleet = fleet();
        let long = "word ".repeat(60);
        let conditions = json!([{ "code": "topic-unusable", "reason": long }]);
        let counts = json!({ "handled": 123_456_789_012_u64, "failed": 12_345_678, "dead-letters": 123_456 });
        let trigger = json!({
            "function": "f", "state": "degraded", "partitions": 123_456, "lag": 123_456_789, "counts": counts,
            "conditions": conditions,
        });
        let name = "a-very-long-name-of-a-trigger-that-nobody-would-write";
        let status = json!({
            "status": "degraded",
            "triggers": { name: trigger },
            "functions": { name: { "revision": "0123456789abcdef", "error": format!("{long}\u{1b}[31m") } },
        });
        say(&mut fleet, &"node".repeat(20), 1_000, false, status);
        let lines = text(&Summary::of("default", fleet.view(), 5_000), 5_000);
        for line in &lines {
            assert!(width(line) <= COLUMNS, "{line}");
            assert!(!line.contains('\u{1b}'), "{line}");
        }
        assert!(lines[3].ends_with("LAG") && lines[4].ends_with("123M"), "{lines:#?}");
        assert!(lines.iter().any(|line| line.starts_with("topic-unusable  node")), "{lines:#?}");
    }

    #[test]
    fn a_small_fleet_is_a_few_lines() {
        let mut fleet = fleet();
        let trigger = json!({ "function": "f", "state": "running", "partitions": 4, "counts": { "handled": 7 } });
        let functions = json!({ "f": { "revision": "0123456789abcdef" } });
        say(
            &mut fleet,
            "n",
            1_000,
            false,
            json!({ "status": "ok", "triggers": { "t": trigger }, "functions": functions }),
        );
        let expected = [
            "NODE  VERSION  PRESENCE  HEARD  STATUS",
            "n     0.1.0    live      4 s    ok",
            "",
            "TRIGGER  STATE    NODES  PARTS  HANDLED  FAILED  DEAD  LAG",
            "t        running  1      4      7        0       0     -",
            "",
            "FUNCTION  REVISION      SERVES  ROLLOUT",
            "f         0123456789ab  1 of 1  -",
        ];
        assert_eq!(text(&Summary::of("default", fleet.view(), 5_000), 5_000), expected);
    }
}
