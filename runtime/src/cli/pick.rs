//! Which function or cluster of a manifest is meant: the one that is named, or the only one.

use std::collections::BTreeMap;

use crate::manifest::{Manifest, Name};
use crate::tools::Failure;

/// Picks one of `all`, which the manifest declares as `[kind.NAME]`. `name` is that of the flag `--kind`.
pub(super) fn pick<'a, T>(
    kind: &str,
    name: Option<&str>,
    all: &'a BTreeMap<Name, T>,
    manifest: &Manifest,
) -> Result<&'a T, Failure> {
    let mut each = all.values();
    let found = match name {
        Some(name) => all.get(name),
        None => each.next().filter(|_| each.next().is_none()),
    };
    found.ok_or_else(|| {
        let path = manifest.path.display();
        let names = all.keys().map(|name| &**name).collect::<Vec<_>>().join(", ");
        Failure::usage(match name {
            _ if all.is_empty() => format!("{path} declares no {kind}"),
            Some(name) => format!("{path} has no {kind} {name:?}; it has {names}"),
            None => format!("which {kind}? {path} has {names}: give --{kind}"),
        })
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn one_is_named_or_the_only_one_or_all_are_told() {
        let check = |functions: &[&str], name: Option<&str>, expected: Result<&str, &str>| {
            let text: String =
                functions.iter().map(|name| format!("[function.{name}]\ncomponent = \"{name}.wasm\"\n")).collect();
            let manifest = crate::manifest::parse(Path::new("t.toml"), &text, &|_| None);
            let manifest = manifest.unwrap_or_else(|errors| panic!("{errors}"));
            let picked = pick("function", name, &manifest.functions, &manifest);
            let picked = picked.map(|function| &*function.name).map_err(|failure| match failure {
                Failure::Usage(text) => text,
                Failure::Failed(error) => error.to_string(),
            });
            assert_eq!(picked, expected.map_err(|text| format!("error: {text}")));
        };
        check(&["a"], None, Ok("a"));
        check(&["a", "b"], Some("b"), Ok("b"));
        check(&["a", "b"], None, Err("which function? t.toml has a, b: give --function"));
        check(&["a", "b"], Some("c"), Err("t.toml has no function \"c\"; it has a, b"));
        check(&[], None, Err("t.toml declares no function"));
        check(&[], Some("a"), Err("t.toml declares no function"));
    }
}
