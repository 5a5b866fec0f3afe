//! From the manifest as it is written to a [`Manifest`]: reports every broken field and all that
//! one value cannot know by itself. Clusters, limits and the order of steps are here, functions
//! and triggers have modules of their own.
//!
//! A check that lacks a value says nothing about it, so nothing is reported twice.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::diagnostic::{Diagnostic, Report, nearest};
use super::field::At;
use super::raw::{RawAdmin, RawCluster, RawLimits, RawManifest, Section};
use super::topics::{self, Kafka};
use super::words::Spelling as _;
use super::{Admin, Cluster, ClusterCheck, Environment, Limits, Manifest, Name, function, properties, trigger};

/// The manifest, which is of use only if the report stays empty.
pub(super) fn manifest(
    raw: RawManifest,
    path: &Path,
    environment: &Environment,
    accepts: &ClusterCheck,
    report: &mut Report,
) -> Manifest {
    let folder = path.parent().unwrap_or(Path::new(""));
    let clusters = declared("cluster", raw.cluster, report, |name, raw, report| cluster(name, raw, accepts, report));
    let functions = declared("function", raw.function, report, |name, raw, report| {
        function::check(name, raw, folder, environment, report)
    });
    let mut routes = Vec::new();
    let triggers = declared("trigger", raw.trigger, report, |name, raw, report| {
        let (trigger, route) = trigger::check(name, raw, &functions, &clusters, report);
        routes.push(route);
        trigger
    });
    let kafka = Kafka::new(clusters.sound.values().map(Arc::as_ref));
    topics::refuse_shared_groups(&routes, &kafka, report);
    topics::refuse_cycles(&routes, &kafka, report);
    let limits: RawLimits = raw.limits.or_default(report);
    let admin: RawAdmin = raw.admin.or_default(report);
    Manifest {
        path: path.to_owned(),
        clusters: clusters.sound,
        functions: functions.sound,
        triggers: triggers.sound,
        limits: Limits { buffered_bytes: limits.buffered.or_default(report).0 },
        admin: Admin { listen: admin.listen.or_default(report).0 },
    }
}

/// What a section declares.
pub(super) struct Declared<T> {
    kind: &'static str,
    sound: BTreeMap<Name, Arc<T>>,
    /// All names, also of what is not sound. Nothing if the section itself is broken.
    names: Option<BTreeSet<String>>,
}

impl<T> Declared<T> {
    /// The name, if it is declared. An error is reported if it is not.
    pub(super) fn resolve(&self, name: At<Name>, report: &mut Report) -> Option<Name> {
        let names = self.names.as_ref()?;
        if names.contains(&*name.value) {
            return Some(name.value);
        }
        let kind = self.kind;
        let title = format!("there is no {kind} `{}`", name.value);
        let label = format!("not declared as a {kind}");
        let diagnostic = Diagnostic::new(&name.span, title, label);
        let legal = names.iter().filter(|name| Name::new(name).is_ok());
        report.add(match nearest(&name.value, legal.map(String::as_str)) {
            Some(declared) => diagnostic.help(format!("did you mean `{declared}`?")),
            None => diagnostic.help(format!("declare it: [{kind}.{}]", name.value)),
        });
        None
    }
}

fn declared<R, T>(
    kind: &'static str,
    section: Section<R>,
    report: &mut Report,
    mut check: impl FnMut(At<Name>, R, &mut Report) -> Option<T>,
) -> Declared<T> {
    let broken = section.is_broken();
    let entries = section.or_default(report);
    let names = entries.keys().map(|key| key.value.clone()).collect();
    let mut sound = BTreeMap::new();
    for (key, raw) in entries {
        if Name::new(&key.value).is_err() {
            let label = format!("expected {}", Name::expected());
            let title = format!("invalid name of a {kind}");
            report.add(Diagnostic::new(&key.span, title, label));
        }
        // An illegal name goes on, because what it names is to be checked too; since an error was
        // reported, it does not get out of here.
        let name = Name(key.value.as_str().into());
        let Some(raw) = raw.given(report) else {
            continue;
        };
        if let Some(value) = check(At::new(&key.span, name.clone()), raw.value, report) {
            sound.insert(name, Arc::new(value));
        }
    }
    Declared { kind, sound, names: (!broken).then_some(names) }
}

fn cluster(name: At<Name>, raw: RawCluster, accepts: &ClusterCheck, report: &mut Report) -> Option<Cluster> {
    let example = "brokers = \"localhost:9092\"";
    let brokers = raw.brokers.required("brokers", &name, example, report);
    let (mut properties, mut keys, mut is_whole) = (BTreeMap::new(), Vec::new(), true);
    for (key, value) in raw.properties.or_default(report) {
        let Some(value) = value.given(report) else {
            is_whole = false;
            continue;
        };
        is_whole &= properties::refuse_owned(&key, &value.value.0, report);
        properties.insert(key.value.clone(), value.value.0);
        keys.push(key);
    }
    let cluster = Cluster { name: name.value, brokers: brokers?.value.0, properties };
    if is_whole && let Err(reason) = accepts(&cluster) {
        properties::refuse_together(&keys, &cluster, &name.span, reason, report);
    }
    Some(cluster)
}
