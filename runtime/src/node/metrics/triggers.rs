//! Metrics of triggers, of the revisions that they call, and of their partitions.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Scrape;
use super::families::{Families, Labels, labels};
use crate::histogram::Histogram;
use crate::trigger::measures::{Lag, Revision};
use crate::trigger::{Condition, Counts, State, Status};

/// A trigger at the time of the scrape.
struct Shown<'a> {
    name: &'a str,
    status: Status,
    revisions: Vec<Arc<Revision>>,
    lags: Vec<Lag>,
    /// Somebody paused it on all nodes.
    is_paused: bool,
}

pub fn write(scrape: &Scrape, families: &mut Families<'_>) -> fmt::Result {
    let paused = scrape.view.iter().flat_map(|view| view.pauses.keys());
    let paused: Vec<&str> = paused.map(|name| &**name).collect();
    let shown = scrape.overview.triggers.iter().map(|(name, status)| {
        let status = status.borrow().clone();
        let (revisions, lags) = (status.measures.revisions(), status.measures.lags());
        Shown { name, revisions, lags, is_paused: paused.contains(&name.as_str()), status }
    });
    let all: Vec<_> = shown.collect();
    counts(&all, families)?;
    revisions(&all, families)?;
    states(&all, families)?;
    let lags = all.iter().flat_map(|trigger| trigger.lags.iter().map(move |lag| (trigger.at(lag), lag.records)));
    families.gauges(
        "tidegate_lag_records",
        "Offsets between the first record that is not done and the end of the partition, as the client last fetched \
         it. Counts records done ahead and offsets without a record. At most ten seconds old.",
        lags,
    )
}

/// What belongs to no revision.
fn counts(all: &[Shown<'_>], families: &mut Families<'_>) -> fmt::Result {
    let mut family = |name: &str, help: &str, count: fn(&Counts) -> u64| {
        families.counters(name, help, all.iter().map(|trigger| (trigger.labels(), count(&trigger.status.counts))))
    };
    family("tidegate_records_taken", "Records that were fetched, those included that were done before.", |counts| {
        counts.taken
    })?;
    family("tidegate_attempts_failed", "Attempts of records that failed.", |counts| counts.failed)?;
    family("tidegate_attempts_retried", "Attempts of records that are to be repeated.", |counts| counts.retried)?;
    family("tidegate_dead_letters", "Records that became dead letters.", |counts| counts.dead_letters)?;
    family("tidegate_records_skipped", "Records that were given up without a dead letter.", |counts| counts.skipped)
}

fn revisions(all: &[Shown<'_>], families: &mut Families<'_>) -> fmt::Result {
    let each = || all.iter().flat_map(|trigger| trigger.revisions.iter().map(move |it| (trigger.of(it), it)));
    let mut counters = |name: &str, help: &str, count: fn(&Revision) -> &AtomicU64| {
        families.counters(name, help, each().map(|(labels, it)| (labels, count(it).load(Ordering::Relaxed))))
    };
    counters("tidegate_calls", "Calls that were started.", |it| &it.calls)?;
    counters("tidegate_calls_split", "Calls that failed and were split to find the record at fault.", |it| &it.split)?;
    counters("tidegate_records_handled", "Records that the function handled.", |it| &it.handled)?;
    counters("tidegate_instances_started", "Instances that were started for a call.", |it| &it.started)?;
    let mut histograms = |name: &str, help: &str, histogram: fn(&Revision) -> &Histogram| {
        families.histograms(name, help, each().map(|(labels, it)| (labels, histogram(it).snapshot())))
    };
    histograms("tidegate_call_seconds", "How long calls took, failed ones included.", |it| &it.call_time)?;
    histograms(
        "tidegate_age_seconds",
        "Time from the timestamp of the oldest record of a call to the end of the call: one value for each call, also \
         a failed one. The acknowledgement of outputs is not waited for.",
        |it| &it.age,
    )?;
    histograms("tidegate_call_records", "How many records a call had.", |it| &it.call_records)?;
    let mut gauges = |name: &str, help: &str, value: fn(&Revision) -> u64| {
        families.gauges(name, help, each().map(|(labels, it)| (labels, value(it))))
    };
    gauges("tidegate_pool_instances", "Instances that exist.", |it| it.instances.load(Ordering::Relaxed))?;
    gauges("tidegate_pool_busy_instances", "Instances that run a call.", |it| it.busy.load(Ordering::Relaxed))?;
    gauges("tidegate_pool_free_instances", "Instances that exist and run no call.", |it| {
        it.instances.load(Ordering::Relaxed).saturating_sub(it.busy.load(Ordering::Relaxed))
    })
}

fn states(all: &[Shown<'_>], families: &mut Families<'_>) -> fmt::Result {
    let mut family = |name: &str, help: &str, value: fn(&Shown<'_>) -> u64| {
        families.gauges(name, help, all.iter().map(|trigger| (trigger.labels(), value(trigger))))
    };
    family("tidegate_trigger_running", "1 if the trigger takes records or waits for some, otherwise 0.", |it| {
        u64::from(it.status.state == State::Running)
    })?;
    family(
        "tidegate_trigger_paused",
        "1 if the trigger was paused on all nodes, or because a record is exhausted; otherwise 0.",
        |it| u64::from(it.is_paused || it.status.state == State::Paused),
    )?;
    family(
        "tidegate_trigger_breaker_open",
        "1 while most records fail and single ones probe whether that is over, otherwise 0.",
        |it| u64::from(it.has(Condition::MostFail)),
    )?;
    family("tidegate_trigger_partitions", "Partitions that this node owns.", |it| it.status.partitions as u64)?;
    family(
        "tidegate_trigger_buffered_bytes",
        "What the trigger holds in memory: records that are not done, outputs that are not acknowledged, and what its \
         client may fetch ahead.",
        |it| it.status.measures.buffered_bytes(),
    )?;
    let conditions = all.iter().flat_map(|trigger| {
        Condition::ALL.into_iter().map(move |condition| {
            let mut labels = trigger.labels();
            labels.push(("cause", condition.code().into()));
            (labels, u64::from(trigger.has(condition)))
        })
    });
    families.gauges(
        "tidegate_trigger_condition",
        "1 while the condition with this code holds, otherwise 0.",
        conditions,
    )
}

impl Shown<'_> {
    fn has(&self, condition: Condition) -> bool {
        self.status.conditions.iter().any(|reported| reported.code == condition.code())
    }

    fn labels(&self) -> Labels<'_> {
        labels([("trigger", self.name), ("function", &self.status.function)])
    }

    fn of<'a>(&'a self, revision: &'a Revision) -> Labels<'a> {
        labels([("trigger", self.name), ("function", &self.status.function), ("revision", &revision.name)])
    }

    fn at<'a>(&'a self, lag: &'a Lag) -> Labels<'a> {
        let mut labels = labels([("trigger", self.name), ("topic", &lag.topic)]);
        labels.push(("partition", lag.partition.to_string().into()));
        labels
    }
}
