//! Records a part of a topic as NDJSON.

use std::path::PathBuf;

use super::Failure;
use super::consume::{Ended, Filter, Lines, Plan, Showing, read};
use super::progress::Progress;
use crate::counted::counted;

const DEFAULT_COUNT: u64 = 100;

/// Which records are recorded, and where they go.
pub struct Recording {
    /// Only records with this key.
    pub key: Option<String>,
    /// How many at most. Fewer are a failure if the time runs out. `None`: [`DEFAULT_COUNT`] at most.
    pub count: Option<u64>,
    /// The file that is replaced. `None`: standard output.
    pub output: Option<PathBuf>,
}

/// Records the one topic of a plan. Needs a tokio runtime with IO.
pub async fn record(plan: &Plan, recording: Recording) -> Result<(), Failure> {
    let Recording { key, count, output } = recording;
    let topic = plan.topics.join(", ");
    let lines = match &output {
        Some(path) => Lines::json_to_file(path)?,
        None => Lines::json_to_stdout(),
    };
    let filter = Filter { key, headers: Vec::new() };
    let wanted = count.unwrap_or(DEFAULT_COUNT);
    let mut showing = Showing::new(&plan.topics, filter, lines, Some(wanted)).only_whole();
    let progress = Progress::new(output.is_none());
    let ended = progress.during(&format!("recording {}", topic), read(plan, &mut showing)).await?;
    let shown = showing.shown();
    // Fewer records are fine if the topic ends.
    showing.judge(ended, count.filter(|_| ended == Ended::Timeout))?;
    match (shown, ended) {
        (0, Ended::End) => {
            return Err(Failure::Failed(anyhow::anyhow!("there is no such record in {}", topic)));
        }
        (0, Ended::Timeout) => return Err(Failure::Failed(anyhow::anyhow!("no such record came in time"))),
        _ => {}
    }
    if let Some(path) = &output {
        match shown {
            0 => eprintln!("no such record came: {} is as it was", path.display()),
            shown => eprintln!("{} in {}", counted(shown, "record"), path.display()),
        }
    }
    Ok(())
}
