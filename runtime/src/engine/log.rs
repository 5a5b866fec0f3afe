//! Writes what guests print to the log of the node, with the trigger, the revision and the records of the
//! call.
//!
//! If a line begins with `level=`, the name of a level and a space, it is logged at that level and without
//! this prefix. The SDKs write such lines, for example `level=ERROR no price of tea`. All other lines are
//! logged at `INFO`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tracing::Level;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use super::printed::Printed;
use crate::throttle::Throttle;

/// The maximum length of a line; the rest of a longer line is dropped.
const MAX_LINE_BYTES: usize = 8 << 10;
/// How many lines of one trigger are logged each second; further ones are counted and dropped.
const LINES_PER_SECOND: u32 = 200;
/// The names of the levels. Upper and lower case are treated as the same. `critical` and `warning` are names
/// that Python uses.
const LEVELS: [(&str, Level); 8] = [
    ("error", Level::ERROR),
    ("critical", Level::ERROR),
    ("fatal", Level::ERROR),
    ("warn", Level::WARN),
    ("warning", Level::WARN),
    ("info", Level::INFO),
    ("debug", Level::DEBUG),
    ("trace", Level::TRACE),
];

/// Whether the log filter lets lines of this level through.
macro_rules! is_written {
    ($level:ident) => {
        tracing::enabled!(target: "function", Level::$level)
    };
}

/// The lowest level of lines of guests that the log filter lets through. Guests get it in an environment
/// variable.
pub(super) fn level() -> &'static str {
    match () {
        () if is_written!(TRACE) => "trace",
        () if is_written!(DEBUG) => "debug",
        () if is_written!(INFO) => "info",
        () if is_written!(WARN) => "warn",
        () if is_written!(ERROR) => "error",
        () => "off",
    }
}

/// What all lines of a pool have in common. The instances of the pool share it.
pub(super) struct LogScope {
    trigger: String,
    function: String,
    revision: String,
    /// Instances that print at the same time wait for this lock, as they would wait for the log itself.
    throttle: Mutex<Throttle>,
}

impl LogScope {
    pub(super) fn new(trigger: &str, function: &str, revision: &str) -> Self {
        Self {
            trigger: trigger.to_owned(),
            function: function.to_owned(),
            revision: revision.to_owned(),
            throttle: Mutex::new(Throttle::new(LINES_PER_SECOND, Instant::now())),
        }
    }

    fn log(&self, level: Level, call: &CallRecords, text: &str) {
        macro_rules! log_at {
            ($level:ident) => {{
                // A line that the filter hides must not count towards the limit of lines per second.
                if !is_written!($level) {
                    return;
                }
                let Some(dropped) = self.pass() else { return };
                let in_call = call.topic.is_some();
                tracing::event!(
                    target: "function",
                    Level::$level,
                    trigger = self.trigger,
                    function = self.function,
                    revision = self.revision,
                    topic = call.topic.as_deref(),
                    partition = in_call.then_some(call.partition),
                    offset = in_call.then_some(call.first_offset),
                    records = in_call.then_some(call.records),
                    dropped = (dropped > 0).then_some(dropped),
                    "{text}",
                );
            }};
        }
        match level {
            Level::ERROR => log_at!(ERROR),
            Level::WARN => log_at!(WARN),
            Level::INFO => log_at!(INFO),
            Level::DEBUG => log_at!(DEBUG),
            Level::TRACE => log_at!(TRACE),
        }
    }

    /// `None`: the line must be dropped. Otherwise the number of lines that were dropped before it.
    fn pass(&self) -> Option<u64> {
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner).pass(Instant::now())
    }
}

/// The level of a line, and its text.
fn split_level(line: &str) -> (Level, &str) {
    let marked = || {
        let (word, text) = line.strip_prefix("level=")?.split_once(' ')?;
        let (_, level) = LEVELS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word))?;
        Some((*level, text))
    };
    marked().unwrap_or((Level::INFO, line))
}

/// The records of the running call. No topic means that the instance is starting.
#[derive(Default)]
struct CallRecords {
    topic: Option<Arc<str>>,
    partition: i32,
    first_offset: i64,
    records: usize,
}

/// The output lines of one instance. Only one thread at a time runs an instance, so taking the lock never
/// waits.
pub(super) struct Lines {
    scope: Arc<LogScope>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    call: CallRecords,
    line: Vec<u8>,
    /// What this call printed. It becomes part of the reason if the call fails.
    printed: Printed,
}

impl Lines {
    pub(super) fn new(scope: Arc<LogScope>) -> Self {
        Self { scope, state: Mutex::default() }
    }

    pub(super) fn stream(self: &Arc<Self>) -> Stream {
        Stream { lines: self.clone() }
    }

    /// A call begins: all output from now on belongs to it.
    pub(super) fn begin(&self, topic: &Arc<str>, partition: i32, first_offset: i64, records: usize) {
        let mut state = self.lock();
        state.call = CallRecords { topic: Some(topic.clone()), partition, first_offset, records };
        state.printed = Printed::default();
    }

    /// A call ended: logs an unfinished line and returns a shortened copy of what the call printed.
    pub(super) fn end(&self) -> String {
        let mut state = self.lock();
        self.finish_line(&mut state);
        state.printed.text()
    }

    fn write(&self, bytes: &[u8]) {
        let mut state = self.lock();
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            let (text, ends) = piece.strip_suffix(b"\n").map_or((piece, false), |text| (text, true));
            let room = MAX_LINE_BYTES - state.line.len().min(MAX_LINE_BYTES);
            state.line.extend_from_slice(&text[..text.len().min(room)]);
            if ends {
                self.finish_line(&mut state);
            }
        }
    }

    fn finish_line(&self, state: &mut State) {
        let bytes = std::mem::take(&mut state.line);
        let line = String::from_utf8_lossy(&bytes);
        let (level, text) = split_level(&line);
        if text.is_empty() {
            return;
        }
        self.scope.log(level, &state.call, text);
        state.printed.push(text);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Standard output or standard error of an instance. Never blocks, never closes.
pub(super) struct Stream {
    lines: Arc<Lines>,
}

impl IsTerminal for Stream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Stream {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(Self { lines: self.lines.clone() })
    }
}

impl OutputStream for Stream {
    fn write(&mut self, bytes: bytes::Bytes) -> StreamResult<()> {
        self.lines.write(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 << 10)
    }
}

#[async_trait::async_trait]
impl Pollable for Stream {
    async fn ready(&mut self) {}
}

#[cfg(test)]
mod tests {
    use std::io;

    use serde_json::Value;
    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("not poisoned").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Log {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    /// The log lines that `filter` lets through while `guest` runs.
    fn logged(filter: &str, guest: impl FnOnce(&Lines)) -> Vec<Value> {
        let log = Log::default();
        let subscriber = tracing_subscriber::fmt().json().flatten_event(true).with_env_filter(filter);
        tracing::subscriber::with_default(subscriber.with_writer(log.clone()).finish(), || {
            guest(&Lines::new(Arc::new(LogScope::new("t", "f", "r"))));
        });
        let text = log.0.lock().expect("not poisoned").clone();
        let lines = String::from_utf8(text).expect("text");
        lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    fn said(lines: &[Value]) -> Vec<String> {
        let text = |line: &Value| format!("{} {}", line["level"].as_str().expect("a level"), line["message"]);
        lines.iter().map(text).collect()
    }

    #[test]
    fn a_line_has_the_level_that_it_begins_with() {
        #[track_caller]
        fn check(line: &str, level: Level, text: &str) {
            assert_eq!(split_level(line), (level, text), "{line}");
        }
        check("level=ERROR orders: no price", Level::ERROR, "orders: no price");
        check("level=warn a  b", Level::WARN, "a  b");
        check("level=Info   indented", Level::INFO, "  indented");
        check("level=debug level=ERROR", Level::DEBUG, "level=ERROR");
        check("level=TRACE ", Level::TRACE, "");
        check("level=WARNING by Python", Level::WARN, "by Python");
        check("level=CRITICAL by Python", Level::ERROR, "by Python");
        check("level=fatal last words", Level::ERROR, "last words");
        let plain = ["", "hello", "ERROR hello", " level=ERROR x", "level=ERROR", "level=ERROR\tx", "level= x"];
        for line in plain.into_iter().chain(["level=high x", "level=ERROR: x", "time=1 level=ERROR x"]) {
            check(line, Level::INFO, line);
        }
    }

    #[test]
    fn lines_are_filtered_by_their_level_and_logged_with_their_call() {
        let lines = logged("warn,function=debug", |guest| {
            guest.write(b"level=ERROR starting\n");
            guest.begin(&Arc::from("orders"), 3, 42, 5);
            guest.write(b"level=TRACE hidden\nplain\n\nlevel=WARN \nlevel=deb");
            guest.write(b"ug in two pieces\nlevel=WARN unfinished");
            assert_eq!(guest.end(), "hidden\nplain\nin two pieces\nunfinished");
        });
        let expected = [r#"ERROR "starting""#, r#"INFO "plain""#, r#"DEBUG "in two pieces""#, r#"WARN "unfinished""#];
        assert_eq!(said(&lines), expected);
        assert_eq!((&lines[0]["target"], &lines[0]["topic"]), (&Value::from("function"), &Value::Null));
        let call = ["trigger", "function", "revision", "topic", "partition", "offset", "records"];
        let call = call.map(|field| lines[2][field].to_string()).join(" ");
        assert_eq!(call, r#""t" "f" "r" "orders" 3 42 5"#);
    }

    #[test]
    fn a_long_line_is_shortened_and_too_many_lines_are_dropped_and_counted() {
        let long = logged("info", |guest| {
            guest.write(format!("level=ERROR {}\nlevel=ERROR after\n", "x".repeat(3 * MAX_LINE_BYTES)).as_bytes());
        });
        let cut = long[0]["message"].as_str().expect("text");
        assert_eq!((cut.len(), &long[1]["message"]), (MAX_LINE_BYTES - "level=ERROR ".len(), &Value::from("after")));

        let start = Instant::now();
        let flood = logged("info", |guest| guest.write("level=ERROR again\n".repeat(5_000).as_bytes()));
        let most = u64::from(LINES_PER_SECOND) * (start.elapsed().as_secs() + 1);
        assert!((u64::from(LINES_PER_SECOND)..=most).contains(&(flood.len() as u64)), "{}", flood.len());
    }

    #[test]
    fn hidden_lines_do_not_count_towards_the_limit() {
        let lines = logged("info", |guest| {
            guest.write("level=DEBUG hidden\n".repeat(5_000).as_bytes());
            guest.write(b"level=ERROR seen\n");
        });
        assert_eq!(said(&lines), [r#"ERROR "seen""#]);
        assert_eq!(lines[0]["dropped"], Value::Null);
    }

    #[test]
    fn guests_get_the_level_of_the_filter() {
        #[track_caller]
        fn check(filter: &str, expected: &str) {
            logged(filter, |_| assert_eq!(level(), expected, "{filter}"));
        }
        check("info", "info");
        check("info,function=debug", "debug");
        check("debug,function=warn", "warn");
        check("trace", "trace");
        check("function=error", "error");
        check("off", "off");
    }
}
