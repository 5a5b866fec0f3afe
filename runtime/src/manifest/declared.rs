//! What a section of the manifest declares, and how other sections refer to it by name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Name;
use super::diagnostic::{Diagnostic, Report, nearest};
use super::field::At;
use super::raw::Section;
use super::words::Spelling as _;

/// What a section declares.
pub(super) struct Declared<T> {
    kind: &'static str,
    /// The entries without mistakes.
    pub(super) sound: BTreeMap<Name, Arc<T>>,
    /// All names, including those of broken entries. `None`: the section itself is broken.
    names: Option<BTreeSet<String>>,
}

impl<T> Declared<T> {
    /// All names, including those of broken entries. `None`: the section itself is broken.
    pub(super) fn names(&self) -> Option<&BTreeSet<String>> {
        self.names.as_ref()
    }

    /// The name, if it is declared. Otherwise an error is reported.
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

/// Checks everything in a section.
pub(super) fn declared<R, T>(
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
        // An entry with an illegal name is checked all the same. An error was reported, so the name never becomes part
        // of a manifest.
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
