//! Numbered records, checked as they are read.

use std::ops::ControlFlow;

use super::Plan;
use super::reading::{Ended, Receiver};
use crate::cli::progress::{Progress, amount};
use crate::kafka::{Fetched, Partition};
use crate::record::Record as _;
use crate::traffic::{Number, Place, Run, Scope, Summary, Verifier};

pub(super) struct Checking<'a> {
    plan: &'a Plan,
    run: Option<Run>,
    expected: Option<u64>,
    verifier: Verifier,
    progress: Progress,
    bytes: u64,
}

impl<'a> Checking<'a> {
    pub(super) fn new(plan: &'a Plan, run: Option<Run>, expected: Option<u64>, progress: Progress) -> Self {
        let verifier = Verifier::new(run, expected, Scope::default());
        Self { plan, run, expected, verifier, progress, bytes: 0 }
    }

    pub(super) fn finish(mut self, ended: Ended) -> Summary {
        self.progress.clear();
        // After a signal or a time-out more may come.
        self.verifier.finish(matches!(ended, Ended::End | Ended::Enough))
    }

    /// More may come behind what is expected, if it is to be read to its end.
    fn has_enough(&self) -> ControlFlow<()> {
        if !self.plan.to_end && self.verifier.is_complete() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

impl Receiver for Checking<'_> {
    fn begin(&mut self, from_beginning: bool) {
        let scope = Scope { from_beginning, all_partitions: self.plan.partition.is_none() };
        self.verifier = Verifier::new(self.run, self.expected, scope);
    }

    fn deleted(&mut self, place: &str, goes_on: i64) -> anyhow::Result<()> {
        self.progress.clear();
        anyhow::bail!("{place}: records were deleted before they were read, up to offset {goes_on}")
    }

    fn record(&mut self, partition: Partition, record: &Fetched) -> anyhow::Result<ControlFlow<()>> {
        let place = Place {
            topic_index: partition.topic,
            topic: &self.plan.topics[partition.topic],
            partition: partition.number,
            offset: record.offset(),
        };
        self.bytes += record.bytes() as u64;
        self.verifier.take(place, record.key(), Number::of(record))?;
        Ok(ControlFlow::Continue(()))
    }

    fn pause(&mut self) -> anyhow::Result<ControlFlow<()>> {
        let (records, bytes) = (self.verifier.records(), self.bytes);
        self.progress.show(|elapsed| amount(records, bytes, elapsed));
        Ok(self.has_enough())
    }
}
