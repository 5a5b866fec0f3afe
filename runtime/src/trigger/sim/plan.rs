//! What a history is made of: a cluster, a manifest, a load, and the faults, all drawn from a seed.
//!
//! Each part draws from a chance of its own, so that a case with fewer faults or records is otherwise
//! the same case: that is how a failing one is [shrunk](super::shrink).

use std::fmt;
use std::time::Duration;

use super::fault::{Fault, draw_faults};
use super::load::{Item, Shape, TOPICS};
use super::stress::Stress;
use super::time::ms;
use super::trials::draw_trials;
use super::world::Memory;

/// How members of a group share its partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Cooperative,
    Eager,
    /// KIP-848.
    Consumer,
}

/// The cluster of a history.
#[derive(Clone, Debug)]
pub struct Cluster {
    pub brokers: usize,
    /// Others take over what an absent broker leads.
    pub replicated: bool,
    pub protocol: Protocol,
    pub heartbeat: Duration,
    pub session: Duration,
    pub rebalance_timeout: Duration,
    /// How long a loop may poll nothing.
    pub max_poll: Duration,
    /// Most bytes of a commit's metadata.
    pub metadata_limit: usize,
    /// Partitions of each input topic, and of each output topic.
    pub partitions: usize,
    pub outputs: usize,
    /// Some calls take seconds.
    pub slow_calls: bool,
}

impl Cluster {
    fn draw(rng: &mut fastrand::Rng, shape: &Shape) -> Self {
        let protocol = [Protocol::Cooperative, Protocol::Eager, Protocol::Consumer][rng.usize(..3)];
        Self {
            brokers: rng.usize(2..=3),
            replicated: rng.bool(),
            protocol,
            heartbeat: if protocol == Protocol::Consumer { ms(1_000) } else { ms(400) },
            session: ms(rng.u64(4..9) * 1_000),
            rebalance_timeout: ms(rng.u64(10..20) * 1_000),
            max_poll: ms(25_000),
            metadata_limit: if rng.u32(..10) == 0 { 100 } else { 4_096 },
            partitions: usize::try_from(shape.partitions).unwrap_or(1),
            outputs: rng.usize(1..=5),
            slow_calls: true,
        }
    }
}

/// A case: all that decides a history.
#[derive(Clone, Debug)]
pub struct Case {
    pub seed: u64,
    pub nodes: usize,
    pub cluster: Cluster,
    /// Lines of the trigger's table in the manifest.
    pub manifest: String,
    pub memory: Memory,
    pub stress: Stress,
    pub items: Vec<Item>,
    /// With their numbers in the whole plan.
    pub faults: Vec<(usize, Fault)>,
}

/// How a case is made smaller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Less {
    pub nodes: Option<usize>,
    pub records: Option<usize>,
    /// The faults to keep.
    pub faults: Option<Vec<usize>>,
}

/// What may be in a case. A driver that cannot do everything is given less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breadth {
    All,
    /// Nothing for which more than a plain loop is needed: no retry and no call that takes long, no refusals.
    Plain,
}

impl Case {
    pub fn draw(seed: u64, breadth: Breadth, less: &Less) -> Self {
        let of = |part: u64| fastrand::Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ part);
        let mut rng = of(1);
        let mut shape = Shape::draw(&mut rng);
        if breadth == Breadth::Plain {
            (shape.hopeless, shape.failing) = (0, shape.failing.min(10));
        }
        let mut pressing = of(5);
        let stress = if breadth == Breadth::Plain { Stress::None } else { Stress::draw(&mut pressing) };
        stress.shape(&mut shape, &mut pressing);
        let mut cluster = Cluster::draw(&mut rng, &shape);
        stress.cluster(&mut cluster, &mut pressing);
        cluster.slow_calls = breadth == Breadth::All;
        let nodes = less.nodes.unwrap_or_else(|| rng.usize(1..=4)).min(stress.most_nodes());
        let mut items = shape.items(&mut of(2));
        if breadth == Breadth::Plain {
            items.iter_mut().for_each(Item::make_plain);
        }
        stress.items(&mut items, &mut pressing);
        items.truncate(less.records.unwrap_or(items.len()));
        let manifest = draw_manifest(&mut of(3), breadth, &shape);
        let manifest = stress.manifest(&mut pressing).unwrap_or(manifest);
        let mut all = draw_faults(&mut of(4), breadth, &cluster, shape.inputs);
        stress.faults(&mut all, &cluster, &mut pressing);
        if breadth == Breadth::All {
            all.extend(draw_trials(&mut of(6)));
        }
        let kept = |number: &usize| less.faults.as_ref().is_none_or(|kept| kept.contains(number));
        let faults = (0..).zip(all).filter(|(number, _)| kept(number)).collect();
        let budget_bytes = [256 << 10, 1 << 20, 64 << 20][rng.usize(..3)];
        let memory = Memory { budget_bytes, slack_bytes: 512 << 10, outcome_weight: 1 };
        let memory = stress.memory(&items, nodes, &mut pressing).unwrap_or(memory);
        Self { seed, nodes, cluster, manifest, memory, stress, items, faults }
    }

    /// When the last fault is over and the last record is there.
    pub fn quiet_at(&self) -> Duration {
        let faults = self.faults.iter().map(|(_, fault)| fault.over_at());
        faults.chain(self.items.iter().map(|item| item.at)).max().unwrap_or_default()
    }

    /// The whole manifest.
    pub fn text(&self) -> String {
        let inputs = if self.manifest.contains("topics =") { "" } else { "topics = [\"orders\"]\n" };
        let protocol = match self.cluster.protocol {
            Protocol::Consumer => "properties = { \"group.protocol\" = \"consumer\" }\n",
            _ => "",
        };
        format!(
            "[cluster.main]\nbrokers = \"b:1\"\n{protocol}[function.f]\ncomponent = \"f.wasm\"\n[trigger.t]\nfunction = \"f\"\n\
             {inputs}output = \"out\"\nallow-topics = [\"audit\"]\n{}",
            self.manifest
        )
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cluster { brokers, replicated, protocol, partitions, outputs, metadata_limit, session, .. } = &self.cluster;
        let replicated = if *replicated { "replicated" } else { "not replicated" };
        writeln!(
            f,
            "{} nodes, {brokers} brokers, {replicated}, {protocol:?} protocol, sessions of {session:?}",
            self.nodes
        )?;
        writeln!(f, "{partitions} partitions in, {outputs} out, {metadata_limit} bytes of metadata")?;
        writeln!(
            f,
            "{} records, {} bytes of budget, stress: {:?}",
            self.items.len(),
            self.memory.budget_bytes,
            self.stress
        )?;
        self.manifest.lines().try_for_each(|line| writeln!(f, "    {line}"))?;
        self.faults.iter().try_for_each(|(number, fault)| writeln!(f, "fault {number}: {fault}"))
    }
}

fn draw_manifest(rng: &mut fastrand::Rng, breadth: Breadth, shape: &Shape) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut one_of = |rng: &mut fastrand::Rng, choices: &[&str]| {
        lines.push(choices[rng.usize(..choices.len())].to_owned());
    };
    if shape.inputs == 2 {
        one_of(rng, &["topics = [\"orders\", \"returns\"]"]);
    }
    one_of(rng, &["ordering = \"key\"", "ordering = \"key\"", "ordering = \"partition\"", "ordering = \"none\""]);
    one_of(rng, &["commit-interval = \"100ms\"", "commit-interval = \"1s\"", "commit-interval = \"10ms\""]);
    one_of(rng, &["rebalance-drain = \"100ms\"", "rebalance-drain = \"0s\"", "rebalance-drain = \"2s\""]);
    one_of(rng, &["drain = \"10s\"", "drain = \"1s\""]);
    match breadth {
        Breadth::Plain => {
            one_of(rng, &["dead-letters = \"dead\""]);
            one_of(rng, &["retry = { attempts = 3, backoff = \"50ms\", max-backoff = \"100ms\", max-age = \"1h\" }"]);
        }
        Breadth::All => {
            one_of(
                rng,
                &[
                    "dead-letters = \"dead\"",
                    "dead-letters = \"dead\"",
                    "dead-letters = \"dead\"",
                    "dead-letters = \"dead\"",
                    "on-exhausted = \"skip\"",
                    "dead-letters = \"dead\"\non-exhausted = \"pause\"",
                ],
            );
            one_of(
                rng,
                &[
                    "retry = { attempts = 5, backoff = \"100ms\", max-backoff = \"2s\", max-age = \"60s\" }",
                    "retry = { attempts = 1, backoff = \"100ms\", max-backoff = \"1s\", max-age = \"60s\" }",
                    "retry = { attempts = 1000, backoff = \"100ms\", max-backoff = \"200ms\", max-age = \"20s\" }",
                    "retry = { attempts = 8, backoff = \"10ms\", max-backoff = \"3s\", max-age = \"10s\" }",
                ],
            );
            one_of(rng, &["", "", "", "start = \"latest\"", "start = { 0 = 5 }"]);
        }
    }
    one_of(rng, &["instances = { max = 1 }", "instances = { max = 2 }", "instances = { max = 8 }"]);
    one_of(
        rng,
        &[
            "window = { records = 500 }\nbatch = { records = 500 }",
            "window = { records = 20 }\nbatch = { records = 5 }",
            "window = { records = 60 }\nbatch = { records = 1 }",
        ],
    );
    // Offsets to start at are for one topic.
    let is_for_one = |line: &String| line.starts_with("start = {");
    lines.retain(|line| !line.is_empty() && (shape.inputs == 1 || !is_for_one(line)));
    let mut text = lines.join("\n");
    text.push('\n');
    debug_assert!(TOPICS.contains(&"orders"));
    text
}
