//! What cases are called with: the function and its trigger, as the manifest declares them.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

use toml::{Table, Value};

use super::{Broken, Case, Place};
use crate::batch::Batch;
use crate::engine::Setup;
use crate::invoke::{self, Batcher};
use crate::manifest::{self, Environment, Errors, Function, Instances, Manifest, Name, Trigger};
use crate::ndjson::{Malformed, Message};
use crate::record::OwnedRecord;

/// A manifest for cases.
pub struct Declared {
    pub manifest: Manifest,
    /// Secrets that are not there, by function.
    pub without: BTreeMap<Name, Vec<String>>,
}

/// Reads a manifest whose clusters and secrets may be missing on this machine: cases need no broker, and
/// few need a secret. Secrets that cannot be read are left out, and so is whatever `given` names. All
/// else has to be right.
///
/// # Errors
///
/// All mistakes of the manifest as it is.
pub fn load(path: &Path, environment: &Environment, given: &[(String, String)]) -> Result<Declared, Errors> {
    let errors = match manifest::load(path, environment) {
        Ok(manifest) => return Ok(Declared { manifest, without: BTreeMap::new() }),
        Err(errors) => errors,
    };
    let text = fs::read_to_string(path).unwrap_or_default();
    let Ok(mut table) = text.parse::<Table>() else { return Err(errors) };
    let folder = path.parent().unwrap_or(Path::new(""));
    let without = reduce(&mut table, folder, environment, given);
    match manifest::parse(path, &table.to_string(), environment) {
        Ok(manifest) => Ok(Declared { manifest, without }),
        Err(_) => Err(errors),
    }
}

/// Takes out what may be missing, and names the secrets among it.
fn reduce(
    table: &mut Table,
    folder: &Path,
    environment: &Environment,
    given: &[(String, String)],
) -> BTreeMap<Name, Vec<String>> {
    for cluster in tables(table, "cluster").map(|(_, cluster)| cluster) {
        cluster.retain(|key, _| key == "brokers");
        cluster.insert("brokers".to_owned(), "localhost:9092".into());
    }
    let is_given = |name: &str| given.iter().any(|(given, _)| given == name);
    let mut without = BTreeMap::new();
    for (function, declared) in tables(table, "function") {
        for variables in ["env", "secrets"] {
            if let Some(Value::Table(variables)) = declared.get_mut(variables) {
                variables.retain(|name, _| !is_given(name));
            }
        }
        let Some(Value::Table(secrets)) = declared.get_mut("secrets") else { continue };
        let mut missing = Vec::new();
        secrets.retain(|name, source| {
            let is_there = is_there(source, folder, environment);
            if !is_there {
                missing.push(name.to_owned());
            }
            is_there
        });
        if let Ok(function) = Name::new(function)
            && !missing.is_empty()
        {
            without.insert(function, missing);
        }
    }
    without
}

/// The tables under a key, with their names.
fn tables<'a>(table: &'a mut Table, key: &str) -> impl Iterator<Item = (&'a String, &'a mut Table)> {
    let tables = table.get_mut(key).and_then(Value::as_table_mut).into_iter().flat_map(|tables| tables.iter_mut());
    tables.filter_map(|(name, table)| Some((name, table.as_table_mut()?)))
}

/// Whether a secret can be read. What is no secret at all is left for the manifest to refuse.
fn is_there(source: &Value, folder: &Path, environment: &Environment) -> bool {
    let named = |key| source.get(key).and_then(Value::as_str);
    match (named("env"), named("file")) {
        (Some(variable), None) => environment(variable).is_some(),
        (None, Some(file)) => fs::File::open(folder.join(file)).is_ok(),
        _ => true,
    }
}

/// A function and a trigger to call cases with.
#[derive(Clone)]
pub struct Target {
    pub(super) setup: Setup,
}

impl Target {
    /// A function of a manifest with its first trigger, and variables that replace those of the
    /// manifest. Without a manifest its defaults apply.
    ///
    /// # Errors
    ///
    /// A bug: the defaults are refused.
    pub fn new(declared: Option<(&Manifest, &Function)>, given: &[(String, String)]) -> Result<Self, invoke::Error> {
        let (stand_in, trigger) = invoke::stand_in()?;
        let mut function = declared.map_or(stand_in, |(_, function)| function.clone());
        for (name, value) in given {
            function.secrets.remove(name);
            function.env.insert(name.clone(), value.clone());
        }
        let all = declared.into_iter().flat_map(|(manifest, _)| manifest.triggers.values());
        let triggers: Vec<Arc<Trigger>> = all.filter(|trigger| trigger.function == function.name).cloned().collect();
        let mut trigger = triggers.first().map_or(trigger, |trigger| Trigger::clone(trigger));
        // One call after another needs no more.
        trigger.instances = Instances { min: 1, max: NonZeroU32::MIN };
        let topics = Arc::new(invoke::topics(&triggers, &[]));
        Ok(Self { setup: Setup { function: Arc::new(function), trigger: Arc::new(trigger), topics } })
    }

    /// Whether the records of a case could come from a broker.
    ///
    /// # Errors
    ///
    /// The record that could not.
    pub fn check(&self, case: &Case) -> Result<(), Broken> {
        self.batches(case).map(drop)
    }

    /// The topic of messages that name none.
    pub(super) fn output(&self) -> Option<&str> {
        let topics = &self.setup.topics;
        topics.output().and_then(|place| topics.names().get(place)).map(String::as_str)
    }

    /// Takes the output's name from messages that go there.
    pub(super) fn seen_from_output(&self, mut messages: Vec<Message>) -> Vec<Message> {
        for message in &mut messages {
            message.topic.take_if(|topic| Some(topic.as_str()) == self.output());
        }
        messages
    }

    /// The calls that a case makes, and where each of its records is read. Batches are as large as the
    /// trigger allows. What a record leaves out is the trigger's first topic, partition 0 and the
    /// next offset.
    pub(super) fn batches(&self, case: &Case) -> Result<(Vec<Batch>, Vec<Place>), Broken> {
        let trigger = &self.setup.trigger;
        let topic: Arc<str> = trigger.topics.first().map(String::as_str).unwrap_or_default().into();
        let mut batcher = Batcher::new(trigger.batch);
        let (mut batches, mut places) = (Vec::new(), Vec::new());
        for case_record in case.records() {
            let line = &case_record.record;
            let topic = line.topic.as_deref().map_or_else(|| topic.clone(), Arc::from);
            let partition = line.partition.unwrap_or(0);
            let offset = line.offset.unwrap_or_else(|| batcher.next_offset(&topic, partition).unwrap_or(0));
            let record = OwnedRecord {
                offset,
                timestamp_ms: line.timestamp,
                key: line.key.0.clone(),
                value: line.value.0.clone(),
                headers: line.headers.iter().map(|pair| (pair.name.clone(), pair.value.clone())).collect(),
            };
            let full = batcher.push(&topic, partition, &record, line.attempt.unwrap_or(1)).map_err(|misplaced| {
                let malformed = Malformed { column: 1, reason: misplaced.to_string() };
                Broken::Line { path: case.path.clone(), line: case_record.line, malformed }
            })?;
            batches.extend(full);
            places.push(Place { topic, partition, offset });
        }
        batches.extend(batcher.finish());
        Ok((batches, places))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = r#"
        [cluster.main]
        brokers = "${NO_SUCH_BROKERS}"
        properties = { "sasl.password" = "${NO_SUCH_PASSWORD}" }
        [function.open]
        component = "open.wasm"
        env = { MODE = "test" }
        secrets = { KEY = { env = "NO_SUCH_KEY" }, FILE = { file = "no-such-file" }, TOLD = { env = "NO_SUCH_KEY" }, SET = { env = "SET" } }
        [trigger.doors]
        function = "open"
        topics = ["knocks"]
        output = "opened"
        on-exhausted = "skip"
    "#;

    fn declared(text: &str) -> Result<Declared, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tidegate.toml");
        fs::write(&path, text).expect("written");
        let environment = |name: &str| (name == "SET").then(|| "sesame".to_owned());
        load(&path, &environment, &[("TOLD".to_owned(), "other".to_owned())]).map_err(|errors| errors.to_string())
    }

    #[test]
    fn clusters_and_secrets_may_be_missing() {
        let declared = declared(MANIFEST).unwrap_or_else(|errors| panic!("{errors}"));
        let name = Name::new("open").expect("a name");
        let missing = vec!["FILE".to_owned(), "KEY".to_owned()];
        assert_eq!(declared.without, BTreeMap::from([(name.clone(), missing)]));
        let function = &declared.manifest.functions[&name];
        assert_eq!(function.secrets.keys().collect::<Vec<_>>(), ["SET"]);

        let given = [("SET".to_owned(), "told".to_owned())];
        let target = Target::new(Some((&declared.manifest, function)), &given).expect("good");
        assert_eq!(target.setup.function.env["SET"], "told");
        assert!(target.setup.function.secrets.is_empty());
        assert_eq!((target.output(), &*target.setup.trigger.name), (Some("opened"), "doors"));
    }

    #[test]
    fn other_mistakes_are_those_of_the_manifest_as_it_is() {
        let errors = declared(&MANIFEST.replace("output =", "ouput =")).err().expect("refused");
        assert!(errors.contains("ouput") && errors.contains("tidegate.toml:12"), "{errors}");
        assert!(errors.contains("NO_SUCH_BROKERS"), "{errors}");
    }
}
