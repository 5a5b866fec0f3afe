//! What an operator says to a whole fleet: a rollout is promoted or aborted, a trigger paused or resumed.
//!
//! A message is written to the relay, and every node acts on it when it reads it.

use std::time::Duration;

use anyhow::anyhow;
use tokio::time::Instant;

use super::member::{Member, members};
use super::place::{self, now_ms, took};
use super::report::Sums;
use super::table::{Table, span};
use crate::counted::counted;
use crate::manifest::{Manifest, Name};
use crate::node::relay::console::{Console, LIMIT};
use crate::node::relay::fleet::View;
use crate::node::relay::message::Message;
use crate::node::relay::steering;
use crate::tools::Failure;
use crate::tools::display::cut;
use crate::tools::output;

/// What a trigger is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Pause { reason: String },
    Resume,
}

/// Shows the rollout of a function.
pub async fn show(manifest: &Manifest, function: &str) -> Result<(), Failure> {
    let function = &place::function(manifest, function)?.name;
    let console = place::needed_console(manifest).await?;
    let members = members(console.view(), now_ms());
    let text = described(console.view(), &members, function, now_ms());
    output::print(&text.join("\n"))?;
    Ok(())
}

/// All records go to the candidate from now on.
pub async fn promote(manifest: &Manifest, function: &str, from: &str) -> Result<(), Failure> {
    let function = &place::function(manifest, function)?.name;
    let mut console = place::needed_console(manifest).await?;
    let message = steering::promote(console.view(), function, from, now_ms()).map_err(refused)?;
    let digest = console.view().rollouts.get(function).map(|rollout| rollout.digest.short()).unwrap_or_default();
    write(&mut console, &message).await?;
    let nodes = live(&members(console.view(), now_ms()));
    output::print(&format!("{digest} gets all records of {function} from now on, {nodes}"))?;
    Ok(())
}

/// The candidate is withdrawn.
pub async fn abort(manifest: &Manifest, function: &str, reason: &str, from: &str) -> Result<(), Failure> {
    let function = &place::function(manifest, function)?.name;
    let mut console = place::needed_console(manifest).await?;
    let message = steering::abort(console.view(), function, reason, from, now_ms()).map_err(refused)?;
    let digest = console.view().rollouts.get(function).map(|rollout| rollout.digest.short()).unwrap_or_default();
    write(&mut console, &message).await?;
    let nodes = live(&members(console.view(), now_ms()));
    output::print(&format!(
        "{digest} is withdrawn, {nodes}: {function} goes on with the revision before it. It is not tried again until \
         it is published anew"
    ))?;
    Ok(())
}

/// Pauses or resumes a trigger on all nodes, and waits for that if a limit is given.
pub async fn tell(
    manifest: &Manifest,
    trigger: &str,
    told: &Told,
    from: &str,
    wait: Option<Duration>,
) -> Result<(), Failure> {
    let trigger = place::trigger(manifest, trigger)?;
    let mut console = place::needed_console(manifest).await?;
    let before = console.view().pauses.get(trigger).cloned();
    let message = match told {
        Told::Pause { reason } => steering::pause(trigger, reason, from, now_ms()).map_err(refused)?,
        Told::Resume => steering::resume(trigger),
    };
    write(&mut console, &message).await?;
    let nodes = live(&members(console.view(), now_ms()));
    output::print(&match (told, before) {
        (Told::Pause { .. }, None) => {
            format!(
                "{trigger} is paused, {nodes}, until `tidegate resume {trigger}`; nodes that start later stay paused too"
            )
        }
        (Told::Pause { .. }, Some(_)) => format!("{trigger} was paused already; the reason is the new one"),
        (Told::Resume, Some(_)) => format!("{trigger} is resumed, {nodes}"),
        (Told::Resume, None) => format!("{trigger} was not paused by anybody; nothing changes"),
    })?;
    match wait {
        Some(limit) => shown(&mut console, trigger, told, limit).await,
        None => Ok(()),
    }
}

async fn write(console: &mut Console, message: &Message) -> Result<(), Failure> {
    console.write(message, LIMIT).await.map_err(|trouble| Failure::Failed(trouble.into()))
}

fn refused(refusal: steering::Refusal) -> Failure {
    Failure::Failed(refusal.into())
}

/// Where it happens, in words.
fn live(members: &[Member]) -> String {
    match members.iter().filter(|member| member.is_live()).count() {
        0 => "as soon as a node of the fleet runs, of which none is live".to_owned(),
        count => format!("on {}", counted(count, "live node")),
    }
}

/// Waits until all live nodes show what they were told.
async fn shown(console: &mut Console, trigger: &Name, told: &Told, limit: Duration) -> Result<(), Failure> {
    let (start, until) = (Instant::now(), Instant::now() + limit);
    let mut done: Vec<String> = Vec::new();
    loop {
        let members = members(console.view(), now_ms());
        let live: Vec<&Member> = members.iter().filter(|member| member.is_live()).collect();
        for member in live.iter().filter(|member| shows(member, trigger, told)) {
            if !done.contains(&member.name) {
                let state = &member.report.triggers[&**trigger].state;
                output::print(&format!("{}  {state} after {}", member.name, took(start.elapsed())))?;
                done.push(member.name.clone());
            }
        }
        let late: Vec<&str> =
            live.iter().filter(|member| !shows(member, trigger, told)).map(|member| member.name.as_str()).collect();
        if late.is_empty() && !live.is_empty() {
            return Ok(());
        }
        if Instant::now() >= until {
            let who = if live.is_empty() { "no node is live".to_owned() } else { format!("{} not", late.join(", ")) };
            let trouble = console.trouble().map(|trouble| format!(": {trouble}")).unwrap_or_default();
            return Err(Failure::Failed(anyhow!("not all nodes show it within {}: {who}{trouble}", took(limit))));
        }
        console.next(until).await;
    }
}

/// Whether a node does with a trigger what it was told.
fn shows(member: &Member, trigger: &Name, told: &Told) -> bool {
    let Some(report) = member.report.triggers.get(&**trigger) else { return false };
    match told {
        Told::Pause { .. } => report.state == "paused",
        Told::Resume => report.state != "paused",
    }
}

/// The rollout of a function, for people.
fn described(view: &View, members: &[Member], function: &Name, now_ms: i64) -> Vec<String> {
    let Some(rollout) = steering::under_way(view, function) else { return vec![over(view, function, now_ms)] };
    let ago = |at: i64| span(now_ms.saturating_sub(at));
    let mut lines = vec![
        format!("{function}  {}, {}", rollout.digest.short(), rollout.origin),
        format!(
            "  stage {} for {}, begun {} ago, said by {}",
            rollout.stage + 1,
            ago(rollout.stage_started_ms),
            ago(rollout.started_ms),
            rollout.from
        ),
    ];
    let digest = rollout.digest.to_string();
    let mut table = Table::new(&[
        ("NODE", 20),
        ("TRIGGER", 16),
        ("SIDE", 9),
        ("RECORDS", 12),
        ("FAILED", 8),
        ("TRAPS", 6),
        ("US/RECORD", 9),
    ]);
    let mut differing = Vec::new();
    for member in members.iter().filter(|member| member.is_live()) {
        for (name, trigger) in &member.report.triggers {
            let Some(candidate) = trigger.candidate.as_ref().filter(|it| it.revision.as_ref() == Some(&digest)) else {
                continue;
            };
            table.row(side(&member.name, name, "candidate", candidate.candidate));
            table.row(side("", "", "stable", candidate.stable));
            if let Some(shadow) = &candidate.shadow {
                differing.push(format!(
                    "  {} {name}: {} of {} answers differ, {} not compared",
                    member.name, shadow.differing, shadow.compared, shadow.skipped
                ));
                differing.extend(shadow.samples.iter().take(3).map(|sample| format!("    {sample}")));
            }
        }
    }
    if !table.is_empty() {
        lines.extend(table.lines());
    }
    lines.extend(differing);
    lines.iter().map(|line| cut(line).into_owned()).collect()
}

fn side(node: &str, trigger: &str, side: &str, sums: Sums) -> [String; 7] {
    let each = sums.busy_us.checked_div(sums.records).map_or_else(|| "-".to_owned(), |us| us.to_string());
    [
        node.to_owned(),
        trigger.to_owned(),
        side.to_owned(),
        sums.records.to_string(),
        sums.failed.to_string(),
        sums.traps.to_string(),
        each,
    ]
}

/// What is known of the last rollout, as none is under way.
fn over(view: &View, function: &Name, now_ms: i64) -> String {
    let ago = |at: i64| span(now_ms.saturating_sub(at));
    let last = view.rollouts.get(function);
    match (view.aborts.get(function), last) {
        (Some(abort), Some(last)) if abort.origin == last.origin => {
            let reason = if abort.reason.is_empty() { String::new() } else { format!(": {}", abort.reason) };
            format!(
                "{function}  no rollout; {} was withdrawn {} ago by {}{reason}",
                abort.digest.short(),
                ago(abort.at_ms),
                abort.from
            )
        }
        (_, Some(last)) if last.promoted => {
            let at = ago(last.stage_started_ms);
            format!("{function}  no rollout; {} serves everything since {at} ago", last.digest.short())
        }
        _ => format!("{function}  no rollout"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::member::testing::{fleet, say};
    use super::*;
    use crate::node::relay::fleet::Fleet;
    use crate::node::relay::message::Rollout;
    use crate::record::revision::{Digest, Origin};

    fn name(text: &str) -> Name {
        Name::new(text).expect("a name")
    }

    #[test]
    fn a_rollout_is_shown_with_both_sides() {
        let mut fleet = fleet();
        let (function, digest) = (name("f"), Digest::of(b"new"));
        let lines =
            |fleet: &Fleet| described(fleet.view(), &members(fleet.view(), 100_000), &name("f"), 100_000).join("\n");
        assert_eq!(lines(&fleet), "f  no rollout");
        let sums = json!({ "records": 10, "failed": 1, "traps": 0, "busy-us": 250, "calls": 3 });
        let shadow = json!({ "compared": 9, "differing": 1, "skipped": 0, "samples": ["sample"] });
        let candidate =
            json!({ "revision": digest.to_string(), "stage": 0, "candidate": sums, "stable": {}, "shadow": shadow });
        say(
            &mut fleet,
            "a",
            99_000,
            false,
            json!({ "triggers": { "t": { "function": "f", "candidate": candidate } } }),
        );
        let origin = Origin::Version("v".to_owned());
        let mut rollout = Rollout {
            digest,
            origin,
            published_ms: None,
            started_ms: 40_000,
            stage: 1,
            stage_started_ms: 70_000,
            promoted: false,
            from: "a".to_owned(),
        };
        let mut set = |rollout: &Rollout| {
            let message = Message::Rollout { function: function.clone(), rollout: Some(rollout.clone()) };
            fleet.apply(message, std::time::Instant::now());
            lines(&fleet)
        };
        let text = set(&rollout);
        let short = digest.short();
        let expected = [
            format!("f  {short}, version v"),
            "  stage 2 for 30 s, begun 60 s ago, said by a".to_owned(),
            "NODE  TRIGGER  SIDE       RECORDS  FAILED  TRAPS  US/RECORD".to_owned(),
            "a     t        candidate  10       1       0      25".to_owned(),
            "               stable     0        0       0      -".to_owned(),
            "  a t: 1 of 9 answers differ, 0 not compared".to_owned(),
            "    \"sample\"".to_owned(),
        ];
        assert_eq!(text, expected.join("\n"));
        rollout.promoted = true;
        assert_eq!(set(&rollout), format!("f  no rollout; {short} serves everything since 30 s ago"));
    }

    #[test]
    fn a_node_shows_what_it_was_told() {
        let mut fleet = fleet();
        let pause = Told::Pause { reason: String::new() };
        let mut check = |state: &str, paused: bool, resumed: bool| {
            say(&mut fleet, "a", 1, false, json!({ "triggers": { "t": { "state": state } } }));
            let members = members(fleet.view(), 1);
            let found = (shows(&members[0], &name("t"), &pause), shows(&members[0], &name("t"), &Told::Resume));
            assert_eq!(found, (paused, resumed), "{state}");
            fleet = super::super::member::testing::fleet();
        };
        check("paused", true, false);
        check("running", false, true);
        check("degraded", false, true);
    }
}
