//! Rust sources as far as rules about names need them: without comments, literals and tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// One file of a crate.
pub(super) struct Source {
    /// Relative to the crate's `src`, with slashes.
    pub(super) path: String,
    /// Its code; comments, literals and tests are blank, line breaks are kept.
    pub(super) code: String,
}

impl Source {
    /// All files under a folder that are not tests, by path.
    pub(super) fn under(root: &Path) -> Vec<Source> {
        let files = files(root);
        let mut tests = BTreeSet::new();
        let mut sources = Vec::new();
        for file in &files {
            let text = fs::read_to_string(file).expect("a source file is text");
            let (code, modules) = without_tests(&without_literals(&text));
            tests.extend(modules.into_iter().map(|module| home(file).join(module)));
            let path = file.strip_prefix(root).expect("it is under the root");
            sources.push((file, Source { path: path.to_string_lossy().replace('\\', "/"), code }));
        }
        let is_test = |file: &Path| {
            let module = if file.ends_with("mod.rs") {
                file.parent().expect("a folder").into()
            } else {
                file.with_extension("")
            };
            module.ancestors().any(|module| tests.contains(module))
        };
        sources.into_iter().filter(|(file, _)| !is_test(file)).map(|(_, source)| source).collect()
    }

    #[cfg(test)]
    pub(super) fn of(path: &str, text: &str) -> Source {
        Source { path: path.to_owned(), code: without_tests(&without_literals(text)).0 }
    }

    /// Whether it belongs to that module of the crate: `kafka` is `kafka.rs` and all of `kafka/`.
    pub(super) fn is_in(&self, module: &str) -> bool {
        let rest = self.path.strip_prefix(module);
        rest.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
    }

    /// Its identifiers and keywords, in order.
    pub(super) fn words(&self) -> impl Iterator<Item = &str> {
        self.code.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty())
    }

    /// Its code without any white space, for looking for paths and calls.
    pub(super) fn dense(&self) -> String {
        self.code.split_whitespace().collect()
    }

    pub(super) fn lines(&self) -> usize {
        self.code.trim_end().lines().count()
    }
}

/// All Rust files under a folder, by path.
pub(super) fn files(root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    collect(root, &mut files);
    files.sort();
    files
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("its entry can be read").path();
        if path.is_dir() {
            // What was built is no source.
            if !path.ends_with("target") {
                collect(&path, files);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The folder in which a file's child modules lie.
fn home(file: &Path) -> PathBuf {
    let root = ["mod.rs", "lib.rs", "main.rs"].iter().any(|name| file.ends_with(name));
    if root { file.parent().expect("a file is in a folder").into() } else { file.with_extension("") }
}

/// Blanks what `#[cfg(test)]` stands before, and names the modules among it that are other files.
fn without_tests(code: &str) -> (String, Vec<String>) {
    const MARK: &str = "#[cfg(test)]";
    let (mut kept, mut modules, mut rest) = (String::new(), Vec::new(), code);
    while let Some(start) = rest.find(MARK) {
        let item = &rest[start + MARK.len()..];
        let end = item_end(item);
        if item[..end].ends_with(';') {
            let words: Vec<&str> = item[..end - 1].split_whitespace().collect();
            if let [.., "mod", name] = words[..] {
                modules.push(name.to_owned());
            }
        } // and its lines do not count
        kept.push_str(&rest[..start]);
        rest = &item[end..];
    }
    kept.push_str(rest);
    (kept, modules)
}

/// Where the item ends that the text begins with: at its semicolon or its last brace.
fn item_end(text: &str) -> usize {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            ';' if depth == 0 => return at + 1,
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    text.len()
}

/// Blanks comments and the contents of strings and characters; line breaks stay.
fn without_literals(text: &str) -> String {
    let (mut code, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(first) = rest.chars().next() {
        let length = blank_length(rest, code.chars().next_back());
        if length == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            code.extend(rest[..length].chars().map(|c| if c == '\n' { c } else { ' ' }));
            rest = &rest[length..];
        }
    }
    code
}

/// The length of the comment or literal that the text begins with, 0 if it is neither.
fn blank_length(text: &str, before: Option<char>) -> usize {
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("/*") {
        return text.find("*/").map_or(text.len(), |end| end + 2);
    }
    if text.starts_with('"') {
        return string_length(text);
    }
    if text.starts_with('\'') {
        return character_length(text);
    }
    let raw = text.strip_prefix('b').or(text.strip_prefix('c')).unwrap_or(text).strip_prefix('r');
    if let Some(raw) = raw.filter(|_| !in_word) {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let close = format!("\"{}", "#".repeat(hashes));
            let (prefix, open) = (text.len() - raw.len(), hashes + 1);
            return raw[open..].find(&close).map_or(text.len(), |end| prefix + open + end + close.len());
        }
    }
    0
}

fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// 0 for a lifetime.
fn character_length(text: &str) -> usize {
    let inner = &text[1..];
    if inner.starts_with('\\') {
        let skip = inner.char_indices().nth(2).map_or(inner.len(), |(at, _)| at);
        return inner[skip..].find('\'').map_or(0, |end| 1 + skip + end + 1);
    }
    match inner.char_indices().nth(1) {
        Some((at, '\'')) => 1 + at + 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, words: &[&str]) {
        let source = Source::of("a.rs", text);
        assert_eq!(source.words().collect::<Vec<_>>(), words, "{text}");
        assert!(source.code.lines().count() <= text.lines().count());
    }

    #[test]
    fn comments_and_literals_are_no_words() {
        check("a // b\nc /* d\ne */ f", &["a", "c", "f"]);
        check(r#"a("b \" c", 'd', '\'', b'\x00', d)"#, &["a", "b", "d"]);
        check("a::<'b, 'c>('d', r#\"e \" f\"#, br\"g\", for_r)", &["a", "b", "c", "for_r"]);
        check("let s = \"// no comment\"; after", &["let", "s", "after"]);
    }

    #[test]
    fn tests_are_no_code() {
        check("a\n#[cfg(test)]\nmod tests {\n    fn b() { c }\n}\nd", &["a", "d"]);
        check("a\n#[cfg(test)]\nmod tests;\nd", &["a", "d"]);
        let (_, modules) = without_tests("#[cfg(test)]\npub(crate) mod fake;\n#[cfg(test)] use a;");
        assert_eq!(modules, ["fake"]);
    }

    #[test]
    fn a_module_is_a_file_and_a_folder() {
        for (path, expected) in
            [("kafka.rs", true), ("kafka/a/b.rs", true), ("kafkaesque.rs", false), ("a/kafka.rs", false)]
        {
            assert_eq!(Source::of(path, "").is_in("kafka"), expected, "{path}");
        }
    }
}
