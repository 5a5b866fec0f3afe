use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::author::capability::{self, Access, Capability};
use crate::engine::{self, Inspection, Rejected};
use crate::record::revision::Digest;
use crate::tools::Failure;
use crate::tools::output;

/// Show what a component is and what it wants.
///
/// The exit code is 1 if it is not a function, or one of a version of the contract that this tidegate
/// does not know. What it wants is granted or not by the node, whatever the component says.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  tidegate inspect enrich.wasm\n  tidegate inspect enrich.wasm --json | jq .sha256")]
pub(super) struct Arguments {
    /// The component.
    #[arg(value_name = "FILE")]
    component: PathBuf,

    /// Write one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn main(arguments: &Arguments) -> Result<(), Failure> {
    let path = &arguments.component;
    let bytes = read(path)?;
    let inspection = engine::inspect(&bytes).with_context(|| path.display().to_string())?;
    let facts = Facts::new(bytes.len(), Digest::of(&bytes), &inspection);
    if arguments.json {
        let json = serde_json::to_string_pretty(&facts).context("cannot write JSON")?;
        output::print(&json)?;
    } else {
        output::print(&format!("{}\n{}\n{}", path.display(), facts.summary(), facts.interfaces()))?;
    }
    inspection.check().with_context(|| path.display().to_string())?;
    facts.warn();
    Ok(())
}

pub(super) fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// What is known about a component.
#[derive(serde::Serialize)]
pub(super) struct Facts<'a> {
    bytes: usize,
    sha256: String,
    /// The version of the contract that it was built against. `None`: it is no function.
    contract: Option<&'a str>,
    capabilities: Vec<Capability>,
    exports: &'a [String],
    imports: &'a [String],
    /// Why a node would refuse it.
    #[serde(skip)]
    rejected: Option<Rejected>,
}

impl<'a> Facts<'a> {
    pub(super) fn new(bytes: usize, digest: Digest, inspection: &'a Inspection) -> Self {
        let capabilities = capability::wanted(&inspection.imports);
        let ungranted = || {
            let refused = capabilities.iter().filter(|wanted| wanted.access == Access::Refused);
            let names: Vec<&str> = refused.map(|wanted| wanted.name.as_str()).collect();
            (!names.is_empty()).then(|| Rejected::ungranted(&names.join(", ")))
        };
        let rejected = inspection.check().err().or_else(ungranted);
        Self {
            bytes,
            sha256: digest.to_string(),
            contract: inspection.handler(),
            capabilities,
            exports: &inspection.exports,
            imports: &inspection.imports,
            rejected,
        }
    }

    /// The facts that most people want, without a line break at the end.
    pub(super) fn summary(&self) -> String {
        let size = bytesize::ByteSize::b(self.bytes as u64).display().iec();
        let mut text = format!("  size      {size} ({} bytes)\n  SHA-256   {}", self.bytes, self.sha256);
        if let Some(version) = self.contract {
            let _ = write!(text, "\n  contract  tidegate:function {version}");
        }
        let lines = self.capabilities.iter().map(|wanted| {
            let not = if wanted.access == Access::Refused { "NOT GRANTED, " } else { "" };
            format!("{}: {not}{}", wanted.name, wanted.meaning)
        });
        text + &list("wants", lines)
    }

    fn interfaces(&self) -> String {
        let text = list("exports", self.exports.iter().cloned()) + &list("imports", self.imports.iter().cloned());
        text.trim_start_matches('\n').to_owned()
    }

    /// Warns on standard error if a node would refuse it.
    pub(super) fn warn(&self) {
        if let Some(rejected) = &self.rejected {
            eprintln!("warning: a node will refuse it: {rejected}");
        }
    }
}

/// Lines under a label. Each line starts with its line break.
fn list(label: &str, lines: impl Iterator<Item = String>) -> String {
    let mut text = String::new();
    for (index, line) in lines.enumerate() {
        let label = if index == 0 { label } else { "" };
        let _ = write!(text, "\n  {label:<8}  {line}");
    }
    text
}
