//! Reads topics without a group: shows their records, or checks those that are numbered.

mod checking;
mod looking;
mod plan;
mod reading;
mod showing;

pub use plan::{Plan, Start};
pub use reading::{Ended, read};
pub use showing::{Filter, Lines, Showing};

use super::progress::Progress;
use super::traffic::{Run, Summary};
use super::{Failure, output};
use crate::counted::counted;
use checking::Checking;

/// Shows records on standard output, until there were as many as are wanted. Needs a tokio runtime with
/// IO.
pub async fn show(plan: &Plan, filter: Filter, json: bool, wanted: Option<u64>) -> Result<(), Failure> {
    let lines = if json { Lines::json_to_stdout() } else { Lines::readable_to_stdout() };
    let mut showing = Showing::new(&plan.topics, filter, lines, wanted);
    let ended = read(plan, &mut showing).await?;
    showing.judge(ended, wanted)
}

/// What numbered records are checked against.
pub struct Check {
    /// Only this run.
    pub run: Option<Run>,
    /// How many records it has.
    pub expected: Option<u64>,
    /// Write the result as JSON.
    pub json: bool,
}

/// Checks numbered records and writes what was found to standard output. Needs a tokio runtime with IO.
pub async fn check(plan: &Plan, wanted: &Check) -> Result<(), Failure> {
    let Check { run, expected, json: is_json } = *wanted;
    let mut checking = Checking::new(plan, run, expected, Progress::new(false));
    let ended = read(plan, &mut checking).await?;
    let summary = checking.finish(ended);
    output::print(&if is_json { json(&summary)? } else { summary.table() })?;
    let seen = summary.runs.values().sum::<u64>();
    // A compacted topic may rightly have fewer records than expected.
    let is_short = |expected: &u64| ended == Ended::Timeout && seen < *expected && summary.lost.is_some();
    let short =
        expected.filter(is_short).map(|expected| format!("{seen} of {} came in time", counted(expected, "record")));
    // An empty result is not good: there was nothing to check.
    if summary.is_good() && seen == 0 && (run.is_some() || expected.is_some()) {
        return Err(Failure::Failed(anyhow::anyhow!("none of the records that were asked for is there")));
    }
    if summary.is_good() {
        return short.map_or(Ok(()), |short| Err(Failure::Failed(anyhow::anyhow!(short))));
    }
    let Summary { lost, missing, repeated, out_of_order, unknown, .. } = summary;
    let [repeated, disordered, unknown] = [repeated, out_of_order, unknown].map(|findings| findings.count);
    let lost = lost.map(|lost| format!("{} lost, ", lost.count)).unwrap_or_default();
    let missing = missing.filter(|missing| missing.count > 0);
    let missing = missing.map(|missing| format!("; missing, place unknown: {}", missing.count)).unwrap_or_default();
    let short = short.map(|short| format!("; {short}")).unwrap_or_default();
    Err(Failure::Failed(anyhow::anyhow!(
        "not as it was produced: {lost}{repeated} repeated, {disordered} out of order, {unknown} \
         unknown{missing}{short}"
    )))
}

fn json(summary: &Summary) -> Result<String, Failure> {
    serde_json::to_string(summary).map_err(|error| Failure::Failed(error.into()))
}
