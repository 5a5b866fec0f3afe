//! Which files name which: the paths in the code, resolved to files.
//!
//! A path counts wherever it stands, in a `use` or in an expression, if it begins with `crate`, `self`, `super`
//! or the name of a child module. It leads to the file of the deepest module on it. `mod` declarations are no
//! arrows. A name that a module hands on with `pub use` counts as a name of that module.
//!
//! A module shares its names, private ones included, with the modules inside it. So a file may name the
//! modules that it lies in, and these arrows close no circle. All other arrows do.

use std::collections::{BTreeMap, BTreeSet};

use super::source::Source;

/// For each file: the other files that it names.
pub(super) struct Arrows {
    to: BTreeMap<String, BTreeSet<String>>,
}

impl Arrows {
    pub(super) fn of(sources: &[Source]) -> Self {
        let modules: Modules = sources.iter().map(|source| (module(&source.path), source.path.as_str())).collect();
        let arrows = |source: &Source| {
            let named = paths(source, &modules).into_iter().filter_map(|path| file(&path, &modules));
            (source.path.clone(), named.filter(|file| *file != source.path).map(str::to_owned).collect())
        };
        Self { to: sources.iter().map(arrows).collect() }
    }

    /// All arrows, as pairs of files.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.to.iter().flat_map(|(from, to)| to.iter().map(move |to| (from.as_str(), to.as_str())))
    }

    /// The circles: sets of files that all reach each other.
    pub(super) fn circles(&self) -> Vec<BTreeSet<&str>> {
        let reached: BTreeMap<&str, BTreeSet<&str>> =
            self.to.keys().map(|file| (file.as_str(), self.reached_from(file))).collect();
        let mut circles: Vec<BTreeSet<&str>> = Vec::new();
        for (file, others) in &reached {
            if others.contains(file) && !circles.iter().any(|circle| circle.contains(file)) {
                circles.push(others.iter().copied().filter(|other| reached[other].contains(file)).collect());
            }
        }
        circles
    }

    /// The arrows that close a circle.
    pub(super) fn within<'a>(&'a self, circle: &'a BTreeSet<&str>) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.all().filter(|(from, to)| circle.contains(from) && circle.contains(to) && !lies_in(from, to))
    }

    fn reached_from(&self, file: &str) -> BTreeSet<&str> {
        let (mut reached, mut next) = (BTreeSet::new(), vec![file.to_owned()]);
        while let Some(from) = next.pop() {
            for to in self.to.get(&from).into_iter().flatten().filter(|to| !lies_in(&from, to)) {
                if reached.insert(to.as_str()) {
                    next.push(to.clone());
                }
            }
        }
        reached
    }
}

/// The path of a module, without the crate's own name, and its file.
type Modules<'a> = BTreeMap<Vec<String>, &'a str>;

/// The module of a file.
fn module(path: &str) -> Vec<String> {
    let mut names: Vec<String> = path.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if names.last().is_some_and(|name| name == "mod" || name == "lib") {
        names.pop();
    }
    names
}

/// Whether a file belongs to a module inside that of the other one.
fn lies_in(file: &str, other: &str) -> bool {
    let (file, other) = (module(file), module(other));
    file.len() > other.len() && file.starts_with(&other)
}

/// The file of the deepest module on a path.
fn file<'a>(path: &[String], modules: &Modules<'a>) -> Option<&'a str> {
    (1..=path.len()).rev().find_map(|length| modules.get(&path[..length]).copied())
}

/// The paths in a file that lead somewhere in its crate, each from the crate on.
fn paths(source: &Source, modules: &Modules<'_>) -> Vec<Vec<String>> {
    let (own, tokens) = (module(&source.path), tokens(&source.code));
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(token) = tokens.get(at) {
        let before = at.checked_sub(1).map_or("", |before| tokens[before]);
        let is_path = before == "use" || tokens.get(at + 1) == Some(&"::");
        let is_inside = matches!(before, "::" | "." | "mod");
        let start = match *token {
            "crate" => Some(Vec::new()),
            "self" | "super" => Some(own.clone()),
            name => {
                let child: Vec<String> = own.iter().map(String::as_str).chain([name]).map(str::to_owned).collect();
                modules.contains_key(&child).then(|| own.clone())
            }
        };
        at = match start.filter(|_| is_path && !is_inside) {
            Some(start) => tree(&tokens, at, start, &mut found),
            None => at + 1,
        };
    }
    found
}

/// Reads a path from the token at `at` on, with all branches of a `use`. Returns where it ends.
fn tree(tokens: &[&str], mut at: usize, mut path: Vec<String>, found: &mut Vec<Vec<String>>) -> usize {
    while let Some(token) = tokens.get(at) {
        at += 1;
        match *token {
            "{" => {
                while let Some(token) = tokens.get(at).filter(|token| **token != "}") {
                    at = if *token == "," { at + 1 } else { tree(tokens, at, path.clone(), found) };
                }
                return at + 1;
            }
            "crate" | "self" => {}
            "super" => drop(path.pop()),
            name if is_name(name) => path.push(name.to_owned()),
            _ => break,
        }
        if tokens.get(at) != Some(&"::") {
            at += if tokens.get(at) == Some(&"as") { 2 } else { 0 };
            break;
        }
        at += 1;
    }
    found.push(path);
    at
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Names, `::`, and all other characters one by one.
fn tokens(code: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_inside = |c: char| c.is_alphanumeric() || c == '_';
        let length = match first {
            ':' if rest.starts_with("::") => 2,
            first if is_inside(first) => rest.find(|c| !is_inside(c)).unwrap_or(rest.len()),
            first => first.len_utf8(),
        };
        tokens.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrows(files: &[(&str, &str)]) -> Vec<String> {
        let sources: Vec<Source> = files.iter().map(|(path, text)| Source::of(path, text)).collect();
        Arrows::of(&sources).all().map(|(from, to)| format!("{from} -> {to}")).collect()
    }

    fn circles(files: &[(&str, &str)]) -> Vec<Vec<String>> {
        let sources: Vec<Source> = files.iter().map(|(path, text)| Source::of(path, text)).collect();
        let arrows = Arrows::of(&sources);
        arrows.circles().iter().map(|circle| circle.iter().map(|&file| file.to_owned()).collect()).collect()
    }

    #[test]
    fn a_path_leads_to_the_file_of_its_deepest_module() {
        let files = [
            ("lib.rs", "mod a; mod b;"),
            ("a/mod.rs", "mod x; mod y; pub use x::X; fn f() { y::g(); self.x(); other::y::g() }"),
            ("a/x.rs", "use super::y::{self, Y as Z}; use std::y;"),
            ("a/y.rs", "use crate::{b::c::{C, D}, f}; pub(in crate::a) fn g() {}"),
            ("b/mod.rs", "pub mod c;"),
            ("b/c.rs", "fn f() -> super::super::a::y::Y { crate::a::h::<u8>() }"),
        ];
        let expected = [
            "a/mod.rs -> a/x.rs",
            "a/mod.rs -> a/y.rs",
            "a/x.rs -> a/y.rs",
            "a/y.rs -> a/mod.rs",
            "a/y.rs -> b/c.rs",
            "b/c.rs -> a/mod.rs",
            "b/c.rs -> a/y.rs",
        ];
        assert_eq!(arrows(&files), expected);
    }

    #[test]
    fn files_that_name_each_other_are_a_circle() {
        let files = [("a.rs", "use crate::b;"), ("b.rs", "use crate::c::C;"), ("c.rs", "crate::a::f()"), ("d.rs", "")];
        assert_eq!(circles(&files), [["a.rs", "b.rs", "c.rs"]]);
        assert_eq!(circles(&files[1..]), [[""; 0]; 0]);
    }

    #[test]
    fn a_file_may_name_the_modules_that_it_lies_in() {
        let face = ("a/mod.rs", "mod x; pub use x::X;");
        assert_eq!(circles(&[face, ("a/x.rs", "use super::Name;")]), [[""; 0]; 0]);
        let files = [face, ("a/x.rs", "use crate::b::B;"), ("b.rs", "use crate::a::X;")];
        assert_eq!(circles(&files), [["a/mod.rs", "a/x.rs", "b.rs"]], "another module's face counts");
    }
}
