//! Values of flags that several commands share.

use std::time::{Duration, SystemTime};

use crate::engine::MAX_MEMORY_BYTES;
use crate::tools::consume::Start;
use crate::tools::traffic::{MAX_SIZE_BYTES, Size};

/// `NAME=VALUE`.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => Err("expected NAME=VALUE".to_owned()),
    }
}

/// A size such as `1KiB`, or the smallest and the largest one: `100B..1KiB`.
pub(super) fn size(text: &str) -> Result<Size, String> {
    let bytes = |text: &str| {
        let bytes = text.trim().parse::<bytesize::ByteSize>().ok()?.as_u64();
        usize::try_from(bytes).ok().filter(|bytes| *bytes <= MAX_SIZE_BYTES)
    };
    let (min, max) = text.split_once("..").unwrap_or((text, text));
    match (bytes(min), bytes(max)) {
        (Some(min), Some(max)) if min <= max => Ok(Size { min, max }),
        _ => Err("expected a size up to 64MiB such as \"1KiB\", or a range of them such as \"100B..1KiB\"".to_owned()),
    }
}

/// A time such as `2026-11-24T10:00:00Z`, or milliseconds since 1970 such as `1790000000000ms`.
pub(super) fn timestamp(text: &str) -> Result<i64, String> {
    let milliseconds = match text.strip_suffix("ms") {
        Some(digits) => digits.parse::<i64>().ok(),
        None => humantime::parse_rfc3339_weak(text).ok().and_then(since_1970),
    };
    milliseconds.filter(|milliseconds| *milliseconds >= 0).ok_or_else(|| {
        "expected a time such as \"2026-11-24T10:00:00Z\", or milliseconds since 1970 such as \"1790000000000ms\""
            .to_owned()
    })
}

/// A duration from a millisecond to a day.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let allowed = Duration::from_millis(1)..=Duration::from_secs(24 * 60 * 60);
    let duration = humantime::parse_duration(text).ok().filter(|duration| allowed.contains(duration));
    duration.ok_or_else(|| "expected a duration from 1ms to 1day such as \"30s\"".to_owned())
}

/// Where reading a partition begins.
pub(super) fn start(text: &str) -> Result<Start, String> {
    start_at(text, SystemTime::now()).ok_or_else(|| {
        "expected earliest, latest, an offset such as \"1200\", \"-10\" for the last ten, \"-10m\" for ten minutes \
         ago, a time such as \"2026-11-24T10:00:00Z\", or milliseconds since 1970 such as \"1790000000000ms\""
            .to_owned()
    })
}

fn start_at(text: &str, now: SystemTime) -> Option<Start> {
    Some(match (text, text.strip_prefix('-')) {
        ("earliest", _) => Start::Earliest,
        ("latest", _) => Start::Latest,
        (_, Some(back)) => match back.parse() {
            Ok(records) if records >= 0 => Start::Last(records),
            Ok(_) => return None,
            Err(_) => {
                let then = now.checked_sub(humantime::parse_duration(back).ok()?)?;
                Start::Time(since_1970(then)?)
            }
        },
        _ => match text.parse() {
            Ok(offset) if offset >= 0 => Start::Offset(offset),
            Ok(_) => return None,
            Err(_) => Start::Time(timestamp(text).ok()?),
        },
    })
}

/// The longest deadline of a manifest.
const MAX_DEADLINE: Duration = Duration::from_secs(60 * 60);

pub(super) fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = pair(text)?;
    if name.is_empty() || text.contains('\0') {
        return Err("the name of a variable is not empty, and neither name nor value holds a zero byte".to_owned());
    }
    if name.starts_with("TIDEGATE_") {
        return Err("variables that start with TIDEGATE_ are set by Tidegate".to_owned());
    }
    Ok((name, value))
}

pub(super) fn deadline(text: &str) -> Result<Duration, String> {
    let allowed = Duration::from_millis(1)..=MAX_DEADLINE;
    let duration = humantime::parse_duration(text).ok().filter(|duration| allowed.contains(duration));
    duration.ok_or_else(|| "expected a duration from 1ms to 1h such as \"1s\"".to_owned())
}

pub(super) fn memory(text: &str) -> Result<u64, String> {
    let allowed = 64 << 10..=MAX_MEMORY_BYTES;
    let bytes = text.parse::<bytesize::ByteSize>().ok().map(|size| size.as_u64());
    bytes
        .filter(|bytes| allowed.contains(bytes))
        .ok_or_else(|| "expected a size from 64KiB to 4GiB such as \"64MiB\"".to_owned())
}

fn since_1970(time: SystemTime) -> Option<i64> {
    i64::try_from(time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_millis()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_one_or_a_range() {
        assert_eq!(size("1KiB"), Ok(Size { min: 1_024, max: 1_024 }));
        assert_eq!(size("100B..1KiB"), Ok(Size { min: 100, max: 1_024 }));
        assert_eq!(size("0"), Ok(Size { min: 0, max: 0 }));
        assert!(["", "much", "1KiB..100B", "65MiB", "..", "1..2..3", "-1"].iter().all(|text| size(text).is_err()));
    }

    #[test]
    fn pairs_have_a_name_and_any_value() {
        assert_eq!(pair("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(pair("="), Ok((String::new(), String::new())));
        assert!(pair("a").is_err());
    }

    #[test]
    fn a_start_is_a_word_an_offset_or_a_time() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        for (text, start) in [
            ("earliest", Start::Earliest),
            ("latest", Start::Latest),
            ("0", Start::Offset(0)),
            ("1700000000000", Start::Offset(1_700_000_000_000)),
            ("1700000000000ms", Start::Time(1_700_000_000_000)),
            ("1970-01-01T00:00:01.5Z", Start::Time(1_500)),
            ("-10", Start::Last(10)),
            ("-10m", Start::Time(400_000)),
        ] {
            assert_eq!(start_at(text, now), Some(start), "{text}");
        }
        for text in ["", "first", "1970-01-02", "--1", "-", "-1h", "1.5", "-10ms ago", "2026-13-01T00:00:00Z", "-5ms-"]
        {
            assert_eq!(start_at(text, now), None, "{text}");
        }
    }

    #[test]
    fn durations_are_from_a_millisecond_to_a_day() {
        assert_eq!(duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert!(["0s", "2days", "5", "soon"].iter().all(|text| duration(text).is_err()));
    }

    #[test]
    fn variables_deadlines_and_memory_are_as_in_the_manifest() {
        assert!(variable("=x").is_err() && variable("TIDEGATE_X=1").is_err() && variable("A=").is_ok());
        assert_eq!(deadline("1m 30s"), Ok(Duration::from_secs(90)));
        assert!(["0s", "2h", "5", "soon"].iter().all(|text| deadline(text).is_err()));
        assert_eq!(memory("1MiB"), Ok(1 << 20));
        assert!(["1KiB", "5GiB", "much"].iter().all(|text| memory(text).is_err()));
    }
}
