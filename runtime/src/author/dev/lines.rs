//! Log lines for the author at the terminal: short, and folded to 80 columns. The further lines of a long one are
//! indented.

use std::fmt;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::log;
use crate::tools::display::{COLUMNS, wrapped};

const INDENT: &str = "  ";
/// Fields that are left out: a line about a record starts with them, or the record itself shows them.
const KNOWN: [&str; 7] = ["trigger", "function", "revision", "topic", "partition", "offset", "records"];

/// Tells the author something.
pub fn say(text: &str) {
    log::tell(&folded(text));
}

/// Folds a text into lines of 80 columns.
fn folded(text: &str) -> String {
    let lines = wrapped(&text.replace('\t', INDENT), COLUMNS - INDENT.len(), usize::MAX);
    // A backslash stands for itself here, because no texts are compared.
    lines.join(&format!("\n{INDENT}")).replace(r"\\", r"\")
}

/// The format of log lines: no time, no target, and a level only if it is not INFO.
pub struct Short;

impl<S, N> FormatEvent<S, N> for Short
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = *event.metadata().level();
        let text = fields.line(event.metadata().target() == "function");
        if level == Level::INFO {
            return writeln!(writer, "{}", folded(&text));
        }
        let text = folded(&format!("{level} {text}"));
        match text.strip_prefix(level.as_str()).filter(|_| writer.has_ansi_escapes()) {
            Some(rest) => {
                let style = if level == Level::ERROR { "31" } else { "33" };
                writeln!(writer, "\x1b[{style}m{level}\x1b[0m{rest}")
            }
            None => writeln!(writer, "{text}"),
        }
    }
}

/// The fields of a log line, as texts.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, String)>,
}

impl Fields {
    fn keep(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.message = value,
            // The place in a library's source.
            name if name.starts_with("log.") => {}
            name => self.others.push((name, value)),
        }
    }

    fn get(&self, wanted: &str) -> Option<&str> {
        self.others.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.as_str())
    }

    /// The trigger, the record, the message, and the other fields.
    fn line(&self, is_of_a_function: bool) -> String {
        let place = self.get("partition").zip(self.get("offset"));
        let mut text = self.get("trigger").map(str::to_owned).unwrap_or_default();
        if let Some((partition, offset)) = place {
            text.push_str(&format!(" {partition}:{offset}"));
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&self.message);
        let known = if is_of_a_function || place.is_some() { &KNOWN[..] } else { &KNOWN[..1] };
        for (name, value) in self.others.iter().filter(|(name, _)| !known.contains(name)) {
            text.push_str(&format!(" {name}={value}"));
        }
        text
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.keep(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.keep(field, format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use super::*;
    use crate::tools::display::width;

    /// What is written when this is logged.
    fn written(ansi: bool, log: impl FnOnce()) -> String {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let writer = Arc::new(file.reopen().expect("it opens"));
        let subscriber = tracing_subscriber::fmt().with_ansi(ansi).with_writer(writer).event_format(Short);
        tracing::subscriber::with_default(subscriber.finish(), log);
        fs::read_to_string(file.path()).expect("text")
    }

    #[test]
    fn a_line_of_a_function_shows_its_record_and_no_more() {
        let log = |topic: Option<&str>, text: &str| {
            let (partition, offset) = (topic.map(|_| 3), topic.map(|_| 42_i64));
            let (trigger, revision) = ("shout", "1a2b3c4d");
            tracing::info!(
                target: "function", trigger, function = "shout", revision, topic, partition, offset,
                records = topic.map(|_| 1), dropped = topic.map(|_| 7), "{text}"
            );
        };
        let lines = written(false, || {
            log(None, "ready");
            log(Some("orders"), r#"{"a": "\n"}"#);
        });
        assert_eq!(lines, "shout: ready\nshout 3:42: {\"a\": \"\\n\"} dropped=7\n");
    }

    #[test]
    fn other_lines_show_their_fields_and_a_level_that_is_not_info() {
        let log = || {
            tracing::info!(trigger = "shout", revision = "1a2b3c4d", "revision activated");
            tracing::warn!(trigger = %"shout", topic = "in", partition = 0, offset = 5, cause = %"trap", "record waits");
            tracing::error!("refused:\n  here\tand there");
            tracing::debug!("hidden");
        };
        let lines = "shout: revision activated revision=1a2b3c4d\n\
                     WARN shout 0:5: record waits cause=trap\n\
                     ERROR refused:\n    here  and there\n";
        assert_eq!(written(false, log), lines);
        let coloured = lines.replace("WARN", "\x1b[33mWARN\x1b[0m").replace("ERROR", "\x1b[31mERROR\x1b[0m");
        assert_eq!(written(true, log), coloured);
    }

    #[test]
    fn long_lines_go_on_indented_within_eighty_columns() {
        let text = format!("{} {}", "word ".repeat(40), "日".repeat(100));
        let lines = written(false, || tracing::info!("{text}"));
        let dense = |text: &str| text.split_whitespace().collect::<String>();
        assert_eq!(dense(&lines), dense(&text));
        assert!(lines.lines().count() > 4 && lines.lines().all(|line| width(line) <= COLUMNS), "{lines}");
        assert!(lines.lines().skip(1).all(|line| line.starts_with(INDENT)), "{lines}");
    }
}
