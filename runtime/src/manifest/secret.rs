//! Secrets: texts that come from elsewhere and are never shown.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::diagnostic::{Diagnostic, Report};
use super::field::{At, Field};
use super::raw::RawSecret;
use super::{Environment, file};

/// A text that is never shown. It prints as `[secret]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    pub(super) fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The text itself, to be handed to the function. It must not be logged.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// Reads a secret. A path is relative to `folder`. No error shows what was read.
pub(super) fn read(
    raw: At<RawSecret>,
    folder: &Path,
    environment: &Environment,
    report: &mut Report,
) -> Option<Secret> {
    let broken = raw.value.env.is_broken() || raw.value.file.is_broken();
    let sources = (raw.value.env.given(report), raw.value.file.given(report));
    let text = match sources {
        (Some(variable), None) => {
            let text = environment(&variable.value.0);
            if text.is_none() {
                let title = format!("the environment variable `{}` is not set", variable.value.0);
                report.add(Diagnostic::new(&variable.span, title, "set it where Tidegate is started"));
            }
            text
        }
        (None, Some(path)) => match file::secret(&folder.join(&path.value.0)) {
            Ok(text) => Some(text),
            Err(why) => {
                let title = format!("cannot read the secret: {why}");
                let shown = folder.join(&path.value.0);
                report.add(Diagnostic::new(&path.span, title, format!("looked at {}", shown.display())));
                None
            }
        },
        _ if broken => None,
        _ => {
            let label = "expected { env = \"NAME\" } or { file = \"/run/secrets/name\" }";
            report.add(Diagnostic::new(&raw.span, "a secret comes from one place", label));
            None
        }
    };
    text.map(|text| Secret::new(&text))
}

/// Reads a secret that clients send in a header. An empty one would let everybody in, and a header has visible ASCII
/// characters only.
pub(super) fn token(
    raw: Field<RawSecret>,
    folder: &Path,
    environment: &Environment,
    report: &mut Report,
) -> Option<Secret> {
    let raw = raw.given(report)?;
    let span = raw.span.clone();
    let token = read(raw, folder, environment, report)?;
    if token.reveal().is_empty() {
        let label = "expected one or more characters, better 32 random ones";
        report.add(Diagnostic::new(&span, "the token is empty", label));
    } else if !token.reveal().bytes().all(|b| b.is_ascii_graphic()) {
        let label = "expected visible ASCII characters without spaces and line breaks";
        report.add(Diagnostic::new(&span, "no client can send this token", label));
    }
    Some(token)
}
