//! The function and the trigger that a case is called with, as the manifest declares them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use toml::{Table, Value};

use super::case::{CaseAnswer, CaseRecord};
use super::{Broken, Case};
use crate::author::invoke::{self, Offsets};
use crate::engine::Setup;
use crate::manifest::{self, Environment, Errors, Function, Manifest, Name, Trigger};
use crate::record::OwnedRecord;
use crate::tools::ndjson::{Malformed, Message};

/// A manifest for cases.
pub struct Declared {
    pub manifest: Manifest,
    /// Secrets that are missing on this machine, by function.
    pub without: BTreeMap<Name, Vec<String>>,
}

/// Reads a manifest whose clusters and secrets may be missing on this machine: cases need no broker, and few need a
/// secret. Secrets that cannot be read are left out, and so are variables that `given` names. Everything else has to
/// be right.
///
/// # Errors
///
/// All mistakes of the original manifest.
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

/// Removes clusters' addresses and secrets that are missing. Returns the names of these secrets.
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

/// Whether a secret can be read. True if it is not even declared properly: the manifest refuses it later.
fn is_there(source: &Value, folder: &Path, environment: &Environment) -> bool {
    let named = |key| source.get(key).and_then(Value::as_str);
    match (named("env"), named("file")) {
        (Some(variable), None) => environment(variable).is_some(),
        (None, Some(file)) => fs::File::open(folder.join(file)).is_ok(),
        _ => true,
    }
}

/// A function with the triggers that call it in a node. Each case uses one of the triggers.
#[derive(Clone)]
pub struct Target {
    function: Arc<Function>,
    /// Whether a manifest declares it. Otherwise it has the defaults.
    is_declared: bool,
    /// At least one.
    triggers: Vec<Arc<Trigger>>,
}

/// The records of a case, and what the function is called with.
pub(super) struct Calls {
    pub(super) setup: Setup,
    pub(super) records: Vec<PlacedRecord>,
}

/// A record of a case, and where it is read.
pub(super) struct PlacedRecord {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    pub(super) record: OwnedRecord,
    pub(super) attempt: u32,
}

impl Target {
    /// A function of a manifest with its triggers. The variables `given` replace those of the manifest. Whatever is
    /// not declared has its default.
    ///
    /// # Errors
    ///
    /// A bug: the defaults are refused.
    pub fn new(declared: Option<(&Manifest, &Function)>, given: &[(String, String)]) -> Result<Self, invoke::Error> {
        let (stand_in, stand_in_trigger) = invoke::stand_in()?;
        let mut function = declared.map_or(stand_in, |(_, function)| function.clone());
        for (name, value) in given {
            function.secrets.remove(name);
            function.env.insert(name.clone(), value.clone());
        }
        let all = declared.into_iter().flat_map(|(manifest, _)| manifest.triggers.values());
        let own = all.filter(|trigger| trigger.function == function.name);
        let mut triggers: Vec<Arc<Trigger>> = own.cloned().collect();
        if triggers.is_empty() {
            triggers.push(Arc::new(stand_in_trigger));
        }
        Ok(Self { function: Arc::new(function), is_declared: declared.is_some(), triggers })
    }

    /// Checks that one trigger could read all records of a case, and that the function could get its answers by HTTP.
    ///
    /// # Errors
    ///
    /// The first record or answer that is impossible.
    pub fn check(&self, case: &Case) -> Result<(), Broken> {
        self.calls(case).map(drop)
    }

    fn check_answers(&self, case: &Case) -> Result<(), Broken> {
        let request = |own: &CaseAnswer| own.answer.request().clone();
        let denied = case.answers().iter().find(|own| !request(own).is_allowed(&self.function.http));
        let Some(denied) = denied else { return Ok(()) };
        let request = request(denied);
        let origin = request.origin();
        let reason = match self.is_declared {
            true => format!(
                "the manifest does not allow {origin}, so no request gets this answer; to allow it, write in the \
                 function's table: allow-hosts = [\"{origin}\"]"
            ),
            false => format!(
                "there is no tidegate.toml for this project, so nobody may be asked; write one with \
                 allow-hosts = [\"{origin}\"] in the function's table"
            ),
        };
        Err(Broken::Line { path: case.path.clone(), line: denied.line, malformed: Malformed { column: 1, reason } })
    }

    /// The topic of records that name none: the first topic of the first trigger.
    fn topic(&self) -> &str {
        self.triggers.first().and_then(|trigger| trigger.topics.first()).map(String::as_str).unwrap_or_default()
    }

    /// The trigger of a case: the first that reads the topics of all its records. In a node a call has records of one
    /// trigger, and may write to the topics of that trigger only.
    fn trigger(&self, case: &Case) -> Result<&Arc<Trigger>, Broken> {
        let mut possible: Vec<&Arc<Trigger>> = self.triggers.iter().collect();
        for CaseRecord { line, record, .. } in case.records() {
            let topic = record.topic.as_deref().unwrap_or(self.topic());
            let refused = |reason: String| {
                let malformed = Malformed { column: 1, reason };
                Broken::Line { path: case.path.clone(), line: *line, malformed }
            };
            let Some(own) = invoke::reader(&self.triggers, topic) else {
                return Err(refused(invoke::unread(&self.function.name, &self.triggers, topic)));
            };
            let before = possible[0];
            possible.retain(|trigger| Arc::ptr_eq(trigger, own) || invoke::reads(trigger, topic));
            if possible.is_empty() {
                return Err(refused(format!(
                    "{topic} is a topic of the trigger {}, and the records above are those of {}: make a case of each",
                    own.name, before.name
                )));
            }
        }
        Ok(possible[0])
    }

    /// The records of a case. One without a place gets the first topic of the first trigger, partition 0 and the next
    /// offset.
    pub(super) fn calls(&self, case: &Case) -> Result<Calls, Broken> {
        self.check_answers(case)?;
        let trigger = self.trigger(case)?;
        let topic: Arc<str> = self.topic().into();
        let (mut offsets, mut records) = (Offsets::default(), Vec::new());
        for case_record in case.records() {
            let line = &case_record.record;
            let topic = line.topic.as_deref().map_or_else(|| topic.clone(), Arc::from);
            let partition = line.partition.unwrap_or(0);
            let offset = offsets.next(&topic, partition, line.offset, 0).map_err(|misplaced| {
                let malformed = Malformed { column: 1, reason: misplaced.to_string() };
                Broken::Line { path: case.path.clone(), line: case_record.line, malformed }
            })?;
            let record = OwnedRecord {
                offset,
                timestamp_ms: line.timestamp,
                key: line.key.0.clone(),
                value: line.value.0.clone(),
                headers: line.headers.iter().map(|pair| (pair.name.clone(), pair.value.clone())).collect(),
            };
            records.push(PlacedRecord { topic, partition, record, attempt: line.attempt.unwrap_or(1) });
        }
        Ok(Calls { setup: invoke::setup(self.function.clone(), trigger, &[]), records })
    }
}

impl Calls {
    /// The topic of messages that name none.
    pub(super) fn output(&self) -> Option<&str> {
        self.setup.trigger.output.as_deref()
    }
}

/// Removes the topic from messages that go to the output.
pub(super) fn seen_from_output(output: Option<&str>, mut messages: Vec<Message>) -> Vec<Message> {
    for message in &mut messages {
        message.topic.take_if(|topic| Some(topic.as_str()) == output);
    }
    messages
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

    fn case(text: &str) -> Case {
        Case::parse(Path::new("a.ndjson"), text.into()).unwrap_or_else(|broken| panic!("{broken}"))
    }

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
        assert_eq!(target.function.env["SET"], "told");
        assert!(target.function.secrets.is_empty());
        let calls = target.calls(&case("{}")).expect("good");
        assert_eq!((calls.output(), &*calls.setup.trigger.name), (Some("opened"), "doors"));
    }

    #[test]
    fn a_case_has_the_topics_of_the_trigger_that_reads_its_records() {
        let further = r#"
            [trigger.gates]
            function = "open"
            topics = ["rings", "calls"]
            allow-topics = ["raised"]
            on-exhausted = "skip"
            [trigger.gates-too]
            function = "open"
            topics = ["rings", "horns"]
            on-exhausted = "skip"
        "#;
        let target = |manifest: &str| {
            let manifest = declared(manifest).unwrap_or_else(|errors| panic!("{errors}")).manifest;
            let function = manifest.functions.values().next().expect("one");
            Target::new(Some((&manifest, function)), &[]).expect("good")
        };
        let several = target(&format!("{MANIFEST}{further}"));
        let check = |text: &str, trigger: &str, granted: &[&str]| {
            let calls = several.calls(&case(text)).unwrap_or_else(|broken| panic!("{broken}"));
            let topics = &calls.setup.topics;
            let all = ["opened", "raised"].into_iter().filter(|topic| topics.granted(topic).is_some());
            assert_eq!((&*calls.setup.trigger.name, all.collect::<Vec<_>>()), (trigger, granted.to_vec()), "{text}");
        };
        check("{}", "doors", &["opened"]);
        check("{\"topic\": \"knocks\"}\n{}", "doors", &["opened"]);
        check("{\"topic\": \"rings\"}\n{\"topic\": \"calls\"}", "gates", &["raised"]);
        check("{\"topic\": \"rings\"}\n{\"topic\": \"horns\"}", "gates-too", &[]);

        let refused = |text: &str, reason: &str| {
            assert_eq!(several.check(&case(text)).expect_err(text).to_string(), format!("a.ndjson, line {reason}"));
        };
        refused(
            "{}\n\n{\"topic\": \"calls\"}",
            "3, column 1: calls is a topic of the trigger gates, and the records above are those of doors: make a \
             case of each",
        );
        refused(
            "{\"topic\": \"kocks\"}",
            "1, column 1: no trigger of open reads the topic kocks; they read calls, horns, knocks, rings",
        );
        assert!(target(MANIFEST).check(&case("{\"topic\": \"any\"}\n{}")).is_ok(), "one trigger leaves no doubt");
    }

    #[test]
    fn other_mistakes_are_those_of_the_manifest_as_it_is() {
        let errors = declared(&MANIFEST.replace("output =", "ouput =")).err().expect("refused");
        assert!(errors.contains("ouput") && errors.contains("tidegate.toml:12"), "{errors}");
        assert!(errors.contains("NO_SUCH_BROKERS"), "{errors}");
    }
}
