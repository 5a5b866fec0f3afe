//! Rollouts: how a new revision of a function takes over.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::num::NonZeroU64;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer};

use super::diagnostic::{Diagnostic, Report, Span};
use super::field::Field;
use super::raw::{RawAbortIf, RawRollout};
use super::words::{Spelling, SpellingVisitor, spelled};

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

/// Limits for a candidate. One that is reached ends the rollout. One that is `None` is not looked at.
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
        Self { failure_rate: Some(Share(500)), traps: Some(NonZeroU64::MIN), latency: None }
    }
}

/// A share of a whole, above 0% and at most 100%. It prints as it is written in a manifest, such as `0.5%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share(u16);

impl Share {
    /// The whole in basis points.
    pub const WHOLE: u16 = 10_000;

    /// Makes a share of hundredths of a percent. `None` unless there are 1 to 10000 of them.
    #[must_use]
    pub fn of_basis_points(basis_points: u16) -> Option<Self> {
        (1..=Self::WHOLE).contains(&basis_points).then_some(Self(basis_points))
    }

    /// The share in hundredths of a percent, 1 to 10000.
    #[must_use]
    pub fn basis_points(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", decimal(self.0.into()))
    }
}

/// How many times as much, above 1 and at most 1000. It prints as it is written in a manifest, such as `1.5x`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Multiple(u32);

impl Multiple {
    /// Makes a multiple of hundredths. `None` unless there are 101 to 100000 of them.
    #[must_use]
    pub fn of_hundredths(hundredths: u32) -> Option<Self> {
        (101..=100_000).contains(&hundredths).then_some(Self(hundredths))
    }

    /// The multiple in hundredths, 101 to 100000: `1.5x` are 150.
    #[must_use]
    pub fn hundredths(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Multiple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x", decimal(self.0))
    }
}

/// A number of hundredths, without zeros at its end.
fn decimal(hundredths: u32) -> String {
    let text = format!("{}.{:02}", hundredths / 100, hundredths % 100);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The hundredths of a decimal number with at most two decimals.
fn hundredths(text: &str) -> Option<u32> {
    let (whole, decimals) = text.split_once('.').map_or((text, "0"), |(whole, decimals)| (whole, decimals));
    let is_digits =
        |digits: &str, most| (1..=most).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    if !is_digits(whole, 6) || !is_digits(decimals, 2) {
        return None;
    }
    format!("{whole}{decimals:0<2}").parse().ok()
}

/// A percentage with its limit in basis points.
pub(super) struct Percentage<const MOST: u16>(Share);

impl<const MOST: u16> Spelling for Percentage<MOST> {
    const NOUN: &'static str = "percentage";

    fn expected() -> String {
        let most = if MOST < Share::WHOLE { "below" } else { "at most" };
        format!("a percentage above 0% and {most} 100%, with at most two decimals, such as \"5%\" or \"0.5%\"")
    }

    fn spelled(text: &str) -> Option<Self> {
        let basis_points = u16::try_from(hundredths(text.strip_suffix('%')?)?).ok()?;
        Share::of_basis_points(basis_points).filter(|share| share.0 <= MOST).map(Self)
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]{1,6}(\\.[0-9]{1,2})?%$", "examples": ["5%", "0.5%"] })
    }
}

spelled!(Percentage<MOST>; const MOST: u16);

/// The share of one step.
pub(super) type Step = Percentage<9_999>;

impl Spelling for Multiple {
    const NOUN: &'static str = "multiple";

    fn expected() -> String {
        "a multiple above 1x and at most 1000x, with at most two decimals, such as \"2x\" or \"1.5x\"".to_owned()
    }

    fn spelled(text: &str) -> Option<Self> {
        Self::of_hundredths(hundredths(text.strip_suffix('x')?)?)
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]{1,6}(\\.[0-9]{1,2})?x$", "examples": ["2x", "1.5x"] })
    }
}

spelled!(Multiple);

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_has_two_decimals_and_prints_as_it_is_written() {
        let check = |text: &str, expected: Option<u16>| {
            let share = Percentage::<10_000>::spelled(text).map(|percentage| percentage.0);
            assert_eq!(share.map(Share::basis_points), expected, "{text}");
        };
        for (text, basis_points) in
            [("5%", 500), ("0.5%", 50), ("0.05%", 5), ("0.01%", 1), ("12.34%", 1234), ("100%", 10_000)]
        {
            check(text, Some(basis_points));
            assert_eq!(Share(basis_points).to_string(), text);
        }
        check("05.50%", Some(550));
        for text in ["", "%", "5", "0%", "0.00%", "100.01%", "-1%", "+1%", "1.%", ".5%", "1.234%", "5 %", "5%%", "1e1%"]
        {
            check(text, None);
        }
        check("99999999999999999999%", None);
        assert!(Step::spelled("99.99%").is_some() && Step::spelled("100%").is_none());
    }

    #[test]
    fn a_multiple_is_above_one() {
        let check = |text: &str, expected: Option<u32>| {
            assert_eq!(Multiple::spelled(text).map(Multiple::hundredths), expected, "{text}");
        };
        for (text, hundredths) in [("2x", 200), ("1.5x", 150), ("1.01x", 101), ("1000x", 100_000)] {
            check(text, Some(hundredths));
            assert_eq!(Multiple(hundredths).to_string(), text);
        }
        for text in ["", "x", "1x", "1.00x", "0.5x", "1000.01x", "2", "2X", "2 x", "-2x"] {
            check(text, None);
        }
    }
}
