//! Replaces `${NAME}` in the strings of a manifest by variables of the environment.
//!
//! - `${NAME}`: the value of the variable. It is an error if it is not set.
//! - `${NAME:-default}`: the default if the variable is not set or empty, as in a shell. The default ends at the
//!   first `}` and must not contain `${`.
//! - `$${`: a literal `${`. A `$` before anything else is itself.
//!
//! Only parsed strings are replaced, so quotes, line breaks and `${` in a value have no meaning. Keys, numbers and
//! comments stay as they are.

use std::borrow::Cow;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Environment;
use super::diagnostic::{Diagnostic, Report};

/// Replaces variables in all strings of `table`, at any depth. A string that cannot be resolved stays as it is and is
/// marked in the report.
pub(super) fn in_table(table: &mut DeTable, environment: &Environment, report: &mut Report) {
    for (_, value) in table.iter_mut() {
        in_value(value, environment, report);
    }
}

fn in_value(value: &mut Spanned<DeValue>, environment: &Environment, report: &mut Report) {
    let span = value.span();
    match value.get_mut() {
        DeValue::Table(table) => in_table(table, environment, report),
        DeValue::Array(array) => {
            for element in array.iter_mut() {
                in_value(element, environment, report);
            }
        }
        DeValue::String(text) if text.contains("${") => match expand(text, environment) {
            Ok(expanded) => *text = Cow::Owned(expanded),
            Err(problems) => {
                for (title, help) in problems {
                    report.add(Diagnostic::new(&span, title, "").help(help));
                }
                report.mark_unresolved(&span);
            }
        },
        _ => {}
    }
}

/// Title and help.
type Problem = (String, String);

fn expand(text: &str, environment: &Environment) -> Result<String, Vec<Problem>> {
    let mut expanded = String::new();
    let mut problems = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let before = &rest[..at];
        let after = &rest[at + 2..];
        if let Some(before) = before.strip_suffix('$') {
            expanded.push_str(before);
            expanded.push_str("${");
            rest = after;
            continue;
        }
        expanded.push_str(before);
        let Some((variable, behind)) = after.split_once('}') else {
            let help = "write \"$${\" for the characters \"${\" themselves";
            problems.push(("`${` without `}`".to_owned(), help.to_owned()));
            rest = "";
            break;
        };
        match resolve(variable, environment) {
            Ok(value) => expanded.push_str(&value),
            Err(problem) => problems.push(problem),
        }
        rest = behind;
    }
    expanded.push_str(rest);
    if problems.is_empty() { Ok(expanded) } else { Err(problems) }
}

/// The value of the text between `${` and `}`.
fn resolve(variable: &str, environment: &Environment) -> Result<String, Problem> {
    let (name, default) = match variable.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (variable, None),
    };
    if !is_variable_name(name) {
        let help = "write \"${NAME}\" or \"${NAME:-default}\", or \"$${\" for the characters \"${\"";
        return Err((format!("`{name}` is not the name of a variable"), help.to_owned()));
    }
    if default.is_some_and(|default| default.contains("${")) {
        let help = "set the variable, or give a default without a variable in it";
        return Err((format!("the default of `{name}` holds another variable"), help.to_owned()));
    }
    match (environment(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => {
            let help = format!("set it, or give a default: \"${{{name}:-…}}\"");
            Err((format!("the environment variable `{name}` is not set"), help))
        }
    }
}

fn is_variable_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}
