//! Triggers: their references, and limits that depend on each other.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::time::Duration;

use super::amounts::{Amount, Period, Whole};
use super::declared::Declared;
use super::diagnostic::{Diagnostic, Report};
use super::field::{At, Field};
use super::raw::{RawBatch, RawInstances, RawRetry, RawTrigger, RawWindow};
use super::shapes::{RawElsewhere, RawOutput};
use super::topics::Route;
use super::words::{DeliveryWord, Group, Topic};
use super::{
    BatchLimits, Cluster, Delivery, Function, Instances, Member, Name, OnExhausted, RetryPolicy, Start, Trigger, Window,
};

/// The property that says how long a client may be busy before its group takes it for dead.
const POLL_INTERVAL: &str = "max.poll.interval.ms";
/// How much longer than a drain that has to be: as long as a trigger without work may rest, and some time to commit.
const REST: Duration = Duration::from_secs(15);
/// The cluster of a trigger that names none.
const MAIN: &str = "main";

/// Checks one trigger. The route has everything that is known about it, even if the trigger is broken.
pub(super) fn check(
    name: At<Name>,
    raw: RawTrigger,
    functions: &Declared<Function>,
    clusters: &Declared<Cluster>,
    report: &mut Report,
) -> (Option<Trigger>, Route) {
    let function = function(raw.function, &name, functions, report);
    let cluster = cluster(raw.cluster, &name, clusters, report);
    let inputs = inputs(raw.topics, &name, report);
    let (output, output_cluster) = output(raw.output, &name, cluster.as_ref(), clusters, report);
    let allow_topics = topics(raw.allow_topics.or_default(report), report);
    refuse_lost_records(&raw.on_exhausted, &raw.dead_letters, &name, report);
    let dead_letters = topic(raw.dead_letters, report);
    let group = group(raw.group, &name, report);
    let member = member(raw.member, cluster.as_ref(), clusters, report);
    let start = start(raw.start, inputs.as_ref(), report);
    let (batch, window) = batch_and_window(raw.batch, raw.window, report);
    refuse_other_delivery(raw.delivery, report);

    let route = Route {
        trigger: name.clone(),
        cluster: cluster.clone(),
        group: group.clone(),
        reads: inputs.clone().map_or(Vec::new(), |inputs| inputs.value),
        output_cluster: output_cluster.clone(),
        writes: output.iter().chain(&allow_topics).chain(&dead_letters).cloned().collect(),
    };
    let on_exhausted = raw.on_exhausted.or_default(report);
    let ordering = raw.ordering.or_default(report);
    let instances = instances(raw.instances, report);
    let retry = retry(raw.retry, report);
    let commit_interval = raw.commit_interval.or_default(report).0;
    let rebalance_drain = raw.rebalance_drain.or_default(report).0;
    let message_drain = message_drain(raw.message_drain, &name, cluster.as_ref(), clusters, report);
    let drain = raw.drain.or_default(report).0;
    let trigger = || {
        Some(Trigger {
            name: name.value,
            function: function?,
            cluster: cluster?,
            topics: inputs?.value.into_iter().map(|at| at.value).collect(),
            output: output.map(|at| at.value),
            output_cluster: output_cluster?,
            allow_topics: allow_topics.into_iter().map(|at| at.value).collect(),
            dead_letters: dead_letters.map(|at| at.value),
            on_exhausted,
            ordering,
            delivery: Delivery::AtLeastOnce,
            group: group?.value,
            member,
            start,
            instances,
            batch,
            retry,
            window,
            commit_interval,
            rebalance_drain,
            message_drain,
            drain,
        })
    };
    (trigger(), route)
}

fn function(raw: Field<Name>, name: &At<Name>, functions: &Declared<Function>, report: &mut Report) -> Option<Name> {
    let example = "function = \"name of a function\"";
    let named = raw.required("function", name, example, report)?;
    functions.resolve(named, report)
}

/// The cluster that is named, or the default.
fn cluster(raw: Field<Name>, name: &At<Name>, clusters: &Declared<Cluster>, report: &mut Report) -> Option<Name> {
    let main = At::new(&name.span, Name(MAIN.into()));
    let named = if raw.is_absent() { Some(main) } else { raw.given(report) };
    clusters.resolve(named?, report)
}

/// The topics to read. There must be at least one.
fn inputs(raw: Field<Vec<Field<Topic>>>, name: &At<Name>, report: &mut Report) -> Option<At<Vec<At<String>>>> {
    let example = "topics = [\"name of a topic\"]";
    let given = raw.required("topics", name, example, report)?;
    if given.value.is_empty() {
        let title = format!("`{}` reads no topic", name.value);
        report.add(Diagnostic::new(&given.span, title, "name at least one"));
    }
    Some(given.map(|given| topics(given, report)))
}

/// Topics without repetitions.
fn topics(raw: Vec<Field<Topic>>, report: &mut Report) -> Vec<At<String>> {
    let mut topics: Vec<At<String>> = Vec::new();
    let mut seen = BTreeSet::new();
    for raw in raw {
        let Some(topic) = topic(raw, report) else {
            continue;
        };
        if !seen.insert(topic.value.clone()) {
            let title = format!("the topic `{}` is listed twice", topic.value);
            report.add(Diagnostic::new(&topic.span, title, "remove one of them"));
        }
        topics.push(topic);
    }
    topics
}

/// The output topic, if there is one, and the cluster of all that the trigger writes.
fn output(
    raw: Field<RawOutput>,
    name: &At<Name>,
    cluster_read: Option<&Name>,
    clusters: &Declared<Cluster>,
    report: &mut Report,
) -> (Option<At<String>>, Option<Name>) {
    if raw.is_absent() {
        return (None, cluster_read.cloned());
    }
    let Some(given) = raw.given(report) else {
        return (None, None);
    };
    match given.value {
        RawOutput::Topic(topic) => (Some(At::new(&given.span, topic.0)), cluster_read.cloned()),
        RawOutput::Elsewhere(RawElsewhere { cluster, topic }) => {
            let owner = At::new(&given.span, name.value.clone());
            let example = "topic = \"name of a topic\"";
            let topic = topic.required("output.topic", &owner, example, report);
            let named = !cluster.is_absent();
            let cluster_named = cluster.given(report);
            let cluster_written = match cluster_named {
                Some(cluster) => clusters.resolve(cluster, report),
                None => cluster_read.filter(|_| !named).cloned(),
            };
            (topic.map(|at| at.map(|topic| topic.0)), cluster_written)
        }
    }
}

fn topic(raw: Field<Topic>, report: &mut Report) -> Option<At<String>> {
    raw.given(report).map(|topic| topic.map(|topic| topic.0))
}

/// Refuses a trigger that sends exhausted records to dead letters but has no topic for them.
fn refuse_lost_records(
    on_exhausted: &Field<OnExhausted>,
    dead_letters: &Field<Topic>,
    name: &At<Name>,
    report: &mut Report,
) {
    let at_fault = match on_exhausted {
        Field::Absent => &name.span,
        Field::Given(word) if word.value == OnExhausted::DeadLetter => &word.span,
        _ => return,
    };
    if dead_letters.is_absent() {
        let title = format!("`{}` has no topic for dead letters", name.value);
        let label = "records that fail for good have nowhere to go";
        let help =
            format!("add dead-letters = \"{}-dead\", or on-exhausted = \"skip\" to drop such records", name.value);
        report.add(Diagnostic::new(at_fault, title, label).help(help));
    }
}

fn group(raw: Field<Group>, name: &At<Name>, report: &mut Report) -> Option<At<String>> {
    if raw.is_absent() {
        return Some(At::new(&name.span, format!("tidegate-{}", name.value)));
    }
    raw.given(report).map(|group| group.map(|group| group.0))
}

/// How the trigger is a member. A killed member of a KIP-848 group cannot come back under its name before its session
/// is over, so there is no static one there.
fn member(raw: Field<Member>, cluster: Option<&Name>, clusters: &Declared<Cluster>, report: &mut Report) -> Member {
    let Some(member) = raw.given(report) else { return Member::default() };
    let cluster = cluster.and_then(|name| clusters.sound.get(name));
    if member.value == Member::Static && cluster.is_some_and(|cluster| !cluster.has_classic_groups()) {
        let label = "brokers refuse the member that a killed one left its name to until the session is over";
        let title = "a group of the protocol `consumer` (KIP-848) has no static members here";
        let help = "remove it, or `group.protocol` of the cluster";
        report.add(Diagnostic::new(&member.span, title, label).help(help));
    }
    member.value
}

/// The drain of messages, which has to end while the client still counts as alive.
fn message_drain<const MAX: u64, const DEFAULT: u64>(
    raw: Field<Period<0, MAX, DEFAULT>>,
    name: &At<Name>,
    cluster: Option<&Name>,
    clusters: &Declared<Cluster>,
    report: &mut Report,
) -> Duration {
    let span = if let Field::Given(given) = &raw { given.span.clone() } else { name.span.clone() };
    let drain = raw.or_default(report).0;
    let properties = cluster.and_then(|name| clusters.sound.get(name)).map(|cluster| &cluster.properties);
    let interval = properties.and_then(|properties| properties.get(POLL_INTERVAL)?.parse().ok());
    let Some(interval) = interval.map(Duration::from_millis) else { return drain };
    if drain + REST > interval {
        let title = format!("`message-drain` and `{POLL_INTERVAL}` do not fit together");
        let label = format!("a drain of {} needs {} of the cluster", humantime::format_duration(drain), POLL_INTERVAL);
        let most = (drain + REST).as_millis();
        let help = format!("raise `{POLL_INTERVAL}`, or remove it: it is 300000 where it is not given");
        report.add(Diagnostic::new(&span, title, format!("{label} to be at least {most}")).help(help));
    }
    drain
}

fn start(raw: Field<Start>, inputs: Option<&At<Vec<At<String>>>>, report: &mut Report) -> Start {
    let Some(start) = raw.given(report) else {
        return Start::default();
    };
    let ambiguous = inputs.filter(|inputs| inputs.value.len() > 1);
    if let (Start::Offsets(_), Some(inputs)) = (&start.value, ambiguous) {
        let title = "offsets to start at need exactly one topic";
        let label = "an offset by partition does not say of which topic";
        let diagnostic = Diagnostic::new(&start.span, title, label);
        let help = "make a trigger for each topic, or start at a time such as \"2026-01-31T00:00:00Z\"";
        report.add(diagnostic.also(&inputs.span, "more than one topic").help(help));
    }
    start.value
}

fn refuse_other_delivery(raw: Field<DeliveryWord>, report: &mut Report) {
    let Some(word) = raw.given(report) else {
        return;
    };
    if word.value == DeliveryWord::Later {
        let title = "this version delivers at least once only";
        report.add(Diagnostic::new(&word.span, title, "expected \"at-least-once\""));
    }
}

fn instances(raw: Field<RawInstances>, report: &mut Report) -> Instances {
    let raw: RawInstances = raw.or_default(report);
    refuse_above(("instances.min", &raw.min), ("instances.max", &raw.max), report);
    Instances {
        min: u32::try_from(raw.min.or_default(report).0).unwrap_or(u32::MAX),
        max: non_zero(&raw.max.or_default(report)),
    }
}

fn batch_and_window(batch: Field<RawBatch>, window: Field<RawWindow>, report: &mut Report) -> (BatchLimits, Window) {
    let known = !batch.is_broken() && !window.is_broken();
    let batch: RawBatch = batch.or_default(report);
    let window: RawWindow = window.or_default(report);
    if known {
        refuse_above(("batch.records", &batch.records), ("window.records", &window.records), report);
        refuse_above(("batch.bytes", &batch.bytes), ("window.bytes", &window.bytes), report);
    }
    let batch =
        BatchLimits { records: non_zero(&batch.records.or_default(report)), bytes: batch.bytes.or_default(report).0 };
    let window =
        Window { records: non_zero(&window.records.or_default(report)), bytes: window.bytes.or_default(report).0 };
    (batch, window)
}

fn retry(raw: Field<RawRetry>, report: &mut Report) -> RetryPolicy {
    let raw: RawRetry = raw.or_default(report);
    refuse_above(("retry.backoff", &raw.backoff), ("retry.max-backoff", &raw.max_backoff), report);
    RetryPolicy {
        attempts: non_zero(&raw.attempts.or_default(report)),
        backoff: raw.backoff.or_default(report).0,
        max_backoff: raw.max_backoff.or_default(report).0,
        max_age: raw.max_age.or_default(report).0,
    }
}

/// The limits of the type make sure that the number fits.
fn non_zero<const MAX: u64, const DEFAULT: u64>(number: &Whole<1, MAX, DEFAULT>) -> NonZeroU32 {
    let number = u32::try_from(number.0).unwrap_or(u32::MAX);
    NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN)
}

/// Reports a value that is above the maximum that another value sets. One of the two may be a default.
fn refuse_above<L: Amount, H: Amount>(
    (low_key, low): (&str, &Field<L>),
    (high_key, high): (&str, &Field<H>),
    report: &mut Report,
) {
    let (Some(low_value), Some(high_value)) = (amount(low), amount(high)) else {
        return;
    };
    if low_value.0 <= high_value.0 {
        return;
    }
    let title = format!("`{low_key}` is above `{high_key}`");
    let [low_text, high_text] = [low_value.1, high_value.1];
    let diagnostic = match (low, high) {
        (Field::Given(low), Field::Given(high)) => {
            let label = format!("expected at most {high_text}");
            Diagnostic::new(&low.span, title, label).also(&high.span, format!("`{high_key}`"))
        }
        (Field::Given(low), _) => {
            let label = format!("expected at most {high_text}");
            Diagnostic::new(&low.span, title, label).help(format!("`{high_key}` is {high_text} where it is not given"))
        }
        (_, Field::Given(high)) => {
            let label = format!("expected at least {low_text}");
            Diagnostic::new(&high.span, title, label).help(format!("`{low_key}` is {low_text} where it is not given"))
        }
        _ => return,
    };
    report.add(diagnostic);
}

/// The amount and its spelling. `None`: the field is broken.
fn amount<T: Amount>(field: &Field<T>) -> Option<(u64, String)> {
    match field {
        Field::Absent => Some((T::default().amount(), T::default().to_string())),
        Field::Given(at) => Some((at.value.amount(), at.value.to_string())),
        Field::Broken(_) => None,
    }
}
