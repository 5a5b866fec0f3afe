//! The first function: every value in upper case, all else as it was.

use tidegate_sdk::{Message, Record, Result};

/// The record with its value in upper case. A tombstone stays one.
#[tidegate_sdk::function]
pub fn enrich(record: Record) -> Result<Message> {
    Ok(record.with_value(record.value().map(<[u8]>::to_ascii_uppercase)))
}

#[cfg(test)]
mod tests {
    use tidegate_sdk::testing;

    use super::*;

    #[test]
    fn a_value_comes_out_in_upper_case() {
        let source = testing::Record::new().key("k").value("hello");
        assert_eq!(enrich(source.view()), Ok(source.view().with_value("HELLO")));
    }

    #[test]
    fn key_headers_and_tombstones_stay_as_they_are() {
        let tombstone = testing::Record::new().key("k").header("trace", "abc");
        let outcome = testing::run::<enrich>([tombstone]);

        let message = &outcome.messages[0];
        assert_eq!(message.key_str(), "k");
        assert_eq!(message.value, None);
        assert_eq!(message.header("trace").and_then(|header| header.value), Some(&b"abc"[..]));
    }
}
