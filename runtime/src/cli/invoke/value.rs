//! Values of flags.

use std::time::Duration;

pub(super) use crate::cli::value::{pair, timestamp};
use crate::engine::MAX_MEMORY_BYTES;

/// The longest deadline of a manifest.
const MAX_DEADLINE: Duration = Duration::from_secs(60 * 60);

pub(in crate::cli) fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = pair(text)?;
    if name.is_empty() || text.contains('\0') {
        return Err("the name of a variable is not empty, and neither name nor value holds a zero byte".to_owned());
    }
    if name.starts_with("TIDEGATE_") {
        return Err("variables that start with TIDEGATE_ are set by Tidegate".to_owned());
    }
    Ok((name, value))
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_in_the_manifest() {
        assert!(variable("=x").is_err() && variable("TIDEGATE_X=1").is_err() && variable("A=").is_ok());
        assert_eq!(duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert!(["0s", "2h", "5", "soon"].iter().all(|text| duration(text).is_err()));
        assert_eq!(memory("1MiB"), Ok(1 << 20));
        assert!(["1KiB", "5GiB", "much"].iter().all(|text| memory(text).is_err()));
    }
}
