//! The JSON Schema of the manifest. It also decides which keys [`super::load`] accepts, so an editor with this schema
//! and the runtime cannot disagree about keys.

use std::sync::OnceLock;

use schemars::generate::SchemaSettings;
use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostic, Report, Span, nearest};
use super::raw::RawManifest;

/// The JSON Schema (draft 2020-12) of a manifest, for editors and documentation. Only [`super::load`] checks rules that
/// span several values, such as references, limits between two values, or cycles.
#[must_use]
pub fn json_schema() -> Value {
    schema().clone()
}

fn schema() -> &'static Value {
    static SCHEMA: OnceLock<Value> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        // Inlined, because nothing repeats and the walk below then has no references to follow.
        let settings = SchemaSettings::default().with(|settings| settings.inline_subschemas = true);
        settings.into_generator().into_root_schema_for::<RawManifest>().to_value()
    })
}

/// Reports and removes keys that the schema does not have. A key that looks like a slip for another key is renamed to
/// that one, so that the slip causes no further errors.
pub(super) fn refuse_unknown_keys(table: &mut DeTable, report: &mut Report) {
    refuse_in_table(table, schema(), report);
}

fn refuse_in_table(table: &mut DeTable, schema: &Value, report: &mut Report) {
    let Some(schema) = table_schema(schema) else {
        return;
    };
    if let Some(known) = known_keys(schema) {
        let unknown = table.keys().filter(|key| !known.contains(&&**key.get_ref()));
        for key in unknown.cloned().collect::<Vec<_>>() {
            let meant = nearest(key.get_ref(), known.iter().copied());
            report.add(refusal(&key.span(), meant, &known));
            let value = table.remove(&**key.get_ref());
            if let (Some(meant), Some(value)) = (meant, value)
                && !table.contains_key(meant)
            {
                table.insert(Spanned::new(key.span(), meant.to_owned().into()), value);
            }
        }
    }
    for (key, value) in table.iter_mut() {
        let name: &str = key.get_ref();
        let inner = schema["properties"].get(name).unwrap_or(&schema["additionalProperties"]);
        if let DeValue::Table(table) = value.get_mut() {
            refuse_in_table(table, inner, report);
        }
    }
}

/// The part of the schema about a table, where it allows a table among other things.
fn table_schema(schema: &Value) -> Option<&Value> {
    if schema["type"] == "object" {
        return Some(schema);
    }
    schema["anyOf"].as_array()?.iter().find(|schema| schema["type"] == "object")
}

/// All keys that a table can have. `None`: the author of the manifest chooses the keys.
fn known_keys(schema: &Value) -> Option<Vec<&str>> {
    let open = schema["additionalProperties"] != false || schema.get("patternProperties").is_some();
    let known = schema["properties"].as_object().filter(|_| !open)?;
    Some(known.keys().map(String::as_str).collect())
}

fn refusal(span: &Span, meant: Option<&str>, known: &[&str]) -> Diagnostic {
    let diagnostic = Diagnostic::new(span, "unknown key", "");
    match meant {
        Some(meant) => diagnostic.help(format!("did you mean `{meant}`?")),
        None => diagnostic.help(format!("the keys that can stand here: {}", known.join(", "))),
    }
}
