//! What a person says to a whole fleet, as messages of the relay: promote a rollout or abort it, pause a trigger
//! or resume it. Pure: what is known of the fleet and the time are arguments.
//!
//! The admin API of a node and the command line write the same messages. All nodes, also the one that writes,
//! act when they read the message from the topic.

use super::fleet::View;
use super::message::{Abort, Message, Pause, Publication, Rollout};
use crate::manifest::Name;
use crate::record::revision::{Digest, Origin};

/// How many aborted publications of a function are remembered beside the newest one.
pub const MOST_EARLIER: usize = 20;
/// The longest reason, in bytes. The topic keeps it, and every node shows it.
pub const MOST_REASON: usize = 1_000;

/// Why nothing is said to the fleet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("no rollout of function {0} is under way")]
    NoRollout(Name),
    #[error("a reason has at most {MOST_REASON} bytes, and this one has {0}")]
    ReasonTooLong(usize),
}

/// The rollout of a function that is under way: it was neither promoted nor aborted.
pub fn under_way<'a>(view: &'a View, function: &Name) -> Option<&'a Rollout> {
    let rollout = view.rollouts.get(function).filter(|rollout| !rollout.promoted)?;
    let is_aborted = view.aborts.get(function).is_some_and(|abort| {
        let mut earlier = abort.earlier.iter().map(|it| (&it.digest, &it.origin));
        let is_it = |(digest, origin): (&Digest, &Origin)| *digest == rollout.digest && *origin == rollout.origin;
        is_it((&abort.digest, &abort.origin)) || earlier.any(is_it)
    });
    (!is_aborted).then_some(rollout)
}

/// The revision that is being rolled out serves everything from now on. `from` is who says so, `now_ms` the time in
/// milliseconds since 1970.
pub fn promote(view: &View, function: &Name, from: &str, now_ms: i64) -> Result<Message, Refusal> {
    let rollout = under_way(view, function).ok_or_else(|| Refusal::NoRollout(function.clone()))?;
    // To serve everything is a stage too, and it begins now.
    let promoted = Rollout { promoted: true, stage_started_ms: now_ms, from: from.to_owned(), ..rollout.clone() };
    Ok(Message::Rollout { function: function.clone(), rollout: Some(promoted) })
}

/// The revision that is being rolled out must not serve any more, and neither must those that were aborted before.
/// Of the latter, the newest [`MOST_EARLIER`] are remembered.
pub fn abort(view: &View, function: &Name, reason: &str, from: &str, now_ms: i64) -> Result<Message, Refusal> {
    check_reason(reason)?;
    let rollout = under_way(view, function).ok_or_else(|| Refusal::NoRollout(function.clone()))?;
    let publication = Publication { digest: rollout.digest, origin: rollout.origin.clone() };
    let abort = aborted(publication, reason, view.aborts.get(function), from, now_ms);
    Ok(Message::Abort { function: function.clone(), abort: Some(abort) })
}

/// A publication must not serve. `before` is what was aborted of its function before; the newest [`MOST_EARLIER`] of that
/// are remembered.
pub fn aborted(publication: Publication, reason: &str, before: Option<&Abort>, from: &str, now_ms: i64) -> Abort {
    let last = before.map(|before| Publication { digest: before.digest, origin: before.origin.clone() });
    let earlier = last.into_iter().chain(before.into_iter().flat_map(|before| before.earlier.iter().cloned()));
    let earlier = earlier.filter(|earlier| *earlier != publication).take(MOST_EARLIER).collect();
    let Publication { digest, origin } = publication;
    Abort { digest, origin, reason: reason.to_owned(), at_ms: now_ms, from: from.to_owned(), earlier }
}

/// A publication of bytes that have served before serves everything at once, without a rollout. It was published a moment
/// ago.
pub fn gone_back(function: &Name, publication: Publication, from: &str, now_ms: i64) -> Message {
    let Publication { digest, origin } = publication;
    let (started_ms, stage_started_ms, from) = (now_ms, now_ms, from.to_owned());
    let published_ms = Some(now_ms);
    let rollout =
        Rollout { digest, origin, published_ms, started_ms, stage: 0, stage_started_ms, promoted: true, from };
    Message::Rollout { function: function.clone(), rollout: Some(rollout) }
}

/// The trigger must not take records until it is resumed. To pause a trigger that is paused replaces the reason.
pub fn pause(trigger: &Name, reason: &str, from: &str, now_ms: i64) -> Result<Message, Refusal> {
    check_reason(reason)?;
    let pause = Pause { at_ms: now_ms, from: from.to_owned(), reason: reason.to_owned() };
    Ok(Message::Pause { trigger: trigger.clone(), pause: Some(pause) })
}

/// The trigger may take records again. To resume a trigger that is not paused changes nothing.
pub fn resume(trigger: &Name) -> Message {
    Message::Pause { trigger: trigger.clone(), pause: None }
}

fn check_reason(reason: &str) -> Result<(), Refusal> {
    if reason.len() > MOST_REASON { Err(Refusal::ReasonTooLong(reason.len())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> Name {
        Name::new("f").expect("a name")
    }

    fn publication(number: usize) -> Publication {
        Publication { digest: Digest::of(&number.to_le_bytes()), origin: Origin::Version(format!("v{number}")) }
    }

    fn rollout(number: usize) -> Rollout {
        let Publication { digest, origin } = publication(number);
        let from = "a node".to_owned();
        Rollout {
            digest,
            origin,
            published_ms: None,
            started_ms: 1,
            stage: 1,
            stage_started_ms: 2,
            promoted: false,
            from,
        }
    }

    fn view(rollout: Option<Rollout>) -> View {
        View { rollouts: rollout.map(|rollout| (name(), rollout)).into_iter().collect(), ..View::default() }
    }

    /// Aborts the rollout of this publication, and returns what was said.
    fn aborted(view: &mut View, number: usize) -> Abort {
        view.rollouts.insert(name(), rollout(number));
        match abort(view, &name(), "bad", "me", 7) {
            Ok(Message::Abort { abort: Some(abort), .. }) => {
                view.aborts.insert(name(), abort.clone());
                abort
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_rollout_is_promoted_as_it_is_known() {
        let expected = Rollout { promoted: true, stage_started_ms: 7, from: "me".to_owned(), ..rollout(1) };
        let expected = Message::Rollout { function: name(), rollout: Some(expected) };
        assert_eq!(promote(&view(Some(rollout(1))), &name(), "me", 7), Ok(expected));
    }

    #[test]
    fn only_a_rollout_that_is_under_way_is_promoted_or_aborted() {
        let promoted = view(Some(Rollout { promoted: true, ..rollout(1) }));
        let (mut aborted_once, mut aborted_before) = (view(None), view(None));
        aborted(&mut aborted_once, 1);
        aborted(&mut aborted_before, 1);
        aborted(&mut aborted_before, 2);
        aborted_before.rollouts.insert(name(), rollout(1));
        for view in [&view(None), &promoted, &aborted_once, &aborted_before] {
            assert_eq!(promote(view, &name(), "me", 7), Err(Refusal::NoRollout(name())));
            assert_eq!(abort(view, &name(), "", "me", 7), Err(Refusal::NoRollout(name())));
        }
        // The same bytes published anew are another publication.
        let anew = Rollout { origin: Origin::Version("anew".to_owned()), ..rollout(1) };
        aborted_once.rollouts.insert(name(), anew.clone());
        assert_eq!(under_way(&aborted_once, &name()), Some(&anew));
    }

    #[test]
    fn an_abort_remembers_the_last_ones_before_it() {
        let mut view = view(None);
        let first = aborted(&mut view, 0);
        assert_eq!((first.reason.as_str(), first.from.as_str(), first.at_ms), ("bad", "me", 7));
        assert_eq!(first.earlier, []);
        let last = (1..=30).map(|number| aborted(&mut view, number)).last().expect("thirty");
        assert_eq!((last.digest, last.origin), (publication(30).digest, publication(30).origin));
        let expected: Vec<_> = (10..30).rev().map(publication).collect();
        assert_eq!(last.earlier, expected);
    }

    #[test]
    fn a_reason_has_a_limit() {
        let (longest, longer) = ("x".repeat(MOST_REASON), "x".repeat(MOST_REASON + 1));
        let known = view(Some(rollout(1)));
        assert!(pause(&name(), &longest, "me", 7).is_ok() && abort(&known, &name(), &longest, "me", 7).is_ok());
        let refusal = Refusal::ReasonTooLong(MOST_REASON + 1);
        assert_eq!(pause(&name(), &longer, "me", 7), Err(refusal.clone()));
        assert_eq!(abort(&known, &name(), &longer, "me", 7), Err(refusal));
    }

    #[test]
    fn a_trigger_is_paused_with_a_reason_and_resumed_by_taking_that_back() {
        let said = Pause { at_ms: 7, from: "me".to_owned(), reason: "why".to_owned() };
        let expected = Message::Pause { trigger: name(), pause: Some(said) };
        assert_eq!(pause(&name(), "why", "me", 7), Ok(expected));
        assert_eq!(resume(&name()), Message::Pause { trigger: name(), pause: None });
    }
}
