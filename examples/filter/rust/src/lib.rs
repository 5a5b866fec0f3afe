//! A filter: log lines of some levels go no further.

use std::env;
use std::sync::LazyLock;

use serde::Deserialize;
use tidegate_sdk::{Message, Record};

/// The levels that are dropped, as the manifest says. Read once by each instance.
static DROPPED: LazyLock<Vec<String>> = LazyLock::new(|| {
    let levels = env::var("DROP_LEVELS").unwrap_or_default();
    levels.split_whitespace().map(str::to_owned).collect()
});

/// What is looked at of a log line.
#[derive(Deserialize)]
struct Line {
    level: String,
}

/// Passes a log line on as it is, or answers with no message, and the record is done.
#[tidegate_sdk::function]
pub fn filter(record: Record) -> Option<Message> {
    if has_level(record, &DROPPED) {
        return None;
    }
    Some(record.forward())
}

/// What does not tell its level plainly has none of these: a filter in doubt loses nothing. An array is no
/// log line, though serde would read one as a `Line`.
fn has_level(record: Record, levels: &[String]) -> bool {
    let is_object = record.value().is_some_and(|value| value.trim_ascii_start().starts_with(b"{"));
    is_object && record.json::<Line>().is_ok_and(|line| levels.contains(&line.level))
}

#[cfg(test)]
mod tests {
    use tidegate_sdk::testing;

    use super::*;

    #[test]
    fn a_line_has_the_level_it_tells() {
        let levels = ["debug".to_owned(), "trace".to_owned()];
        let has = |value: &str| has_level(testing::Record::new().value(value).view(), &levels);
        assert!(has(r#"{"level": "debug", "message": "x"}"#));
        assert!(!has(r#"{"level": "error", "message": "debug"}"#));
        assert!(!has("debug: x"));
        assert!(!has("{}"));
        assert!(!has(r#"{"LEVEL": "debug"}"#));
        assert!(!has(r#"["debug"]"#));
        assert!(!has(r#"{"level": "info", "level": "debug"}"#));
        assert!(!has(r#"{"level": null}"#));
        assert!(has(r#"{"level": "debug", "n": 1e999}"#));
        assert!(has(r#"{"level": "debug", "LEVEL": "info"}"#));
        assert!(has(r#"{"x": [{"level": 1}], "level": "trace"}"#));
    }
}
