//! What the manifest takes and refuses.

#![allow(clippy::unwrap_used, reason = "in a test it is a failure with a line")]

use std::path::{Path, PathBuf};

use super::{Errors, Manifest, parse};

mod fuzz;
mod golden;
mod good;
mod http;
mod properties;
mod schema;
mod substitution;
mod versions;

/// A manifest in which everything but `body` is in order, for a test of one thing in it.
fn with_trigger(body: &str) -> String {
    format!(
        "[cluster.main]\nbrokers = \"localhost\"\n\
         [function.f]\ncomponent = \"f.wasm\"\n\
         [trigger.t]\nfunction = \"f\"\ntopics = [\"in\"]\non-exhausted = \"skip\"\n{body}\n"
    )
}

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/manifest/testdata")
}

/// The variables that are set in tests, none with a name that starts with `UNSET`.
fn environment(name: &str) -> Option<String> {
    let value = match name {
        "SET" => "value",
        "EMPTY" => "",
        "HOSTILE" => "\"quoted\"\n[trigger.x]\n\\ # ${SET} $${SET}",
        "TOPIC" => "topic-from-environment",
        "SECRET" | "PASSWORD" | "ENRICH_KEY" | "ENRICH_API_KEY" => "swordfish, expected nothing",
        _ => return None,
    };
    Some(value.to_owned())
}

fn read(text: &str) -> Result<Manifest, Errors> {
    parse(Path::new("tidegate.toml"), text, &environment)
}
