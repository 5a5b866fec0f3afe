//! Outcomes for people.

use std::fmt::Write as _;

use crate::counted::counted;
use crate::record::outcome::Fault;
use crate::tools::ndjson::{Message, Source};

/// Longest value that is shown whole, in characters.
const MAX_CHARACTERS: usize = 2_000;

/// What became of a record, without a line break at the end.
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

/// Bytes as one line that does nothing to a terminal.
fn shown(bytes: Option<&[u8]>) -> String {
    match bytes.map(std::str::from_utf8) {
        None => "(null)".to_owned(),
        Some(Ok("")) => "(empty)".to_owned(),
        Some(Ok(text)) => escaped(text),
        Some(Err(_)) => {
            let bytes = bytes.unwrap_or_default();
            let start = bytes[..bytes.len().min(32)].escape_ascii();
            format!("({}: {start}{})", counted(bytes.len(), "byte"), if bytes.len() > 32 { "…" } else { "" })
        }
    }
}

fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for (index, character) in text.chars().enumerate() {
        if index == MAX_CHARACTERS {
            let _ = write!(shown, "… ({} bytes in all)", text.len());
            break;
        }
        match character {
            '\n' | '\r' | '\t' => shown.extend(character.escape_default()),
            control if control.is_control() => shown.extend(control.escape_unicode()),
            character => shown.push(character),
        }
    }
    shown
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

    #[test]
    fn a_long_value_is_cut() {
        assert!(shown(Some(&b"x".repeat(3_000))).ends_with("x… (3000 bytes in all)"));
        assert!(shown(Some(&b"\xff".repeat(40))).starts_with("(40 bytes: "));
    }
}
