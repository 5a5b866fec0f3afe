//! What a manifest is refused for by those who know the properties of the Kafka client, and for having
//! nothing to run.

use std::path::Path;

use super::super::{Cluster, Errors, parse_checked};
use super::{environment, read, with_trigger};

const PROPERTIES: &str = "[cluster.main.properties]\n\"group.protocol\" = \"consumer\"\n\
                          \"client.rack\" = \"a\"\n\"session.timeout.ms\" = 6000\n\"sasl.mechanism\" = \"SCRAM-SHA-256\"\n";

#[track_caller]
fn refused(text: &str, reason: &str) -> Errors {
    let accepts = |_: &Cluster| Err(reason.to_owned());
    parse_checked(Path::new("tidegate.toml"), text, &environment, &accepts).expect_err("refused")
}

#[test]
fn shows_the_properties_that_exclude_each_other() {
    let text = format!("{}{PROPERTIES}", with_trigger(""));
    let errors = refused(&text, "`session.timeout.ms` is not supported for `group.protocol=consumer`");
    let expected = "\
error: the Kafka client does not take these properties
  --> tidegate.toml:11:1
   |
11 | \"group.protocol\" = \"consumer\"
   | ^^^^^^^^^^^^^^^^ `session.timeout.ms` is not supported for `group.protocol=consumer`
12 | \"client.rack\" = \"a\"
13 | \"session.timeout.ms\" = 6000
   | --------------------";
    assert_eq!(errors.to_string(), expected);
}

#[test]
fn shows_the_property_whose_value_is_named_or_the_cluster() {
    let text = format!("{}{PROPERTIES}", with_trigger(""));
    let errors = refused(&text, "No provider for SASL mechanism SCRAM-SHA-256").to_string();
    assert!(errors.contains("tidegate.toml:14:1") && errors.contains("^^ No provider"), "{errors}");
    let errors = refused(&text, "something else").to_string();
    assert!(errors.contains("tidegate.toml:1:10") && errors.contains("^^^^ something else"), "{errors}");
}

#[test]
fn asks_nobody_about_properties_that_are_wrong_already() {
    let text = with_trigger("[cluster.main.properties]\nacks = 1\n");
    let errors = refused(&text, "unasked");
    assert_eq!(errors.len(), 1);
    assert!(!errors.to_string().contains("unasked"), "{errors}");
}

#[test]
fn a_manifest_without_triggers_is_nothing_to_run() {
    let check = |text: &str, title: &str| {
        let errors = read(text).expect("good in itself").check_runs().expect_err("refused");
        let expected = format!(
            "error: {title}\n |\n = help: declare functions as [function.NAME] and what calls them as \
             [trigger.NAME]; to stop what runs, stop the node"
        );
        assert_eq!(errors.to_string(), expected);
    };
    check("", "tidegate.toml declares no function and no trigger");
    check("[admin]\nlisten = \"127.0.0.1:1\"\n", "tidegate.toml declares no function and no trigger");
    check("[cluster.main]\nbrokers = \"a\"\n", "tidegate.toml declares no function and no trigger");
    let half = "[function.f]\ncomponent = \"f.wasm\"\n";
    check(half, "tidegate.toml declares no trigger, so a node has nothing to do");
    read(&with_trigger("")).expect("good").check_runs().expect("something to run");
}
