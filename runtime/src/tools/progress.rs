//! The progress of a command, on one line of a terminal that is written again and again.

use std::io::{self, IsTerminal as _, Write as _};
use std::pin::pin;
use std::time::{Duration, Instant};

use crate::counted::counted;

/// How often the line is written.
pub const TICK: Duration = Duration::from_millis(200);

pub struct Progress {
    shows: bool,
    start: Instant,
    next: Instant,
    is_shown: bool,
}

impl Progress {
    /// `busy`: the command also writes to standard output, and one terminal cannot show both.
    pub fn new(busy: bool) -> Self {
        let start = Instant::now();
        let shows = io::stderr().is_terminal() && !(busy && io::stdout().is_terminal());
        Self { shows, start, next: start + TICK, is_shown: false }
    }

    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Writes the line, if it is time.
    pub fn show(&mut self, text: impl FnOnce(Duration) -> String) {
        let now = Instant::now();
        if self.shows && now >= self.next {
            self.next = now + TICK;
            self.is_shown = true;
            eprint!("\r\x1b[K{}", text(now - self.start));
            let _ = io::stderr().flush();
        }
    }

    /// Shows what is being done, and for how long, until the work is done.
    pub async fn during<T>(mut self, what: &str, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                result = &mut work => {
                    self.clear();
                    return result;
                }
                () = tokio::time::sleep(TICK) => self.show(|elapsed| format!("{what} … {} s", elapsed.as_secs())),
            }
        }
    }

    /// Clears the line, so that other lines can be written.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.is_shown) {
            eprint!("\r\x1b[K");
        }
    }
}

/// Records and bytes over a time, in words.
pub fn amount(records: u64, bytes: u64, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64().max(0.001);
    let size = |bytes: f64| bytesize::ByteSize::b(bytes as u64).display().iec().to_string();
    format!(
        "{}, {}, {seconds:.1} s: {:.0} records/s, {}/s",
        counted(records, "record"),
        size(bytes as f64),
        records as f64 / seconds,
        size(bytes as f64 / seconds)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_one_short_line() {
        let text = amount(20_000, 2 << 20, Duration::from_millis(2_500));
        assert_eq!(text, "20000 records, 2.0 MiB, 2.5 s: 8000 records/s, 819.2 KiB/s");
        assert_eq!(amount(1, 0, Duration::ZERO), "1 record, 0 B, 0.0 s: 1000 records/s, 0 B/s");
    }
}
