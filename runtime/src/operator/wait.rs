//! Follows the fleet until all its live nodes serve a version, or take it as a candidate of a rollout.
//!
//! Times are those at which this machine learned of it. A node tells it within a second.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::anyhow;
use tokio::time::Instant;

use super::history::aborted;
use super::member::{Member, Standing, members};
use super::place::{now_ms, took};
use super::table::span;
use crate::manifest::Name;
use crate::node::relay::console::Console;
use crate::node::relay::fleet::View;
use crate::record::revision::{Digest, Origin};
use crate::tools::Failure;
use crate::tools::output;

/// What nodes said about a function before a version of it was published.
#[derive(Clone, Debug)]
pub struct Before {
    function: Name,
    /// The error of each node. The same error again is not one about the new version.
    errors: BTreeMap<String, Option<String>>,
}

/// A version that the fleet is to serve.
#[derive(Clone, Debug)]
pub struct Awaited {
    before: Before,
    digest: Digest,
    origin: Origin,
    /// What each node did last, of those that were told about.
    told: BTreeMap<String, Did>,
}

/// What a node does with the version.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Did {
    Serves,
    /// It is a candidate, in this stage from 0.
    Tries(u64),
    Refused(String),
    /// Nothing yet.
    Waits,
}

/// How it stands with the whole fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Some nodes are still to take it on.
    Open,
    /// So many nodes serve it or try it as a candidate.
    Done {
        serve: usize,
        try_it: usize,
    },
    Failed(String),
}

impl Before {
    /// What a fleet says now.
    pub fn new(function: &Name, view: &View) -> Self {
        let error = |member: Member| {
            let function = member.report.functions.get(&**function);
            let error = function.and_then(|function| function.error.clone());
            (member.name, error)
        };
        Self { function: function.clone(), errors: members(view, now_ms()).into_iter().map(error).collect() }
    }

    /// The version was published.
    pub fn published(self, digest: Digest, origin: Origin) -> Awaited {
        Awaited { before: self, digest, origin, told: BTreeMap::new() }
    }
}

impl Awaited {
    /// Looks at the nodes. Returns what is new, as lines for people, and how it stands.
    fn look(&mut self, view: &View, members: &[Member], since: Duration) -> (Vec<String>, Verdict) {
        let mut lines = Vec::new();
        let (mut serve, mut try_it, mut open, mut refusals) = (0, 0, 0, Vec::new());
        for member in members.iter().filter(|member| member.is_live()) {
            let did = self.did(member);
            match &did {
                Did::Serves => serve += 1,
                Did::Tries(_) => try_it += 1,
                Did::Refused(error) => refusals.push(format!("{} refused it: {error}", member.name)),
                Did::Waits => open += 1,
            }
            if did != Did::Waits && self.told.get(&member.name) != Some(&did) {
                lines.push(self.line(&member.name, &did, since));
                self.told.insert(member.name.clone(), did);
            }
        }
        let verdict = match aborted(view, &self.before.function, &self.origin, None) {
            Some(reason) => Verdict::Failed(format!(
                "the fleet withdrew it{}",
                reason.map(|reason| format!(": {reason}")).unwrap_or_default()
            )),
            None if !refusals.is_empty() => Verdict::Failed(refusals.join("; ")),
            None if open > 0 || serve + try_it == 0 => Verdict::Open,
            None => Verdict::Done { serve, try_it },
        };
        (lines, verdict)
    }

    fn did(&self, member: &Member) -> Did {
        let function = member.report.functions.get(&*self.before.function);
        if function.is_some_and(|function| function.origin.as_deref() == Some(&self.origin.to_string())) {
            return Did::Serves;
        }
        let candidate = member.report.candidate(&self.before.function);
        let digest = self.digest.to_string();
        if let Some(candidate) = candidate.filter(|it| it.revision.as_ref() == Some(&digest)) {
            return Did::Tries(candidate.stage);
        }
        let before = self.before.errors.get(&member.name);
        match function.and_then(|function| function.error.as_ref()) {
            Some(error) if before.is_none_or(|before| before.as_ref() != Some(error)) => Did::Refused(error.clone()),
            _ => Did::Waits,
        }
    }

    fn line(&self, node: &str, did: &Did, since: Duration) -> String {
        let (revision, after) = (self.digest.short(), took(since));
        match did {
            Did::Serves => format!("{node}  serves {revision} after {after}"),
            Did::Tries(stage) => format!("{node}  tries {revision} in stage {} after {after}", stage + 1),
            Did::Refused(_) | Did::Waits => format!("{node}  refused {revision} after {after}"),
        }
    }

    /// Why it took too long.
    fn overdue(&self, members: &[Member], limit: Duration, trouble: Option<&str>) -> String {
        let live: Vec<&Member> = members.iter().filter(|member| member.is_live()).collect();
        let late = live.iter().filter(|member| self.did(member) == Did::Waits).map(|member| {
            let function = member.report.functions.get(&*self.before.function);
            let why = function.and_then(|function| function.error.as_ref().or(function.away.as_ref()));
            match (why, function) {
                (Some(why), _) => format!("{} does not serve it: {why}", member.name),
                (None, None) => format!("{} does not have the function", member.name),
                (None, Some(_)) => format!("{} does not serve it", member.name),
            }
        });
        let late: Vec<String> = late.collect();
        let limit = took(limit);
        match (trouble, live.is_empty()) {
            (Some(trouble), _) => format!("not all of the fleet was heard of within {limit}: {trouble}"),
            (None, true) => {
                format!("no node of the fleet was live within {limit}; the next one that starts takes it on")
            }
            (None, false) => format!("not all nodes serve it within {limit}: {}", late.join("; ")),
        }
    }
}

/// Follows the fleet until it serves what was published at `published`, node by node, at most for `limit`.
///
/// # Errors
///
/// A node refused it, the fleet withdrew it, or the time is over.
pub async fn served(
    console: &mut Console,
    mut awaited: Awaited,
    published: Instant,
    limit: Duration,
) -> Result<(), Failure> {
    let until = Instant::now() + limit;
    for member in members(console.view(), now_ms()).iter().filter(|member| member.standing == Standing::Gone) {
        let age = span(member.age_ms);
        output::print(&format!("{}  is not waited for: nothing was heard of it for {age}", member.name))?;
    }
    loop {
        let now = members(console.view(), now_ms());
        let (lines, verdict) = awaited.look(console.view(), &now, published.elapsed());
        lines.iter().try_for_each(|line| output::print(line))?;
        match verdict {
            Verdict::Done { serve, try_it } => {
                output::print(&done(&awaited.before.function, serve, try_it))?;
                return Ok(());
            }
            Verdict::Failed(reason) => return Err(Failure::Failed(anyhow!("{reason}"))),
            Verdict::Open if Instant::now() >= until => {
                return Err(Failure::Failed(anyhow!("{}", awaited.overdue(&now, limit, console.trouble()))));
            }
            Verdict::Open => console.next(until).await,
        }
    }
}

fn done(function: &Name, serve: usize, try_it: usize) -> String {
    match (serve, try_it) {
        (1, 0) => "the one live node serves it".to_owned(),
        (_, 0) => format!("all {serve} live nodes serve it"),
        (0, _) => format!("it is being rolled out: tidegate rollout {function}"),
        (_, _) => format!("{serve} live nodes serve it, {try_it} try it: tidegate rollout {function}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::member::testing::{fleet, say};
    use super::*;
    use crate::node::relay::fleet::Fleet;
    use crate::node::relay::message::{Abort, Message};

    fn name() -> Name {
        Name::new("f").expect("a name")
    }

    fn serving(id: &str, error: Option<&str>) -> Value {
        json!({ "functions": { "f": { "origin": format!("version {id}"), "error": error } } })
    }

    fn awaited(fleet: &Fleet) -> Awaited {
        Before::new(&name(), fleet.view()).published(Digest::of(b"v2"), Origin::Version("v2".to_owned()))
    }

    fn look(awaited: &mut Awaited, fleet: &Fleet) -> (Vec<String>, Verdict) {
        let members = members(fleet.view(), 1_000);
        awaited.look(fleet.view(), &members, Duration::from_millis(70))
    }

    #[test]
    fn each_node_is_told_once_and_all_live_ones_have_to_serve() {
        let mut fleet = fleet();
        for node in ["a", "b"] {
            say(&mut fleet, node, 1, false, serving("v1", None));
        }
        say(&mut fleet, "stopped", 1, true, serving("v1", None));
        let mut awaited = awaited(&fleet);
        assert_eq!(look(&mut awaited, &fleet), (vec![], Verdict::Open));
        say(&mut fleet, "a", 2, false, serving("v2", None));
        let lines = vec![format!("a  serves {} after 70 ms", Digest::of(b"v2").short())];
        assert_eq!(look(&mut awaited, &fleet), (lines, Verdict::Open));
        assert_eq!(look(&mut awaited, &fleet), (vec![], Verdict::Open));
        let candidate = json!({ "revision": Digest::of(b"v2").to_string(), "stage": 1 });
        let trigger = json!({ "function": "f", "candidate": candidate });
        say(&mut fleet, "b", 2, false, json!({ "functions": { "f": {} }, "triggers": { "t": trigger } }));
        let (lines, verdict) = look(&mut awaited, &fleet);
        assert!(lines[0].starts_with("b  tries ") && lines[0].contains(" in stage 2 "), "{lines:?}");
        assert_eq!(verdict, Verdict::Done { serve: 1, try_it: 1 });
    }

    #[test]
    fn a_fleet_without_live_nodes_is_waited_for() {
        let fleet = fleet();
        let mut awaited = awaited(&fleet);
        assert_eq!(look(&mut awaited, &fleet).1, Verdict::Open);
        assert!(awaited.overdue(&[], Duration::from_secs(60), None).contains("no node of the fleet was live"));
        let text = awaited.overdue(&[], Duration::from_secs(60), Some("all brokers are down"));
        assert!(text.ends_with("all brokers are down"), "{text}");
    }

    #[test]
    fn an_error_that_was_there_before_is_no_refusal() {
        let mut fleet = fleet();
        say(&mut fleet, "a", 1, false, serving("v0", Some("v1 is junk")));
        let mut awaited = awaited(&fleet);
        assert_eq!(look(&mut awaited, &fleet).1, Verdict::Open);
        let overdue = awaited.overdue(&members(fleet.view(), 1), Duration::from_secs(60), None);
        assert!(overdue.ends_with("a does not serve it: v1 is junk"), "{overdue}");
        say(&mut fleet, "a", 2, false, serving("v0", Some("v2 is junk")));
        let (lines, verdict) = look(&mut awaited, &fleet);
        assert!(lines[0].starts_with("a  refused "), "{lines:?}");
        assert_eq!(verdict, Verdict::Failed("a refused it: v2 is junk".to_owned()));
    }

    #[test]
    fn what_the_fleet_withdrew_has_failed() {
        let mut fleet = fleet();
        say(&mut fleet, "a", 1, false, serving("v1", None));
        let mut awaited = awaited(&fleet);
        let (digest, origin) = (Digest::of(b"v2"), Origin::Version("v2".to_owned()));
        let (reason, from) = ("2 of 100 failed".to_owned(), "a".to_owned());
        let abort = Abort { digest, origin, reason, at_ms: 1, from, earlier: Vec::new() };
        fleet.apply(Message::Abort { function: name(), abort: Some(abort) }, std::time::Instant::now());
        let verdict = look(&mut awaited, &fleet).1;
        assert_eq!(verdict, Verdict::Failed("the fleet withdrew it: 2 of 100 failed".to_owned()));
    }
}
