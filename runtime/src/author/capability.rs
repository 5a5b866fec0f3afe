//! What a component wants from its host, derived from the names of its imports. Plain data, no IO.
//!
//! The engine decides what is granted, by what it links. This module says the same in plain words.

use std::collections::BTreeMap;

use crate::engine::Inspection;

/// Whether an import is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// It works.
    Granted,
    /// It works as far as the manifest allows it. The default is not at all.
    Manifest,
    /// It is there, but empty.
    Empty,
    /// A node refuses a component with this import.
    Refused,
}

/// Something that a component wants.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Capability {
    /// A word for it, or the name of the import if this version has no word for it.
    pub name: String,
    pub access: Access,
    /// What the component gets, in words.
    pub meaning: &'static str,
}

/// Interfaces by the start of their names, without versions, in the order in which they are shown. The first match
/// counts.
const KNOWN: &[(&str, &str, Access, &str)] = &[
    ("tidegate:function/types", "", Access::Granted, ""),
    ("wasi:io/", "", Access::Granted, ""),
    ("wasi:cli/environment", "environment", Access::Granted, "the variables that the manifest gives it, no others"),
    ("wasi:cli/stdout", "output", Access::Granted, "what it prints becomes log lines"),
    ("wasi:cli/stderr", "output", Access::Granted, "what it prints becomes log lines"),
    ("wasi:cli/terminal-", "", Access::Granted, ""),
    ("wasi:cli/exit", "exit", Access::Granted, "fails the call and ends the instance"),
    ("wasi:clocks/monotonic-clock", "clocks", Access::Granted, "the time, and waiting"),
    ("wasi:clocks/wall-clock", "clocks", Access::Granted, "the time, and waiting"),
    ("wasi:random/", "random", Access::Granted, "random numbers"),
    ("wasi:cli/stdin", "input", Access::Empty, "standard input is empty"),
    ("wasi:filesystem/", "files", Access::Manifest, "none but those in folders that the manifest gives it (folders)"),
    ("wasi:sockets/", "sockets", Access::Empty, "present, but every connection is denied"),
    ("wasi:http/", "outbound HTTP", Access::Manifest, "denied unless the manifest allows hosts (allow-hosts)"),
];

/// The versions of WASI that are granted start with this.
const WASI_VERSION: &str = "0.2.";

/// The capabilities that a component with these imports wants, without repetitions. Interfaces that only carry
/// others (streams, types) are left out.
pub fn wanted(imports: &[String]) -> Vec<Capability> {
    let mut found = BTreeMap::new();
    for import in imports {
        let (interface, version) = import.split_once('@').unwrap_or((import, ""));
        let known = KNOWN.iter().position(|(start, ..)| interface.starts_with(start));
        let foreign = match interface.split_once(':') {
            Some(("wasi", _)) => !version.starts_with(WASI_VERSION),
            Some(("tidegate", _)) => !Inspection::knows(version),
            _ => false,
        };
        match known {
            Some(place) if !foreign => {
                let (_, name, access, meaning) = KNOWN[place];
                // People see one capability where there are two interfaces.
                let place = KNOWN.iter().position(|(_, other, ..)| *other == name).unwrap_or(place);
                if !name.is_empty() {
                    found.insert((place, ""), Capability { name: name.to_owned(), access, meaning });
                }
            }
            _ => {
                let meaning = "this version has no such interface";
                let capability = Capability { name: import.clone(), access: Access::Refused, meaning };
                found.insert((KNOWN.len(), import), capability);
            }
        }
    }
    found.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(imports: &[&str], expected: &[(&str, Access)]) {
        let imports: Vec<String> = imports.iter().map(|&import| import.to_owned()).collect();
        let found = wanted(&imports);
        let found: Vec<(&str, Access)> = found.iter().map(|found| (found.name.as_str(), found.access)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_a_rust_component_imports_is_granted() {
        check(
            &[
                "tidegate:function/types@0.1.0",
                "wasi:io/poll@0.2.6",
                "wasi:io/streams@0.2.6",
                "wasi:clocks/monotonic-clock@0.2.6",
                "wasi:clocks/wall-clock@0.2.0",
                "wasi:cli/terminal-stdout@0.2.6",
                "wasi:cli/stderr@0.2.6",
                "wasi:cli/stdout@0.2.6",
                "wasi:cli/environment@0.2.6",
            ],
            &[("environment", Access::Granted), ("output", Access::Granted), ("clocks", Access::Granted)],
        );
    }

    #[test]
    fn files_and_sockets_are_empty_and_http_is_for_the_manifest_to_allow() {
        check(
            &["wasi:http/outgoing-handler@0.2.6", "wasi:sockets/tcp@0.2.6", "wasi:filesystem/preopens@0.2.6"],
            &[("files", Access::Manifest), ("sockets", Access::Empty), ("outbound HTTP", Access::Manifest)],
        );
    }

    #[test]
    fn the_contract_is_granted_in_the_versions_that_are_known() {
        check(
            &["tidegate:function/types@0.1.7", "tidegate:function/types@0.2.0", "tidegate:function/types"],
            &[("tidegate:function/types", Access::Refused), ("tidegate:function/types@0.2.0", Access::Refused)],
        );
    }

    #[test]
    fn what_nobody_knows_is_refused_by_its_name() {
        check(
            &["acme:thing/db@1.0.0", "wasi:cli/environment@0.3.0", "wasi:random/random@0.2.6", "plain"],
            &[
                ("random", Access::Granted),
                ("acme:thing/db@1.0.0", Access::Refused),
                ("plain", Access::Refused),
                ("wasi:cli/environment@0.3.0", Access::Refused),
            ],
        );
    }
}
