//! Cases that press on one limit, which a broad draw meets too seldom: progress that hardly fits into a
//! commit, more failing records than a trigger keeps at hand, and more bytes than there is memory for.

use std::time::Duration;

use super::fault::{Fault, What};
use super::load::{Fate, Item, OUT, Shape};
use super::plan::Cluster;
use super::time::ms;
use super::world::Memory;

/// What a case presses on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stress {
    None,
    /// Wide holes between offsets, as compaction leaves them, behind records that wait for long.
    Holes,
    /// Many records of one partition wait for a retry, while others are healthy. In most cases the brokers take
    /// so little metadata that none of the partition may run ahead.
    Crowd,
    /// Many records of one partition fail, and come first, so that the breaker of who owns it opens. All others are
    /// healthy, and some of them in the same partition or none.
    Flood,
    /// Large records and messages, and little memory, of which other triggers of a node want their part.
    Memory,
}

/// The largest record, with its headers, and most messages of one.
const LARGEST: usize = 8_000;
const MOST_MESSAGES: usize = 2;
/// Records of a call, and calls at once.
const BATCH: u64 = 5;
const INSTANCES: u64 = 2;

impl Stress {
    pub fn draw(rng: &mut fastrand::Rng) -> Self {
        match rng.u32(..16) {
            0 => Self::Holes,
            1 => Self::Crowd,
            2 | 3 => Self::Memory,
            4 => Self::Flood,
            _ => Self::None,
        }
    }

    pub fn shape(self, shape: &mut Shape, rng: &mut fastrand::Rng) {
        let (records, partitions, keys, over) = match self {
            Self::None => return,
            Self::Holes => (rng.usize(40..120), rng.i32(1..=3), 1_000, ms(rng.u64(100..5_000))),
            Self::Crowd => (rng.usize(120..220), rng.i32(2..=4), 100_000, ms(rng.u64(2_000..10_000))),
            Self::Flood => (rng.usize(150..250), rng.i32(2..=4), 100_000, ms(rng.u64(2_000..10_000))),
            Self::Memory => (rng.usize(200..350), rng.i32(1..=6), [10, 1_000][rng.usize(..2)], ms(rng.u64(100..5_000))),
        };
        *shape = Shape { records, inputs: 1, partitions, keys, failing: 0, gaps: 0, slow: false, over, ..*shape };
    }

    pub fn cluster(self, cluster: &mut Cluster, rng: &mut fastrand::Rng) {
        cluster.metadata_limit = match self {
            Self::None => cluster.metadata_limit,
            Self::Holes | Self::Flood | Self::Memory => 4_096,
            Self::Crowd => [150, 300, 600, 4_096][rng.usize(..4)],
        };
    }

    /// So that none has memory enough for all there is.
    pub fn most_nodes(self) -> usize {
        if self == Self::Memory { 2 } else { usize::MAX }
    }

    /// The items come in the order of their times.
    pub fn items(self, items: &mut [Item], rng: &mut fastrand::Rng) {
        match self {
            Self::None => {}
            Self::Holes => {
                items.iter_mut().for_each(|item| item.gap = rng.i64(50_000..1_000_000));
                let failing = rng.usize(1..7);
                items.iter_mut().take(failing).for_each(|item| item.fate = Fate::AlwaysRetry);
            }
            Self::Crowd | Self::Flood => {
                let few = self == Self::Crowd;
                let failing = if few { rng.usize(20..=items.len() / 5) } else { rng.usize(60..=items.len() / 2) };
                for item in items.iter_mut().take(failing) {
                    (item.fate, item.partition, item.at) = (Fate::AlwaysRetry, 0, Duration::ZERO);
                }
                // Then no probe of their partition succeeds.
                let only_bad = !few && rng.bool();
                for item in items.iter_mut().skip(failing).filter(|item| only_bad && item.partition == 0) {
                    item.partition = 1;
                }
            }
            Self::Memory => {
                for item in items.iter_mut() {
                    let bytes = rng.usize(500..LARGEST);
                    let in_header = if rng.bool() { bytes } else { 1 };
                    (item.padding, item.header_bytes) = (bytes + 1 - in_header, in_header);
                    item.copied = rng.u32(..4) > 0;
                    item.messages.truncate(MOST_MESSAGES);
                }
            }
        }
    }

    /// Lines of the trigger's table, instead of those that were drawn.
    pub fn manifest(self, rng: &mut fastrand::Rng) -> Option<String> {
        let mut one_of = |choices: &[&str]| choices[rng.usize(..choices.len())].to_owned();
        let limits = match self {
            Self::None => return None,
            Self::Holes => one_of(&[
                "window = { records = 500 }\nbatch = { records = 500 }",
                "window = { records = 200 }\nbatch = { records = 1 }",
            ]),
            Self::Crowd | Self::Flood => one_of(&[
                "window = { records = 500 }\nbatch = { records = 1 }",
                "window = { records = 500 }\nbatch = { records = 5 }",
                "window = { records = 100 }\nbatch = { records = 5 }",
            ]),
            Self::Memory => format!("window = {{ records = 500 }}\nbatch = {{ records = {BATCH} }}"),
        };
        let lines = [
            one_of(&["ordering = \"key\"", "ordering = \"key\"", "ordering = \"none\""]),
            one_of(&["commit-interval = \"100ms\"", "commit-interval = \"1s\""]),
            one_of(&["rebalance-drain = \"100ms\"", "rebalance-drain = \"2s\""]),
            "dead-letters = \"dead\"".to_owned(),
            "retry = { attempts = 1000, backoff = \"1s\", max-backoff = \"20s\", max-age = \"60s\" }".to_owned(),
            format!("instances = {{ max = {INSTANCES} }}"),
            limits,
            String::new(),
        ];
        Some(lines.join("\n"))
    }

    /// Few other faults, so that what presses shows; without memory outputs have to be slow, too.
    pub fn faults(self, faults: &mut Vec<Fault>, cluster: &Cluster, rng: &mut fastrand::Rng) {
        if self == Self::None {
            return;
        }
        faults.truncate(rng.usize(..3));
        if self != Self::Memory {
            return;
        }
        let mut add = |rng: &mut fastrand::Rng, what: What| {
            faults.push(Fault { at: ms(rng.u64(..4_000)), lasts: ms(rng.u64(1_000..50_000)), what });
        };
        for _ in 0..rng.usize(..3) {
            let node = rng.usize(..4);
            let count = rng.usize(1..4);
            add(rng, What::Neighbours { node, count });
        }
        if rng.bool() {
            let broker = rng.usize(..cluster.brokers);
            let message = ms(rng.u64(50..500));
            add(rng, What::Quota { broker, message });
        }
    }

    /// What may come beyond the budget within a turn is a queue, and the outcomes of all calls. Some outcomes take
    /// more than a call is granted as long as none was seen.
    pub fn memory(self, items: &[Item], nodes: usize, rng: &mut fastrand::Rng) -> Option<Memory> {
        if self != Self::Memory {
            return None;
        }
        let total: u64 = items.iter().map(|item| (item.padding + item.header_bytes) as u64).sum();
        debug_assert!(items.iter().all(|item| item.messages.iter().all(|&topic| topic >= OUT)));
        let budget = (total / 2 / nodes as u64).max(100_000);
        let largest = LARGEST as u64 + 300;
        let slack_bytes = budget / 20 + largest * (1 + INSTANCES * BATCH * MOST_MESSAGES as u64);
        Some(Memory { budget_bytes: budget, slack_bytes, outcome_weight: [1, 40, 300][rng.usize(..3)] })
    }
}
