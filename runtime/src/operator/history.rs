//! The versions of a component, and what the fleet makes of them. Pure.

use super::member::Member;
use super::report::FunctionReport;
use super::table::{Table, size, span};
use crate::node::relay::fleet::View;
use crate::node::relay::steering::under_way;
use crate::record::revision::{Digest, Origin};
use crate::registry::s3::archive::{Facts, Version};

/// A version of a component.
#[derive(Clone, Debug)]
pub struct Revision {
    pub version: Version,
    pub facts: Facts,
    pub state: State,
}

/// What the fleet makes of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It serves on so many of the live nodes.
    Serves { on: usize, of: usize },
    /// It is being rolled out, and in this stage, from 0.
    Candidate { stage: u32 },
    /// It was withdrawn. The reason is only known of the one that was withdrawn last.
    Aborted { reason: Option<String> },
    /// So many of the live nodes refused it.
    Refused { on: usize, of: usize, error: String },
    /// The object was deleted.
    Deleted,
    /// Nothing of the above.
    Older,
    /// Nothing is known of the fleet.
    Unknown,
}

/// What is known of the fleet.
pub struct Known<'a> {
    pub view: &'a View,
    pub members: &'a [Member],
}

/// What the fleet makes of a version of a function's component.
pub fn state(version: &Version, is_newest: bool, function: &str, known: Option<&Known<'_>>) -> State {
    if version.is_deletion {
        return State::Deleted;
    }
    let Some(Known { view, members }) = known else { return State::Unknown };
    let live: Vec<&Member> = members.iter().filter(|member| member.is_live()).collect();
    let origin = version.origin.to_string();
    let reports: Vec<&FunctionReport> = live.iter().filter_map(|it| it.report.functions.get(function)).collect();
    let on = reports.iter().filter(|report| report.origin.as_ref() == Some(&origin)).count();
    let declared = view.rollouts.get_key_value(function).map(|(name, _)| name);
    let rollout = declared.and_then(|name| under_way(view, name));
    if let Some(rollout) = rollout.filter(|rollout| rollout.origin == version.origin) {
        return State::Candidate { stage: rollout.stage };
    }
    if let Some(reason) = aborted(view, function, &version.origin, None) {
        return State::Aborted { reason };
    }
    if on > 0 {
        return State::Serves { on, of: live.len() };
    }
    if is_newest {
        let errors: Vec<&String> = reports.iter().filter_map(|report| report.error.as_ref()).collect();
        if let Some(error) = errors.first() {
            return State::Refused { on: errors.len(), of: live.len(), error: (*error).clone() };
        }
        return State::Serves { on: 0, of: live.len() };
    }
    State::Older
}

/// Whether a version was aborted, or another one of the same bytes, and the reason if it is known.
pub fn aborted(view: &View, function: &str, origin: &Origin, digest: Option<Digest>) -> Option<Option<String>> {
    let abort = view.aborts.get(function)?;
    let is_it = |other: &Origin, of: Digest| other == origin || Some(of) == digest;
    if is_it(&abort.origin, abort.digest) {
        return Some((!abort.reason.is_empty()).then(|| abort.reason.clone()));
    }
    abort.earlier.iter().any(|earlier| is_it(&earlier.origin, earlier.digest)).then_some(None)
}

impl State {
    /// A short text for a table.
    pub fn words(&self) -> String {
        match self {
            Self::Serves { on: 0, .. } => "serves nowhere".to_owned(),
            Self::Serves { on, of } => format!("serves on {on} of {of}"),
            Self::Candidate { stage } => format!("candidate, stage {}", stage + 1),
            Self::Aborted { .. } => "aborted".to_owned(),
            Self::Refused { on, of, .. } => format!("refused by {on} of {of}"),
            Self::Deleted => "deleted".to_owned(),
            Self::Older => "older".to_owned(),
            Self::Unknown => "-".to_owned(),
        }
    }

    /// What there is to say beyond the words.
    pub fn detail(&self) -> Option<&str> {
        match self {
            Self::Aborted { reason } => reason.as_deref(),
            Self::Refused { error, .. } => Some(error),
            _ => None,
        }
    }
}

/// The revisions as a table, the newest first. `now_ms` is the time in milliseconds since 1970.
pub fn table(revisions: &[Revision], now_ms: i64) -> Table {
    let mut table = Table::new(&[("AGE", 8), ("VERSION", 10), ("DIGEST", 12), ("SIZE", 9), ("WHO", 14), ("STATE", 20)]);
    for Revision { version, facts, state } in revisions {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        table.row([
            or_none(version.written_ms.map(|at| span(now_ms.saturating_sub(at)))),
            or_none(version.id().map(short)),
            or_none(facts.digest.map(|digest| digest.short())),
            if version.is_deletion { "-".to_owned() } else { size(version.bytes) },
            or_none(facts.publisher.clone()),
            state.words(),
        ]);
    }
    table
}

/// The beginning of the id of a version, which is enough for `rollback --to`.
pub fn short(id: &str) -> String {
    id.chars().take(10).collect()
}

/// The revisions as JSON.
pub fn json(revisions: &[Revision]) -> serde_json::Value {
    let one = |Revision { version, facts, state }: &Revision| {
        let (state_name, on, of, reason) = match state {
            State::Serves { on, of } => ("serving", Some(*on), Some(*of), None),
            State::Candidate { .. } => ("candidate", None, None, None),
            State::Aborted { reason } => ("aborted", None, None, reason.clone()),
            State::Refused { on, of, error } => ("refused", Some(*on), Some(*of), Some(error.clone())),
            State::Deleted => ("deleted", None, None, None),
            State::Older => ("older", None, None, None),
            State::Unknown => ("unknown", None, None, None),
        };
        serde_json::json!({
            "version": version.id(),
            "published-ms": version.written_ms,
            "bytes": version.bytes,
            "digest": facts.digest,
            "publisher": facts.publisher,
            "copy-of": facts.copy_of,
            "state": state_name,
            "stage": if let State::Candidate { stage } = state { Some(*stage) } else { None },
            "nodes": on,
            "live-nodes": of,
            "reason": reason,
        })
    };
    revisions.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::member::{members, testing};
    use super::*;
    use crate::manifest::Name;
    use crate::node::relay::message::{Abort, Publication, Rollout};

    fn origin(id: &str) -> Origin {
        Origin::Version(id.to_owned())
    }

    fn version(id: &str) -> Version {
        Version { origin: origin(id), bytes: 2_048, written_ms: Some(0), is_deletion: false }
    }

    fn view() -> View {
        let mut fleet = testing::fleet();
        let serves = |id: &str, error: Option<&str>| json!({ "functions": { "f": { "origin": format!("version {id}"), "error": error } } });
        testing::say(&mut fleet, "a", 1_000, false, serves("v2", Some("it is junk")));
        testing::say(&mut fleet, "b", 1_000, false, serves("v3", None));
        testing::say(&mut fleet, "c", 1_000, true, serves("v1", None));
        let name = Name::new("f").expect("a name");
        let mut view = fleet.view().clone();
        let (digest, reason) = (Digest::of(b"4"), "too slow".to_owned());
        let earlier = vec![Publication { digest: Digest::of(b"5"), origin: origin("v5") }];
        let abort = Abort { digest, origin: origin("v4"), reason, at_ms: 1, from: "n".to_owned(), earlier };
        view.aborts.insert(name.clone(), abort);
        let (digest, from) = (Digest::of(b"6"), "n".to_owned());
        let rollout = Rollout {
            digest,
            origin: origin("v6"),
            published_ms: None,
            started_ms: 1,
            stage: 1,
            stage_started_ms: 1,
            promoted: false,
            from,
        };
        view.rollouts.insert(name, rollout);
        view
    }

    #[test]
    fn a_version_has_the_state_that_the_fleet_gives_it() {
        let view = view();
        let members = members(&view, 2_000);
        let known = Known { view: &view, members: &members };
        let check = |id: &str, is_newest: bool, words: &str, detail: Option<&str>| {
            let state = state(&version(id), is_newest, "f", Some(&known));
            assert_eq!((state.words().as_str(), state.detail()), (words, detail), "{id}");
        };
        check("v1", false, "older", None);
        check("v2", false, "serves on 1 of 2", None);
        check("v3", true, "serves on 1 of 2", None);
        check("v4", false, "aborted", Some("too slow"));
        check("v5", false, "aborted", None);
        check("v6", true, "candidate, stage 2", None);
        check("v7", true, "refused by 1 of 2", Some("it is junk"));
        check("v7", false, "older", None);
        assert_eq!(state(&Version { is_deletion: true, ..version("v8") }, true, "f", Some(&known)), State::Deleted);
        assert_eq!(state(&version("v1"), true, "f", None), State::Unknown);
    }

    #[test]
    fn bytes_that_were_aborted_are_known_under_another_version_too() {
        let view = view();
        let check = |id: &str, bytes: &[u8]| aborted(&view, "f", &origin(id), Some(Digest::of(bytes)));
        assert_eq!(check("v9", b"4"), Some(Some("too slow".to_owned())));
        assert_eq!(check("v9", b"5"), Some(None));
        assert_eq!(check("v9", b"9"), None);
    }

    #[test]
    fn a_table_of_revisions_has_one_line_for_each() {
        let facts = Facts { digest: Some(Digest::of(b"x")), publisher: Some("ann@laptop".to_owned()), copy_of: None };
        let serves = Revision { version: version("abcdefghijkl"), facts, state: State::Serves { on: 3, of: 3 } };
        let gone = Version { is_deletion: true, ..version("m") };
        let deleted = Revision { version: gone, facts: Facts::default(), state: State::Deleted };
        let expected = [
            "AGE   VERSION     DIGEST        SIZE     WHO         STATE",
            "90 s  abcdefghij  2d711642b726  2.0 KiB  ann@laptop  serves on 3 of 3",
            "90 s  m           -             -        -           deleted",
        ];
        assert_eq!(table(&[serves.clone(), deleted], 90_000).lines(), expected);
        assert_eq!(json(&[serves])[0]["state"], "serving");
    }
}
