//! The schema says what the parser does.

use serde_json::Value;

use super::super::json_schema;
use super::{environment, read, testdata};

/// All keys with a fixed name that the schema has, as `section.*.key`, each with its schema. `*`
/// stands for a name that the author chooses.
fn keys() -> Vec<(String, Value)> {
    let mut found = Vec::new();
    collect(&json_schema(), "", &mut found);
    found
}

fn collect(schema: &Value, prefix: &str, found: &mut Vec<(String, Value)>) {
    for alternative in schema["anyOf"].as_array().into_iter().flatten() {
        collect(alternative, prefix, found);
    }
    for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{prefix}{key}");
        collect(inner, &format!("{path}."), found);
        found.push((path, inner.clone()));
    }
    if schema["additionalProperties"].is_object() {
        collect(&schema["additionalProperties"], &format!("{prefix}*."), found);
    }
}

/// A manifest with `value` at `path`, and all that is required if `complete`.
fn manifest_with(path: &str, value: &str, complete: bool) -> String {
    let mut required = String::new();
    if complete {
        required = "cluster.main.brokers = 'localhost'\nfunction.f.component = 'f.wasm'\n\
                    trigger.t.function = 'f'\ntrigger.t.topics = ['in']\n\
                    trigger.t.dead-letters = 'dead'\nfunction.f.rollout.steps = ['5%']\n"
            .to_owned();
    }
    let name = match path.split('.').next() {
        Some("cluster") => "main",
        Some("function") => "f",
        _ => "t",
    };
    format!("{required}{} = {value}\n", path.replacen('*', name, 1).replace('*', "X"))
}

#[test]
fn describes_every_key() {
    let keys = keys();
    assert!(keys.len() >= 80, "found only {}", keys.len());
    for (path, schema) in keys {
        let description = schema["description"].as_str().unwrap_or_default();
        assert!(description.ends_with('.'), "{path}: {description:?}");
    }
}

#[test]
fn every_key_refuses_a_value_of_a_wrong_type() {
    for (path, _) in keys() {
        for wrong in ["[[[]]]", "{ x = [[]] }", "1.5", "00:00:00"] {
            let text = manifest_with(&path, wrong, false);
            let errors = read(&text).map(|_| ()).expect_err(&text).to_string();
            let line = format!("{} = ", text.split(" = ").next().unwrap());
            assert!(errors.contains(&line), "nothing is said about\n{text}but\n{errors}");
        }
    }
}

#[test]
fn every_table_refuses_an_array() {
    let mut checked = 0;
    for (path, _) in keys().iter().filter(|(_, schema)| schema["type"] == "object") {
        checked += 1;
        for wrong in ["[]", "[1]", "[{}]"] {
            let errors = read(&manifest_with(path, wrong, false)).unwrap_err().to_string();
            assert!(errors.contains("invalid type: array"), "{path} = {wrong}: {errors}");
        }
    }
    assert!(checked >= 10, "found only {checked} tables");
}

#[test]
fn a_default_of_the_schema_is_what_the_parser_takes() {
    let mut checked = 0;
    for (path, schema) in keys() {
        if let Some(default) = schema.get("default") {
            checked += 1;
            // A section that need not be there is compared with one in which nothing is said.
            let section = if path.starts_with("control.") { "control" } else { "admin" };
            let plain = read(&manifest_with(section, "{}", true)).unwrap();
            let text = manifest_with(&path, &default.to_string(), true);
            assert_eq!(read(&text).expect(&text), plain, "{text}");
        }
    }
    assert!(checked >= 31, "found only {checked} defaults");
}

#[test]
fn a_limit_of_the_schema_is_the_parsers() {
    let mut checked = 0;
    for (path, schema) in keys() {
        let Some(minimum) = schema["minimum"].as_i64() else {
            continue;
        };
        let Some(maximum) = schema["maximum"].as_i64() else {
            continue;
        };
        checked += 1;
        let broken = |number: i64| {
            let text = manifest_with(&path, &number.to_string(), true);
            read(&text).is_err_and(|errors| errors.to_string().contains("invalid value"))
        };
        assert!(!broken(minimum) && !broken(maximum), "{path}");
        assert!(broken(minimum - 1), "{path}");
        assert!(maximum == i64::MAX || broken(maximum + 1), "{path}");
    }
    assert!(checked >= 8, "found only {checked} limits");
}

#[test]
fn a_word_of_the_schema_is_one_of_the_parsers() {
    let mut checked = 0;
    for (path, schema) in keys() {
        for word in schema["enum"].as_array().into_iter().flatten() {
            checked += 1;
            let text = manifest_with(&path, &word.to_string(), true);
            assert!(read(&text).is_ok(), "{text}");
        }
    }
    assert!(checked >= 9, "found only {checked} words");
}

#[test]
fn has_kebab_case_keys_and_says_which_are_required() {
    let schema = json_schema();
    let trigger = &schema["properties"]["trigger"]["additionalProperties"];
    assert_eq!(trigger["required"], serde_json::json!(["function", "topics"]));
    assert!(trigger["properties"]["commit-interval"].is_object());
    assert_eq!(trigger["additionalProperties"], false);
    for (path, _) in keys() {
        assert!(path.bytes().all(|b| b.is_ascii_lowercase() || b".-*".contains(&b)), "{path}");
    }
}

#[test]
fn holds_no_reference_that_an_editor_would_have_to_follow() {
    assert!(!json_schema().to_string().contains("\"$ref\""));
}

#[test]
fn good_manifests_have_no_key_that_the_schema_lacks() {
    for name in ["sample.toml", "everything.toml"] {
        super::super::load(&testdata().join("good").join(name), &environment).unwrap();
    }
}
