//! Shares and multiples, as a manifest spells them: `5%`, `1.5x`.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer};

use super::words::{Spelling, SpellingVisitor, spelled};

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
pub(super) struct Percentage<const MOST: u16>(pub(super) Share);

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
