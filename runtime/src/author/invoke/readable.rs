//! Outcomes for people.

use std::fmt::Write as _;

use crate::record::outcome::Fault;
use crate::tools::display::{escaped, shown};
use crate::tools::ndjson::{Message, Source};

/// The outcome of one record, without a line break at the end.
pub fn outcome(source: Source<'_>, result: Result<&[Message], &Fault>) -> String {
    let place = format!("{}/{} @{}", source.topic, source.partition, source.offset);
    match result {
        Err(fault) => format!("{place}: failed, {}: {}", fault.cause, escaped(&fault.reason)),
        Ok([]) => format!("{place}: no message"),
        Ok(messages) => {
            let mut text = format!("{place}:");
            for message in messages {
                write(&mut text, message);
            }
            text
        }
    }
}

fn write(text: &mut String, message: &Message) {
    let _ = write!(text, "\n  -> key {}, value {}", shown(message.key.as_deref()), shown(message.value.as_deref()));
    for (name, value) in &message.headers {
        let _ = write!(text, "\n     header {} = {}", shown(Some(name)), shown(value.as_deref()));
    }
    if let Some(topic) = &message.topic {
        let _ = write!(text, "\n     to {topic}");
    }
    if let Some(partition) = message.partition {
        let _ = write!(text, "\n     to partition {partition}");
    }
    if let Some(timestamp) = message.timestamp.milliseconds() {
        let _ = write!(text, "\n     at {timestamp}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::outcome::{Cause, Timestamp};

    const AT: Source<'static> = Source { topic: "in", partition: 1, offset: 7 };

    #[test]
    fn every_part_of_a_message_is_shown() {
        let message = Message {
            topic: Some("audit".to_owned()),
            partition: Some(4),
            timestamp: Timestamp::Milliseconds(5),
            key: None,
            value: Some(b"a\x1b[31m\nb".to_vec()),
            headers: vec![(b"trace".to_vec(), Some(b"\xff\x00".to_vec())), (Vec::new(), None)],
        };
        let expected = "in/1 @7:\n  -> key (null), value a\\u{1b}[31m\\nb\n     header trace = (2 bytes: \\xff\\x00)\n     \
                        header (empty) = (null)\n     to audit\n     to partition 4\n     at 5";
        assert_eq!(outcome(AT, Ok(&[message])), expected);
    }

    #[test]
    fn failures_and_silence_are_one_line() {
        assert_eq!(outcome(AT, Ok(&[])), "in/1 @7: no message");
        let fault = Fault::new(Cause::Trap, "unreachable:\nwhy");
        assert_eq!(outcome(AT, Err(&fault)), "in/1 @7: failed, trap: unreachable:\\nwhy");
    }
}
