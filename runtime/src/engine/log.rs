//! What guests print becomes log lines, with the trigger, the revision and the records of the call.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::throttle::Throttle;

/// Longest line that is logged; the rest of it is dropped.
const MAX_LINE_BYTES: usize = 8 << 10;
/// Lines of one trigger that are logged each second; more are counted and dropped.
const LINES_PER_SECOND: u32 = 200;

/// Whose lines these are. Shared by the instances of a pool.
pub(super) struct LogScope {
    trigger: String,
    function: String,
    revision: String,
    /// Two instances that print at once wait for each other here, as they would for the log.
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

    fn log(&self, place: &Place, line: &str) {
        let mut throttle = self.throttle.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(dropped) = throttle.pass(Instant::now()) else { return };
        drop(throttle);
        let known = place.topic.is_some();
        tracing::info!(
            target: "function",
            trigger = self.trigger,
            function = self.function,
            revision = self.revision,
            topic = place.topic.as_deref(),
            partition = known.then_some(place.partition),
            offset = known.then_some(place.first_offset),
            records = known.then_some(place.records),
            dropped = (dropped > 0).then_some(dropped),
            "{line}",
        );
    }
}

/// The records of the running call. Without a topic the instance is starting.
#[derive(Default)]
struct Place {
    topic: Option<Arc<str>>,
    partition: i32,
    first_offset: i64,
    records: usize,
}

/// The lines of one instance. One thread at a time runs an instance, so the lock is never waited for.
pub(super) struct Lines {
    scope: Arc<LogScope>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    place: Place,
    line: Vec<u8>,
    /// The last lines of this call, for the reason of its failure.
    tail: String,
}

impl Lines {
    pub(super) fn new(scope: Arc<LogScope>) -> Self {
        Self { scope, state: Mutex::default() }
    }

    pub(super) fn stream(self: &Arc<Self>) -> Stream {
        Stream { lines: self.clone() }
    }

    /// What is printed from here on belongs to this call.
    pub(super) fn begin(&self, topic: &Arc<str>, partition: i32, first_offset: i64, records: usize) {
        let mut state = self.lock();
        state.place = Place { topic: Some(topic.clone()), partition, first_offset, records };
        state.tail.clear();
    }

    /// Logs an unfinished line and returns the last lines that were printed.
    pub(super) fn end(&self) -> String {
        let mut state = self.lock();
        self.finish_line(&mut state);
        state.tail.clone()
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
        if state.line.is_empty() {
            return;
        }
        let bytes = std::mem::take(&mut state.line);
        let line = String::from_utf8_lossy(&bytes);
        self.scope.log(&state.place, &line);
        if state.tail.len() > 600 {
            let cut = state.tail.ceil_char_boundary(state.tail.len() - 300);
            state.tail.drain(..cut);
        }
        if !state.tail.is_empty() {
            state.tail.push('\n');
        }
        state.tail.push_str(&line[..line.floor_char_boundary(300)]);
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
