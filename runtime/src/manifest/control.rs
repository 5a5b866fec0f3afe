//! The topic through which the nodes of a fleet hear of each other.

use super::declared::Declared;
use super::diagnostic::{Diagnostic, Report, Span};
use super::field::{At, Field};
use super::raw::RawControl;
use super::topics::{Kafka, Route};
use super::words::Topic;
use super::{Cluster, Name};

/// The topic and the fleet of a control section that names none.
const TOPIC: &str = "tidegate-control";
const FLEET: &str = "default";

/// How the nodes of a fleet hear of each other: through a compacted topic. No trigger reads or writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// The cluster of the topic.
    pub cluster: Name,
    /// The topic. The default is `tidegate-control`.
    pub topic: String,
    /// The nodes that belong together. Several fleets can share a topic. The default is `default`.
    pub fleet: Name,
}

/// Checks the control section, and that no trigger uses its topic.
pub(super) fn check(
    raw: Field<RawControl>,
    clusters: &Declared<Cluster>,
    routes: &[Route],
    kafka: &Kafka,
    report: &mut Report,
) -> Option<Control> {
    let raw = raw.given(report)?;
    let cluster = cluster(raw.value.cluster, &raw.span, clusters, report);
    let topic = topic(raw.value.topic, &raw.span, report);
    let fleet = raw.value.fleet.given(report).map_or_else(|| Name(FLEET.into()), |fleet| fleet.value);
    let (cluster, topic) = (cluster?, topic?);
    let label = if topic.span == raw.span {
        format!("its topic is \"{TOPIC}\" where it is not given")
    } else {
        "the topic of `control`".to_owned()
    };
    refuse_triggers(&cluster, &topic, &label, routes, kafka, report);
    Some(Control { cluster, topic: topic.value.0, fleet })
}

/// The cluster that is named, or the only one.
fn cluster(raw: Field<Name>, table: &Span, clusters: &Declared<Cluster>, report: &mut Report) -> Option<Name> {
    if !raw.is_absent() {
        return clusters.resolve(raw.given(report)?, report);
    }
    match clusters.names()?.iter().collect::<Vec<_>>().as_slice() {
        [only] => Name::new(only).ok(),
        [] => {
            let title = "`control` needs a cluster";
            let diagnostic = Diagnostic::new(table, title, "the manifest declares none");
            report.add(diagnostic.help("declare one: [cluster.main]"));
            None
        }
        several => {
            let title = "`control` has no `cluster`";
            let diagnostic = Diagnostic::new(table, title, "there is more than one: say which");
            let first = several.iter().find(|name| Name::new(name).is_ok());
            report.add(match first {
                Some(first) => diagnostic.help(format!("add cluster = \"{first}\", or another one")),
                None => diagnostic,
            });
            None
        }
    }
}

/// The topic and the word that says so, which is the table if it is the default.
fn topic(raw: Field<Topic>, table: &Span, report: &mut Report) -> Option<At<Topic>> {
    if raw.is_absent() {
        return Some(At::new(table, Topic(TOPIC.to_owned())));
    }
    raw.given(report)
}

/// Refuses triggers that read or write the topic. `label` is written under the topic's word.
fn refuse_triggers(
    cluster: &Name,
    topic: &At<Topic>,
    label: &str,
    routes: &[Route],
    kafka: &Kafka,
    report: &mut Report,
) {
    let is_there = |other: &Option<Name>| other.as_ref().is_some_and(|other| kafka.one(other) == kafka.one(cluster));
    for route in routes {
        let reads = route.reads.iter().filter(|_| is_there(&route.cluster)).map(|read| (read, "reads"));
        let writes = route.writes.iter().filter(|_| is_there(&route.output_cluster)).map(|write| (write, "writes"));
        for (word, does) in reads.chain(writes).filter(|(word, _)| word.value == topic.value.0) {
            let title = format!("`{}` {does} the topic of `control`", route.trigger.value);
            let diagnostic = Diagnostic::new(&word.span, title, "name another topic: nodes talk to each other there");
            report.add(diagnostic.also(&topic.span, label));
        }
    }
}
