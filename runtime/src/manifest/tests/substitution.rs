//! `${NAME}` in strings.

use super::read;

/// What the variable `V` of a function becomes if the manifest says `written`, which is TOML.
fn substituted(written: &str) -> Result<String, String> {
    let text = format!("[function.f]\ncomponent = \"f.wasm\"\nenv = {{ V = {written} }}");
    match read(&text) {
        Ok(manifest) => Ok(manifest.functions["f"].env["V"].clone()),
        Err(errors) => Err(errors.to_string()),
    }
}

fn check(written: &str, expected: &str) {
    assert_eq!(substituted(written).as_deref(), Ok(expected), "{written}");
}

#[test]
fn replaces_variables_in_strings() {
    check(r#""${SET}""#, "value");
    check(r#""<${SET}|${SET}>""#, "<value|value>");
    check(r#"'${SET}'"#, "value");
    check("\"\"\"\n${SET}\n\"\"\"", "value\n");
    check(r#""${EMPTY}""#, "");
    check(r#""\u0024{SET}""#, "value");
}

#[test]
fn takes_the_default_of_a_variable_that_is_unset_or_empty() {
    check(r#""${UNSET:-default}""#, "default");
    check(r#""${EMPTY:-default}""#, "default");
    check(r#""${SET:-default}""#, "value");
    check(r#""${UNSET:-}""#, "");
    check(r#""${UNSET:-a:-b {c}""#, "a:-b {c");
    check(r#""${UNSET:-localhost:9092}""#, "localhost:9092");
}

#[test]
fn leaves_other_dollars_alone() {
    check(r#""$SET $ $$ {SET} $5""#, "$SET $ $$ {SET} $5");
    check(r#""$${SET}""#, "${SET}");
    check(r#""$$${SET}""#, "$${SET}");
    check(r#""$${SET} ${SET}""#, "${SET} value");
    check(r#""$${""#, "${");
}

#[test]
fn a_value_is_never_read_as_toml_or_substituted_again() {
    check(r#""${HOSTILE}""#, "\"quoted\"\n[trigger.x]\n\\ # ${SET} $${SET}");
}

#[test]
fn replaces_in_arrays_and_inner_tables() {
    let manifest = read(
        "[cluster.main]\nbrokers = \"localhost\"\n[function.f]\ncomponent = \"f.wasm\"\n\
         [trigger.t]\nfunction = \"f\"\ntopics = [\"a\", \"${TOPIC}\"]\n\
         output = { topic = \"${TOPIC}-out\" }\non-exhausted = \"skip\"",
    );
    let trigger = manifest.unwrap().triggers["t"].clone();
    assert_eq!(trigger.topics, ["a", "topic-from-environment"]);
    assert_eq!(trigger.output.as_deref(), Some("topic-from-environment-out"));
}

#[test]
fn leaves_keys_and_comments_alone() {
    let text = "# ${UNSET}\n[function.f]\ncomponent = \"f.wasm\"\nenv = { \"${UNSET}\" = \"v\" }";
    assert_eq!(read(text).unwrap().functions["f"].env["${UNSET}"], "v");
}

#[test]
fn names_every_variable_that_is_not_set() {
    let errors = substituted(r#""${UNSET_1} ${SET} ${UNSET_2}""#).unwrap_err();
    assert!(errors.contains("`UNSET_1` is not set"), "{errors}");
    assert!(errors.contains("`UNSET_2` is not set"), "{errors}");
    assert!(!errors.contains("`SET`"), "{errors}");
}
