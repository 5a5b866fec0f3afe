//! Turns the manifest as it is written into a [`Manifest`]. Reports every broken field, and every mistake that only
//! shows when several values are compared. Clusters, limits and the order of steps are here. The other sections
//! have modules of their own.
//!
//! A check that lacks a value says nothing about it, so no mistake is reported twice.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::declared::declared;
use super::diagnostic::Report;
use super::field::At;
use super::raw::{RawAdmin, RawCluster, RawLimits, RawManifest};
use super::topics::{self, Kafka};
use super::{Admin, Cluster, ClusterCheck, Environment, Limits, Manifest, Name};
use super::{control, function, properties, registry, secret, trigger};

/// The manifest. It may only be used if the report stays empty.
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
    let control = control::check(raw.control, &clusters, &routes, &kafka, report);
    let limits: RawLimits = raw.limits.or_default(report);
    let admin: RawAdmin = raw.admin.or_default(report);
    Manifest {
        path: path.to_owned(),
        clusters: clusters.sound,
        functions: functions.sound,
        triggers: triggers.sound,
        limits: Limits { buffered_bytes: limits.buffered.or_default(report).0 },
        admin: Admin {
            listen: admin.listen.or_default(report).0,
            token: secret::token(admin.token, folder, environment, report),
        },
        registry: registry::check(raw.registry.or_default(report), report),
        control,
    }
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
