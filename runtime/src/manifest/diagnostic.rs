//! Mistakes, their places, and what to write instead, drawn in the style of rustc.
//!
//! No title repeats a value, because after substitution it may be a secret. The caret shows the word as it is
//! written.

use std::fmt;
use std::ops::Range;
use std::path::Path;

use annotate_snippets::{Annotation, AnnotationKind, Level, Renderer, Snippet};

/// A range of bytes of the manifest.
pub(super) type Span = Range<usize>;

/// How many errors are drawn. Further ones are only counted.
const DRAWN: usize = 100;

/// Everything that is wrong with a manifest, at least one thing.
///
/// `Display` draws all of it without colours.
pub struct Errors {
    path: String,
    source: String,
    diagnostics: Vec<Diagnostic>,
}

impl Errors {
    /// One thing that is wrong with the file as a whole.
    pub(super) fn about_file(path: &Path, title: String) -> Self {
        let diagnostic = Diagnostic { title, words: Vec::new(), help: Vec::new() };
        Self { path: path.display().to_string(), source: String::new(), diagnostics: vec![diagnostic] }
    }

    /// What to do about the last one.
    pub(super) fn help(mut self, help: &str) -> Self {
        if let Some(last) = self.diagnostics.last_mut() {
            last.help.push(help.to_owned());
        }
        self
    }

    /// The number of errors, at least 1.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "there is no empty one")]
    pub fn len(&self) -> usize {
        self.diagnostics.len()
    }

    /// Draws the errors in the order of the lines that they are on, the first 100 of them.
    /// `colour` adds ANSI escapes for a terminal.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let drawn: Vec<String> =
            self.diagnostics.iter().take(DRAWN).map(|diagnostic| self.render_one(diagnostic, &renderer)).collect();
        let mut text = drawn.join("\n\n");
        if self.len() > DRAWN {
            text.push_str(&format!("\n\nand {} more errors", self.len() - DRAWN));
        }
        text
    }

    fn render_one(&self, diagnostic: &Diagnostic, renderer: &Renderer) -> String {
        let title = Level::ERROR.primary_title(&diagnostic.title);
        let mut group = annotate_snippets::Group::with_title(title);
        if !diagnostic.words.is_empty() {
            let annotations = diagnostic.words.iter().enumerate().map(draw_word);
            let snippet = Snippet::source(&self.source).path(&self.path);
            group = group.element(snippet.annotations(annotations));
        }
        for help in &diagnostic.help {
            group = group.element(Level::HELP.message(help));
        }
        renderer.render(&[group])
    }
}

fn draw_word((index, (span, label)): (usize, &(Span, String))) -> Annotation<'_> {
    let kind = if index == 0 { AnnotationKind::Primary } else { AnnotationKind::Context };
    kind.span(span.clone()).label(label.as_str())
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

/// The same as `Display`, so that an `expect` or a returned error can be read.
impl fmt::Debug for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Errors {}

/// One thing that is wrong.
pub(super) struct Diagnostic {
    title: String,
    /// The words that it is about, each with its label. The word at fault comes first.
    words: Vec<(Span, String)>,
    help: Vec<String>,
}

impl Diagnostic {
    /// The mistake `title` in the word at `span`. `label` is written under the word.
    pub(super) fn new(span: &Span, title: impl Into<String>, label: impl Into<String>) -> Self {
        Self::about(title.into(), vec![(span.clone(), label.into())])
    }

    /// The mistake `title` in several words, the one at fault first.
    pub(super) fn about(title: String, words: Vec<(Span, String)>) -> Self {
        Self { title, words, help: Vec::new() }
    }

    /// An error of the TOML parser about a text of `length` bytes.
    pub(super) fn syntax(error: &toml::de::Error, length: usize) -> Self {
        let span = error.span().unwrap_or(0..0);
        let span = span.start.min(length)..span.end.min(length);
        match error.message().split_once(", expected ") {
            // The parser takes every word without quotes that begins with t or f for a boolean.
            Some(("invalid boolean", _)) => {
                Self::new(&span, "invalid value", "expected true or false, or a string in quotes")
            }
            Some((title, expected)) => Self::new(&span, title, format!("expected {expected}")),
            None if error.message() == "duplicate key" => {
                Self::new(&span, "duplicate key", "it is there already: remove one of them")
            }
            None => Self::new(&span, error.message(), ""),
        }
    }

    /// Adds another word that is involved.
    pub(super) fn also(mut self, span: &Span, label: impl Into<String>) -> Self {
        self.words.push((span.clone(), label.into()));
        self
    }

    /// Adds what to do about it.
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }
}

/// Collects mistakes.
#[derive(Default)]
pub(super) struct Report {
    diagnostics: Vec<Diagnostic>,
    unresolved: Vec<Span>,
}

impl Report {
    /// Adds an error, unless it is about a word that was marked unresolved. Such a word has its error already, and any
    /// other error about it is a consequence.
    pub(super) fn add(&mut self, diagnostic: Diagnostic) {
        let fault = diagnostic.words.first();
        if fault.is_none_or(|(span, _)| !self.unresolved.contains(span)) {
            self.diagnostics.push(diagnostic);
        }
    }

    /// From now on no error about the word at `span` is added.
    pub(super) fn mark_unresolved(&mut self, span: &Span) {
        self.unresolved.push(span.clone());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.diagnostics.is_empty()
    }

    pub(super) fn into_errors(mut self, path: &Path, source: &str) -> Errors {
        let start = |d: &Diagnostic| d.words.first().map_or(0, |(span, _)| span.start);
        self.diagnostics.sort_by_key(start);
        Errors { path: path.display().to_string(), source: source.to_owned(), diagnostics: self.diagnostics }
    }
}

/// The candidate that was probably meant by `word`.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |candidate: &&str| strsim::osa_distance(word, candidate);
    let best = candidates.into_iter().min_by_key(distance)?;
    let tolerated = word.len().max(best.len()).max(3) / 3;
    (distance(&best) <= tolerated).then_some(best)
}

/// `"a"`, `"a" or "b"`, `"a", "b" or "c"`.
pub(super) fn either(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}
