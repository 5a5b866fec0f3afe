//! Log lines, and what else a command tells at standard error.
//!
//! Nobody has to read them. A command that serves hands its lines to a thread, which writes them. Lines
//! that it cannot write are dropped and counted, and the count is logged once lines are written again.
//! So a reader that is gone, a reader that does not read and a full disk are no concern of a node:
//! nothing waits for its log, and the end of the process only for a moment. All other commands write
//! their lines themselves, so that these keep their order with what is written to standard output.
//!
//! `tracing-appender` would be the ready-made writer. It bounds lines, not bytes, it forgets lines that
//! could not be written, and it reports trouble at its end by `println!`, which panics if nobody reads.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd as _;
use std::panic::PanicHookInfo;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Most bytes of lines that wait to be written. As many may be with the thread that writes them.
const MAX_WAITING_BYTES: usize = 1 << 20;
/// Memory that is kept for the next lines.
const KEPT_BYTES: usize = 64 << 10;
/// How long the end of the process waits for lines to be written.
const LAST_LINES: Duration = Duration::from_secs(1);
/// How soon a reader is asked again that takes nothing now and wants nobody to wait for it.
const TRY_AGAIN: Duration = Duration::from_millis(20);

/// Where all lines of this process go.
static LINES: OnceLock<Lines> = OnceLock::new();

/// Tells the user a line, in order with the lines of the log.
pub fn tell(text: &str) {
    LINES.get().unwrap_or(&Lines::Direct).write(format!("{text}\n").as_bytes());
}

/// Waits until all lines are written, but not for long. For the end of the process.
pub fn flush() {
    if let Some(Lines::Queued(queue)) = LINES.get() {
        queue.flush(LAST_LINES);
    }
}

/// Where lines go.
#[derive(Clone)]
pub enum Lines {
    /// To standard error, by whoever has one.
    Direct,
    /// To a thread that writes them.
    Queued(Arc<Queue>),
}

impl Lines {
    /// From now on all lines of this process go there.
    pub fn start(serves: bool) -> Self {
        let lines = if serves { Self::queued().unwrap_or(Self::Direct) } else { Self::Direct };
        LINES.get_or_init(|| lines).clone()
    }

    fn queued() -> io::Result<Self> {
        // Not the handle of the standard library: while that one writes, it keeps it from all others.
        let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        let queue = Arc::new(Queue::default());
        let (writing, panics) = (queue.clone(), queue.clone());
        let log_dropped = |lines| tracing::warn!(lines, "lines were dropped, because standard error did not take them");
        thread::Builder::new().name("tidegate-log".to_owned()).spawn(move || writing.write_to(stderr, log_dropped))?;
        std::panic::set_hook(Box::new(move |panic| panics.push(panic_text(panic).as_bytes())));
        Ok(Self::Queued(queue))
    }

    fn write(&self, line: &[u8]) {
        match self {
            // Nobody is left to tell of it if it fails.
            Self::Direct => drop(io::stderr().write_all(line)),
            Self::Queued(queue) => queue.push(line),
        }
    }
}

/// What the standard library would write itself.
fn panic_text(panic: &PanicHookInfo<'_>) -> String {
    let thread = thread::current();
    let text = format!("thread '{}' {panic}\n", thread.name().unwrap_or("without a name"));
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured { format!("{text}{backtrace}\n") } else { text }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// A line at a time. It never fails, because whoever logs can do nothing about it.
impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        Lines::write(self, line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lines on their way to the thread that writes them.
#[derive(Default)]
pub struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    waiting_lines: u64,
    dropped_lines: u64,
    is_writing: bool,
}

impl Queue {
    /// Never waits.
    fn push(&self, line: &[u8]) {
        let mut state = self.lock();
        if state.waiting.len() + line.len() > MAX_WAITING_BYTES {
            state.dropped_lines += 1;
            return;
        }
        state.waiting.extend_from_slice(line);
        state.waiting_lines += 1;
        self.changed.notify_all();
    }

    /// Writes lines for as long as the process lives. `log_dropped` is told how many were dropped, once
    /// lines can be written again.
    fn write_to(&self, mut out: impl Write, log_dropped: impl Fn(u64)) {
        let mut lines = Vec::new();
        loop {
            let count = self.take(&mut lines);
            let is_written = write_all(&mut out, &lines).is_ok();
            lines.clear();
            lines.shrink_to(KEPT_BYTES);
            let dropped = self.written(count, is_written);
            if dropped > 0 {
                log_dropped(dropped);
            }
        }
    }

    /// Waits for lines, takes all there are, and tells how many.
    fn take(&self, lines: &mut Vec<u8>) -> u64 {
        let waited = self.changed.wait_while(self.lock(), |state| state.waiting.is_empty());
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(lines, &mut state.waiting);
        state.is_writing = true;
        std::mem::take(&mut state.waiting_lines)
    }

    /// So many lines were written, or could not be. Tells how many were dropped, if that can be written.
    fn written(&self, count: u64, is_written: bool) -> u64 {
        let mut state = self.lock();
        state.is_writing = false;
        self.changed.notify_all();
        if is_written {
            return std::mem::take(&mut state.dropped_lines);
        }
        state.dropped_lines += count;
        0
    }

    fn flush(&self, limit: Duration) {
        let is_busy = |state: &mut State| state.is_writing || !state.waiting.is_empty();
        let _ = self.changed.wait_timeout_while(self.lock(), limit, is_busy);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Standard error may be shared with a program that set it not to block; then it is tried again.
fn write_all(out: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match out.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(TRY_AGAIN),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

    use super::*;

    /// Writes what it is told to, when it is told to.
    struct Reader {
        answers: Receiver<io::Result<()>>,
        read: Sender<String>,
    }

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // When the test is over, nobody reads.
            self.answers.recv().unwrap_or(Err(ErrorKind::BrokenPipe.into()))?;
            let _ = self.read.send(String::from_utf8_lossy(bytes).into_owned());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A queue, what lets its writer go on, what was written, and how many were dropped.
    fn queue() -> (Arc<Queue>, SyncSender<io::Result<()>>, Receiver<String>, Receiver<u64>) {
        let queue = Arc::new(Queue::default());
        let (answer, answers) = sync_channel(10);
        let ((read, seen), (dropped, counts)) = (channel(), channel());
        let writing = queue.clone();
        thread::spawn(move || {
            writing.write_to(Reader { answers, read }, move |lines| {
                let _ = dropped.send(lines);
            })
        });
        (queue, answer, seen, counts)
    }

    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn nobody_waits_for_a_reader_that_does_not_read() {
        let (queue, answer, seen, counts) = queue();
        queue.push(b"first\n");
        while !queue.lock().is_writing {
            thread::yield_now();
        }
        let line = [&[b'x'; 1_023][..], b"\n"].concat();
        (0..2_000).for_each(|_| queue.push(&line));
        assert_eq!(queue.lock().waiting.len(), MAX_WAITING_BYTES);
        queue.flush(Duration::from_millis(1));

        answer.send(Ok(())).expect("it is taken");
        assert_eq!(seen.recv_timeout(PATIENCE).as_deref(), Ok("first\n"));
        assert_eq!(counts.recv_timeout(PATIENCE), Ok(2_000 - 1_024));
        answer.send(Ok(())).expect("it is taken");
        assert_eq!(seen.recv_timeout(PATIENCE).map(|lines| lines.len()), Ok(MAX_WAITING_BYTES));
        queue.flush(PATIENCE);
        assert!(queue.lock().waiting.is_empty());
        assert!(counts.try_recv().is_err(), "all else was written");
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted() {
        let (queue, answer, seen, counts) = queue();
        for _ in 0..3 {
            queue.push(b"lost\n");
            answer.send(Err(ErrorKind::StorageFull.into())).expect("it is taken");
            queue.flush(PATIENCE);
        }
        queue.push(b"kept\n");
        answer.send(Err(ErrorKind::WouldBlock.into())).expect("it is taken");
        answer.send(Err(ErrorKind::Interrupted.into())).expect("it is taken");
        answer.send(Ok(())).expect("it is taken");
        assert_eq!(seen.recv_timeout(PATIENCE).as_deref(), Ok("kept\n"));
        assert_eq!(counts.recv_timeout(PATIENCE), Ok(3));
    }
}
