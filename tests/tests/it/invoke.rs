//! Functions called by `tidegate invoke`, each with a manifest of its own and without a broker.

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::{Value, json};
use tidegate_tests::{functions, node};

/// The function `asked` of a manifest.
#[derive(Default)]
pub struct Asked<'a> {
    pub component: &'a str,
    /// Of its table. A deadline of minutes unless they say another: a busy machine is no failure.
    pub keys: &'a str,
    /// Where the manifest lies. Without it in a folder of the call.
    pub folder: Option<&'a Path>,
    /// After `invoke`.
    pub flags: &'a [&'a str],
    pub environment: &'a [(&'a str, &'a str)],
}

/// What came of the records of a call, in their order, and what was written to the log.
pub struct Answered {
    pub outcomes: Vec<Value>,
    pub log: String,
}

/// Each record in a call of its own, in one instance.
pub const ONE_BY_ONE: &[&str] = &["--batch", "1"];

impl Asked<'_> {
    /// Calls it with records of these values, and wants a message or a failure for each.
    #[track_caller]
    pub fn values(&self, values: &[impl AsRef<str>]) -> Answered {
        self.records(values.iter().map(|value| json!({ "value": value.as_ref() })))
    }

    /// The same, with records as NDJSON has them.
    #[track_caller]
    pub fn records(&self, records: impl ExactSizeIterator<Item = Value>) -> Answered {
        let wanted = records.len();
        let output = self.output(records);
        let log = String::from_utf8(output.stderr).expect("text");
        let stdout = String::from_utf8(output.stdout).expect("text");
        let outcome = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let outcomes: Vec<Value> = stdout.lines().map(outcome).collect();
        assert_eq!(outcomes.len(), wanted, "{log}");
        Answered { outcomes, log }
    }

    /// Whatever comes of it.
    pub fn output(&self, records: impl Iterator<Item = Value>) -> Output {
        let own = tempfile::tempdir().expect("a folder");
        let folder = self.folder.unwrap_or(own.path());
        let component = functions::component(self.component);
        let deadline = if self.keys.contains("deadline") { "" } else { "deadline = \"3m\"\n" };
        let manifest = format!("[function.asked]\ncomponent = {:?}\n{deadline}{}\n", component, self.keys);
        fs::write(folder.join("tidegate.toml"), manifest).expect("written");
        let lines: String = records.map(|record| format!("{record}\n")).collect();
        fs::write(folder.join("input.ndjson"), lines).expect("written");
        let mut command = node::command();
        command.args(["invoke", "--function", "asked", "--input", "input.ndjson"]).args(self.flags);
        command.current_dir(folder).envs(self.environment.iter().copied()).stdin(Stdio::null());
        command.output().expect("tidegate starts")
    }
}

impl Answered {
    /// The value of each record's message, or the cause of its failure.
    #[track_caller]
    pub fn texts(&self) -> Vec<&str> {
        let text = |outcome| text(outcome).unwrap_or_else(|| panic!("no answer: {outcome}\n{}", self.log));
        self.outcomes.iter().map(text).collect()
    }
}

fn text(outcome: &Value) -> Option<&str> {
    outcome["messages"][0]["value"].as_str().or(outcome["failure"]["cause"].as_str())
}
