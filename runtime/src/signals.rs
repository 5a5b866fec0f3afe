//! The signals that end this process.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

/// A second signal within this time counts as the same one. `timeout` and its like pass a signal on to a
/// group of processes that got it already, so it arrives twice.
const ECHO: Duration = Duration::from_millis(500);

/// Waits for the signal to stop, SIGTERM or SIGINT, and returns its name.
pub async fn stop() -> io::Result<&'static str> {
    let listen = |kind: SignalKind, name: &str| {
        signal(kind).map_err(|error| io::Error::new(error.kind(), format!("cannot listen for {name}: {error}")))
    };
    let mut terminate = listen(SignalKind::terminate(), "SIGTERM")?;
    let mut interrupt = listen(SignalKind::interrupt(), "SIGINT")?;
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}

/// Waits for the next signal after one that came just now.
pub async fn stop_again() -> io::Result<&'static str> {
    // Nobody listens meanwhile, so an echo is lost.
    tokio::time::sleep(ECHO).await;
    stop().await
}
