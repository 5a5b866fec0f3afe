//! What most tests have in common: one trigger from a source topic to an output topic, with a
//! dead letter topic beside it.

use std::path::Path;
use std::time::Duration;

use tidegate_tests::kafka::{Kafka, Stored, Topic};
use tidegate_tests::model::{Due, Model, Verdict};
use tidegate_tests::node::Node;
use tidegate_tests::{chance, functions};

/// How long a node may take until it is ready: it may compile a component first, and other tests
/// do so too.
pub(crate) const READY: Duration = Duration::from_secs(60);

/// How long anything may take that is done in a second or two on a quiet machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Properties of a cluster for tests that kill a node: a classic group with sessions as short as
/// the broker allows, so that a dead member is missed soon.
pub(crate) const SHORT_SESSIONS: &str =
    "\"group.protocol\" = \"classic\", \"session.timeout.ms\" = \"1500\", \"heartbeat.interval.ms\" = \"300\"";

/// A trigger and its topics.
pub(crate) struct Pipe {
    pub(crate) trigger: String,
    pub(crate) group: String,
    pub(crate) source: Topic,
    pub(crate) output: Topic,
    pub(crate) dead: Topic,
}

impl Pipe {
    /// New topics, named after the trigger. All have equally many partitions, as [`Model`] likes it.
    pub(crate) fn new(kafka: &Kafka, trigger: &str, partitions: i32) -> Pipe {
        Pipe::with_settings(kafka, trigger, partitions, &[])
    }

    pub(crate) fn with_settings(kafka: &Kafka, trigger: &str, partitions: i32, settings: &[(&str, &str)]) -> Pipe {
        let topic = |part: &str| kafka.topic_with(&format!("{trigger}-{part}"), partitions, settings);
        Pipe {
            trigger: trigger.to_owned(),
            group: format!("{trigger}-{}", chance::suffix()),
            source: topic("in"),
            output: topic("out"),
            dead: topic("dead"),
        }
    }

    /// The trigger's table in a manifest. `settings` are lines of further keys.
    pub(crate) fn table(&self, function: &str, settings: &str) -> String {
        let Pipe { trigger, group, source, output, dead } = self;
        format!(
            "[trigger.{trigger}]
function = \"{function}\"
topics = [\"{source}\"]
output = \"{output}\"
dead-letters = \"{dead}\"
group = \"{group}\"
{settings}
"
        )
    }

    /// A manifest of this trigger alone.
    pub(crate) fn manifest(&self, kafka: &Kafka, function: &str, settings: &str) -> String {
        [cluster(kafka, ""), component(function, ""), self.table(function, settings)].concat()
    }

    /// Waits until every record of the source topic is handled and progress committed, by this node
    /// or another one.
    #[track_caller]
    pub(crate) fn wait_handled(&self, kafka: &Kafka, node: &mut Node, limit: Duration) {
        let group = kafka.group(&self.group);
        let what = format!("all of {} is committed", self.source);
        node.wait_for(&what, limit, |node| {
            let report = node.trigger(&self.trigger);
            assert_ne!(report["state"], "paused", "a paused trigger does not go on: {report}");
            group.has_committed(&self.source)
        });
    }

    /// Reads both topics and holds them against what these records oblige to.
    #[track_caller]
    pub(crate) fn check(&self, model: &Model, sent: &[Stored]) -> Verdict {
        self.hold(&model.expect(sent))
    }

    #[track_caller]
    pub(crate) fn hold(&self, due: &Due) -> Verdict {
        let verdict = due.check(&self.output.read_all(), &self.dead.read_all());
        println!("{}: {verdict}", self.trigger);
        verdict
    }
}

/// The table of the cluster `main`. `properties` is what stands between the braces.
pub(crate) fn cluster(kafka: &Kafka, properties: &str) -> String {
    format!("[cluster.main]\nbrokers = \"{}\"\nproperties = {{ {properties} }}\n\n", kafka.bootstrap())
}

/// The table of a function of ours, which is named after its crate.
pub(crate) fn component(function: &str, settings: &str) -> String {
    function_at(function, &functions::component(function), settings)
}

/// The table of a function whose component lies anywhere.
pub(crate) fn function_at(function: &str, component: &Path, settings: &str) -> String {
    format!("[function.{function}]\ncomponent = \"{}\"\n{settings}\n\n", component.display())
}
