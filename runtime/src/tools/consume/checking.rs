//! Numbered records, checked as they are read.

use std::ops::ControlFlow;

use super::plan::{Plan, Start};
use super::reading::{Ended, Range, Receiver};
use crate::counted::counted;
use crate::kafka::cleanup::compacted;
use crate::kafka::{Fetched, Partition};
use crate::record::Record as _;
use crate::tools::connection::LIMIT;
use crate::tools::progress::{Progress, amount};
use crate::tools::traffic::{Number, Place, Run, Scope, Summary, Verifier};

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
        // After a signal or a timeout, more records may come.
        self.verifier.finish(matches!(ended, Ended::End | Ended::Enough))
    }

    /// Whether everything that is expected was seen. When reading to the end, more may follow.
    fn has_enough(&self) -> ControlFlow<()> {
        if !self.plan.to_end && self.verifier.is_complete() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    /// Whether a topic is compacted. If so, a note says it. If it cannot be found out, the answer is no.
    async fn is_compacted(&self) -> bool {
        let plan = self.plan;
        let topics = match compacted(&plan.cluster, &plan.topics, LIMIT).await {
            Ok(topics) => topics,
            Err(error) => {
                eprintln!("note: whether compaction removed records, which would count as lost, is not known: {error}");
                return false;
            }
        };
        if topics.is_empty() {
            return false;
        }
        let (names, are) = (topics.join(", "), if topics.len() == 1 { "is" } else { "are" });
        eprintln!("note: {names} {are} compacted, which leaves gaps: only repeats and order are checked");
        if self.expected.is_some() && !plan.to_end && plan.timeout.is_none() {
            eprintln!("note: so --expect may never be reached: --to-end ends all the same");
        }
        true
    }

    /// Says which partitions do not begin at offset 0: records deleted there cannot be told from lost ones.
    fn note_deleted(&self, ranges: &[Range]) {
        let cut: Vec<&Range> = ranges.iter().filter(|range| range.low > 0).collect();
        let Some(first) = cut.first().filter(|_| self.plan.from == Start::Earliest) else { return };
        let others = match cut.len() - 1 {
            0 => String::new(),
            others => format!(", {} too", counted(others, "other partition")),
        };
        eprintln!(
            "note: {} begins at offset {}{others}: what was deleted before cannot be told from what was lost",
            self.plan.place(first.partition),
            first.low,
        );
    }
}

impl Receiver for Checking<'_> {
    async fn begin(&mut self, ranges: &[Range]) {
        self.note_deleted(ranges);
        let scope = Scope {
            from_beginning: ranges.iter().all(|range| range.low == 0 && range.start == 0),
            all_partitions: self.plan.partition.is_none(),
            compacted: self.is_compacted().await,
        };
        self.verifier = Verifier::new(self.run, self.expected, scope);
    }

    fn deleted(&mut self, place: &str, goes_on: i64) -> anyhow::Result<()> {
        self.progress.clear();
        anyhow::bail!("{place}: records were deleted before they were read, up to offset {goes_on}")
    }

    /// Its value may still carry the number, so this is only a warning.
    fn defective(&mut self, place: &str, defect: &str) -> anyhow::Result<()> {
        self.progress.clear();
        tracing::warn!("{place}: {defect}");
        Ok(())
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
