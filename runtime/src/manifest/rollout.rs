//! Rollouts: how a new revision of a function takes over.

use std::num::NonZeroU64;
use std::time::Duration;

use super::diagnostic::{Diagnostic, Report, Span};
use super::field::Field;
use super::raw::{RawAbortIf, RawRollout};
use super::shares::{Multiple, Share, Step};

/// The most steps of a rollout.
const STEPS: usize = 10;

/// How a new revision of a function takes over. Until it has all records, it is called the candidate.
///
/// Stages follow one another: first a shadow, if it is asked for, then each of `steps`, then all records. Between two
/// stages lie at least `bake` and `min_records`. If a limit of `abort_if` is reached before the candidate has all
/// records, all nodes go back to the revision that served before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollout {
    /// The shares of keys that the candidate gets, one after another: at most 10, ascending, each below 100%. There is
    /// at least one unless `shadow` is set.
    pub steps: Vec<Share>,
    /// How long each stage takes at least, 1 s to 7 days.
    pub bake: Duration,
    /// How many records the candidate has to handle in each stage before the next one, and before its rates are
    /// judged. 0 to 1000000000.
    pub min_records: u64,
    /// What ends the rollout.
    pub abort_if: AbortIf,
    /// Whether the candidate is a shadow first: it is called with the records too, but what it sends goes nowhere.
    pub shadow: bool,
}

/// Limits for a candidate. One that is reached ends the rollout. One that is `None` is not looked at. A candidate most of
/// whose recent records fail is withdrawn whatever the limits are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortIf {
    /// Failed records among those that the candidate has handled. Judged from `min_records` on.
    pub failure_rate: Option<Share>,
    /// The number of calls that trapped. Judged at once.
    pub traps: Option<NonZeroU64>,
    /// How many times as long the candidate takes as the revision that serves. Judged from `min_records` on.
    pub latency: Option<Multiple>,
}

/// A failure rate of 5%, and one trap.
impl Default for AbortIf {
    fn default() -> Self {
        Self { failure_rate: Share::of_basis_points(500), traps: Some(NonZeroU64::MIN), latency: None }
    }
}

pub(super) fn check(raw: Field<RawRollout>, report: &mut Report) -> Option<Rollout> {
    let raw = raw.given(report)?;
    let (table, raw) = (raw.span, raw.value);
    // A broken `shadow` may have been meant as true.
    let may_shadow = raw.shadow.is_broken();
    let shadow = raw.shadow.or_default(report);
    Some(Rollout {
        steps: steps(raw.steps, !shadow && !may_shadow, &table, report),
        bake: raw.bake.or_default(report).0,
        min_records: raw.min_records.or_default(report).0,
        abort_if: abort_if(raw.abort_if, report),
        shadow,
    })
}

fn steps(raw: Field<Vec<Field<Step>>>, is_required: bool, table: &Span, report: &mut Report) -> Vec<Share> {
    let help = "add steps = [\"5%\", \"25%\"], or shadow = true";
    if raw.is_absent() && is_required {
        report.add(Diagnostic::new(table, "a rollout has no `steps`", "needs `steps`").help(help));
    }
    let Some(given) = raw.given(report) else { return Vec::new() };
    if given.value.is_empty() && is_required {
        report.add(Diagnostic::new(&given.span, "a rollout has no steps", "name at least one").help(help));
    }
    if given.value.len() > STEPS {
        let label = format!("expected 1 to {STEPS}, and not {}", given.value.len());
        report.add(Diagnostic::new(&given.span, "a rollout has too many steps", label));
    }
    let mut steps = Vec::new();
    let mut before: Option<(Share, Span)> = None;
    for step in given.value {
        let Some(step) = step.given(report) else { continue };
        let share = step.value.0;
        if let Some((least, span)) = before.filter(|(least, _)| share <= *least) {
            let diagnostic =
                Diagnostic::new(&step.span, "the steps do not ascend", format!("expected more than {least}"));
            report.add(diagnostic.also(&span, "the step before"));
        }
        before = Some((share, step.span));
        steps.push(share);
    }
    steps
}

/// What is given, and nothing else. If nothing is, the default.
fn abort_if(raw: Field<RawAbortIf>, report: &mut Report) -> AbortIf {
    let raw = raw.or_default(report);
    if raw.failure_rate.is_absent() && raw.traps.is_absent() && raw.latency.is_absent() {
        return AbortIf::default();
    }
    AbortIf {
        failure_rate: raw.failure_rate.given(report).map(|rate| rate.value.0),
        traps: raw.traps.given(report).and_then(|traps| NonZeroU64::new(traps.value.0)),
        latency: raw.latency.given(report).map(|latency| latency.value),
    }
}
