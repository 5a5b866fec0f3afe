//! Standard output.

use std::io::{self, BufWriter, ErrorKind, StdoutLock, Write as _};

use anyhow::Context as _;

/// Standard output. Its reader may close it before we are done, which is no failure.
pub struct Output {
    stdout: BufWriter<StdoutLock<'static>>,
    closed: bool,
}

impl Output {
    pub fn new() -> Self {
        Self { stdout: BufWriter::new(io::stdout().lock()), closed: false }
    }

    pub fn line(&mut self, text: &str) -> anyhow::Result<()> {
        let written = self.stdout.write_all(text.as_bytes()).and_then(|()| self.stdout.write_all(b"\n"));
        self.check(written)
    }

    /// Makes everything visible that was written.
    pub fn flush(&mut self) -> anyhow::Result<()> {
        let flushed = self.stdout.flush();
        self.check(flushed)
    }

    /// Whether the reader has closed it.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    fn check(&mut self, result: io::Result<()>) -> anyhow::Result<()> {
        match result {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            other => other.context("cannot write to standard output"),
        }
    }
}

/// Writes a text and its line break.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut output = Output::new();
    output.line(text)?;
    output.flush()
}
