//! Mistakes that only show when all triggers are compared: cycles of topics, in which a record would go round for
//! ever, and triggers that share a group, which would take each other's partitions.

use std::collections::{BTreeMap, BTreeSet};

use super::brokers::{Address, addresses};
use super::diagnostic::{Diagnostic, Report, Span};
use super::field::At;
use super::{Cluster, Name};

/// The search ends after this many cycles.
const CYCLES: usize = 100;

/// Where a trigger reads and where it writes. Broken parts are left out, and no errors about them are reported.
pub(super) struct Route {
    pub(super) trigger: At<Name>,
    pub(super) cluster: Option<Name>,
    pub(super) group: Option<At<String>>,
    pub(super) reads: Vec<At<String>>,
    pub(super) output_cluster: Option<Name>,
    pub(super) writes: Vec<At<String>>,
}

/// Which clusters of the manifest are the same. Two clusters are the same if they share the address of a broker. It is
/// normal to declare a cluster twice, with different properties.
pub(super) struct Kafka {
    same: BTreeMap<Name, Name>,
}

impl Kafka {
    pub(super) fn new<'a>(clusters: impl Iterator<Item = &'a Cluster>) -> Self {
        let mut groups: Vec<(BTreeSet<Address>, Vec<Name>)> = Vec::new();
        for cluster in clusters {
            let mut addresses = addresses(&cluster.brokers).unwrap_or_default();
            let mut names = Vec::new();
            groups.retain(|(known, members)| {
                let apart = known.is_disjoint(&addresses);
                if !apart {
                    addresses.extend(known.iter().cloned());
                    names.extend(members.iter().cloned());
                }
                apart
            });
            names.push(cluster.name.clone());
            groups.push((addresses, names));
        }
        let pair = |names: Vec<Name>| {
            let first = names.iter().min().cloned();
            names.into_iter().filter_map(move |name| Some((name, first.clone()?)))
        };
        Self { same: groups.into_iter().flat_map(|(_, names)| pair(names)).collect() }
    }

    /// The name that stands for a cluster and all clusters that are the same.
    pub(super) fn one<'a>(&'a self, cluster: &'a Name) -> &'a Name {
        self.same.get(cluster).unwrap_or(cluster)
    }
}

/// Reports triggers that read from the same cluster with the same group.
pub(super) fn refuse_shared_groups(routes: &[Route], kafka: &Kafka, report: &mut Report) {
    let mut taken: BTreeMap<(&Name, &str), &Span> = BTreeMap::new();
    for route in routes {
        let (Some(cluster), Some(group)) = (&route.cluster, &route.group) else {
            continue;
        };
        let key = (kafka.one(cluster), group.value.as_str());
        if let Some(first) = taken.get(&key) {
            let title = "two triggers have the same group on the same cluster";
            let label = "each would take partitions away from the other";
            let diagnostic = Diagnostic::new(&group.span, title, label).also(first, "the other one");
            let name = &route.trigger.value;
            report.add(diagnostic.help(format!("give it one of its own: group = \"tidegate-{name}\"")));
        } else {
            taken.insert(key, &group.span);
        }
    }
}

/// Reports topics from which triggers lead back to the same topic.
pub(super) fn refuse_cycles(routes: &[Route], kafka: &Kafka, report: &mut Report) {
    let graph = Graph::new(routes, kafka);
    for cycle in graph.cycles() {
        report.add(graph.describe(cycle));
    }
}

/// A graph whose nodes are topics and triggers. A trigger is one node and not an edge from each input to each output,
/// so that the graph is no larger than the manifest.
struct Graph<'a> {
    nodes: Vec<Node<'a>>,
    /// For each node the nodes that follow, each with the word of the manifest that says so.
    next: Vec<Vec<(usize, &'a Span)>>,
}

#[derive(Clone, Copy)]
enum Node<'a> {
    Topic {
        /// The name that stands for the cluster.
        cluster: &'a Name,
        /// The name of the cluster that the first trigger uses.
        shown: &'a Name,
        name: &'a str,
    },
    Trigger(&'a Name),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Visit {
    Not,
    /// It is on the current path.
    Now,
    /// It leads into no further cycle.
    Done,
}

/// A node of a cycle, and the word that leads to the next node.
type Step<'a> = (Node<'a>, &'a Span);

impl<'a> Graph<'a> {
    fn new(routes: &'a [Route], kafka: &'a Kafka) -> Self {
        let mut graph = Self { nodes: Vec::new(), next: Vec::new() };
        let mut topics = BTreeMap::new();
        for route in routes {
            let trigger = graph.add(Node::Trigger(&route.trigger.value));
            let mut topic = |graph: &mut Self, shown: &'a Name, name: &'a str| {
                let cluster = kafka.one(shown);
                let node = Node::Topic { cluster, shown, name };
                *topics.entry((cluster, name)).or_insert_with(|| graph.add(node))
            };
            if let Some(cluster) = &route.cluster {
                for read in &route.reads {
                    let topic = topic(&mut graph, cluster, &read.value);
                    graph.next[topic].push((trigger, &read.span));
                }
            }
            if let Some(cluster) = &route.output_cluster {
                for written in &route.writes {
                    let topic = topic(&mut graph, cluster, &written.value);
                    graph.next[trigger].push((topic, &written.span));
                }
            }
        }
        graph
    }

    fn add(&mut self, node: Node<'a>) -> usize {
        self.nodes.push(node);
        self.next.push(Vec::new());
        self.nodes.len() - 1
    }

    /// Finds cycles, at least one in each set of nodes that all reach each other.
    ///
    /// The search is depth first and keeps its own stack, because a chain of triggers may be longer than the call stack
    /// allows.
    fn cycles(&self) -> Vec<Vec<Step<'a>>> {
        let mut visits = vec![Visit::Not; self.nodes.len()];
        let mut cycles = Vec::new();
        for root in 0..self.nodes.len() {
            if visits[root] != Visit::Not {
                continue;
            }
            visits[root] = Visit::Now;
            // The nodes of the path, each with the number of its edges that were followed.
            let mut path = vec![(root, 0)];
            while let Some((node, taken)) = path.last_mut() {
                let Some(&(next, _)) = self.next[*node].get(*taken) else {
                    visits[*node] = Visit::Done;
                    path.pop();
                    continue;
                };
                *taken += 1;
                match visits[next] {
                    Visit::Done => {}
                    Visit::Not => {
                        visits[next] = Visit::Now;
                        path.push((next, 0));
                    }
                    Visit::Now => {
                        let cycle = path.iter().skip_while(|(node, _)| *node != next);
                        let step = |&(node, taken): &(usize, usize)| (self.nodes[node], self.next[node][taken - 1].1);
                        cycles.push(cycle.map(step).collect());
                        if cycles.len() == CYCLES {
                            return cycles;
                        }
                    }
                }
            }
        }
        cycles
    }

    fn describe(&self, mut cycle: Vec<Step<'a>>) -> Diagnostic {
        if let Some((Node::Trigger(_), _)) = cycle.first() {
            cycle.rotate_left(1);
        }
        let clusters: BTreeSet<_> = cycle.iter().filter_map(|(node, _)| node.cluster()).collect();
        let mut topics: Vec<String> = cycle.iter().filter_map(|(node, _)| node.topic(clusters.len() == 1)).collect();
        topics.extend(topics.first().cloned());
        let title = format!("topics form a cycle: {}", topics.join(" → "));
        // The word at fault comes first: what the last trigger writes leads back to the start.
        cycle.rotate_right(1);
        let words = cycle.iter().map(|(node, span)| match node {
            Node::Topic { .. } => (span, "read here".to_owned()),
            Node::Trigger(name) => (span, format!("written by `{name}`")),
        });
        Diagnostic::about(title, words.map(|(span, label)| ((*span).clone(), label)).collect())
            .help("a record would go round for ever; write to a topic that leads to none of these")
    }
}

impl<'a> Node<'a> {
    fn cluster(self) -> Option<&'a Name> {
        match self {
            Node::Topic { cluster, .. } => Some(cluster),
            Node::Trigger(_) => None,
        }
    }

    fn topic(self, one_cluster: bool) -> Option<String> {
        match self {
            Node::Topic { name, .. } if one_cluster => Some(name.to_owned()),
            Node::Topic { shown, name, .. } => Some(format!("{shown}/{name}")),
            Node::Trigger(_) => None,
        }
    }
}
