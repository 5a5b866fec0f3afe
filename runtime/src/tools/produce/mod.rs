//! Produces records to one topic: one record, those of a file, or numbered ones.

mod ahead;
mod draft;
mod sending;
mod topic;

use std::num::NonZeroU32;
use std::time::Duration;

pub use ahead::{Ahead, Settings};
pub use draft::{Draft, NO_ZERO};
pub use sending::Supply;

use super::Failure;
use super::progress::{Progress, amount};
use super::traffic::Pace;
use crate::counted::counted;
use crate::manifest::Cluster;
use sending::{Report, Sending};

/// Where records go, and how fast.
pub struct Plan {
    pub cluster: Cluster,
    pub topic: String,
    /// Create the topic with this many partitions if it is not there.
    pub create: Option<i32>,
    /// All records go into this partition.
    pub partition: Option<i32>,
    /// Records a second. `None`: as fast as possible.
    pub rate: Option<NonZeroU32>,
}

/// Produces all records of a supply. Needs a tokio runtime with IO.
pub async fn produce(plan: &Plan, supply: Supply) -> Result<(), Failure> {
    let topic = &plan.topic;
    let (sink, wake) = topic::open(&plan.cluster, topic, plan.create, plan.partition).await?;
    let pace = plan.rate.map(|rate| Pace::new(rate, Duration::ZERO));
    let run = supply.run();
    let report = Sending::new(sink, wake, Progress::new(false)).run(supply, pace).await?;
    eprintln!("{}", summary(&report));
    if let Some(run) = run {
        eprintln!("check them: tidegate consume {topic} --verify --to-end --run {run} --expect {}", report.made);
    }
    for (name, refused) in &report.refused {
        let first = format!("the first one is {} {}", report.noun, refused.first);
        eprintln!("{} refused, {first}: {} ({name})", refused.count, refused.reason);
    }
    if let Some(failure) = report.failure {
        return Err(failure);
    }
    match report.refused.values().map(|refused| refused.count).sum::<u64>() {
        0 => Ok(()),
        refused => {
            let all = counted(refused + report.acknowledged, "record");
            Err(Failure::Failed(anyhow::anyhow!("{refused} of {all} refused")))
        }
    }
}

fn summary(report: &Report) -> String {
    let how = if report.interrupted { "interrupted: " } else { "" };
    format!("{how}produced {}", amount(report.acknowledged, report.bytes, report.elapsed))
}
